"""PaddleClas's .pdparams.

| ours | PaddleClas |
| --- | --- |
| `conv1`, `bn1`; deep stem | `conv1._conv`, `conv1._batch_norm`; `conv1_1` .. `conv1_3` |
| `layer{S}.{B}.conv1`, `.conv3`, `.downsample` | `bb_{S-1}_{B}.conv0`, `.conv2`, `.short` |
| `layer{S}.{B}.convs.{i}` | `bb_{S-1}_{B}.res.._branch2b_{i+1}` |
| `fc`, weight [out, in] | `out`, weight [in, out] |

Their networks compute something else in each stage's first block, see `first_block` of `BlockArguments`, and no name or
shape tells it.
"""
import re
from typing import Optional

from .layout import DEEP_STEM, Found, Layout, Renamed, rename_entries

_BLOCK = re.compile(r'bb_(\d+)_(\d+)\.(?:(conv0|conv2|short)|res\w+_branch2b_(\d+))\.(_conv|_batch_norm)\.(\w+)')
_STEM = re.compile(r'conv1(?:_([123]))?\.(_conv|_batch_norm)\.(\w+)')
_NORM = {'weight': 'weight', 'bias': 'bias', '_mean': 'running_mean', '_variance': 'running_var'}


def _name(name: str, deep: bool) -> Optional[str]:
    if name in ('out.weight', 'out.bias'):
        return name.replace('out', 'fc')
    if match := _STEM.fullmatch(name):
        number, kind, entry = match.groups()
        conv, bn = DEEP_STEM[int(number) - 1] if number else ('conv1', 'bn1')
    elif match := _BLOCK.fullmatch(name):
        stage, block, part, number, kind, entry = match.groups()
        first = 1 if deep else 0  # the pool of the vd shortcut comes before its projection
        conv, bn = {
            'conv0': ('conv1', 'bn1'),
            'conv2': ('conv3', 'bn3'),
            'short': (f'downsample.{first}', f'downsample.{first + 1}'),
            None: (f'convs.{int(number or 1) - 1}', f'bns.{int(number or 1) - 1}'),
        }[part]
        prefix = f'layer{int(stage) + 1}.{block}.'
        conv, bn = prefix + conv, prefix + bn
    else:
        return None
    if kind == '_conv':
        return f'{conv}.weight' if entry == 'weight' else None
    return f'{bn}.{_NORM[entry]}' if entry in _NORM else None


def _to_ours(found: Found) -> Renamed:
    deep = any(k.startswith('conv1_') for k in found.state)
    state = rename_entries(found.state, lambda name: _name(name, deep))
    if 'fc.weight' in state and state['fc.weight'].ndim == 2:
        state['fc.weight'] = state['fc.weight'].t().contiguous()
    return Renamed(state, implies=dict(first_block='paddle'))


LAYOUT = Layout(
    'PaddleClas', 'bb_0_0.conv0._conv.weight', lambda found: any('._batch_norm.' in k for k in found.state), _to_ours,
    trap='outputs would be off by up to 26%')
