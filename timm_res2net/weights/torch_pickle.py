"""Files of torch.save, read without torch.load.

torch's weights-only loader executes nothing that it does not know, but what it knows it trusts: `bytearray(8e9)` makes
8 GB of ten bytes, `_rebuild_from_type_v2` calls what it is given, and before torch 2.7 a tensor that says it is larger
than its record is read, and written, beyond the end of it. In an archive with two directories it also reads another
one than Python's zipfile does. Here the program runs on stand-ins, as that of a .pdparams does, and tensors are views
of records, which are no larger than the file and match their checksums.
"""
import io
import math
import pickle
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Optional, Tuple

import torch

from .beside import beside, is_named, number
from .unpickle import ARRAYS, Budget, Encode, Made, Ordered, Unpickler, UnsafePickleError, resolve

_OTHER_TENSORS = ('_rebuild_sparse_tensor', '_rebuild_qtensor', '_rebuild_nested_tensor')
_BYTES_OF_AN_ITEM = 8  # of a tuple
_MOST = 2 ** 60  # numbers of a tensor, of which one may stand in many places


class _Tensor(Made):
    """A tensor, or a storage as one of one dimension, without anything that a pickle could call or change."""
    __slots__ = ('value',)

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    def resolve(self, budget: Budget, depth: int) -> torch.Tensor:
        return self.value


class _Name(Made):
    """A function, a class or a constant, which calls what stands for it."""
    __slots__ = ('name', 'make')

    def __init__(self, name: str, make: Optional[Callable]) -> None:
        self.name = name
        self.make = make

    def __call__(self, *args: Any) -> Any:
        if self.make is None:
            raise UnsafePickleError(self.name)
        return self.make(*args)

    def resolve(self, budget: Budget, depth: int) -> str:
        return self.name


class _Joined(Encode):
    """Stands for what makes one text of several: a device, a path."""
    __slots__ = ('between', 'kinds')

    def __init__(self, budget: Budget, between: str, *kinds: type) -> None:
        super().__init__(budget)
        self.between, self.kinds = between, kinds

    def __call__(self, *parts: Any) -> str:  # type: ignore[override]
        if not all(isinstance(part, self.kinds) for part in parts):
            raise UnsafePickleError('a device or a path that is no text')
        texts = [part if isinstance(part, str) else str(part) for part in parts]
        self.budget.spend(sum(len(text) + 1 for text in texts))
        return self.between.join(texts)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    """`torch._utils._rebuild_tensor` and its second version.

    Whether it fits its storage is not left to torch, whose sum of offset and sizes overflows in 2.6.
    """
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True) if n)
    if min((offset, *size, *stride)) < 0 or math.prod(size) > _MOST or last + (0 not in size) > storage.value.numel():
        raise pickle.UnpicklingError(f'a tensor of shape {size} is larger than its storage')
    return _Tensor(storage.value.as_strided(size, stride, offset))


def _tensor_of_dtype(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> _Tensor:
    """The third version, of types without a storage class."""
    _, _, dtype, *_ = more
    return _tensor(_Tensor(storage.value.view(getattr(torch, dtype.name.rpartition('.')[2]))), offset, size, stride)


def _first(value: Any, *_: Any) -> Any:
    """A parameter is its tensor."""
    return value


def _from_type(function: Any, _: Any, args: Any, *__: Any) -> Any:
    """A tensor with attributes or of a class of its own is the tensor."""
    return function(*args)


def _not_plain(*_: Any) -> Any:
    raise UnsafePickleError('a sparse, nested or quantized tensor, not a plain one')


def _method(owner: Any, name: Any) -> _Name:
    """`getattr`, by which a history of losses names its methods: no more than their names."""
    full = f'{owner.name}.{name}' if isinstance(owner, _Name) and isinstance(name, str) else ''
    if not is_named(full):
        raise UnsafePickleError('builtins.getattr')
    return _Name(full, None)


class _Unpickler(Unpickler):
    """On stand-ins.

    Args:
        storage: Key, count and bytes of one -> the numbers.
    """

    def __init__(self, file: BinaryIO, budget: Budget, storage: Callable[[str, int, int], bytearray]) -> None:
        super().__init__(file)
        self.storage = storage
        self.storages: Dict[str, torch.Tensor] = {}

        def spend(make: Callable, each: int) -> Callable:
            def of(items: Any = ()) -> Any:
                budget.spend(each * len(items))  # of a number there is no length
                return make(items)
            return of

        device = _Joined(budget, ':', str, int)
        tensors: Dict[str, Callable] = {
            '_rebuild_tensor': _tensor, '_rebuild_tensor_v2': _tensor, '_rebuild_tensor_v3': _tensor_of_dtype,
            '_rebuild_parameter': _first, '_rebuild_parameter_with_state': _first,
            **dict.fromkeys(_OTHER_TENSORS, _not_plain)}
        self.known: Dict[str, Callable] = {
            **{f'torch._utils.{name}': make for name, make in tensors.items()},
            'torch._tensor._rebuild_from_type_v2': _from_type, 'torch.nn.parameter.Parameter': _first,
            'torch.Size': spend(tuple, _BYTES_OF_AN_ITEM), 'builtins.set': spend(list, _BYTES_OF_AN_ITEM),
            'builtins.bytearray': spend(bytes, 1), 'collections.OrderedDict': Ordered(budget),
            'collections.Counter': Ordered(budget), '_codecs.encode': Encode(budget), 'builtins.complex': complex,
            'torch.device': device, 'torch.serialization._get_layout': device, 'builtins.getattr': _method,
            **beside(Ordered(budget), spend(list, _BYTES_OF_AN_ITEM), _Joined(budget, '/', str))}

    def find_class(self, module: str, name: str) -> Any:
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f'{module}.{name}'
        if (module, name) in ARRAYS:
            return _Name(full, number) if name == 'scalar' else ARRAYS[module, name]
        constant = module == 'torch' and isinstance(
            getattr(torch, name, None), (type, torch.dtype, torch.layout, torch.qscheme))
        if full not in self.known and not constant and full not in (
                'torch.storage.UntypedStorage', 'torch.storage.TypedStorage') and not is_named(full):
            raise UnsafePickleError(full)
        return _Name(full, self.known.get(full))

    def persistent_load(self, pid: Any) -> _Tensor:
        kind, storage, key, _, numel = pid[:5]
        if kind != 'storage' or not isinstance(storage, _Name) or not isinstance(numel, int) or numel < 0:
            raise UnsafePickleError('something that is no storage of numbers')
        name = storage.name.rpartition('.')[2]
        dtype = torch.uint8 if name == 'UntypedStorage' else getattr(torch, name)._dtype
        if not isinstance(key, str) or any(pid[5:]):
            raise pickle.UnpicklingError('a storage without a name, or a part of another, as torch wrote before 0.4')
        if key not in self.storages:
            numbers = self.storage(key, numel, dtype.itemsize)
            self.storages[key] = torch.frombuffer(numbers, dtype=torch.uint8) if numbers else torch.empty(
                0, dtype=torch.uint8)
        whole = self.storages[key].view(dtype)
        if len(whole) < numel:
            raise pickle.UnpicklingError(f'storage {key!r} should have {numel} numbers and has {len(whole)}')
        return _Tensor(whole)


def load_archive(path: Path) -> Any:
    """Read a zip archive of torch.save.

    Raises:
        UnsafePickleError: It asks for more than tensors; nothing has been executed. The message names it.
        Exception: Of many kinds, from a damaged file.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: info for info in archive.infolist()}
        for info in records.values():
            if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
                raise pickle.UnpicklingError(f'record {info.filename!r} is compressed, which torch.save never does')
        if sum(i.file_size for i in records.values()) > size or len(records) < len(archive.infolist()):
            raise pickle.UnpicklingError('its records overlap')
        programs = [name for name in records if name.rpartition('/')[2] == 'data.pkl']
        if len(programs) != 1:
            raise pickle.UnpicklingError(
                f'an archive with {len(programs)} records data.pkl, where torch.save writes one; exported files are '
                'for deploy.load')
        program, = programs
        prefix = program.removesuffix('data.pkl')
        order = records.get(f'{prefix}byteorder')
        if order and archive.read(order) != b'little':
            raise pickle.UnpicklingError('its byte order is not little')
        budget = Budget(size)

        def storage(key: str, count: int, each: int) -> bytearray:
            info, said = records.get(f'{prefix}data/{key}'), count * each
            if not info or info.file_size < said:
                has = info.file_size if info else 0
                raise pickle.UnpicklingError(f'record {key!r} should have {said} bytes and has {has}')
            return bytearray(archive.read(info)[:said])  # which compares the checksum

        with archive.open(program) as file:
            content = _Unpickler(file, budget, storage).load()  # type: ignore[arg-type]
    return resolve(content, budget)


def load_legacy(path: Path) -> Any:
    """Read a file as torch.save wrote it before torch 1.6, in which the numbers follow; errors as of `load_archive`."""
    content = path.read_bytes()
    file, left = io.BytesIO(content), len(content)  # of which a damaged length cannot ask for more
    budget = Budget(left)
    numbers: Dict[str, Tuple[int, bytearray]] = {}

    def storage(key: str, count: int, each: int) -> bytearray:
        nonlocal left
        left -= count * each
        if left < 0:
            raise pickle.UnpicklingError('its tensors say that they are larger than the file')
        numbers[key] = count, bytearray(count * each)
        return numbers[key][1]

    # a magic number, a version, the system, the content, the order of the storages
    _, _, system, made, keys = (_Unpickler(file, budget, storage).load() for _ in range(5))
    if not system.get('little_endian', True):
        raise pickle.UnpicklingError('its byte order is not little')
    if sorted(keys) != sorted(numbers):
        raise pickle.UnpicklingError('the list of its storages is not that of its tensors')
    for key in keys:
        count, data = numbers[key]
        if int.from_bytes(file.read(8), 'little') != count or file.readinto(data) != len(data):
            raise pickle.UnpicklingError(f'storage {key!r} is cut or of another size')
    return resolve(made, budget)
