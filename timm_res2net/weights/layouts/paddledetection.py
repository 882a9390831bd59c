"""PaddleDetection's .pdparams: `backbone.` before the network of a detector, `res1` the stem.

The first blocks are PaddleClas's. Its variant 'd' is the deep stem alone: the shortcut has its stride in the 1x1
convolution, also under weights that PaddleClas trained with an average pool there.
"""
from .layout import Found, Layout, Renamed, State, rename_entries, without_counters, without_head
from .names import PADDLE_NORM, Names, deep_stem, in_blocks

_BLOCKS = in_blocks(
    'res{stage}.blocks.{block}.',
    ('branch2a.conv.', 'conv1.'), ('branch2a.norm.', 'bn1.'),
    ('branch2b.{group}.conv.', 'convs.{group}.'), ('branch2b.{group}.norm.', 'bns.{group}.'),
    ('branch2c.conv.', 'conv3.'), ('branch2c.norm.', 'bn3.'),
    ('branch1.conv.', 'downsample.0.'), ('branch1.norm.', 'downsample.1.'))
_PLAIN = Names(
    (('res1.conv1.conv.', 'conv1.'), ('res1.conv1.norm.', 'bn1.'), *_BLOCKS), first=(2, 0, 0), entries=PADDLE_NORM)
_DEEP = Names((
    *deep_stem(*(f'res1.conv1_{i}.{layer}.' for i in (1, 2, 3) for layer in ('conv', 'norm'))), *_BLOCKS,
), first=(2, 0, 0), entries=PADDLE_NORM)


def _to_ours(found: Found) -> Renamed:
    names = _DEEP if 'res1.conv1_1.conv.weight' in found.state else _PLAIN
    return Renamed(rename_entries(found.state, names.to_ours), implies=dict(first_block='paddle'))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names: without the counters of norms and the classifier."""
    names = _DEEP if 'conv1.0.weight' in state else _PLAIN
    return rename_entries(without_counters(without_head(state)), names.from_ours)


LAYOUT = Layout(
    'PaddleDetection', 'res2.blocks.0.branch2a.conv.weight',
    lambda found: 'res2.blocks.0.branch2b.0.conv.weight' in found.state, _to_ours,
    trap='outputs would be off by up to 26%')
