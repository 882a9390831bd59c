"""The pictures that a command is given, found and read: one that cannot be read is named, and the others are taken."""
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Tuple, TypeVar

from .checks import MODEL_FILES
from .command_line import Refusal, progress, warn

if TYPE_CHECKING:
    from ..model.images import Source
T = TypeVar('T')


def gather(paths: List[str]) -> List[Tuple[str, 'Source']]:
    """(name, source) of each image; folders are searched, no path at all means scikit-image's photographs.

    Raises:
        ImportError: Those are meant, and scikit-image is not installed.
        Refusal: There are no images, or a model is among them.
    """
    from ..model.images import bundled
    empty: List[str] = []
    images: List[Tuple[str, Source]] = [*(_listed(paths, empty) if paths else bundled())]
    if not images:
        raise Refusal(f'no images found in {", ".join(paths)}')
    for path in empty:
        warn(f'{path}: no images found')
    return images


def _listed(paths: List[str], empty: List[str]) -> Iterator[Tuple[str, 'Source']]:
    """(name, source) of each image; folders without any are added to `empty`."""
    from ..model.images import find_images
    for path in map(Path, paths):
        if path.suffix in MODEL_FILES or (path / 'model.safetensors').is_file():
            raise Refusal(f'{path} is a model, not an image: the option for models names it')
        if not path.is_dir():
            yield str(path), path
            continue
        try:
            yield from ((str(p), p) for p in find_images(path))
        except ValueError:
            empty.append(str(path))


def read_each(
        images: List[Tuple[str, 'Source']],
        failures: List[Dict[str, str]],
        read: Callable[['Source'], T],
        lines: bool,
) -> Iterator[Tuple[str, T]]:
    """(name, what `read` makes of it) of those that can be read; the others are told on stderr and go to `failures`.

    Args:
        read: Raises an ImageError for those that cannot.
        lines: A line is printed of each: where a person watches, that is better than a bar on the same screen.
    """
    from ..model.images import ImageError
    for name, source in images if lines and sys.stdout.isatty() else progress(images):
        try:
            made = read(source)
        except ImageError as error:
            failures.append({'image': name, 'error': str(error)})
            warn(str(error))
        else:
            yield name, made
