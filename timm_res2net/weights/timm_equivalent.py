"""The same network in timm and here: under timm's own names, as timm's own architecture.

    to_timm(model)                     state dict under timm's names
    timm_architecture(model)           'res2net50_26w_4s', or None if timm has no such network
    from_timm('resnetaa50', {}, ...)   variant and arguments of ours that are timm's network
"""
import dataclasses
from typing import Any, Dict, Mapping, Optional, Tuple, cast

import timm
import torch
from timm.models import model_entrypoint
from torch import nn

from ..model.layers import layer_name
from ..model.variants import VARIANTS
from ..model.wrappers import unwrapped
from .architecture import Architecture, read_architecture
from .checkpoint import Checkpoint, CheckpointError, shapes_of
from .comparing import agree, copied, randomize, undisturbed
from .layouts import rename, resnet, with_counters
from .matching import complete, match
from .words import network

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
    state = with_counters(model.state_dict())  # frozen norms have none
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


@torch.no_grad()
def same_network(model: Any, other: Any) -> bool:
    """Compare outputs under random weights, which tell what shapes do not: strides, pools, activations, epsilons.

    Weights of our own making, since those of the model may hide a difference (a zeroed last norm hides its block).
    """
    model = randomize(copied(model))
    other.eval().load_state_dict(to_timm(model))
    x = torch.randn(1, model.in_chans, 64, 64, generator=torch.Generator().manual_seed(0))
    y = model.forward_features(x)
    return agree(other.forward_features(x), y, 1e-4) and agree(other.forward_head(y), model.forward_head(y), 1e-4)


@undisturbed()
def timm_architecture(model: nn.Module) -> Optional[str]:
    """Return the name under which timm itself has this very network, None if it has not.

    Names and shapes of the weights must agree and so must the outputs under random weights: a PaddleClas form, a
    stride in conv1 or another activation have the weights of a network of timm's, and are not it.
    """
    model = unwrapped(model)
    for name in _candidates(model):
        other = _create_timm(name, model, device='meta')
        if other is not None and shapes_of(to_timm(model)) == shapes_of(other.state_dict()) and same_network(
                model, _create_timm(name, model)):
            return name
    return None


def pool_name(model: Any) -> str:
    pool = getattr(model.global_pool, 'pool_type', 'avg')
    return pool if isinstance(pool, str) else 'avg'


def _create_timm(name: str, model: Any, **kwargs) -> Optional[nn.Module]:
    arguments = dict(num_classes=model.num_classes, in_chans=model.in_chans)
    if pool_name(model) != 'avg':
        arguments['global_pool'] = pool_name(model)
    try:
        return timm.create_model(name, **arguments, **kwargs)
    except (TypeError, ValueError):  # an architecture with other arguments than ResNet's
        return None


@undisturbed()
def from_timm(name: str, arguments: Mapping[str, Any], found: Architecture) -> Tuple[str, Dict[str, Any]]:
    """Variant and arguments of ours that compute what a network of timm's computes.

    Names and shapes tell most of it; activation, anti-aliasing, pooling and dilation are read off timm's network, and
    what this leaves open shows in the outputs, which are compared under random weights.

    Args:
        name: Architecture of timm.
        arguments: All but those of the head.
        found: What was read off the weights.

    Raises:
        CheckpointError: timm cannot build it, its weights are not those of the file, or there is no such network here.
    """
    shown = f"timm's {network(name, arguments)}"
    refused = CheckpointError(
        f'it says it is {shown}, which computes something that no network of this package does: load it with timm.')
    if not model_entrypoint(name).__module__.endswith(('.resnet', '.res2net')):
        raise refused
    given = {**arguments, **dict(arguments.get('block_args') or {})}
    for size in ('layers', 'channels', 'scale'):  # before anything of that size is built
        has = found.arguments.get(size)
        if size in given and given[size] not in (has, list(has) if isinstance(has, tuple) else has):
            raise CheckpointError(f'it says it is {shown}, and its weights have {size}={has}.')
    head = {k: found.arguments[k] for k in ('num_classes', 'in_chans')}
    try:
        theirs: Any = timm.create_model(name, device='meta', **head, **arguments)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise CheckpointError(f'it says it is {shown}, which timm cannot build: {error}') from error
    if not isinstance(theirs, timm.models.ResNet):
        raise refused
    told = untold(theirs, 'norm_layer' in found.arguments)
    if arguments.get('aa_layer') and arguments.get('replace_stem_pool') and not told['aa_layer']:
        raise refused  # blocks of timm's Res2Net drop it, its stem does not
    try:
        variant, ours = match(dataclasses.replace(found, arguments={**found.arguments, **told}))
        full = complete(VARIANTS[variant].cls, VARIANTS[variant].arguments)
        ours = {**{k: v for k, v in ours.items() if k not in told}, **{k: v for k, v in told.items() if v != full[k]}}
        model: Any = timm.create_model(variant, device='meta', **ours)
    except (CheckpointError, TypeError, ValueError):
        raise refused from None
    if shapes_of(to_timm(model)) != shapes_of(theirs.state_dict()):
        raise CheckpointError(f'it says it is {shown}, and its weights are of another network ({variant}).')
    if not same_network(timm.create_model(variant, **ours), timm.create_model(name, **head, **arguments)):
        raise refused
    return variant, ours


def untold(theirs: Any, has_other_norm: bool = False) -> Dict[str, Any]:
    """Arguments of a ResNet of timm's that no weight tells."""
    aa = getattr(theirs.layer2[0], 'aa', None)
    blur = 'blurpc' if getattr(aa, 'pad_mode', '') == 'constant' else layer_name('aa_layer', type(aa))
    told = dict(
        act_layer=layer_name('act_layer', type(theirs.act1)),
        aa_layer=None if aa is None or isinstance(aa, nn.Identity) else blur,
        global_pool=pool_name(theirs) if isinstance(theirs.global_pool, nn.Module) else 'avg',
        output_stride=theirs.feature_info[-1]['reduction'],
    )
    return {**told, 'norm_layer': layer_name('norm_layer', type(theirs.bn1))} if has_other_norm else told
