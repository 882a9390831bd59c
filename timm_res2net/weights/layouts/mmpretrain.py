"""mmpretrain: `backbone.` before the network, `head.fc` for the classifier, a deep stem of named layers.

The network is the authors'. mmdetection's, under nearly the same names, is another one: see `mmdetection`. Without a
deep stem the names are also those of anybody's module with a `backbone` and a `head`: then nothing is implied.
"""
from typing import Dict, Tuple

from ..checkpoint import CheckpointError
from .layout import STRIDED, Found, Layout, Renamed, State, rename_entries
from .names import Names, deep_stem

_DEEP_STEM = Names(deep_stem(*(f'stem.{i}.{layer}.' for i in range(3) for layer in ('conv', 'bn'))))


def _head(found: Found) -> Dict[str, str]:
    """Name of the classifier's entries beside the backbone -> ours."""
    prefix = f'{found.prefix.removesuffix("backbone.")}head.fc.'
    return {k: f'fc.{k.removeprefix(prefix)}' for k in found.beside if k.startswith(prefix)}


def renamed_with_head(found: Found, stem: Names) -> Tuple[State, Tuple[str, ...]]:
    """The network with the classifier beside it, under our names, and the whole names of that."""
    head = _head(found)
    if head and 'fc.weight' in found.state:
        raise CheckpointError(f'it has two classifiers, {found.prefix}fc and {next(iter(head)).rpartition(".")[0]}.')
    return rename_entries(
        {**found.state, **{new: found.beside[k] for k, new in head.items()}}, stem.to_ours), tuple(head)


def has_groups(state: State) -> bool:
    """Whether it is a Res2Net, under our names, and not a ResNet, which has no forms of the first block."""
    return any('.convs.' in k for k in state)


def is_detector(found: Found) -> bool:
    """Whether necks and heads of a detector or a segmentor lie beside the backbone."""
    start = found.prefix.removesuffix('backbone.')
    parts = {k[len(start):].partition('.')[0] for k in found.beside if k.startswith(start)}
    return any(part == 'neck' or part.endswith('_head') for part in parts)


def _to_ours(found: Found) -> Renamed:
    state, head = renamed_with_head(found, _DEEP_STEM)
    own = 'stem.0.conv.weight' in found.state and has_groups(state)
    return Renamed(
        state, used=head, implies=dict(first_block='parallel') if own else {},
        assumed=(STRIDED,) if own and is_detector(found) else ())


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names."""
    if 'conv1.0.weight' in state:
        state = rename_entries(state, _DEEP_STEM.from_ours)
    return {f'head.{k}' if k.startswith('fc.') else f'backbone.{k}': v for k, v in state.items()}


LAYOUT = Layout(
    'mmpretrain', 'layer1.0.conv1.weight',
    lambda found: 'stem.0.conv.weight' in found.state or 'conv1.weight' in found.state and bool(_head(found)),
    _to_ours, trap='outputs would be off by up to 26%')
