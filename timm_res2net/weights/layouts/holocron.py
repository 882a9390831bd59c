"""Holocron: one `features` sequence of stem and stages, `head` for the classifier. The network is the authors'."""
from .layout import Found, Layout, Renamed, State, rename_entries
from .names import Names, deep_stem, in_blocks

_BLOCKS = in_blocks(
    'features.{stage}.{block}.',
    ('conv.0.', 'conv1.'), ('conv.1.', 'bn1.'),
    ('conv.3.conv.{group}.0.', 'convs.{group}.'), ('conv.3.conv.{group}.1.', 'bns.{group}.'),
    ('conv.4.', 'conv3.'), ('conv.5.', 'bn3.'),
    ('downsample.', 'downsample.'))
_HEAD = ('head.', 'fc.')
_PLAIN = Names((*_BLOCKS, ('features.0.', 'conv1.'), ('features.1.', 'bn1.'), _HEAD), first=(4, 0, 0))
_DEEP = Names((*_BLOCKS, *deep_stem(*(f'features.{i}.' for i in (0, 1, 3, 4, 6, 7))), _HEAD), first=(10, 0, 0))
_FIRST_GROUP = '0.conv.3.conv.0.0.weight'  # of a stage


def _to_ours(found: Found) -> Renamed:
    names = _PLAIN if f'features.4.{_FIRST_GROUP}' in found.state else _DEEP
    return Renamed(rename_entries(found.state, names.to_ours), implies=dict(first_block='parallel'))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names."""
    return rename_entries(state, (_DEEP if 'conv1.0.weight' in state else _PLAIN).from_ours)


LAYOUT = Layout(
    'Holocron', 'features.0.weight',
    lambda found: any(f'features.{n}.{_FIRST_GROUP}' in found.state for n in (4, 10)), _to_ours,
    trap='outputs would be off by up to 26%')
