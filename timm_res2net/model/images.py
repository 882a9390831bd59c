"""Pictures as they come: one reader for every command and for deployment, and where pictures are found.

What a file holds and how it is read:

* 16 bits and more (modes `I;16`, `I`, `F`; arrays of any type): scaled by its range, where Pillow would clip
* EXIF orientation: turned as viewers show it
* transparency, of a palette too: over white
* animations, bursts and pages: the first
* CMYK, palettes, bilevel: as Pillow converts them
* more than twice `PIL.Image.MAX_IMAGE_PIXELS` pixels (179 millions), or more than a hundred times as long as wide:
  refused, as what unpacks into all memory, or is resized into it
* EPS, and IPTC, which may hold one: refused, since Pillow would run it as a program
"""
import os
from pathlib import Path
from typing import Any, BinaryIO, Iterable, Iterator, List, Optional, Tuple, Union, cast

import numpy as np
from PIL import Image, ImageOps

from .together import unwarned

Source = Union[str, Path, BinaryIO, Image.Image, np.ndarray]
SUFFIXES = {
    '.jpg', '.jpeg', '.jfif', '.png', '.bmp', '.gif', '.tif', '.tiff', '.webp', '.ppm', '.pgm', '.pbm', '.avif', '.jp2'}
_PROGRAMS = ('EPS', 'IPTC')  # Ghostscript is to run the one, and what the other holds may be the one
_LONGEST = 100  # long side to short side; resized by the short one a picture takes memory by their ratio
SHOWN = ('rocket', 'coffee', 'stereo_motorcycle', 'astronaut', 'camera')  # of scikit-image


class ImageError(ValueError):
    """A picture that cannot be read; the message names it."""


def read_image(source: Source, mode: str = 'RGB') -> Image.Image:
    """A picture, whole, upright and opaque.

    Args:
        source: Path, open file, PIL image, or array (H, W) or (H, W, C) with C of 1 to 4, of uint8, larger integers or
            floats.
        mode: PIL's mode of the result, 'RGB' or 'L'.

    Raises:
        ImageError: It cannot be read whole, or is enormous; see the top of this file.
    """
    try:
        with unwarned:  # of large files, odd EXIF and odd palettes, all of which are read
            if isinstance(source, (str, Path)) or hasattr(source, 'read'):
                with Image.open(cast(Any, source), formats=_formats()) as image:
                    return _plain(image, mode)
            return _plain(source if isinstance(source, Image.Image) else _from_array(source), mode)
    except Exception as error:  # Pillow's readers raise anything on damaged files
        raise ImageError(f'{_name(source)} cannot be read: {_reason(error)}') from error


def _formats() -> List[str]:
    """Pillow's, those of plugins too."""
    Image.init()
    return [name for name in Image.ID if name not in _PROGRAMS]


def _name(source: Source) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    return getattr(source, 'filename', '') or getattr(source, 'name', '') or f'the {type(source).__name__} given'


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f'{str(error).partition(", could")[0]}: make it smaller first'
    if isinstance(error, Image.UnidentifiedImageError):
        return 'it is no image, or of a kind that is not read'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _plain(image: Image.Image, mode: str) -> Image.Image:
    if image.format in _PROGRAMS:
        raise ValueError(f'{image.format} is not read: save it as PNG first')
    _check_shape(image)
    image.load()
    _check_shape(image)  # an icon has that of the picture in it now
    sixteen = image.mode.startswith('I;16') or image.mode == 'I' and image.format in ('PNG', 'PPM')
    try:
        image = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF says nothing
        image = image.copy()
    transparent = image.info.get('transparency')
    if image.mode.startswith('I') or image.mode == 'F':
        values = np.asarray(image)
        grey = _to_bytes(values, 65535 if sixteen else None)
        if isinstance(transparent, int):
            grey[values == transparent] = 255
        image = Image.fromarray(grey)
    elif transparent is not None or image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La'):
        above = image.convert('RGBA') if image.mode != 'La' else image.convert('LA').convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', above.size, 'white'), above).convert('RGB')
    elif image.mode not in ('L', 'RGB'):
        image = image.convert('RGB')
    return image.convert(mode)


def _check_shape(image: Image.Image) -> None:
    if max(image.size) > _LONGEST * min(image.size):
        raise ValueError(
            f'it is {image.width} x {image.height}, more than {_LONGEST} times as long as wide: crop it first')


def _from_array(array: Any) -> Image.Image:
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size or array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (2, 3, 4)):
        raise ValueError(f'an array of shape {array.shape} is no picture, (H, W) or (H, W, C) with C of 1 to 4 is')
    if array.dtype != np.uint8:
        if array.dtype.kind not in 'buif':
            raise ValueError(f'an array of {array.dtype} is no picture')
        least, most = (float(limit(array, initial=0, where=np.isfinite(array))) for limit in (np.min, np.max))
        if least < -0.1 * max(most, 1):  # less is what resizing leaves
            normalised = ', as if it were normalised already' if array.dtype.kind == 'f' else ''
            raise ValueError(f'its numbers begin at {least:.5g}{normalised}: give 0 to 1 or 0 to 255')
        array = _to_bytes(array)
    return Image.fromarray(array)


def _to_bytes(values: np.ndarray, whole: Optional[float] = None) -> np.ndarray:
    """uint8 of larger numbers: `whole`, or the end of the range that they seem to have, becomes 255."""
    if values.dtype == bool:
        whole = 1
    elif values.dtype == np.uint16:
        whole = 65535
    if whole is None:
        floating = values.dtype.kind == 'f'
        top = float(values.max(initial=0, where=np.isfinite(values)))
        whole = next((w for w in (1, 255, 65535) if top <= w and (floating or w > 1)), top)
    scaled = np.empty(values.shape, np.uint8)
    for row, target in zip(values, scaled, strict=True):  # one at a time, for memory
        numbers = np.nan_to_num(row.astype(np.float64), posinf=0, neginf=0)
        target[:] = np.round(numbers.clip(0, whole) * (255 / whole))
    return scaled


def find_images(folder: Path, count: Optional[int] = None) -> List[Path]:
    """Image files of a folder and its subfolders, in order: all of them, or `count` of them, evenly spaced.

    Raises:
        ValueError: It is no folder, or holds no image files.
    """
    if not folder.is_dir():
        raise ValueError(f'images={str(folder)!r} is not a folder.')
    paths = sorted(p for p in _files(folder) if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise ValueError(f'images={str(folder)!r} holds no image files.')
    taken = min(count or len(paths), len(paths))
    return [paths[i * len(paths) // taken] for i in range(taken)]


def _files(folder: Path) -> Iterator[Path]:
    """Through links, as timm's readers of folders go, but to each folder once, lest they lead round in circles."""
    seen = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort(key=lambda name: (os.path.islink(os.path.join(place, name)), name))
        for name in list(folders):
            real = os.path.realpath(os.path.join(place, name))
            if real in seen:
                folders.remove(name)
            seen.add(real)
        yield from (Path(place, name) for name in files)


def bundled(names: Iterable[str] = SHOWN) -> Iterator[Tuple[str, np.ndarray]]:
    """Photographs bundled with scikit-image, uint8 (H, W) or (H, W, 3), by their names there.

    Raises:
        ImportError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise ImportError(
            "no images given, and the photographs of scikit-image are not here: pip install 'timm-res2net[demo]', or "
            'give images') from error
    for name in names:
        image = getattr(data, name)()
        yield name, image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
