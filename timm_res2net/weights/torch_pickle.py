"""A file of torch.save, looked through before torch reads it.

torch's weights-only loader executes nothing that it does not know, but what it knows it trusts: `bytearray(8e9)` makes
8 GB of ten bytes, and before torch 2.7 a tensor that says it is larger than its record is read, and written, beyond the
end of it. Here the same program runs on stand-ins that take notes, and what no file of weights needs is refused.
"""
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Tuple

import torch

from .unpickle import ENTRY, Budget, Plain, UnsafePickleError

_REBUILD = (
    '_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_tensor_v3', '_rebuild_parameter',
    '_rebuild_parameter_with_state', '_rebuild_sparse_tensor', '_rebuild_qtensor', '_rebuild_nested_tensor')
# called by the pickles of weights, optimizers and training arguments; what they make is not needed here
_CALLED = {
    *(f'torch._utils.{name}' for name in _REBUILD), 'torch._tensor._rebuild_from_type_v2', 'torch.Size', 'torch.device',
    'torch.nn.parameter.Parameter', 'torch.serialization._get_layout', 'argparse.Namespace', 'builtins.complex'}
_DICTIONARIES = ('collections.OrderedDict', 'collections.Counter')
_BYTES = ('_codecs.encode', 'builtins.bytearray', 'builtins.set')


class _Made:
    """Stands for whatever a call makes: a tensor, a size, a namespace."""
    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Name(_Made):
    """Stands for a function, a class or a constant."""
    __slots__ = ('name', 'budget')

    def __init__(self, name: str, budget: Budget) -> None:
        self.name = name
        self.budget = budget

    def __call__(self, *args: Any) -> Any:
        if self.name in _DICTIONARIES:
            self.budget.spend(ENTRY * len(args[0]) if args else 0)
            return Plain(*args)
        if self.name in _BYTES and not any(isinstance(a, int) for a in args):
            self.budget.spend(len(args[0]) if args else 0)
            return _Made()
        if self.name in _CALLED:
            return _Made()
        raise UnsafePickleError(self.name)


class _Unpickler(pickle._Unpickler):
    """On stand-ins; what is looked for is noted in `storages`: key -> bytes."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        super().__init__(file)
        self.budget = budget
        self.storages: Dict[Any, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f'{module}.{name}'
        known = full in _CALLED or full in _DICTIONARIES or full in _BYTES or module == 'torch' and isinstance(
            getattr(torch, name, None), (type, torch.dtype, torch.layout, torch.qscheme))
        if not known and full not in ('torch.storage.UntypedStorage', 'torch.storage.TypedStorage'):
            raise UnsafePickleError(full)
        return _Name(full, self.budget)

    def get_extension(self, code: int) -> Any:
        raise UnsafePickleError(f'the extension {code}')

    def load_newobj(self) -> None:
        args = self.stack.pop()  # type: ignore[attr-defined]
        self.stack[-1] = self.stack[-1](*args)  # type: ignore[attr-defined]

    def persistent_load(self, pid: Any) -> Any:
        kind, storage, key, _, numel = pid[:5]
        if kind != 'storage' or not isinstance(storage, _Name) or not isinstance(numel, int) or numel < 0:
            raise UnsafePickleError('something that is no storage of numbers')
        name = storage.name.rpartition('.')[2]
        size = 1 if name == 'UntypedStorage' else getattr(torch, name)._dtype.itemsize
        self.storages[key] = max(numel * size, self.storages.get(key, 0))
        return _Made()

    dispatch = {**pickle._Unpickler.dispatch, pickle.NEWOBJ[0]: load_newobj}  # type: ignore[dict-item]


def check_archive(path: Path) -> None:
    """Check a zip archive of torch.save: checksums, which torch skips, what it asks for and the sizes that it says.

    Raises:
        UnsafePickleError: It asks for more than tensors; nothing has been executed.
        pickle.UnpicklingError, zipfile.BadZipFile: It is damaged, or says other sizes than it has.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        for info in records:
            if info.compress_type != zipfile.ZIP_STORED:
                raise pickle.UnpicklingError(f'record {info.filename!r} is compressed, which torch.save never does')
        if sum(info.file_size for info in records) > size or len({i.filename for i in records}) < len(records):
            raise pickle.UnpicklingError('its records overlap')
        bad = archive.testzip()
        if bad is not None:
            raise pickle.UnpicklingError(f'record {bad!r} does not match its checksum')
        program, = (i for i in records if i.filename.rpartition('/')[2] == 'data.pkl')
        with archive.open(program) as file:
            unpickler = _Unpickler(file, Budget(size))  # type: ignore[arg-type]
            unpickler.load()
        sizes = {info.filename: info.file_size for info in records}
        for key, said in unpickler.storages.items():
            has = sizes.get(f'{program.filename.removesuffix("data.pkl")}data/{key}', -1)
            if has < said:
                raise pickle.UnpicklingError(f'record {key!r} should have {said} bytes and has {max(has, 0)}')


def check_legacy(path: Path) -> None:
    """Check a file as torch.save wrote it before torch 1.6; errors as of `check_archive`."""
    size = path.stat().st_size
    budget = Budget(size)
    with path.open('rb') as file:
        storages: List[Tuple[Any, int]] = []
        for _ in range(4):  # a magic number, a version, the system, the content
            unpickler = _Unpickler(file, budget)
            unpickler.load()
            storages += unpickler.storages.items()
    if sum(said for _, said in storages) > size:
        raise pickle.UnpicklingError('its tensors say that they are larger than the file')
