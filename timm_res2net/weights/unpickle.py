"""A reader of pickles that knows numpy arrays and nothing else; `torch_pickle` has what it knows of tensors.

A pickle is a program: it names the functions to call. Here the few names that an array of numbers is made of are
answered with stand-ins that only take notes, every other name is refused, and the arrays are made from the notes
afterwards. numpy's own objects are not handed out, since their `__setstate__` trusts what it is given.
"""
import io
import pickle
import struct
from typing import Any, BinaryIO, ClassVar, Dict

import numpy as np

_KINDS = 'fiub'  # floating point, integer, unsigned, boolean


class UnsafePickleError(pickle.UnpicklingError):
    """The pickle asks for something other than arrays of numbers."""


_ENTRY, _VALUE = 100, 16  # bytes of an entry of a dictionary, and of a value
_DEPTH = 50  # of lists and dictionaries in each other, far beyond what trainers write
_WORDS = (str, bytes, int, float, complex, type(None))


class Budget:
    """Bytes that a pickle may make of itself: a file of weights makes no more of them than it has."""
    __slots__ = ('left',)

    def __init__(self, size: int) -> None:
        self.left = 2 * size + 1_000_000  # some are made twice on the way

    def spend(self, size: int) -> None:
        """Raise where a few bytes, used again and again, become many."""
        self.left -= size
        if self.left < 0:
            raise pickle.UnpicklingError('written out, it would be larger than the file')


class Made:
    """A stand-in for what a pickle makes or names. It has no attributes that a pickle could set."""
    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError(f'it changes a {type(self).__name__.lstrip("_").lower()}')

    def resolve(self, budget: Budget, depth: int) -> Any:
        """The value in the end."""
        raise UnsafePickleError('something that is neither an array nor text')


class _Dtype(Made):
    """Stands for `numpy.dtype`."""
    __slots__ = ('code', 'order')

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        self.code = code
        self.order = '='

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]
        if any(part is not None for part in state[2:5]):  # subarray, names, fields
            raise UnsafePickleError('an array of records instead of numbers')

    def dtype(self) -> np.dtype:
        code = self.code if isinstance(self.code, str) else ''
        if code[:1] not in tuple(_KINDS) or not code[1:].isdigit():
            raise UnsafePickleError(f'an array of dtype {self.code!r} instead of numbers')
        if self.order not in ('<', '=', '|'):
            raise pickle.UnpicklingError(f'byte order {self.order!r}, which no writer of weights uses')
        return np.dtype(code).newbyteorder('<' if self.order == '<' else '=')


class _Array(Made):
    """Stands for `numpy.ndarray`."""
    __slots__ = ('shape', 'dtype', 'fortran', 'data')

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def resolve(self, budget: Budget, depth: int) -> np.ndarray:
        if not isinstance(self.dtype, _Dtype):
            raise pickle.UnpicklingError('an array without a dtype')
        dtype = self.dtype.dtype()
        if not isinstance(self.data, bytes):
            raise UnsafePickleError('an array of objects instead of numbers')
        budget.spend(len(self.data))
        order: Any = 'F' if self.fortran else 'C'
        array = np.frombuffer(self.data, dtype).reshape(self.shape, order=order)  # raises where they disagree
        return array.astype(dtype.newbyteorder('='), order='C')  # a copy: torch wants native and writable


class _Reconstruct(Made):
    """Stands for `numpy.core.multiarray._reconstruct`."""
    __slots__ = ()

    def __call__(self, cls: Any, shape: Any, code: Any) -> _Array:
        if cls is not _Array:
            raise UnsafePickleError('a subclass of ndarray')
        return _Array()


class Scalar(Made):
    """Stands for `numpy.core.multiarray.scalar`."""
    __slots__ = ()

    def __call__(self, dtype: Any, data: Any) -> _Array:
        array = _Array()
        array.__setstate__((1, (), dtype, False, data))
        return array


class _FromBuffer(Made):
    """Stands for `numpy.core.numeric._frombuffer`, which arrays are made by since protocol 5."""
    __slots__ = ()

    def __call__(self, data: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> _Array:
        array = _Array()
        array.__setstate__((1, shape, dtype, order != 'C', data))
        return array


class _Named(Made):
    """Stands for `tuple`, which paddle.save makes (name, array) with in dictionaries within others."""
    __slots__ = ()

    def __call__(self, items: Any = ()) -> _Array:
        if not (isinstance(items, tuple) and [type(item) for item in items] == [str, _Array]):
            raise UnsafePickleError('builtins.tuple')
        return items[1]


class _Empty(Made):
    """Stands for `bytes`, which makes the empty bytes of old pickles, and is refused everything else."""
    __slots__ = ()

    def __call__(self, *args: Any) -> bytes:
        if args:
            raise UnsafePickleError('builtins.bytes')
        return b''


class Encode(Made):
    """Stands for `_codecs.encode`, which old pickles make bytes with."""
    __slots__ = ('budget',)

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def __call__(self, text: str, encoding: str = 'latin1') -> bytes:
        if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
            raise UnsafePickleError(f'a call of _codecs.encode to {encoding!r}')
        self.budget.spend(len(text))
        return text.encode('latin1')


class Plain(Dict[Any, Any]):
    """A dictionary to which a pickle cannot give attributes (`_metadata` of a state dict), nor keys but words.

    The hash of a tuple of tuples, each of them twice, takes 2^60 steps.
    """
    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        if not all(isinstance(k, _WORDS) for k in (key if isinstance(key, tuple) else (key,))):
            raise pickle.UnpicklingError('a key of a dictionary is neither text nor a number')
        super().__setitem__(key, value)

    def __setstate__(self, state: Any) -> None:
        pass


class Ordered(Encode):
    """Stands for `collections.OrderedDict`."""
    __slots__ = ()

    def __call__(self, items: Any = ()) -> Dict[Any, Any]:  # type: ignore[override]
        self.budget.spend(_ENTRY * len(items))
        made = Plain()
        for key, value in items.items() if isinstance(items, dict) else items:
            made[key] = value
        return made


ARRAYS = {  # module and name -> what stands for it
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Dtype,
    **{(module, name): make for module in ('builtins', '__builtin__')
       for name, make in (('bytes', _Empty()), ('tuple', _Named()))},
    **{(f'numpy.{core}.multiarray', '_reconstruct'): _Reconstruct() for core in ('core', '_core')},
    **{(f'numpy.{core}.multiarray', 'scalar'): Scalar() for core in ('core', '_core')},
    **{(f'numpy.{core}.numeric', '_frombuffer'): _FromBuffer() for core in ('core', '_core')},
}


class Unpickler(pickle._Unpickler):
    """On the implementation in Python: the one in C allocates whatever a damaged memo index asks for.

    A byte array of protocol 5 is read as bytes: Python takes the memory that its length asks for before it reads. What
    is not in files of weights: sets, whose members are hashed as keys are, numbered names, and buffers of other files.
    """

    def load_empty_dictionary(self) -> None:
        self.append(Plain())  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        made = Plain()
        for key, value in zip(items[::2], items[1::2], strict=True):
            made[key] = value
        self.append(made)  # type: ignore[attr-defined]

    def load_newobj(self) -> None:
        args = self.stack.pop()  # type: ignore[attr-defined]
        self.stack[-1] = self.stack[-1](*args)  # type: ignore[attr-defined]

    def load_set(self) -> None:
        raise UnsafePickleError('a set')

    def load_bytearray(self) -> None:
        size, = struct.unpack('<Q', self.read(8))  # type: ignore[attr-defined]
        data = self.read(size)  # type: ignore[attr-defined]
        if len(data) != size:
            raise pickle.UnpicklingError(f'a byte array of {size} bytes has {len(data)}')
        self.append(data)  # type: ignore[attr-defined]

    def load_buffer(self) -> None:
        raise UnsafePickleError('a buffer of another file')

    def get_extension(self, code: int) -> Any:
        raise UnsafePickleError(f'the extension {code}')

    dispatch: ClassVar[Dict[int, Any]] = {
        **pickle._Unpickler.dispatch, pickle.EMPTY_DICT[0]: load_empty_dictionary, pickle.DICT[0]: load_dict,
        pickle.NEWOBJ[0]: load_newobj,
        **dict.fromkeys((pickle.EMPTY_SET[0], pickle.FROZENSET[0], pickle.ADDITEMS[0]), load_set),
        pickle.BYTEARRAY8[0]: load_bytearray,
        **dict.fromkeys((pickle.NEXT_BUFFER[0], pickle.READONLY_BUFFER[0]), load_buffer)}


class _Unpickler(Unpickler):

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        super().__init__(file)
        self.made = {('_codecs', 'encode'): Encode(budget), ('collections', 'OrderedDict'): Ordered(budget)}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.made.get((module, name)) or ARRAYS[module, name]
        except KeyError:
            tensors = ', as pickle.dump writes tensors' if module.startswith('torch') else ''
            raise UnsafePickleError(f'{module}.{name}{tensors}') from None


def resolve(value: Any, budget: Budget, depth: int = 0) -> Any:
    """Values of their notes. What stands in many places is made, and counted, as often.

    Raises:
        UnsafePickleError: Something is no value.
        pickle.UnpicklingError: It is more than the file has, or in itself.
    """
    budget.spend(_VALUE)
    if depth > _DEPTH:
        raise pickle.UnpicklingError(f'its lists and dictionaries lie in each other, more than {_DEPTH} deep')
    if isinstance(value, Made):
        return value.resolve(budget, depth)
    if isinstance(value, dict):
        return {k: resolve(v, budget, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(resolve(v, budget, depth + 1) for v in value)
    if isinstance(value, (str, bytes)):
        budget.spend(len(value))
    elif not isinstance(value, _WORDS):
        raise UnsafePickleError('something that is neither an array nor text')
    return value


def load_numpy_pickle(file: BinaryIO) -> Any:
    """Read one pickle of arrays, numbers, text and dictionaries of them.

    Raises:
        UnsafePickleError: It asks for anything else; nothing has been executed. The message names it.
        Exception: Of many kinds, from a damaged file.
    """
    content = file.read()
    size = len(content)
    made = _Unpickler(io.BytesIO(content), Budget(size)).load()  # a damaged length cannot ask for more
    del content  # what comes is as large again
    return resolve(made, Budget(size))
