"""mmpretrain: `backbone.` before the network, `head.fc` for the classifier, a deep stem of named layers.

The network is the authors'. mmdetection's, under nearly the same names, is another one: see `mmdetection`.
"""
from typing import Dict

from .layout import Found, Layout, Renamed, State, rename_entries
from .names import Names

_DEEP_STEM = Names((
    ('stem.0.conv.', 'conv1.0.'), ('stem.0.bn.', 'conv1.1.'),
    ('stem.1.conv.', 'conv1.3.'), ('stem.1.bn.', 'conv1.4.'),
    ('stem.2.conv.', 'conv1.6.'), ('stem.2.bn.', 'bn1.'),
))


def head(found: Found) -> Dict[str, str]:
    """Name of the classifier's entries beside the backbone -> ours."""
    prefix = f'{found.prefix.removesuffix("backbone.")}head.fc.'
    return {k: f'fc.{k.removeprefix(prefix)}' for k in found.beside if k.startswith(prefix)}


def has_groups(state: State) -> bool:
    """Whether it is a Res2Net, under our names, and not a ResNet, which has no forms of the first block."""
    return any('.convs.' in k for k in state)


def _to_ours(found: Found) -> Renamed:
    classifier = head(found)
    state = rename_entries(
        {**found.state, **{new: found.beside[k] for k, new in classifier.items()}}, _DEEP_STEM.to_ours)
    return Renamed(state, used=tuple(classifier), implies=dict(first_block='parallel') if has_groups(state) else {})


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names."""
    if 'conv1.0.weight' in state:
        state = rename_entries(state, _DEEP_STEM.from_ours)
    return {f'head.{k}' if k.startswith('fc.') else f'backbone.{k}': v for k, v in state.items()}


LAYOUT = Layout(
    'mmpretrain', 'layer1.0.conv1.weight',
    lambda found: 'stem.0.conv.weight' in found.state or bool(head(found)) and 'stem.0.weight' not in found.state,
    _to_ours, trap='outputs would be off by up to 26%')
