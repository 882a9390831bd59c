"""The one reader of pictures: whatever way a picture is stored, it is read as the same picture."""
import io
import os
import struct
import tempfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, features

from timm_res2net.deploy.guest import quiet
from timm_res2net.model import images
from timm_res2net.model.images import ImageError, find_images, read_image
from timm_res2net.model.together import unwarned


def picture(width=40, height=24, seed=0):
    """Smooth, with a bright top left corner."""
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = noise.resize((width, height), Image.Resampling.BICUBIC)
    image.paste((250, 240, 30), (0, 0, width // 4, height // 4))
    return image


COLOUR = picture()
GREY = COLOUR.convert('L')
LEVELS = np.asarray(GREY)


def same(image, expected, tolerance=0):
    assert (image.size, image.mode) == (expected.size, expected.mode)
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(expected, dtype=int)).max() <= tolerance


@pytest.mark.parametrize('name, options', [
    ('a.png', {}), ('a.bmp', {}), ('a.tif', {}), ('a.tif', dict(compression='tiff_lzw')), ('a.ppm', {}),
    ('a.webp', dict(lossless=True)), ('a.PNG', {})])
def test_lossless_files(name, options, tmp_path):
    if name.endswith('webp') and not features.check('webp'):
        pytest.skip('Pillow without WebP')
    COLOUR.save(tmp_path / name, **options)
    for mode in ('RGB', 'L'):
        same(read_image(tmp_path / name, mode), COLOUR.convert(mode))
    same(read_image(str(tmp_path / name)), COLOUR)


SIXTEEN = LEVELS.astype(np.uint16) * 257
DEEP = {
    'png of 16 bits': (SIXTEEN, 'a.png'),
    'tiff of 16 bits': (SIXTEEN, 'a.tif'),
    'tiff of 32 bits, 16 used': (SIXTEEN.astype(np.int32), 'a.tif'),
    'tiff of 32 bits, 8 used': (LEVELS.astype(np.int32), 'a.tif'),
    'tiff of 32 bits': (SIXTEEN.astype(np.int32) * 32768, 'a.tif'),
    'tiff of floats to 1': (LEVELS.astype(np.float32) / 255, 'a.tif'),
    'tiff of floats to 255': (LEVELS.astype(np.float32), 'a.tif'),
}


@pytest.mark.parametrize('kind', DEEP)
def test_more_than_8_bits_are_scaled_by_their_range(kind, tmp_path):
    array, name = DEEP[kind]
    Image.fromarray(array).save(tmp_path / name)
    # where the range is that of the picture itself, its brightest pixel becomes white
    tolerance = 255 - LEVELS.max() if kind == 'tiff of 32 bits' else 0
    same(read_image(tmp_path / name, 'L'), GREY, tolerance)
    same(read_image(tmp_path / name), GREY.convert('RGB'), tolerance)


def test_a_dark_picture_of_16_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((8, 8), 200, np.uint16)).save(tmp_path / 'dark.png')
    assert np.asarray(read_image(tmp_path / 'dark.png', 'L')).max() == 1


def test_a_grey_level_of_16_bits_may_mean_transparent(tmp_path):
    with Image.open(io.BytesIO(_png_of_16_bits([[0, 1000], [65535, 1000]], transparent=1000))) as image:
        assert image.info['transparency'] == 1000
        assert np.asarray(read_image(image, 'L')).tolist() == [[0, 255], [255, 255]]


def _png_of_16_bits(rows, transparent):
    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    pixels = b''.join(b'\0' + struct.pack(f'>{len(row)}H', *row) for row in rows)
    return b'\x89PNG\r\n\x1a\n' + b''.join([
        chunk(b'IHDR', struct.pack('>IIBBBBB', len(rows[0]), len(rows), 16, 0, 0, 0, 0)),
        chunk(b'tRNS', struct.pack('>H', transparent)), chunk(b'IDAT', zlib.compress(pixels)), chunk(b'IEND', b'')])


@pytest.mark.parametrize('array, expected', [
    (np.asarray(COLOUR), COLOUR),
    (LEVELS, GREY.convert('RGB')),
    (LEVELS[:, :, None], GREY.convert('RGB')),
    (np.asarray(COLOUR).astype(np.uint16) * 257, COLOUR),
    (np.asarray(COLOUR).astype(np.float64) / 255, COLOUR),
    (np.asarray(COLOUR).astype(np.int64), COLOUR),
    (np.dstack([np.asarray(COLOUR), np.full_like(LEVELS, 255)]), COLOUR),
    (LEVELS > 127, Image.fromarray(np.uint8(LEVELS > 127) * 255).convert('RGB')),
    (np.asarray(COLOUR) / 255 - (LEVELS == 0)[:, :, None] * 0.01, COLOUR),
    (np.array([[np.nan, 1.], [0.5, -np.inf]]), Image.fromarray(np.uint8([[0, 255], [128, 0]])).convert('RGB')),
], ids=['colour', 'grey', 'one channel', '16 bits', 'floats', 'integers', 'opaque', 'bilevel', 'resized', 'not finite'])
def test_arrays(array, expected):
    same(read_image(array), expected)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    """Stored as a camera held another way stores it, and read upright."""
    undo = {2: 'FLIP_LEFT_RIGHT', 3: 'ROTATE_180', 4: 'FLIP_TOP_BOTTOM', 5: 'TRANSPOSE', 6: 'ROTATE_90',
            7: 'TRANSVERSE', 8: 'ROTATE_270'}
    stored = COLOUR.transpose(Image.Transpose[undo[orientation]]) if orientation > 1 else COLOUR
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ('a.png', 'a.tif'):
        stored.save(tmp_path / name, exif=exif)
        same(read_image(tmp_path / name), COLOUR)
    with Image.open(tmp_path / 'a.png') as image:
        same(read_image(image), COLOUR)


def test_damaged_exif_says_nothing(tmp_path):
    COLOUR.save(tmp_path / 'a.png', exif=b'Exif\0\0nonsense')
    same(read_image(tmp_path / 'a.png'), COLOUR)


def test_palettes_bilevel_and_cmyk(tmp_path):
    palette = COLOUR.quantize(64)
    palette.save(tmp_path / 'p.png')
    palette.save(tmp_path / 'p.gif')
    for name in ('p.png', 'p.gif'):
        same(read_image(tmp_path / name), palette.convert('RGB'))
    GREY.convert('1').save(tmp_path / '1.png')
    same(read_image(tmp_path / '1.png'), GREY.convert('1').convert('RGB'))
    COLOUR.convert('CMYK').save(tmp_path / 'c.tif')
    same(read_image(tmp_path / 'c.tif'), COLOUR, 1)
    COLOUR.convert('CMYK').save(tmp_path / 'c.jpg', quality=95)
    assert np.abs(np.asarray(read_image(tmp_path / 'c.jpg'), dtype=int) - np.asarray(COLOUR)).mean() < 8


def test_transparency_is_over_white(tmp_path):
    """What is hidden under full transparency may have any colour; half lets half of the white through."""
    alpha = np.full(LEVELS.shape, 255, np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    expected = np.asarray(COLOUR).astype(float)
    for channel in range(3):
        expected[:, :, channel] = (expected[:, :, channel] * alpha + 255. * (255 - alpha)) / 255
    expected = Image.fromarray(np.uint8(expected.round()))
    rgba = Image.fromarray(np.dstack([np.asarray(COLOUR), alpha]))
    rgba.save(tmp_path / 'rgba.png')
    rgba.save(tmp_path / 'rgba.tif')
    for name in ('rgba.png', 'rgba.tif'):
        same(read_image(tmp_path / name), expected, 1)
        same(read_image(tmp_path / name, 'L'), expected.convert('L'), 1)
    Image.merge('LA', [GREY, Image.fromarray(alpha)]).save(tmp_path / 'la.png')
    la = (LEVELS.astype(float) * alpha + 255. * (255 - alpha)) / 255
    same(read_image(tmp_path / 'la.png', 'L'), Image.fromarray(np.uint8(la.round())), 1)


def test_a_colour_that_means_transparent_is_white(tmp_path):
    palette = Image.new('P', (4, 1))
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 200, 9, 9, 9])
    palette.putdata([0, 1, 2, 3])
    for name, transparent in (('p.png', 1), ('p.png', bytes([255, 0, 255, 255])), ('p.gif', 1)):
        palette.save(tmp_path / name, transparency=transparent)
        assert np.asarray(read_image(tmp_path / name))[0].tolist() == [
            [0, 0, 0], [255, 255, 255], [0, 0, 200], [9, 9, 9]]
    Image.fromarray(np.uint8([[[1, 2, 3], [4, 5, 6]]])).save(tmp_path / 'rgb.png', transparency=(1, 2, 3))
    assert np.asarray(read_image(tmp_path / 'rgb.png'))[0].tolist() == [[255, 255, 255], [4, 5, 6]]
    Image.fromarray(np.uint8([[7, 8]])).save(tmp_path / 'grey.png', transparency=7)
    assert np.asarray(read_image(tmp_path / 'grey.png', 'L'))[0].tolist() == [255, 8]


@pytest.mark.parametrize('name', ['a.gif', 'a.png', 'a.webp', 'a.tif'])
def test_the_first_frame_of_several(name, tmp_path):
    if name.endswith('webp') and not features.check('webp'):
        pytest.skip('Pillow without WebP')
    frames = [Image.new('RGB', (16, 8), c) for c in ('red', 'blue', 'lime')]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **(
        dict(lossless=True) if name.endswith('webp') else {}))
    same(read_image(tmp_path / name), frames[0])


def test_a_single_pixel(tmp_path):
    for mode, colour in (('RGB', (1, 2, 3)), ('L', 7), ('1', 1), ('RGBA', (1, 2, 3, 255))):
        Image.new(mode, (1, 1), colour).save(tmp_path / 'a.png')
        same(read_image(tmp_path / 'a.png'), Image.new(mode, (1, 1), colour).convert('RGB'))


def test_enormous_files_are_refused_with_their_size_and_the_limit(tmp_path, monkeypatch):
    Image.new('1', (20000, 10000)).save(tmp_path / 'enormous.png')
    with pytest.raises(ImageError, match=r'enormous\.png .*200000000 pixels.* limit of 178956970 pixels.* smaller'):
        read_image(tmp_path / 'enormous.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 600)  # 40 x 24 is between the limit for words and that for errors
    COLOUR.save(tmp_path / 'large.png')
    same(read_image(tmp_path / 'large.png'), COLOUR)


@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'a.gif', 'a.tif', 'a.bmp', 'a.webp', 'a.ppm'])
@pytest.mark.parametrize('share', [0, 0.02, 0.5, 0.9])
def test_files_that_end_early(name, share, tmp_path):
    picture(200, 150).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:int(len(whole) * share)])
    with pytest.raises(ImageError, match=rf'{name} cannot be read: \w'):
        read_image(tmp_path / name)


def test_a_damaged_file_is_named_or_read(tmp_path):
    """Nothing but the reader's own error leaves it, wherever a byte is wrong."""
    generator = np.random.default_rng(0)
    for name in ('a.png', 'a.jpg', 'a.gif', 'a.tif', 'a.bmp', 'a.ppm'):
        picture().save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for _ in range(60):
            data = bytearray(whole)
            for i in generator.integers(0, min(len(data), 200), 3):
                data[i] = generator.integers(0, 256)
            (tmp_path / name).write_bytes(data)
            try:
                assert read_image(tmp_path / name).mode == 'RGB'
            except ImageError as error:
                assert name in str(error)


def test_what_is_no_picture_is_named(tmp_path):
    (tmp_path / 'text.png').write_text('no picture')
    for source, words in (
            (tmp_path / 'text.png', r'text\.png cannot be read: it is no image'),
            (tmp_path / 'missing.png', r'missing\.png cannot be read: No such file'),
            (tmp_path, 'cannot be read: Is a directory'),
            (np.zeros((2, 3, 7)), r'the ndarray given cannot be read: an array of shape \(2, 3, 7\)'),
            (np.zeros((4, 4, 3)) - np.eye(4)[:, :, None], 'begin at -1, as if it were normalised already'),
            (np.full((4, 4), -300, np.int16), 'begin at -300'), (np.zeros((4, 4), complex), 'of complex128 is no'),
            (np.zeros((0, 3)), r'shape \(0, 3\)')):
        with pytest.raises(ImageError, match=words):
            read_image(source)


def test_images_of_a_folder(tmp_path):
    for name in ('b.png', 'sub/a.JPG', 'sub/c.webp', 'text.txt', 'd.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'folder.png').mkdir()
    names = ['b.png', 'd.png', 'sub/a.JPG', 'sub/c.webp']
    assert [str(p.relative_to(tmp_path)) for p in find_images(tmp_path)] == names
    assert [str(p.relative_to(tmp_path)) for p in find_images(tmp_path, 2)] == names[::2]
    assert len(find_images(tmp_path, 9)) == 4
    for folder, words in ((tmp_path / 'nowhere', 'not a folder'), (tmp_path / 'folder.png', 'no image files')):
        with pytest.raises(ValueError, match=words):
            find_images(folder)


def test_bundled_photographs():
    pytest.importorskip('skimage')
    found = dict(images.bundled())
    assert tuple(found) == images.SHOWN
    assert all(read_image(array).size[0] > 200 for array in found.values())


def test_thin_pictures_are_refused(tmp_path):
    """Resized by their short side they would take all memory."""
    for size, words in (((3000, 1), '3000 x 1'), ((2, 203), '2 x 203')):
        Image.new('RGB', size).save(tmp_path / 'thin.png')
        for source in (tmp_path / 'thin.png', Image.new('L', size), np.zeros(size[::-1], np.uint8)):
            with pytest.raises(ImageError, match=f'it is {words}, more than 100 times as long as wide: crop it first'):
                read_image(source)
    assert read_image(Image.new('L', (2, 200))).size == (2, 200)
    Image.new('RGB', (20000, 3)).save(inside := io.BytesIO(), 'PNG')
    (tmp_path / 'thin.ico').write_bytes(struct.pack(
        '<HHHBBBBHHII', 0, 1, 1, 16, 16, 0, 0, 1, 32, inside.tell(), 22) + inside.getvalue())  # says 16 x 16
    with pytest.raises(ImageError, match='20000 x 3, more than 100 times'):
        read_image(tmp_path / 'thin.ico')


@pytest.mark.skipif(os.name != 'posix', reason='needs a script as a program')
def test_nothing_is_run(tmp_path, monkeypatch):
    """Pillow has Ghostscript run EPS files."""
    (tmp_path / 'gs').write_text(f'#!/bin/sh\ntouch {tmp_path}/was_run\n')
    (tmp_path / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    monkeypatch.setattr(EpsImagePlugin, 'gs_binary', None)  # not looked for yet
    file = io.BytesIO()
    COLOUR.save(file, 'EPS')
    wrapped = io.BytesIO(b''.join(bytes([0x1c, *name]) + struct.pack('>H', len(data)) + data for name, data in (
        ((3, 20), struct.pack('>H', 40)), ((3, 30), struct.pack('>H', 24)), ((3, 60), b'\1\0'), ((3, 65), b'\0'),
        ((3, 120), b'\5'))) + b'\x1c\x08\x0a\x84\4' + struct.pack('>I', file.tell()) + file.getvalue())
    for source in (file, wrapped):
        with pytest.raises(ImageError, match='it is no image, or of a kind that is not read'):
            read_image(source)
        image = Image.open(source)  # the caller's own
        with pytest.raises(ImageError, match=f'{image.format} is not read: save it as PNG first'):
            read_image(image)
        assert not (tmp_path / 'was_run').exists()
        with pytest.raises(OSError):
            image.load()
        (tmp_path / 'was_run').unlink()  # Pillow alone has it run


def test_open_files_of_every_kind(tmp_path):
    COLOUR.save(tmp_path / 'a.png')
    data = (tmp_path / 'a.png').read_bytes()
    with tempfile.SpooledTemporaryFile() as spooled, tempfile.NamedTemporaryFile() as named, (
            tmp_path / 'a.png').open('rb', buffering=0) as raw:
        for file in (spooled, named):
            file.write(data)
            file.seek(0)
        for file in (spooled, named, raw, io.BytesIO(data)):
            same(read_image(file), COLOUR)


def test_many_threads_leave_warnings_as_they_were(tmp_path):
    COLOUR.save(tmp_path / 'a.png')
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read_image, [tmp_path / 'a.png'] * 400))
    assert list(warnings.filters) == before
    with ExitStack() as reading:  # an engine is loaded while pictures are read
        reading.enter_context(unwarned)
        with quiet:
            reading.close()
    assert list(warnings.filters) == before


def test_links_are_followed_once(tmp_path):
    """As timm's readers of folders follow them."""
    for name in ('ant', 'bee'):
        (tmp_path / 'all' / name).mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / f'all/{name}/0.png')
    some = tmp_path / 'some'
    some.mkdir()
    for name in ('ant', 'bee'):
        (some / name).symlink_to(tmp_path / 'all' / name)
    (tmp_path / 'all/ant/round').symlink_to(some)
    (tmp_path / 'all/ant/bee').symlink_to(tmp_path / 'all/bee')
    (tmp_path / 'all/bee/ant').symlink_to(tmp_path / 'all/ant')
    assert [str(p.relative_to(some)) for p in find_images(some)] == ['ant/0.png', 'bee/0.png']
