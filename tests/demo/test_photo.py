"""A visitor's picture: read once, whole, upright, and forgotten as a file."""
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from timm_res2net.demo.photo import BUNDLED, Photo
from timm_res2net.deploy.preprocessing import normalise
from timm_res2net.model.images import ImageError

CONFIG = dict(
    input_size=[3, 32, 32], mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4], interpolation='bicubic', crop_pct=0.9,
    crop_mode='center')


@pytest.fixture
def cat():
    return Image.fromarray(data.chelsea())


def test_all_sizes_are_what_timm_makes_of_the_file(cat, tmp_path):
    from timm.data import create_transform
    cat.save(tmp_path / 'cat.png')
    photo = Photo.read(tmp_path / 'cat.png', 'cat.png')
    (tmp_path / 'cat.png').unlink()
    for size, view in zip((32, 96, 448), photo.views(CONFIG, [32, 96, 448]), strict=True):
        expected = create_transform(**{**CONFIG, 'input_size': (3, size, size)})(cat)
        torch.testing.assert_close(normalise(view, CONFIG)[0], expected)
    assert photo.shown(CONFIG, 96).shape == (96, 96, 3)
    assert torch.equal(torch.as_tensor(photo.shown(CONFIG, 96)), view_of(photo, 96))


def view_of(photo, size):
    return photo.views(CONFIG, [size])[0][0].permute(1, 2, 0)


def test_turned_and_sixteen_bits(cat, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    cat.rotate(90, expand=True).save(tmp_path / 'turned.png', exif=exif)
    grey = np.asarray(cat.convert('L'))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / 'sixteen.png')
    assert torch.equal(view_of(Photo.read(tmp_path / 'turned.png', 'a'), 64), view_of_image(cat, tmp_path))
    assert torch.equal(
        view_of(Photo.read(tmp_path / 'sixteen.png', 'b'), 64), view_of_image(Image.fromarray(grey), tmp_path))


def view_of_image(image, folder):
    image.save(folder / 'plain.png')
    return view_of(Photo.read(folder / 'plain.png', 'plain'), 64)


@pytest.mark.parametrize('damage, says', [
    (lambda file: b'hello', 'no image'), (lambda file: file[:200], 'truncated'), (lambda file: b'<svg/>', 'no image'),
    (lambda file: b'', 'no image')])
def test_what_cannot_be_read_is_named_as_the_visitor_knows_it(damage, says, cat, tmp_path):
    cat.save(tmp_path / 'cat.png')
    (tmp_path / 'cat.png').write_bytes(damage((tmp_path / 'cat.png').read_bytes()))
    with pytest.raises(ImageError, match=f'^my cat.png cannot be read: .*{says}'):
        Photo.read(tmp_path / 'cat.png', 'my cat.png')


def test_a_photo_holds_its_file_and_few_views(cat, tmp_path):
    """Decoded it is there until it has been looked at once, however many settings follow."""
    cat.save(tmp_path / 'cat.jpg')
    photo = Photo.read(tmp_path / 'cat.jpg', 'cat.jpg')
    assert len(photo._decoded) == 1
    first = photo.views(CONFIG, [32])[0]
    assert photo._decoded == [] and photo.data == (tmp_path / 'cat.jpg').read_bytes()
    for size in range(33, 60):
        photo.views(CONFIG, [size])
    assert len(photo._views) < 20
    assert torch.equal(photo.views(CONFIG, [32])[0], first)


def test_bundled():
    for name in BUNDLED:
        assert Photo(name).shown_whole(50).size == (50, 50)
        assert Photo(name).views(CONFIG, [40])[0].shape == (1, 3, 40, 40)


def test_grey_models_get_grey_and_eyes_get_colours():
    grey = {**CONFIG, 'input_size': [1, 32, 32], 'mean': [0.5], 'std': [0.5]}
    photo = Photo(BUNDLED[1])
    assert photo.views(grey, [32])[0].shape == (1, 1, 32, 32) and photo.shown(grey, 32).shape == (32, 32, 3)
    assert photo.views(CONFIG, [32])[0].shape == (1, 3, 32, 32)
