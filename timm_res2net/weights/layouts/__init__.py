"""Names of weights in other projects <-> ours, a file a project. Tensors are untouched, but for one transposition.

| layout | sign | differs from ours in |
| --- | --- | --- |
| `official` and timm | `layer1.0.convs.0.weight` | nothing; official DLA also has projections that it never uses |
| `resnet`: torchvision, timm | `layer1.0.conv2.weight` | `conv2`, `bn2` are our `convs.0`, `bns.0` at scale 1 |
| `openmmlab`: mmpretrain, mmdetection | `backbone.` | `head.fc`, the deep stem |
| `paddleclas` | `._batch_norm._mean` | everything, and the first block of a stage |

To add one: a file with a `LAYOUT`, and its line in `LAYOUTS`.
"""
import dataclasses
import re
from typing import List

import torch

from ..checkpoint import Checkpoint
from . import official, openmmlab, paddleclas, resnet
from .layout import Layout, rename_entries

NATIVE = Layout('official or timm', lambda state: True, lambda state: (state, []))
LAYOUTS = (paddleclas.LAYOUT, openmmlab.LAYOUT, resnet.LAYOUT, official.LAYOUT)  # each on what the one before gives

# DistributedDataParallel and averaged models, torch.compile, transformers' TimmWrapper
_WRAPPERS = re.compile(r'^(?:module\.|_orig_mod\.|timm_model\.)+')


def rename(checkpoint: Checkpoint) -> Checkpoint:
    """Recognise the layout from the names, and rename.

    Unknown names are kept as they are: the check lists them as unexpected. The statistics counter of batch norm,
    `num_batches_tracked`, which some sources lack, is added.

    Raises:
        CheckpointError: Two names stand for the same weight, or the network is of another kind.
    """
    state = {k: v for k, v in checkpoint.state.items() if k != 'n_averaged'}
    state = rename_entries(state, lambda name: _WRAPPERS.sub('', name))
    applied: List[Layout] = []
    left_out: List[str] = []
    for layout in LAYOUTS:
        if layout.is_sign(state):
            state, left = layout.to_ours(state)
            applied.append(layout)
            left_out += left
    for name in [k for k in state if k.endswith('.running_mean')]:
        state.setdefault(name[:-len('running_mean')] + 'num_batches_tracked', torch.tensor(0))
    layout = next((a for a in applied if a.name), NATIVE)
    return dataclasses.replace(
        checkpoint, state=state, layout=layout.name, first_block=layout.first_block, trap=layout.trap,
        left_out=tuple(left_out))
