"""mmpretrain and mmdetection: `backbone.` before the network, `head.fc` for the classifier, another deep stem.

| deep stem | convolutions | norms |
| --- | --- | --- |
| mmpretrain | `stem.0.conv`, `stem.1.conv`, `stem.2.conv` | `stem.0.bn`, `stem.1.bn`, `stem.2.bn` |
| mmdetection | `stem.0`, `stem.3`, `stem.6` | `stem.1`, `stem.4`, `stem.7` |
"""
import re
from typing import List, Tuple

from .layout import DEEP_STEM, Layout, State, rename_entries

_BACKBONE = 'backbone.'
_NUMBERED_STEM = {str(i): name for i, name in zip((0, 1, 3, 4, 6, 7), sum(DEEP_STEM, ()), strict=True)}


def _name(name: str) -> str:
    if name.startswith('head.fc.'):
        return name[len('head.'):]
    name = name.removeprefix(_BACKBONE)
    if match := re.fullmatch(r'stem\.([012])\.(conv|bn)\.(\w+)', name):
        number, part, entry = match.groups()
        return f'{DEEP_STEM[int(number)][part == "bn"]}.{entry}'
    match = re.fullmatch(r'stem\.([013467])\.(\w+)', name)
    return f'{_NUMBERED_STEM[match[1]]}.{match[2]}' if match else name


def _to_ours(state: State) -> Tuple[State, List[str]]:
    left_out = []
    if any(k.startswith(_BACKBONE) for k in state):
        network = {k: v for k, v in state.items() if k.startswith((_BACKBONE, 'head.fc.'))}
        others = sorted({k.partition('.')[0] for k in state if k not in network})
        if others:
            left_out.append('parts outside the backbone: ' + ', '.join(others[:6]))
        state = network
    return rename_entries(state, _name), left_out


LAYOUT = Layout(
    'mmpretrain or mmdetection', lambda state: any(k.startswith((_BACKBONE, 'stem.', 'head.fc.')) for k in state),
    _to_ours)
