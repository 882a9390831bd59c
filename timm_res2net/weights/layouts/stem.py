"""A module or a sequence called `stem` around the first layers: people put conv1, bn1, activation and pool into one."""
from .layout import Layout, Renamed, rename_entries
from .names import Names

_STEM = Names((('stem.conv1.', 'conv1.'), ('stem.bn1.', 'bn1.'), ('stem.0.', 'conv1.'), ('stem.1.', 'bn1.')))
_FIRST = {'stem.conv1.weight', 'stem.conv1.0.weight', 'stem.0.weight', 'stem.0.0.weight'}

LAYOUT = Layout(
    '', 'layer1.0.conv1.weight', lambda found: not _FIRST.isdisjoint(found.state),
    lambda found: Renamed(rename_entries(found.state, _STEM.to_ours)))
