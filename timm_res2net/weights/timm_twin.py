"""Our networks out to others: timm's own names, timm's own architectures.

    to_timm(model)                     state dict under timm's names
    timm_architecture(model)           'res2net50_26w_4s', or None if timm has no such network
"""
import copy
from typing import Any, Dict, Optional, cast

import timm
import torch
from torch import nn

from ..model.variants import VARIANTS
from ..model.wrappers import unwrapped
from .architecture import read_architecture
from .checkpoint import Checkpoint, CheckpointError
from .layouts import rename, resnet
from .matching import match

__all__ = ['timm_architecture', 'to_timm']


def _is_scale1_resnet(model: Any) -> bool:
    return isinstance(model, timm.models.ResNet) and cast(Any, model).layer1[0].scale == 1


def to_timm(model: nn.Module) -> Dict[str, torch.Tensor]:
    """Return the weights of `model` under timm's own names: ours, but for `conv2` and `bn2` at scale 1.

    `checkpoint_filter_fn` is the way back, exactly. Having the names does not mean that timm has the network, see
    `timm_architecture`.

    Args:
        model: `Res2Net`, `Res2NetCifar` or `Res2NetDla`.
    """
    model = unwrapped(model)
    state = dict(model.state_dict())
    return resnet.from_ours(state) if _is_scale1_resnet(model) else state


def _candidates(model: Any) -> list:
    """Names under which timm could have the network: our variant's without the suffix, at scale 1 any ResNet."""
    try:
        name, _ = match(read_architecture(rename(Checkpoint('', model.state_dict())).shapes))
    except CheckpointError:
        return []
    names = [name.removesuffix('_custom')]
    if _is_scale1_resnet(model) and hasattr(model, 'layer4'):
        depth = str(3 * sum(len(getattr(model, f'layer{i}')) for i in range(1, 5)) + 2)
        names += [n for n in timm.list_models(module='resnet') if depth in n]
    return [n for n in dict.fromkeys(names) if timm.is_model(n) and n not in VARIANTS]


def _shapes(state: Dict[str, torch.Tensor]) -> Dict[str, tuple]:
    return {k: tuple(v.shape) for k, v in state.items()}


@torch.no_grad()
def _same_network(model: Any, other: Any) -> bool:
    """Compare outputs under random weights, which tell what shapes do not: strides, pools, activations, epsilons.

    Weights of our own making, since those of the model may hide a difference (a zeroed last norm hides its block).
    """
    generator = torch.Generator().manual_seed(0)
    model = copy.deepcopy(model).float().cpu().eval()
    for name, value in model.state_dict().items():
        if value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.is_floating_point():
            value.uniform_(0.5, 1.0, generator=generator)
            if name.endswith(('bias', 'running_mean')):
                value.sub_(0.75)
    other = other.to_empty(device='cpu').eval()
    other.load_state_dict(to_timm(model))
    x = torch.randn(1, model.in_chans, 64, 64, generator=generator)
    y, y_other = model.forward_features(x), other.forward_features(x)
    if y.shape != y_other.shape or (y - y_other).abs().max() > 1e-4 * y.abs().max():
        return False
    y, y_other = model.forward_head(y), other.forward_head(y)
    return y.shape == y_other.shape and bool((y - y_other).abs().max() <= 1e-4 * y.abs().max())


def timm_architecture(model: nn.Module) -> Optional[str]:
    """Return the name under which timm itself has this very network, None if it has not.

    Names and shapes of the weights must agree and so must the outputs under random weights: a PaddleClas form, a
    stride in conv1 or another activation have the weights of a network of timm's, and are not it.
    """
    model = unwrapped(model)
    for name in _candidates(model):
        other = _create_timm(name, model, device='meta')
        if other is not None and _shapes(to_timm(model)) == _shapes(other.state_dict()) and _same_network(model, other):
            return name
    return None


def _pool(model: Any) -> str:
    pool = getattr(model.global_pool, 'pool_type', 'avg')
    return pool if isinstance(pool, str) else 'avg'


def _create_timm(name: str, model: Any, **kwargs) -> Optional[nn.Module]:
    arguments = dict(num_classes=model.num_classes, in_chans=model.in_chans)
    if _pool(model) != 'avg':
        arguments['global_pool'] = _pool(model)
    try:
        return timm.create_model(name, **arguments, **kwargs)
    except (TypeError, ValueError):  # an architecture with other arguments than ResNet's
        return None
