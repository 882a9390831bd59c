"""Names of weights in other projects <-> ours, a file a project. Tensors are untouched, but for a transposed
classifier (PaddleClas) and norms without an epsilon (Res2Net-maskrcnn).

| layout | sign | differs from ours in |
| --- | --- | --- |
| `official` and timm | `layer1.0.convs.0.weight` | nothing; official DLA also has projections that it never uses |
| `resnet`: torchvision, timm | `layer1.0.conv2.weight` | `conv2`, `bn2` are our `convs.0`, `bns.0` at scale 1 |
| `mmpretrain` | `stem.0.conv`, `head.fc` | classifier and deep stem |
| `mmdetection` | `stem.0.weight` | the deep stem, and the first block of a stage |
| `detectron2`: Res2Net-detectron2 | `res2.0.convs.0.weight` | most, and stride and first block of a stage |
| `maskrcnn`: Res2Net-maskrcnn | `stem.conv1.weight` | the stem, the norms, and stride and first block of a stage |
| `paddleclas` | `._batch_norm._mean` | everything, and the first block of a stage |
| `paddledetection` | `res2.blocks.0.branch2b.0.conv.weight` | the same |
| `holocron` | `features.4.0.conv.3.conv.0.0.weight` | everything |
| `stem` | `stem.conv1.weight`, `stem.0.weight` | a module around the first layers |
| `mindcv` | `bn1.gamma` | entries of norms, classifier |

`other_kinds` refuses by name what is called a Res2Net and is another network.

To add one: a file with a `LAYOUT`, and its line in `LAYOUTS`.
"""
import dataclasses
from typing import Optional

import torch

from ..checkpoint import Checkpoint, CheckpointError
from ..words import listed
from . import (
    detectron2,
    holocron,
    maskrcnn,
    mindcv,
    mmdetection,
    mmpretrain,
    official,
    paddleclas,
    paddledetection,
    resnet,
    stem,
)
from .heads import renamed_classifier, with_plain_classifier, without_other_heads
from .layout import Found, Layout, Renamed, State
from .network import find_network, without_wrappers
from .other_kinds import refuse_other_kinds
from .sequence import ASSUMED, is_sequence, with_names

NATIVE = Layout('official or timm', 'layer1.0.conv1.weight', lambda found: True, lambda found: Renamed(found.state))
LAYOUTS = (  # the first whose sign it is
    paddleclas.LAYOUT, paddledetection.LAYOUT, detectron2.LAYOUT, maskrcnn.LAYOUT, holocron.LAYOUT, mindcv.LAYOUT,
    mmpretrain.LAYOUT, mmdetection.LAYOUT, NATIVE)
DETAILS = (stem.LAYOUT, resnet.LAYOUT, official.LAYOUT)  # each on what the one before gives
ANCHORS = tuple({layout.anchor for layout in (*LAYOUTS, *DETAILS)})


def rename(checkpoint: Checkpoint, prefix: Optional[str] = None) -> Checkpoint:
    """Find the network under whatever prefix, recognise the layout from its names, and rename.

    Unknown names are kept as they are: the check lists them as unexpected. The statistics counter of batch norm,
    `num_batches_tracked`, which some sources lack or keep as another number, is added.

    Args:
        checkpoint: As read.
        prefix: Before the names of the network that is meant, where there are several.

    Raises:
        CheckpointError: Two names stand for the same weight, or the network is of another kind; or there are several
            networks and no prefix; or there is half a classifier.
    """
    state, left_out = without_wrappers(checkpoint.state)
    found = find_network(state, ANCHORS, prefix)
    numbered = is_sequence(found.state)
    if numbered:
        found = dataclasses.replace(found, state=with_names(found.state))
    refuse_other_kinds(found.state)
    layout = next(layout for layout in LAYOUTS if layout.is_sign(found))
    renamed = layout.to_ours(found)
    left_out = [*checkpoint.left_out, *left_out, *renamed.left_out]
    state, name = renamed.state, layout.name
    for detail in DETAILS:
        if detail.is_sign(Found(state)):
            more = detail.to_ours(Found(state))
            state, left_out = more.state, [*left_out, *more.left_out]
            name = detail.name if layout is NATIVE and detail.name else name
    state, heads = without_other_heads(state)
    state, words, assumed = with_plain_classifier(state)
    left_out += words
    classifier, used, words = renamed_classifier(
        state, {**found.beside, **{found.prefix + k: v for k, v in heads.items()}}, found.prefix)
    state, assumed = {**state, **classifier}, [*assumed, *words, *([ASSUMED] if numbered else ())]
    _check_classifier(state)
    others = sorted({k.partition('.')[0] for k in heads if found.prefix + k not in used})
    outside = sorted({k.partition('.')[0] for k in found.beside if k not in (*renamed.used, *used)})
    for parts, where in ((outside, f'outside {found.prefix.rstrip(".")}'), (others, 'beside the network')):
        if parts:
            left_out.append(f'parts {where}: {listed(parts)}')
    return dataclasses.replace(
        checkpoint, state=with_counters(state), layout=name, prefix=found.prefix, implies=renamed.implies,
        trap=layout.trap, left_out=tuple(left_out), assumed=(*checkpoint.assumed, *renamed.assumed, *assumed))


def _check_classifier(state: State) -> None:
    """Half a classifier would pass for a network without one, and one that contradicts itself for another's."""
    weight, bias = state.get('fc.weight'), state.get('fc.bias')
    if weight is not None and bias is not None and bias.shape != weight.shape[:1]:
        raise CheckpointError(
            f'its classifier contradicts itself: fc.weight is {tuple(weight.shape)}, fc.bias {tuple(bias.shape)}.')
    if 'fc.bias' in state and 'fc.weight' not in state:
        parts = [k for k in state if k.startswith('fc.') and k != 'fc.bias']
        raise CheckpointError(
            f'its classifier is fc.bias with {listed(parts)}, no plain layer (weight norm, LoRA): save it after the '
            'parametrization is removed.' if parts else
            'it has fc.bias without fc.weight, half a classifier: the file is damaged.')


def with_counters(state: State) -> State:
    """One integer counter a batch norm: some sources have none, or count in another dtype or shape."""
    state = dict(state)
    for name in [k for k in state if k.endswith('.running_mean')]:
        counter = f'{name.removesuffix("running_mean")}num_batches_tracked'
        value = state.get(counter)
        if value is None or value.dtype != torch.int64 or value.ndim:
            state[counter] = torch.tensor(
                0 if value is None or value.numel() != 1 else int(value), device='cpu')
    return state
