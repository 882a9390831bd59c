"""Activations, norms, anti-aliasing and attention: by timm's name, class or partial, through timm's own factories.

Errors name the argument, the value and the remedy, as in `arguments`.
"""
import inspect
from typing import Any, Callable, Dict, Optional, Tuple

import torch
from timm.layers import BlurPool2d, EcaModule, create_act_layer, create_attn, get_act_layer, get_attn, get_norm_layer
from torch import nn

from .arguments import check_real

_ENOUGH = 4096  # channels on which a norm is tried out


class ConstantBlurPool2d(BlurPool2d):
    """timm's 'blurpc': the blur with zeros around the map. A class, as timm's stem pool needs."""

    def __init__(self, channels: Optional[int] = None, filt_size: int = 3, stride: int = 2, **kwargs: Any) -> None:
        super().__init__(channels, filt_size, stride, **{'pad_mode': 'constant', **kwargs})


# the names that timm's `create_aa` takes
_AA_LAYERS = {
    'blur': BlurPool2d, 'avg': nn.AvgPool2d, 'blurpc': ConstantBlurPool2d, 'blurpool': BlurPool2d,
    'avgpool': nn.AvgPool2d}


def _get_aa_layer(value: Any) -> Any:
    return _AA_LAYERS[value.lower().replace('_', '').replace('-', '')] if isinstance(value, str) else value


FACTORIES: Dict[str, Tuple[Callable, Tuple[str, ...]]] = {  # timm's factory, the names that `layer_name` knows
    'act_layer': (get_act_layer, ('relu', 'relu6', 'leaky_relu', 'prelu', 'silu', 'gelu', 'elu', 'celu', 'selu', 'mish',
                                  'hard_swish', 'hard_sigmoid', 'hard_mish', 'sigmoid', 'tanh', 'identity')),
    'norm_layer': (get_norm_layer, ('batchnorm2d', 'groupnorm', 'groupnorm1', 'layernorm2d', 'rmsnorm2d',
                                    'frozenbatchnorm2d')),
    'attn_layer': (get_attn, ('se', 'ese', 'eca', 'ceca', 'ge', 'gc', 'cbam', 'lcbam', 'nl')),
    'aa_layer': (_get_aa_layer, tuple(_AA_LAYERS)),
}


def resolve_layer(name: str, value: Any) -> Any:
    """Turn a layer given by timm's name, class or partial into what makes it, through timm's factories.

    Args:
        name: `act_layer`, `norm_layer`, `aa_layer` or `attn_layer`.
        value: A name known to timm, a class, a partial or, for the last two, None.
    """
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
        layer = FACTORIES[name][0](value or None)
    except (KeyError, AssertionError, ValueError):
        raise ValueError(f'{name}={value!r} is not a layer that timm knows by name.') from None
    if layer is None and name in ('act_layer', 'norm_layer'):
        raise ValueError(f'{name}={value!r} is empty, name a layer.')
    return layer


def layer_name(name: str, value: Any) -> Any:
    """timm's name of a layer class, the value itself where it has none.

    Args:
        name: `act_layer`, `norm_layer`, `aa_layer` or `attn_layer`.
        value: A class or a partial.
    """
    getter, names = FACTORIES[name]
    named = {n: getter(n) for n in names}
    same = [n for n, layer in named.items() if layer is value]
    if value in vars(nn).values():  # timm wraps some of torch's activations under the same name
        same += [n for n, layer in named.items() if name == 'act_layer' and layer.__name__ == value.__name__]
    return same[0] if same else value


def create_act(act_layer: Any, inplace: bool = True, device=None, dtype=None) -> nn.Module:
    """Create an activation, in place if it can be, naming `act_layer` if it cannot be made."""
    try:
        act = create_act_layer(act_layer, inplace=inplace)
    except TypeError as error:
        raise ValueError(f'act_layer={act_layer!r} cannot be made without arguments: {error}') from error
    if not isinstance(act, nn.Module):
        raise TypeError(f'act_layer={act_layer!r} makes a {type(act).__name__}, it must make a torch module.')
    return act.to(device=device, dtype=dtype)  # some have parameters


def create_norm(channels: int, norm_layer: Any, **dd) -> nn.Module:
    """Create a norm over `channels` channels, naming `norm_layer` if it cannot be made."""
    if getattr(norm_layer, 'func', None) is create_norm:  # a network has guarded it already
        return norm_layer(channels, **dd)
    try:
        try:
            return norm_layer(channels, **dd)
        except TypeError:
            return norm_layer(channels).to(**dd)  # torchvision's frozen norm takes no device
    except (ValueError, TypeError, AssertionError) as error:
        raise ValueError(
            f'norm_layer={norm_layer!r} cannot normalise {channels} channels ({error}). Choose scale, base_width and '
            "cardinality so that it divides every width, or another norm such as 'batchnorm2d'.") from error


def check_norm(norm_layer: Callable[..., nn.Module], channels: int) -> Callable[..., nn.Module]:
    """Return `norm_layer` if it takes feature maps; timm's factory also names norms of token sequences."""
    if channels > _ENOUGH:  # as divisible, and no memory for a number that a file may claim
        channels = _ENOUGH + channels % _ENOUGH
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
