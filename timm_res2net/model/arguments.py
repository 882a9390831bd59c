"""Argument checks whose errors name the argument, the value and the remedy.

timm and torch report an impossible argument where it first hurts ("expected weight to be at least 1 at dimension 0");
the functions here are called at the door instead. All of them raise `ValueError` for a bad value and `TypeError` for a
value of the wrong kind.
"""
import math
import os
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Iterable, Mapping, Optional, Sequence, Tuple


def check_int(name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f'{name}={value!r} must be an integer of at least {minimum}.')
    if value < minimum:
        raise ValueError(f'{name}={value!r} must be at least {minimum}.')
    return int(value)


def check_real(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """Return `value` if it is a finite number with `low <= value < high`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number:
        raise TypeError(f'{name}={value!r} must be a number.')
    try:
        finite = math.isfinite(float(value))
    except OverflowError:  # integers have no end
        finite = False
    if not (finite and low <= value < high):
        raise ValueError(f'{name}={value!r} must be a finite number in [{low}, {high}).')
    return value


def check_bool(name: str, value: Any) -> bool:
    """Return `value` as a bool; 0 and 1 are accepted because command lines pass them."""
    if not _among(value, (0, 1)):
        raise TypeError(f'{name}={value!r} must be True or False.')
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of `choices`."""
    if not _among(value, choices):
        raise ValueError(f'{name}={value!r} is not supported, choose one of {", ".join(map(repr, choices))}.')
    return value


def _among(value: Any, choices: Sequence[Any]) -> bool:
    try:
        return value in choices
    except (RuntimeError, ValueError):  # an array or a tensor of several numbers
        return False


def check_path(name: str, value: Any) -> Path:
    """Return `value` as a path."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f'{name}={value!r} must be a file or a folder, as text or a Path.')
    return Path(value)


def check_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return `value` if it is a dictionary, an empty one for None."""
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f'{name}={value!r} must be a dictionary.')
    return {} if value is None else value


def check_ints(name: str, value: Any, length: Optional[int] = None) -> Tuple[int, ...]:
    """Return `value` as a tuple of positive ints, of the given length if any."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f'{name}={value!r} must be a sequence of positive integers.')
    if length is not None and len(value) != length:
        raise ValueError(f'{name}={value!r} must have {length} entries, one per stage; it has {len(value)}.')
    return tuple(check_int(f'{name}[{i}]', v) for i, v in enumerate(value))


def check_indices(name: str, value: Any, count: int) -> Tuple[int, ...]:
    """Return places in a row of `count` maps, the finest first, as a tuple counted from its start.

    Args:
        value: An int n for the last n, or places in ascending order, those below 0 counted from the end.
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        value = range(-int(value), 0)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) or getattr(value, 'ndim', 1) == 0:
        raise TypeError(f'{name}={value!r} must be an integer or a sequence of integers.')
    places = [check_int(f'{name}[{i}]', v, -count) for i, v in enumerate(value)]
    if not places or max(places) >= count:
        raise ValueError(f'{name}={value!r} must be among 0 to {count - 1}: there are {count} maps.')
    places = [v % count for v in places]
    if any(a >= b for a, b in zip(places, places[1:])):  # noqa: B905  of unequal length
        raise ValueError(f'{name}={value!r} must ascend: maps come from the finest to the coarsest, each once.')
    return tuple(places)


def check_width(planes: int, base_width: float, cardinality: int) -> int:
    """Return the channels of one group, `floor(planes * base_width / 64) * cardinality` (paper, section 3.3).

    Args:
        planes: Width of the stage as ResNet counts it (64, 128, 256, 512 in ImageNet models).
        base_width: Channels of one convolution group at `planes` = 64 ("26w" is `base_width=26`).
        cardinality: Groups of the 3x3 convolutions.

    Raises:
        ValueError: The group would be empty.
    """
    base_width = check_real('base_width', base_width, 0)
    width = math.floor(planes * base_width / 64) * check_int('cardinality', cardinality)
    if width < 1:
        raise ValueError(
            f'base_width={base_width!r} gives groups of 0 channels at {planes} planes, '
            f'it must be at least {64 / planes:g} there.')
    return width
