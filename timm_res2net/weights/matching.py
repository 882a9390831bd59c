"""Which registered variant a network is, and in which arguments it differs from it."""
import dataclasses
import inspect
import math
from fractions import Fraction
from functools import cache
from typing import Any, Dict, List, Mapping, Optional, Tuple, Type

import timm
from timm.models import build_model_with_cfg

from ..model.arguments import check_width
from ..model.block_arguments import declared
from ..model.blocks import Res2NetDlaBottleneck
from ..model.dla import Res2NetDla
from ..model.layers import FACTORIES, layer_name, resolve_layer
from ..model.network_arguments import NetworkArguments
from ..model.networks import Network, Res2Net
from ..model.variants import FREE_FORM, VARIANTS
from .architecture import ATTENTION, Architecture, squeezes_by
from .checkpoint import Checkpoint, CheckpointError

HEAD = ('num_classes', 'in_chans', 'global_pool')  # how a variant is used, not what it is
# arguments of timm's that say where a model lives or how it is loaded or wrapped, not what it is
RUNTIME = {
    *inspect.signature(timm.create_model).parameters, *inspect.signature(build_model_with_cfg).parameters,
    'device', 'dtype', 'features_only', 'out_indices', 'feature_cls', 'pretrained_model_args'}
# what may be built before it is found not to fit: a few of the usual variants, a few blocks more than a file has
_OTHERS, _GROUPS = 32e6, 2000
_UNTOLD = 300e6  # parameters of four of the largest variant


def values(args: NetworkArguments) -> Dict[str, Any]:
    """Name -> value of all arguments, without `depth`, which `layers` says."""
    return {f.name: getattr(args, f.name) for f in dataclasses.fields(args) if f.name != 'depth'}


def complete(cls: Type[Network], arguments: Mapping[str, Any]) -> Dict[str, Any]:
    """All arguments of a network, checked, defaults filled in, in one spelling.

    Raises:
        TypeError, ValueError: As the class.
    """
    full = values(declared(cls.Arguments, cls.__name__, arguments))
    for name in FACTORIES:
        if isinstance(full.get(name), str):
            full[name] = _spelled(name, full[name])
    if full['attn_layer'] == 'se' and full['rd_ratio'] is None:
        full['rd_ratio'] = 1 / 16
    if not full['attn_layer']:
        full['attn_position'] = 'output'
    return full


@cache
def _spelled(name: str, layer: str) -> str:
    """The one spelling of a layer's name of which timm takes several."""
    named = layer_name(name, resolve_layer(name, layer))
    return named if isinstance(named, str) else layer


def in_weights(cls: Type[Network]) -> Tuple[str, ...]:
    """Names of the arguments that names and shapes of weights tell, without `base_width` and those of `HEAD`."""
    fields = dataclasses.fields(cls.Arguments)
    return tuple(
        f.name for f in fields if f.metadata['in_weights'] and f.name not in (*HEAD, 'base_width', 'depth'))


def _divisor(found: Architecture) -> int:
    """By what the blocks divide the width of a group that `check_width` gives."""
    return Res2NetDlaBottleneck.expansion if found.cls is Res2NetDla else 1


def fits(found: Architecture, base_width: float) -> bool:
    """Whether `base_width` gives the widths of the file."""
    try:
        widths = [
            check_width(p, base_width, found.arguments['cardinality']) // _divisor(found) for p in found.planes]
    except ValueError:
        return False
    return tuple(widths) == found.widths


def smallest_base_width(found: Architecture) -> float:
    """The smallest `base_width` that gives the widths of the file, an integer if there is one."""
    c, divisor = found.arguments['cardinality'], _divisor(found)
    low = max(Fraction(64 * -(-w * divisor // c), p) for p, w in zip(found.planes, found.widths, strict=True))
    for value in (math.ceil(low), float(low), math.nextafter(float(low), math.inf)):
        if fits(found, value):
            return value
    raise CheckpointError(
        f'its group widths {found.widths} at {found.planes} planes are not floor(planes * base_width / 64) * {c} '
        'for any base_width.')


def matches(
        found: Architecture,
        cls: Type[Network],
        arguments: Mapping[str, Any],
        visible_only: bool = False,
) -> bool:
    """Whether a network with these arguments has the weights of the file.

    Args:
        visible_only: Accept any first-block form with the right number of convolutions, and any norm of the right kind.
    """
    if cls is not found.cls:
        return False
    full, own = complete(cls, arguments), complete(cls, found.arguments)
    if visible_only:
        if any(full[k] != own[k] for k in found.implied):
            return False
        for args in (full, own):
            # one group is convolved in every form
            args['first_block'] = args['scale'] > 1 and args['first_block'] == 'parallel_conv'
            args['norm_layer'] = args.get('norm_layer') in ('batchnorm2d', 'frozenbatchnorm2d')
        if found.squeezes and full['attn_layer'] == 'se' and squeezes_by(full['rd_ratio'], found.squeezes):
            own['rd_ratio'] = full['rd_ratio']
    return all(full[k] == own[k] for k in {*in_weights(cls), *found.implied}) and fits(found, full['base_width'])


def check_size(cls: Type[Network], arguments: Mapping[str, Any], checkpoint: Optional[Checkpoint] = None) -> None:
    """Refuse arguments that would build far more than a file has weights for, before anything is built of them.

    What is only another network is for the check to tell, weight by weight.

    Args:
        cls, arguments: Of the network.
        checkpoint: The file; None where there are only arguments, which then may ask for a few of the largest variants.

    Raises:
        CheckpointError: They would.
        TypeError, ValueError: As the class.
    """
    full = complete(cls, {k: v for k, v in arguments.items() if k not in RUNTIME})
    try:
        parameters, groups = _size(cls, full)
    except OverflowError:
        parameters = groups = math.inf
    asked = f'about {parameters:.2g} numbers in {groups:.2g} groups of blocks'
    if checkpoint is None:
        if parameters > _UNTOLD or groups > _GROUPS:
            raise CheckpointError(f'nothing was built: it asks for {asked}, and there are no weights that show it.')
    elif parameters > 4 * checkpoint.num_parameters + _OTHERS or groups > 4 * len(checkpoint.state) + _GROUPS:
        raise CheckpointError(
            f'its weights do not fit, nothing was built: it holds {checkpoint.num_parameters:,} numbers in '
            f'{len(checkpoint.state):,} entries, the network that is asked for has {asked}.')


def _size(cls: Type[Network], full: Mapping[str, Any]) -> Tuple[float, float]:
    """About how many parameters a network has, within a small factor, and how many groups its blocks have in all.

    Args:
        full: As `complete` gives it.
    """
    if cls is Res2NetDla:
        expansion, planes, blocks = 1, full['channels'][2:], [2. ** min(n, 99) for n in full['levels'][2:]]
        stem, stem_convs = max(full['channels'][:2]), sum(full['levels'][:2])
    else:
        expansion, planes, blocks = 4, full['channels'], full['layers']
        stem, stem_convs = full['stem_width'], 2
    outputs = [float(expansion * p) for p in planes]
    parameters = full['num_classes'] * outputs[-1] + stem * (49. * full['in_chans'] + 9. * stem * stem_convs)
    before = float(stem)
    for p, out, n in zip(planes, outputs, blocks, strict=True):
        width = p * full['base_width'] / 64 * full['cardinality']
        parameters += before * out * float(full.get('down_kernel_size', 1)) ** 2
        parameters += n * full['scale'] * width * (2 * out + 9 * width / full['cardinality'])
        if full['attn_layer']:
            parameters += n * 2 * max(out, full['scale'] * width) ** 2 * (full['rd_ratio'] or 1)
        before = out
    return parameters, sum(blocks) * float(full['scale']) + stem_convs


def differing(found: Architecture, arguments: Mapping[str, Any]) -> Dict[str, Any]:
    """What makes a network of the found class with these arguments the one of the file.

    What has no weights stays as it is if the channels are the same, else it is the class's default.
    """
    full, own = complete(found.cls, arguments), complete(found.cls, found.arguments)
    if full['channels'] == own['channels']:
        told = {*in_weights(found.cls), *HEAD, *found.implied}
        own.update({k: v for k, v in full.items() if k not in told})
    if 'first_block' not in found.implied and 'parallel_conv' not in (full['first_block'], own['first_block']):
        own['first_block'] = full['first_block']
    result = {k: v for k, v in own.items() if k != 'base_width' and v != full[k]}
    if 'stride_position' in result:  # which the default of the other hangs on
        result['first_block'] = own['first_block']
    if 'stem_type' in result and 'stem_width' not in {**arguments, **result}:  # its default, too
        stem = complete(found.cls, {'stem_type': own['stem_type']})
        result.update({k: own[k] for k in ('stem_width',) if own[k] != stem[k]})
    if not fits(found, full['base_width']):
        result['base_width'] = smallest_base_width(found)
    return result


def match(found: Architecture) -> Tuple[str, Dict[str, Any]]:
    """The registered variant of a recognised network, and the arguments in which it differs from the variant.

    Raises:
        CheckpointError: No arguments make such a network.
    """
    names = sorted(VARIANTS, key=lambda name: name == FREE_FORM)
    implied = {k: found.arguments[k] for k in found.implied}
    candidates: List[Tuple[str, Dict[str, Any]]] = []
    for given in ({}, implied):
        for name in names:
            cls, arguments = VARIANTS[name][:2]
            if matches(found, cls, {**arguments, **given}):
                return name, differing(found, arguments)
            if cls is found.cls and (name == FREE_FORM or cls is not Res2Net):
                candidates.append((name, arguments))
    return min(((n, differing(found, a)) for n, a in candidates), key=lambda candidate: len(candidate[1]))


def match_as(found: Architecture, name: str, given: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """The arguments of a variant that a file gives of itself, with the head that its weights have.

    Returns:
        The arguments in which the network differs from the variant; None where names and shapes contradict them.

    Raises:
        TypeError, ValueError: The variant cannot have such arguments.
    """
    cls, defaults = VARIANTS[name][:2]
    known = complete(cls, {})
    given = {k: v for k, v in given.items() if k not in RUNTIME}
    given['num_classes'] = found.arguments['num_classes']  # a pool may be impossible with the variant's
    arguments = with_arguments(name, given)
    full = complete(cls, arguments)
    if 'norm_layer' in found.arguments and full['norm_layer'] != 'batchnorm2d':  # which one the weights do not tell
        found = dataclasses.replace(found, arguments={**found.arguments, 'norm_layer': full['norm_layer']})
    if full['attn_layer'] and full['attn_layer'] not in ATTENTION.values():  # the check, weight by weight, will tell
        attention = {k: full[k] for k in ('attn_layer', 'rd_ratio', 'attn_position')}
        found = dataclasses.replace(found, arguments={**found.arguments, **attention}, squeezes=())
    if not matches(found, cls, arguments, visible_only=True):
        return None
    head = {k: v for k, v in complete(cls, found.arguments).items() if k in HEAD}
    given = {k: v for k, v in given.items() if k not in HEAD or k == 'global_pool'}
    told = {**known, **defaults, **given}
    doubles = told['global_pool'].endswith('catavgmax')  # which only a classifier shows, and not which of two
    if doubles == ('global_pool' in found.arguments) or not found.arguments['num_classes']:
        head.pop('global_pool')
    return {**given, **{k: v for k, v in head.items() if v != told[k]}}


def with_arguments(name: str, given: Mapping[str, Any]) -> Dict[str, Any]:
    """The arguments of a variant with those of a caller, which win."""
    defaults = VARIANTS[name].arguments
    if 'layers' in given or 'depth' in given:  # two ways to say one thing
        defaults = {k: v for k, v in defaults.items() if k not in ('layers', 'depth')}
    if given.get('attn_layer', defaults.get('attn_layer')) not in (True, defaults.get('attn_layer')):
        defaults = {k: v for k, v in defaults.items() if k != 'rd_ratio'}  # of the attention that it has not
    if given.get('stem_type') == '':
        defaults = {k: v for k, v in defaults.items() if k != 'stem_width'}
    return {**defaults, **given}
