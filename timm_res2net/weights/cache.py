"""Files of published addresses, kept where torch.hub and timm keep theirs, each with a record of its sha256.

    path = cached_file('https://HOST/FOLDER/Res2Net50_vd_26w_4s_pretrained.pdparams')

Where a publisher gives no sha256, what can be held to is that the file stays the one that came first. Its sha256 is
recorded beside it, in FILE.sha256, as `sha256sum -c` reads it, and checked whenever the file is used.

| setting | |
| --- | --- |
| `TORCH_HOME` | the cache is `$TORCH_HOME/hub/checkpoints`, by default below `~/.cache/torch` |
| `TIMM_RES2NET_MIRROR` | URL of a folder with the same file names, asked instead of the published addresses |
| `HF_HUB_OFFLINE` | 1: nothing is asked, what is in the cache is used |
| `HF_HUB_DOWNLOAD_TIMEOUT` | seconds of silence after which a server is given up, by default 10 |
"""
import hashlib
import logging
import os
import re
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator, NamedTuple, Optional, Tuple, Union
from urllib.parse import urlsplit

import torch
from huggingface_hub import constants

from .checkpoint import CheckpointError
from .download import download, shown
from .reading import load_file

__all__ = ['cached_file', 'sha256_of']

MIRROR = 'TIMM_RES2NET_MIRROR'
_STALE = 3600  # seconds without a write after which nobody is writing a part any more
_logger = logging.getLogger(__name__)


class _Record(NamedTuple):
    """What FILE.sha256 says: where the file is published, and its sha256."""
    url: str
    sha256: str


def cached_file(
        url: Union[str, Tuple[str, str]],
        cache_dir: Union[str, Path, None] = None,
        sha256: str = '',
) -> Path:
    """Return the path of a published file in the cache, downloaded if it is not there.

    It is there whole or not at all, whatever happens meanwhile, and of several processes at once each has its own.
    A file that was put there by hand is taken as it is, if it can be read.

    Args:
        url: http or https, or (URL, file name) as in timm's cfgs. One with a query has a file name of its own.
        cache_dir: Folder, None for the cache.
        sha256: Of the file if it is published; where it is not, but the file's name ends in its first digits as in
            torch.hub (`-0a1b2c3d.pth`), those are checked.

    Raises:
        CheckpointError: The file cannot be had, cannot be read or is another one than it was; one line that names the
            URL, the file and what to do.
    """
    given, name = url if isinstance(url, tuple) and len(url) == 2 else (url, '')
    if not isinstance(given, str) or not isinstance(name, str) or not _is_url(given):
        raise CheckpointError(f'{url!r} is no address that can be asked for a file: https://HOST/.../FILE.')
    url = given
    name = name or _file_name(url)
    if name in ('', '.', '..') or name != Path(name).name:
        raise CheckpointError(f'{name!r}, in the cache for {shown(url)}, is no name of a file.')
    folder = Path(cache_dir) if cache_dir else Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / name
    with _writing(folder):
        record = _read_record(path)
        if record and record.url != shown(url):
            raise CheckpointError(
                f'{path} is the file of {record.url}, and {shown(url)} has the same file name: delete it and its '
                f'record {_record_path(path).name}, or keep the other one in a folder of its own (cache_dir=).')
        expected = sha256.lower() or _digits(url)
        if path.is_file():
            _check_kept(path, url, expected, record)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(path, url, expected, record)
    return path


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# names

def _last_part(url: str) -> str:
    return urlsplit(url).path.rpartition('/')[2]


def _is_url(url: str) -> bool:
    """Whether it can be asked for a file."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and parts.scheme in ('http', 'https') and '@' not in parts.netloc


def _file_name(url: str) -> str:
    """The last part of the path, as in torch.hub; a query makes it another file."""
    name, query = _last_part(url), urlsplit(url).query
    if not query:
        return name
    stem, suffix = os.path.splitext(name)
    return f'{stem}.{hashlib.sha256(query.encode()).hexdigest()[:8]}{suffix}'


def _digits(url: str) -> str:
    """First digits of the sha256, where a name ends in them; a date is none."""
    found = re.search(r'-([0-9a-f]{8,64})\.', _last_part(url))
    return found[1] if found and not found[1].isdigit() else ''


def _mirrored(url: str) -> str:
    """The address that is asked for a file."""
    mirror = os.environ.get(MIRROR, '')
    if not mirror:
        return url
    if not _is_url(mirror) or urlsplit(mirror).query:
        raise CheckpointError(f'{MIRROR}={mirror!r} must be the URL of a folder, https://HOST/FOLDER.')
    return f'{mirror.rstrip("/")}/{_last_part(url)}'


# records

def _record_path(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


def _read_record(path: Path) -> Optional[_Record]:
    record = _record_path(path)
    try:
        text = record.read_text(encoding='utf-8')
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = ''
    found = re.fullmatch(r'# (.+)\n([0-9a-f]{64})  .*\n', text)
    if not found:
        raise CheckpointError(f'{record} is no record of a sha256: delete it.')
    return _Record(*found.groups())


def _write_record(path: Path, url: str, sha256: str) -> None:
    with _part_of(_record_path(path)) as part:
        part.write_text(f'# {shown(url)}\n{sha256}  {path.name}\n', encoding='utf-8')
        os.replace(part, _record_path(path))


# files

@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A file of this process alone beside the one that it is to become; gone at the end unless it was moved there."""
    part = path.with_name(f'.{uuid.uuid4().hex}.{path.name}')
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the file system says into one line."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f'{error.filename or folder}: {error.strerror or error}; make room or give another folder for downloads, '
            f'by TORCH_HOME or cache_dir=.') from None


def _check_kept(path: Path, url: str, expected: str, record: Optional[_Record]) -> None:
    """Check a file that is in the cache."""
    found = sha256_of(path)
    if record and found != record.sha256:
        raise CheckpointError(
            f'{path} is another file than the one that was recorded (sha256 {found}, recorded {record.sha256}): it is '
            f'damaged or was replaced. Delete it to download it again; or {_record_path(path)}, if you replaced it.')
    if not found.startswith(expected):
        raise CheckpointError(
            f'{path} is not the published file (sha256 {found}, published {expected}): delete it to download it again.')
    if record is None:
        load_file(path)
        try:
            _write_record(path, url, found)
        except OSError as error:
            _logger.warning(f'{path}: sha256 {found}, not recorded ({error.strerror}) and so not checked next time')
            return
        _logger.warning(f'{path} was there without a record: its sha256 {found} is recorded as that of {shown(url)}')


def _fetch(path: Path, url: str, expected: str, record: Optional[_Record]) -> None:
    """Download a file into the cache."""
    address = _mirrored(url)
    by_hand = f'Put the file at {path} by hand'
    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(
            f'{shown(address)}: not in the cache, and offline mode is on. {by_hand}, or unset HF_HUB_OFFLINE, where '
            f'{MIRROR} may be the URL of a folder that can be reached.')
    _clean(path)
    with _part_of(path) as part:
        try:
            with part.open('xb') as file:
                download(address, file, constants.HF_HUB_DOWNLOAD_TIMEOUT)
            found = sha256_of(part)
            _check_fetched(part, found, expected)
            if record and found != record.sha256:
                raise CheckpointError(
                    f'what comes is another file than the first time (sha256 {found}, recorded {record.sha256}); if '
                    f'that is meant, delete {_record_path(path)}')
        except CheckpointError as error:
            mirror = f'correct {MIRROR}' if address != url else f'set {MIRROR} to the URL of a folder that has it'
            raise CheckpointError(f'{shown(address)}: {error}. {by_hand}, or {mirror}.') from None
        size = part.stat().st_size
        _write_record(path, url, found)
        os.replace(part, path)
    trust = 'as published' if expected else 'as recorded' if record else \
        f'recorded in {_record_path(path).name} and checked from now on'
    _logger.log(
        logging.INFO if expected or record else logging.WARNING,
        f'{shown(address)} -> {path}: {size / 1e6:.1f} MB, sha256 {found}, {trust}')


def _check_fetched(part: Path, found: str, expected: str) -> None:
    """Check a file that has just been downloaded."""
    with part.open('rb') as file:
        head = file.read(40)
    text = ' '.join(head.decode('latin1').split())
    if text and head.isascii() and text.isprintable():
        raise CheckpointError(f'what comes is text and no file of weights, it begins {text!r}')
    try:
        load_file(part)
    except CheckpointError as error:
        raise CheckpointError(
            f'what comes is no file of weights, {str(error).removeprefix(f"{part}: ").rstrip(".")}') from None
    if not found.startswith(expected):
        raise CheckpointError(f'what comes is not the published file (sha256 {found}, published {expected})')


def _clean(path: Path) -> None:
    """Remove what processes left that were killed."""
    name = re.compile(rf'\.[0-9a-f]{{32}}\.{re.escape(path.name)}')
    for part in path.parent.iterdir():
        with suppress(FileNotFoundError):  # another process has just moved it
            if name.fullmatch(part.name) and time.time() - part.stat().st_mtime > _STALE:
                part.unlink()
