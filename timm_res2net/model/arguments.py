"""Argument checks whose errors name the argument, the value and the remedy.

timm and torch report an impossible argument where it first hurts ("expected weight to be at least 1 at dimension 0");
the functions here are called at the door instead. All of them raise `ValueError` for a bad value and `TypeError` for a
value of the wrong kind.
"""
import inspect
import math
from functools import partial
from numbers import Integral, Real
from typing import Any, Callable, Optional, Sequence, Tuple

import torch
from timm.layers import BlurPool2d, EcaModule, create_act_layer, create_attn, get_act_layer, get_attn, get_norm_layer
from torch import nn

# the names that timm's `create_aa` takes
AA_LAYERS = {'blur': BlurPool2d, 'avg': nn.AvgPool2d, 'blurpc': partial(BlurPool2d, pad_mode='constant')}


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
    if not (math.isfinite(value) and low <= value < high):
        raise ValueError(f'{name}={value!r} must be a finite number in [{low}, {high}).')
    return value


def check_bool(name: str, value: Any) -> bool:
    """Return `value` as a bool; 0 and 1 are accepted because command lines pass them."""
    if value not in (0, 1):
        raise TypeError(f'{name}={value!r} must be True or False.')
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(f'{name}={value!r} is not supported, choose one of {", ".join(map(repr, choices))}.')
    return value


def check_ints(name: str, value: Any, length: Optional[int] = None) -> Tuple[int, ...]:
    """Return `value` as a tuple of positive ints, of the given length if any."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f'{name}={value!r} must be a sequence of positive integers.')
    if length is not None and len(value) != length:
        raise ValueError(f'{name}={value!r} must have {length} entries, one per stage; it has {len(value)}.')
    return tuple(check_int(f'{name}[{i}]', v) for i, v in enumerate(value))


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


def check_unknown(owner: str, unknown: dict, known: Callable) -> None:
    """Raise `TypeError` naming the first of the `unknown` keyword arguments and the names that `known` takes."""
    if not unknown:
        return
    name, value = next(iter(unknown.items()))
    allowed = [
        p.name for p in inspect.signature(known).parameters.values()
        if p.kind is not p.VAR_KEYWORD and p.name != 'self'
    ]
    raise TypeError(f'{owner} got an unknown argument {name}={value!r}; it takes {", ".join(allowed)}.')


def _get_aa_layer(value: Any) -> Any:
    return AA_LAYERS[value.lower()] if isinstance(value, str) else value


def resolve_layer(name: str, value: Any) -> Any:
    """Turn a layer given by timm's name, class or partial into what makes it, through timm's factories.

    Args:
        name: `act_layer`, `norm_layer`, `aa_layer` or `attn_layer`.
        value: A name known to timm, a class, a partial or, for the last two, None.
    """
    getter = dict(act_layer=get_act_layer, norm_layer=get_norm_layer, aa_layer=_get_aa_layer, attn_layer=get_attn)[name]
    if isinstance(value, type):
        known = issubclass(value, nn.Module)
    else:
        known = isinstance(value, str) or callable(value) and not isinstance(value, nn.Module)
    if not known and not (name in ('aa_layer', 'attn_layer') and (value is None or isinstance(value, bool))):
        raise TypeError(f'{name}={value!r} must be a name known to timm, a class or a partial.')
    if name == 'aa_layer' and value is True:
        raise TypeError("aa_layer=True is not a layer, name one: 'blur', 'blurpc' or 'avg'.")
    if callable(value):
        return value
    try:
        layer = getter(value or None)
    except (KeyError, AssertionError, ValueError):
        raise ValueError(f'{name}={value!r} is not a layer that timm knows by name.') from None
    if layer is None and name in ('act_layer', 'norm_layer'):
        raise ValueError(f'{name}={value!r} is empty, name a layer.')
    return layer


def create_act(act_layer: Any, inplace: bool = True, device=None, dtype=None) -> nn.Module:
    """Create an activation, in place if it can be, naming `act_layer` if it cannot be made."""
    try:
        act = create_act_layer(act_layer, inplace=inplace)
    except TypeError as error:
        raise ValueError(f'act_layer={act_layer!r} cannot be made without arguments: {error}') from error
    return act.to(device=device, dtype=dtype)  # some have parameters


def unwrapped(model: Any) -> Any:
    """The network inside the wrappers of torch.compile, DistributedDataParallel and DataParallel."""
    while hasattr(model, '_orig_mod') or isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        model = model._orig_mod if hasattr(model, '_orig_mod') else model.module
    return model


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module of that name in a model."""
    modules = dict(model.named_modules())
    if layer not in modules:
        children = ', '.join(n for n, _ in model.named_children())
        raise ValueError(f'layer={layer!r} is not in the model, choose from {children} and what they hold.')
    return modules[layer]


def create_norm(channels: int, norm_layer: Any, **dd) -> nn.Module:
    """Create a norm over `channels` channels, naming `norm_layer` if it cannot be made."""
    if getattr(norm_layer, 'func', None) is create_norm:  # a network has guarded it already
        return norm_layer(channels, **dd)
    try:
        return norm_layer(channels, **dd)
    except (ValueError, TypeError, AssertionError) as error:
        raise ValueError(
            f'norm_layer={norm_layer!r} cannot normalise {channels} channels ({error}). Choose scale, base_width and '
            "cardinality so that it divides every width, or another norm such as 'batchnorm2d'.") from error


def check_norm(norm_layer: Callable[..., nn.Module], channels: int) -> Callable[..., nn.Module]:
    """Return `norm_layer` if it takes feature maps; timm's factory also names norms of token sequences."""
    try:
        shape = create_norm(channels, norm_layer).eval()(torch.zeros(1, channels, 2, 3)).shape
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f'norm_layer={norm_layer!r} cannot normalise a map of {channels} channels: {error}') from error
    if shape != (1, channels, 2, 3):
        raise ValueError(f'norm_layer={norm_layer!r} changes the shape of a map.')
    return norm_layer


def create_attention(attn_layer: Any, channels: int, rd_ratio: Optional[float] = None, **dd) -> Optional[nn.Module]:
    """Create one of timm's attention layers over `channels` channels, None if `attn_layer` is None.

    Args:
        attn_layer: Name ('se', 'eca', ...), class or partial.
        channels: Channels of the feature map.
        rd_ratio: Squeezed channels over `channels`, None for the layer's own default (1/16 for SE).

    Raises:
        ValueError: The layer has no `rd_ratio`, or it cannot be made for a map of any size.
    """
    layer = resolve_layer('attn_layer', attn_layer)
    if layer is None:
        if rd_ratio is not None:
            raise ValueError(f"rd_ratio={rd_ratio!r} has no effect without an attn_layer, add attn_layer='se'.")
        return None
    if rd_ratio is not None:
        check_real('rd_ratio', rd_ratio, 0)
        if layer is EcaModule or 'rd_ratio' not in inspect.signature(layer).parameters:  # ECA has it for its MLP form
            raise ValueError(f"rd_ratio={rd_ratio!r} has no effect on attn_layer={attn_layer!r}, leave it out.")
        dd['rd_ratio'] = rd_ratio
    if layer in (get_attn('halo'), get_attn('bat')):
        raise ValueError(f'attn_layer={attn_layer!r} takes only maps whose size is a multiple of its blocks.')
    try:
        return create_attn(layer, channels, **dd)
    except (ValueError, TypeError, AssertionError, ZeroDivisionError) as error:
        raise ValueError(f'attn_layer={attn_layer!r} cannot be built over {channels} channels: {error}') from error
