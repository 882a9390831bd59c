"""mmpretrain and mmdetection: `backbone.` before the network, `head.fc` for the classifier, another deep stem.

| deep stem | convolutions | norms |
| --- | --- | --- |
| mmpretrain | `stem.0.conv`, `stem.1.conv`, `stem.2.conv` | `stem.0.bn`, `stem.1.bn`, `stem.2.bn` |
| mmdetection | `stem.0`, `stem.3`, `stem.6` | `stem.1`, `stem.4`, `stem.7` |
"""
import re
from typing import Dict

from .layout import DEEP_STEM, Found, Layout, Renamed, rename_entries

_NUMBERED_STEM = {str(i): name for i, name in zip((0, 1, 3, 4, 6, 7), sum(DEEP_STEM, ()), strict=True)}


def _name(name: str) -> str:
    if match := re.fullmatch(r'stem\.([012])\.(conv|bn)\.(\w+)', name):
        number, part, entry = match.groups()
        return f'{DEEP_STEM[int(number)][part == "bn"]}.{entry}'
    match = re.fullmatch(r'stem\.([013467])\.(\w+)', name)
    return f'{_NUMBERED_STEM[match[1]]}.{match[2]}' if match else name


def _head(found: Found) -> Dict[str, str]:
    """Name of the classifier's entries beside the backbone -> ours."""
    head = f'{found.prefix.removesuffix("backbone.")}head.fc.'
    return {k: f'fc.{k.removeprefix(head)}' for k in found.beside if k.startswith(head)}


def _to_ours(found: Found) -> Renamed:
    head = _head(found)
    state = rename_entries({**found.state, **{head[k]: found.beside[k] for k in head}}, _name)
    return Renamed(state, used=tuple(head))


LAYOUT = Layout(
    'mmpretrain or mmdetection', 'layer1.0.conv1.weight',
    lambda found: found.prefix.endswith('backbone.') or bool(_head(found)) or any(
        k.startswith('stem.') for k in found.state),
    _to_ours)
