"""What a file says of its own architecture, and what is taken for granted where it says nothing.

A folder's config.json and timm's training checkpoints name an architecture, of this package or of timm, and arguments
of it. They tell what no weight tells: the form of the first block, strides, activation, anti-aliasing, pooling.
"""
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

import timm

from ..model.cifar import Res2NetCifar
from ..model.dla import Res2NetDla
from ..model.layers import FACTORIES, resolve_layer
from ..model.variants import VARIANTS, variant_of
from .architecture import Architecture
from .checkpoint import Checkpoint, CheckpointError
from .matching import HEAD, RUNTIME, complete, in_weights, match_as, values, with_arguments
from .timm_equivalent import from_timm
from .words import network

_LONGEST = 150  # characters of a name
_AUTHORS = re.compile(r'\A(res2net\d+)_v1b(?:_26w_4s)?\Z')  # their names of what timm calls "d"
# arguments that only training knows
_TRAINING = ('drop_rate', 'drop_path_rate', 'drop_block_rate', 'zero_init_last')


def told(checkpoint: Checkpoint, found: Architecture) -> Optional[Tuple[str, Dict[str, Any]]]:
    """Variant and arguments, with the head that the weights have, as a file says; None if it names nothing known here.

    Raises:
        CheckpointError: It contradicts its own weights, its arguments cannot be used, or it names a network of timm's
            that computes something else than any of ours.
    """
    name, given = checkpoint.architecture, checkpoint.model_args
    variant = variant_of(_AUTHORS.sub(r'\1d', name))
    base = name.partition('.')[0]
    computing = [k for k in given if k not in (*RUNTIME, *HEAD, *_TRAINING)]
    same = base in VARIANTS or bool(variant) and issubclass(VARIANTS[variant].cls, Res2NetDla)
    if variant and (same or not computing):  # blocks of timm's Res2Net drop some of their arguments
        unknown = [k for k in given if k not in complete(VARIANTS[variant].cls, {}) and k not in (*RUNTIME, 'depth')]
        if not unknown:
            return variant, _as_told(found, variant, given)
        if base in VARIANTS:
            raise CheckpointError(
                f'what it says of its architecture cannot be used: {base} has no argument {unknown[0]!r}.')
    if ':' in name or not timm.is_model(base):
        return None
    return from_timm(base, {k: v for k, v in given.items() if k not in (*RUNTIME, *HEAD[:2])}, found)


def _as_told(found: Architecture, variant: str, given: Mapping[str, Any]) -> Dict[str, Any]:
    try:
        arguments = match_as(found, variant, given)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f'what it says of its architecture cannot be used: {error}') from error
    if arguments is None:
        raise CheckpointError(
            f'it says it is {network(variant, given)}, and its weights are of another network '
            f'({_differences(found, variant, given)}): give variant= to have them as something else.')
    return arguments


def _differences(found: Architecture, variant: str, given: Mapping[str, Any]) -> str:
    cls = VARIANTS[variant].cls
    arguments = with_arguments(variant, {k: v for k, v in given.items() if k not in (*RUNTIME, *HEAD)})
    if cls is not found.cls:
        return f'a {found.cls.__name__}'
    full, own = complete(cls, arguments), complete(cls, found.arguments)
    names = [k for k in (*in_weights(cls), *found.implied) if full[k] != own[k]] or ['base_width']
    return ', '.join(
        f'{k}={own[k]!r}' if k in found.arguments else f'another {k}' for k in dict.fromkeys(names))


def taken_for_granted(
        checkpoint: Checkpoint,
        found: Architecture,
        name: str,
        model_args: Mapping[str, Any],
        says: bool,
) -> List[str]:
    """What neither names and shapes nor the file tell, in words.

    Args:
        says: Whether the file itself has told `name` and `model_args`.
    """
    forms = [what for what in checkpoint.assumed if what.startswith('first_block=')]
    assumed = [what for what in checkpoint.assumed if not says or what not in forms]
    if not says and checkpoint.architecture:
        assumed.append(
            f'what has no weights (strides, activation) to be as in {name}: it was trained as '
            f'{checkpoint.architecture[:_LONGEST]}, which is not here; load that, or give variant= and arguments')
    elif not says and not checkpoint.implies and not forms:
        stride = ''
        if found.cls is Res2NetCifar:
            full = complete(*VARIANTS[name][:2])
            stride = f', stem_stride={model_args.get("stem_stride", full["stem_stride"])}'
        assumed.append(f'first block, strides, activation, pooling as in {name}{stride}: no weight tells them')
    if found.arguments.get('norm_layer') and 'norm_layer' not in checkpoint.model_args and not says:
        assumed.append('a group norm, as nothing but the absence of running statistics tells: give norm_layer=')
    return assumed


def contradictions(name: str, arguments: Mapping[str, Any], model: Any, with_head: bool) -> List[str]:
    """Where a model computes something else than what a file says of itself, in words with both sides.

    Weights may be used dilated (`output_stride`) that were trained with strides: only dilation that the file names has
    to be the model's.

    Args:
        name, arguments: What `told` gives.
        with_head: The file's classifier is used too, not a new one.
    """
    cls = VARIANTS[name].cls
    if not isinstance(model, cls):
        return []  # names and shapes tell
    theirs = complete(cls, with_arguments(name, arguments))
    ours = values(model.arguments)
    told_by_weights = {*in_weights(cls), 'base_width'} - {'first_block', 'norm_layer'}
    ignored = {*told_by_weights, *HEAD[:2], *_TRAINING}
    if not with_head:
        ignored.add('global_pool')
    if not dilates(name, arguments):
        ignored |= {'output_stride', 'exact_dilation'}
    if theirs['scale'] == 1:
        ignored.add('first_block')
    return [
        f'it says {k}={theirs[k]!r}, the model has {k}={ours[k]!r}' for k in theirs
        if k not in ignored and _same(k, theirs[k]) != _same(k, ours[k])]


def dilates(name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a variant with these arguments has dilation in place of strides."""
    cls, full = VARIANTS[name].cls, with_arguments(name, arguments)
    plain = complete(cls, {k: v for k, v in full.items() if k != 'output_stride'})
    return complete(cls, full)['output_stride'] != plain['output_stride']


def _same(name: str, value: Any) -> Any:
    """A value in one spelling."""
    if name not in FACTORIES:
        return tuple(value) if isinstance(value, list) else value
    layer = resolve_layer(name, value)
    frozen = resolve_layer('norm_layer', 'frozenbatchnorm2d')
    return resolve_layer('norm_layer', 'batchnorm2d') if layer is frozen else layer
