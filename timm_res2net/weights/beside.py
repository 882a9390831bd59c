"""What trainers keep beside the weights: command lines, paths, dates, histories of losses. Noted, never made.

A name that is not here is refused: what calls it may be a program.
"""
from typing import Any, Callable, Dict

import numpy as np

from .unpickle import Budget, Made, Scalar, resolve

# classes whose objects are no more than their attributes
_OBJECTS = ('argparse.Namespace', 'types.SimpleNamespace', 'mmengine.logging.history_buffer.HistoryBuffer')
_DICTIONARIES = (
    'easydict.EasyDict', 'lightning_fabric.utilities.data.AttributeDict',
    'lightning.fabric.utilities.data.AttributeDict', 'pytorch_lightning.utilities.parsing.AttributeDict',
    'lightning.pytorch.utilities.parsing.AttributeDict')
_PATHS = ('PurePosixPath', 'PureWindowsPath', 'PosixPath', 'WindowsPath')
_TIMES = ('date', 'datetime', 'time', 'timedelta', 'timezone')
_PLAIN = ('list', 'dict', 'int', 'float', 'str', 'bool', 'tuple')  # classes that are named: a factory of entries


class Namespace(Made):
    """An object of which nothing but the attributes counts; a dictionary in the end."""
    __slots__ = ('words',)

    def __init__(self) -> None:
        self.words: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.words = state

    def resolve(self, budget: Budget, depth: int) -> Any:
        return resolve(self.words, budget, depth + 1)


class _Number(Made):
    """A number of numpy's, one of Python's in the end."""
    __slots__ = ('array',)

    def __init__(self, array: Made) -> None:
        self.array = array

    def resolve(self, budget: Budget, depth: int) -> Any:
        value: np.ndarray = self.array.resolve(budget, depth)
        return value.item()


def number(dtype: Any, data: Any) -> Made:
    """Stands for `numpy.core.multiarray.scalar`."""
    return _Number(Scalar()(dtype, data))


def beside(dictionary: Callable, sequence: Callable, path: Callable) -> Dict[str, Callable]:
    """Name -> what stands for it.

    Args:
        dictionary, sequence, path: Make one of the items that they are given.
    """
    return {
        **dict.fromkeys(_OBJECTS, Namespace),
        **dict.fromkeys(_DICTIONARIES, dictionary),
        **{f'pathlib{module}.{name}': path for module in ('', '._local') for name in _PATHS},
        **{f'datetime.{name}': lambda *_, name=name: f'a {name}' for name in _TIMES},
        'collections.defaultdict': lambda *_: dictionary(),  # without its factory
        'collections.deque': lambda items=(), *_: sequence(items),
        'torch.torch_version.TorchVersion': lambda text='', *_: text,
    }


def is_named(name: str) -> bool:
    """Whether it is a class or a method that is only named, and never called."""
    module, _, last = name.rpartition('.')
    return module in _OBJECTS[2:] or module == 'builtins' and last in _PLAIN
