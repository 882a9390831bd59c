"""A reader of pickled numpy arrays that knows numpy arrays and nothing else.

A pickle is a program: it names the functions to call. Here the few names that an array of numbers is made of are
answered with stand-ins that only take notes, every other name is refused, and the arrays are made from the notes
afterwards. numpy's own objects are not handed out, since their `__setstate__` trusts what it is given.
"""
import io
import pickle
from typing import Any, BinaryIO, Dict

import numpy as np

_KINDS = 'fiub'  # floating point, integer, unsigned, boolean


class UnsafePickleError(pickle.UnpicklingError):
    """The pickle asks for something other than arrays of numbers."""


ENTRY = 100  # bytes of an entry of a dictionary


class Budget:
    """Bytes that a pickle may make of itself: a file of weights makes no more of them than it has."""
    __slots__ = ('left',)

    def __init__(self, size: int) -> None:
        self.left = 2 * size + 1_000_000  # some are made twice on the way

    def spend(self, size: int) -> None:
        """Raise where a few bytes, used again and again, become many."""
        self.left -= size
        if self.left < 0:
            raise pickle.UnpicklingError('its arrays and dictionaries are larger than the file')


class _Dtype:
    """Stands for `numpy.dtype`."""
    __slots__ = ('code', 'order')

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        self.code = code
        self.order = '='

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]
        if any(part is not None for part in state[2:5]):  # subarray, names, fields
            raise UnsafePickleError('an array of records instead of numbers')

    def resolve(self) -> np.dtype:
        code = self.code if isinstance(self.code, str) else ''
        dtype = np.dtype(code) if code[:1] in tuple(_KINDS) and code[1:].isdigit() else None
        if dtype is None or dtype.kind not in _KINDS:
            raise UnsafePickleError(f'an array of dtype {self.code!r} instead of numbers')
        if self.order not in ('<', '=', '|'):
            raise pickle.UnpicklingError(f'byte order {self.order!r}, which no writer of weights uses')
        return dtype.newbyteorder('<' if self.order == '<' else '=')


class _Array:
    """Stands for `numpy.ndarray`."""
    __slots__ = ('shape', 'dtype', 'fortran', 'data')

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def resolve(self) -> np.ndarray:
        if not isinstance(self.dtype, _Dtype):
            raise pickle.UnpicklingError('an array without a dtype')
        dtype = self.dtype.resolve()
        if not isinstance(self.data, bytes):
            raise UnsafePickleError('an array of objects instead of numbers')
        if self.fortran and len(self.shape) > 1:
            raise pickle.UnpicklingError('an array in Fortran order, which no writer of weights uses')
        array = np.frombuffer(self.data, dtype).reshape(self.shape)  # raises where shape and bytes disagree
        return array.astype(dtype.newbyteorder('='))  # a copy: torch wants native and writable


class _Call:
    """A function in the pickle's eyes, without attributes that a pickle could set."""
    __slots__ = ()


class _Reconstruct(_Call):
    """Stands for `numpy.core.multiarray._reconstruct`."""
    __slots__ = ()

    def __call__(self, cls: Any, shape: Any, code: Any) -> _Array:
        if cls is not _Array:
            raise UnsafePickleError('a subclass of ndarray')
        return _Array()


class _Scalar(_Call):
    """Stands for `numpy.core.multiarray.scalar`."""
    __slots__ = ()

    def __call__(self, dtype: Any, data: Any) -> _Array:
        array = _Array()
        array.__setstate__((1, (), dtype, False, data))
        return array


class _Encode(_Call):
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
    """A dictionary to which a pickle cannot give attributes (`_metadata` of a state dict)."""
    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        pass


class _Ordered(_Encode):
    """Stands for `collections.OrderedDict`."""
    __slots__ = ()

    def __call__(self, items: Any = ()) -> Dict[Any, Any]:  # type: ignore[override]
        self.budget.spend(ENTRY * len(items))
        return Plain(items)


_KNOWN = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _Dtype,
    **{(f'numpy.{core}.multiarray', '_reconstruct'): _Reconstruct() for core in ('core', '_core')},
    **{(f'numpy.{core}.multiarray', 'scalar'): _Scalar() for core in ('core', '_core')},
}


class _Unpickler(pickle._Unpickler):
    """On the implementation in Python: the one in C allocates whatever a damaged memo index asks for."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        super().__init__(file)
        self.made = {('_codecs', 'encode'): _Encode(budget), ('collections', 'OrderedDict'): _Ordered(budget)}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.made.get((module, name)) or _KNOWN[module, name]
        except KeyError:
            raise UnsafePickleError(f'{module}.{name}') from None


def _resolve(value: Any, budget: Budget) -> Any:
    """Values of their notes. What stands in many places is made, and counted, as often."""
    budget.spend(64)
    if isinstance(value, _Array):
        budget.spend(len(value.data) if isinstance(value.data, bytes) else 0)
        return value.resolve()
    if isinstance(value, dict):
        return {k: _resolve(v, budget) for k, v in value.items()}
    if isinstance(value, (_Dtype, _Call, type)):
        raise UnsafePickleError('something that is neither an array nor text')
    return value


def load_numpy_pickle(file: BinaryIO) -> Any:
    """Read one pickle of arrays, numbers, text and dictionaries of them.

    Raises:
        UnsafePickleError: It asks for anything else; nothing has been executed. The message names it.
        Exception: Of many kinds, from a damaged file.
    """
    content = file.read()
    made = _Unpickler(io.BytesIO(content), Budget(len(content))).load()  # a damaged length cannot ask for more
    return _resolve(made, Budget(len(content)))
