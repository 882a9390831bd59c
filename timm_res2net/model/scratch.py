"""Where files and folders are made that are to be whole or not there."""
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, gone in the end, as are folders above it that were made and stayed empty.

    Raises:
        OSError: It cannot be made.
    """
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
                prefix=f'.{path.name[:50]}.', dir=path.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    finally:
        for made in missing:
            with suppress(OSError):  # it is not empty
                made.rmdir()
