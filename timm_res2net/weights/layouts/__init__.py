"""The names of weights in other projects -> ours. Tensors are not touched, but for one transposition.

| layout | sign | differs from ours in |
| --- | --- | --- |
| official, timm | `layer1.0.convs.0.weight` | nothing; official DLA also has unused `project` layers |
| ResNet, ResNeXt (torchvision, timm) | `layer1.0.conv2.weight` | `conv2`, `bn2` are our `convs.0`, `bns.0` at scale 1 |
| mmpretrain, mmdetection | `backbone.` | `head.fc`; deep stem `stem.0.conv` (mmpretrain) or `stem.0` (mmdetection) |
| PaddleClas | `._batch_norm._mean` | everything, `out.weight` is [in, out]; see `_paddle_name` |

PaddleClas's networks also compute something else in each stage's first block, see `first_block` of `Res2Net`.
"""
import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional

import torch

from .reading import CheckpointError

NATIVE = 'official or timm'
RESNET = 'torchvision or timm ResNet'
MM = 'mmpretrain or mmdetection'
PADDLE = 'PaddleClas'

# DistributedDataParallel and averaged models, torch.compile, transformers' TimmWrapper
_WRAPPERS = re.compile(r'^(?:module\.|_orig_mod\.|timm_model\.)+')
_PADDLE_BLOCK = re.compile(r'bb_(\d+)_(\d+)\.(?:(conv0|conv2|short)|res\w+_branch2b_(\d+))\.(_conv|_batch_norm)\.(\w+)')
_PADDLE_STEM = re.compile(r'conv1(?:_([123]))?\.(_conv|_batch_norm)\.(\w+)')
_PADDLE_BN = {'weight': 'weight', 'bias': 'bias', '_mean': 'running_mean', '_variance': 'running_var'}
_STEM = (('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4'), ('conv1.6', 'bn1'))  # convolution and norm of a deep stem
_MMDET_STEM = {'0': 'conv1.0', '1': 'conv1.1', '3': 'conv1.3', '4': 'conv1.4', '6': 'conv1.6', '7': 'bn1'}


@dataclass
class Renamed:
    """Weights under our names.

    Attributes:
        layout: One of the layouts above.
        state: Name -> tensor.
        left_out: What was left out, in words.
    """
    layout: str
    state: Dict[str, torch.Tensor]
    left_out: List[str] = field(default_factory=list)


def _paddle_name(name: str, deep: bool) -> Optional[str]:
    """`conv0` is conv1, `res.._branch2b_1` the first of convs, `conv2` conv3, `short` the shortcut's projection."""
    if name in ('out.weight', 'out.bias'):
        return name.replace('out', 'fc')
    if match := _PADDLE_STEM.fullmatch(name):
        number, kind, entry = match.groups()
        conv, bn = _STEM[int(number) - 1] if number else ('conv1', 'bn1')
    elif match := _PADDLE_BLOCK.fullmatch(name):
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
    return f'{bn}.{_PADDLE_BN[entry]}' if entry in _PADDLE_BN else None


def _mm_name(name: str) -> str:
    if name.startswith('head.fc.'):
        return name[len('head.'):]
    match = re.fullmatch(r'stem\.([012])\.(conv|bn)\.(\w+)', name)
    if match:
        number, part, entry = match.groups()
        return f'{_STEM[int(number)][part == "bn"]}.{entry}'
    match = re.fullmatch(r'stem\.([013467])\.(\w+)', name)
    return f'{_MMDET_STEM[match[1]]}.{match[2]}' if match else name


def _resnet_name(name: str) -> str:
    return re.sub(r'^(layer\d+\.\d+)\.(conv|bn)2\.', r'\1.\2s.0.', name)


def _rename(state: Dict[str, torch.Tensor], renamer) -> Dict[str, torch.Tensor]:
    renamed: Dict[str, torch.Tensor] = {}
    source: Dict[str, str] = {}
    for name, value in state.items():
        new = renamer(name) or name  # an unknown name stays, to be reported as unexpected
        if new in renamed:
            raise CheckpointError(f'{source[new]} and {name} are both our {new}.')
        renamed[new], source[new] = value, name
    return renamed


def to_native(state: Dict[str, torch.Tensor]) -> Renamed:
    """Recognise the layout from the names, and rename.

    Unknown names are kept as they are: `check_state` lists them as unexpected. The statistics counter of batch norm,
    `num_batches_tracked`, which some sources lack, is added.

    Raises:
        CheckpointError: Two names stand for the same weight, or the network is of another kind.
    """
    state = _rename({k: v for k, v in state.items() if k != 'n_averaged'}, lambda k: _WRAPPERS.sub('', k))
    layout, left_out = NATIVE, []
    if any(k.startswith('backbone.') for k in state):
        others = sorted({k.split('.')[0] for k in state if not k.startswith(('backbone.', 'head.fc.'))})
        if others:
            left_out.append('parts outside the backbone: ' + ', '.join(others[:6]))
        state = {k: v for k, v in state.items() if k.startswith(('backbone.', 'head.fc.'))}
        state = _rename(state, lambda k: k[len('backbone.'):] if k.startswith('backbone.') else k)
        layout = MM
    if any('._batch_norm.' in k for k in state):
        deep = any(k.startswith('conv1_') for k in state)
        state = _rename(state, lambda k: _paddle_name(k, deep))
        if 'fc.weight' in state and state['fc.weight'].ndim == 2:
            state['fc.weight'] = state['fc.weight'].t().contiguous()
        layout = PADDLE
    elif layout == MM or any(k.startswith(('stem.', 'head.fc.')) for k in state):
        state = _rename(state, _mm_name)
        layout = MM
    if 'layer1.0.conv2.weight' in state:
        if 'layer1.0.conv3.weight' not in state:
            raise CheckpointError('its blocks have two 3x3 convolutions (ResNet-18 or -34); Res2Net has bottlenecks.')
        state = _rename(state, _resnet_name)
        layout = RESNET if layout == NATIVE else layout
    unused = [k for k in state if (m := re.match(r'(level\d(?:\.tree[12])*)\.project\.', k))
              and any(other.startswith(f'{m[1]}.tree1.tree1.') for other in state)]
    if unused:  # official DLA makes them for every tree, and uses those of trees of depth 1
        left_out.append(f'{len(unused)} entries of projections that the network never uses')
        state = {k: v for k, v in state.items() if k not in set(unused)}
    for name in [k for k in state if k.endswith('.running_mean')]:
        state.setdefault(name[:-len('running_mean')] + 'num_batches_tracked', torch.tensor(0))
    return Renamed(layout, state, left_out)
