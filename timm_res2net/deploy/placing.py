"""A file whole or none, the disk as it was: files are made in a folder beside their place, and moved there together."""
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, Sequence

ENOUGH = 2 ** 20  # bytes; with less, whatever went wrong is put down to the disk


class Taken(FileExistsError):
    """A file that is there and is to stay."""


def check_free(file: Path, overwrite: bool) -> None:
    """Raise `Taken` where `overwrite` is not set and the file exists."""
    if os.path.lexists(file) and not overwrite:  # a link, too, to whatever
        raise Taken(f'{file} exists already; choose another path or overwrite=True.')


def keep(files: Sequence[Path], targets: Sequence[Path], overwrite: bool = True) -> int:
    """Move files from a scratch folder into place, all or, if that is interrupted, none; their size in bytes.

    Raises:
        Taken: One is there by now, of another export say, and `overwrite` is not set.
    """
    with _alone(targets[0].absolute().parent):
        for target in targets:
            check_free(target, overwrite)
        return _move(files, targets)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Other processes wait that would keep pairs of files in a folder, lest they mix; where there are such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a network's file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _move(files: Sequence[Path], targets: Sequence[Path]) -> int:
    size = sum(file.stat().st_size for file in files)
    old = Path(tempfile.mkdtemp(dir=files[0].parent))  # where no new file is, whatever its name
    aside = {target: old / target.name for target in targets}
    there = {target for target in targets if os.path.lexists(target)}
    try:
        for file, target in zip(files, targets, strict=True):
            if target in there:
                os.replace(target, aside[target])
            os.replace(file, target)
    except BaseException:
        for target, old in aside.items():
            if os.path.lexists(old):
                os.replace(old, target)
            elif target not in there:
                target.unlink(missing_ok=True)
        raise
    return size


def disk_is_full(folder: Path) -> bool:
    """Whether the disk of a folder, which need not be there yet, has no room."""
    return shutil.disk_usage(_existing(folder)).free < ENOUGH


def forbids_code(folder: Path) -> bool:
    """Whether code must not be run from a folder, which need not be there yet."""
    return hasattr(os, 'ST_NOEXEC') and bool(os.statvfs(_existing(folder)).f_flag & os.ST_NOEXEC)


def missing_temporary() -> str:
    """The variable that names a folder for temporary files which cannot be used, if one does.

    Python takes another folder then; torch's C++ does not, and reads the variables in another order.
    """
    for variable in ('TMPDIR', 'TMP', 'TEMP', 'TEMPDIR'):
        if folder := os.environ.get(variable):
            try:
                tempfile.TemporaryFile(dir=folder).close()
            except OSError:
                return f'{variable}={folder!r}, which is no folder that one may write to'
            return ''
    return ''


def _existing(folder: Path) -> Path:
    return next(f for f in (folder, *folder.absolute().parents) if f.exists())
