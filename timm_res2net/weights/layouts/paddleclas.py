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

from .layout import Found, Layout, Renamed, State, rename_entries, without_counters
from .names import PADDLE_NORM, Names, Pairs, deep_stem, in_blocks

_OUTSIDE = ('conv1._conv.', 'conv1.'), ('conv1._batch_norm.', 'bn1.')
_OUTSIDE_VD = deep_stem(*(f'conv1_{i}.{layer}.' for i in (1, 2, 3) for layer in ('_conv', '_batch_norm')))
_LONG_NAME = re.compile(r'^(bb_\d+_\d+\.)res\w+_(branch2b_)')  # which has the stage and the block twice


def _names(outside: Pairs, projection: int) -> Names:
    """The names of a network.

    Args:
        outside: Those of the stem.
        projection: Place of the shortcut's convolution: the pool of vd comes before it.
    """
    blocks = in_blocks(
        'bb_{stage}_{block}.',
        ('conv0._conv.', 'conv1.'), ('conv0._batch_norm.', 'bn1.'),
        ('branch2b_{group}._conv.', 'convs.{group}.'), ('branch2b_{group}._batch_norm.', 'bns.{group}.'),
        ('conv2._conv.', 'conv3.'), ('conv2._batch_norm.', 'bn3.'),
        ('short._conv.', f'downsample.{projection}.'), ('short._batch_norm.', f'downsample.{projection + 1}.'))
    return Names((*blocks, *outside, ('out.', 'fc.')), first=(0, 0, 1), entries=PADDLE_NORM)


_PLAIN, _VD = _names(_OUTSIDE, 0), _names(_OUTSIDE_VD, 1)


def _with_transposed_classifier(state: State) -> State:
    weight = state.get('fc.weight')
    return state if weight is None or weight.ndim != 2 else {**state, 'fc.weight': weight.t().contiguous()}


def _to_ours(found: Found) -> Renamed:
    names = _VD if any(k.startswith('conv1_') for k in found.state) else _PLAIN
    state = rename_entries(found.state, lambda name: names.to_ours(_LONG_NAME.sub(r'\1\2', name)))
    return Renamed(_with_transposed_classifier(state), implies=dict(first_block='paddle'))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names, without the counters of norms."""
    names = _VD if 'conv1.0.weight' in state else _PLAIN
    blocks = 1 + max(int(m[1]) for k in state if (m := re.match(r'layer3\.(\d+)\.', k)))

    def long_name(match: re.Match) -> str:
        stage, block = int(match[1]), int(match[2])
        # the 50 layers of ResNet end with a letter a block, deeper ones number the many blocks of their third stage
        end = chr(ord('a') + block) if stage != 2 or blocks <= 6 or block == 0 else f'b{block}'
        return f'{match[0]}res{stage + 2}{end}_'

    def name(ours: str) -> str:
        return re.sub(r'^bb_(\d+)_(\d+)\.(?=branch2b_)', long_name, names.from_ours(ours) or ours)

    return rename_entries(_with_transposed_classifier(without_counters(state)), name)


LAYOUT = Layout(
    'PaddleClas', 'bb_0_0.conv0._conv.weight', lambda found: any('._batch_norm.' in k for k in found.state), _to_ours,
    trap='outputs would be off by up to 26%')
