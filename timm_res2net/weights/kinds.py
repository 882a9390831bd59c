"""What is given in place of a file of weights, told by first bytes, names and addresses, with what to do."""
import re
import zipfile
from pathlib import Path
from typing import Iterable, Sequence

from ..model.variants import variant_of
from .words import listed

_UNPACK = 'unpack it, and give the file in it'
_KINDS = (  # first bytes, what it is and what to do
    (b'\x1f\x8b', f'a file compressed by gzip: {_UNPACK} (gunzip)'),
    (b'\xfd7zXZ\0', f'a file compressed by xz: {_UNPACK} (unxz)'),
    (b'BZh', f'a file compressed by bzip2: {_UNPACK} (bunzip2)'),
    (b'\x28\xb5\x2f\xfd', f'a file compressed by zstd: {_UNPACK} (unzstd)'),
    (b'7z\xbc\xaf\x27\x1c', f'a 7-Zip archive: {_UNPACK}'),
    (b'Rar!\x1a', f'a RAR archive: {_UNPACK}'),
    (b'version https://git-lfs', 'the pointer that Git LFS leaves in place of a file: `git lfs pull` gets the file'),
    (b'\x89HDF\r\n', 'an HDF5 file (Keras), whose networks are not of this package'),
    (b'\x93NUMPY', 'one array of numpy: save a dictionary of tensors by torch.save'),
    (b'GGUF', 'a GGUF file, of a language model'),
    (b'\x89PNG', 'a picture'),
    (b'\xff\xd8\xff', 'a picture'),
    (b'%PDF', 'a PDF document'),
)
_PAGES = (b'<!doctype', b'<html', b'<?xml', b'<head', b'<error')
_EXPORTED = 'an exported file, which deploy.load runs: weights are in the checkpoint that it was made from'

_PLACES = (  # how an address begins, and what to do
    (r'https?:/', 'an address: download it, or timm.create_model(.., pretrained_cfg_overlay=dict(url=ADDRESS)) does'),
    (r'hf[-_]?(?:hub)?:', 'a place on the Hub: from_hub(USER/NAME), or a command that takes a model, loads from there'),
    (r'local-dir:', "timm's name of a folder: give the folder alone"),
    (r'[a-z][a-z0-9+]+:/', 'an address, and only files of this machine are read: copy it here and give its path'),
    (r'~', 'a path that only a shell understands: give the whole path'),
)
_SUFFIXES = ('.pth', '.pt', '.bin', '.tar', '.ckpt', '.safetensors', '.pdparams', '.pkl')
_SHARD = re.compile(r'-\d{5}-of-(?!00001\b)\d{5}\b')


def kind_of(head: bytes, path: Path) -> str:
    """What a file is, with what to do, '' if this is not known.

    Args:
        head: Its first 512 bytes.
    """
    found = next((words for start, words in _KINDS if head.startswith(start)), '')
    text = head.lstrip().lower()
    if text.startswith(_PAGES):
        found = 'a web page, as servers give in place of a file (a login, a limit, an error): download the file itself'
    elif text.startswith((b'{', b'[')):
        found = 'text in JSON, no weights: give the file or the folder with them'
    elif head[257:262] == b'ustar':
        found = f'a tar archive: {_UNPACK} (tar xf)'
    elif path.suffix == '.onnx' and not head.startswith(b'\x80'):
        found = _EXPORTED
    return found


def kind_of_archive(path: Path) -> str:
    """The same of a zip archive, '' if it is torch.save's."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        begins = min((entry.header_offset for entry in archive.infolist()), default=0)
    found = ''
    if begins:
        found = f'{begins:,} bytes, and a zip archive behind them: two files in one, take them apart'
    elif _any(names, 'constants.pkl') or any('/code/' in name for name in names):
        found = (
            "a TorchScript program: if you trust where it comes from, torch.save(torch.jit.load(FILE).state_dict(), "
            "'weights.pth') makes weights of it")
    elif _any(names, 'archive_format') or _any(names, 'serialized_exported_program.json'):
        found = _EXPORTED
    elif names and all(name.endswith('.npy') for name in names):
        found = (
            "an archive of numpy (savez): torch.save({k: torch.from_numpy(v) for k, v in numpy.load(FILE).items()}, "
            "'weights.pth') makes weights of it")
    elif not _any(names, 'data.pkl') and not _any(names, 'version'):
        held = ', '.join(names[:3]) + (', ..' if len(names) > 3 else '')
        found = f'a zip archive ({held}): {_UNPACK} (unzip)' if names else 'a zip archive of nothing'
    return found


def _any(names: Iterable[str], last: str) -> bool:
    return any(name.rpartition('/')[2] == last for name in names)


def no_file(path: Path) -> str:
    """What is said of a path without a file, with what it seems to be instead."""
    text = str(path)
    what = next((words for start, words in _PLACES if re.match(start, text, re.IGNORECASE)), '')
    if not what and variant_of(text):
        what = f'the name of a network, which timm.create_model({text!r}, pretrained=True) loads where it has weights'
    address = re.sub(r'\A(\w{2,}):/(?!/)', r'\1://', text)  # which a path has shortened
    return f'{address}: no such file{what and f"; this is {what}"}.'


def no_weights(folder: Path, known: Sequence[str]) -> str:
    """What is said of a folder without a file of weights of a known name, with those of other names."""
    there = sorted(str(p.relative_to(folder)) for pattern in ('*', '*/*') for p in folder.glob(pattern)
                   if p.suffix in _SUFFIXES and p.is_file())
    other = f'; there is {listed(there)}: give the file that is meant' if there else ''
    return f'{folder}: a folder without any of {", ".join(known)}{other}.'


def is_shard(path: Path) -> bool:
    """Whether a file is one of several that hold one network, by its name (model-00001-of-00002.safetensors)."""
    return bool(_SHARD.search(path.name))
