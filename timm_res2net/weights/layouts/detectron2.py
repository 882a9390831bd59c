"""Res2Net-detectron2, the authors' own detectors: `backbone.bottom_up.` before the network, always v1b.

Its blocks have the stride in conv1 and no additions in the first of a stage, whose identity group is not pooled either.
The ImageNet weights that its detectors start from have its names, with the classifier as `stem.fc`, and are the
authors' network, as they were trained.
"""
from .layout import STRIDED, Found, Layout, Renamed, State, rename_entries, without_counters, without_head
from .names import Names, in_blocks

_NAMES = Names((
    ('stem.conv1.', 'conv1.'),
    ('stem.bn1.', 'bn1.'),
    ('stem.fc.', 'fc.'),
    ('linear.', 'fc.'),
    *in_blocks(
        'res{stage}.{block}.',
        ('conv1.norm.', 'bn1.'), ('conv3.norm.', 'bn3.'),
        ('shortcut.1.norm.', 'downsample.2.'), ('shortcut.1.', 'downsample.1.'),
        ('', '')),
), first=(2, 0, 0))


def _to_ours(found: Found) -> Renamed:
    as_trained = any(k.startswith('stem.fc.') for k in found.state)
    implies = dict(first_block='parallel', stride_position='split') if as_trained else dict(
        first_block='strided_pool', stride_position='conv1')
    return Renamed(
        rename_entries(found.state, _NAMES.to_ours), implies=implies, assumed=() if as_trained else (STRIDED,))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names: without the counters of norms and the classifier."""
    return rename_entries(without_counters(without_head(state)), _NAMES.from_ours)


LAYOUT = Layout(
    'Res2Net-detectron2', 'res2.0.convs.0.weight', lambda found: 'res2.0.convs.0.weight' in found.state, _to_ours,
    trap='outputs would be off by up to 13%')
