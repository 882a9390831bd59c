"""A block of a model: its facts, and what its groups answer to a photo."""
from dataclasses import dataclass
from typing import List, Optional, Tuple

import torch

from ..deploy.preprocessing import normalise
from ..insight import group_activations, split_blocks
from ..insight.groups import paper_order
from ..model.blocks import Res2NetBlock
from .photo import Photo
from .subject import COMPUTING, Subject


@dataclass(frozen=True)
class Block:
    """The facts of a block, for its diagram.

    Attributes:
        form: 'hierarchical', 'parallel' (no additions, y_1 pooled), 'unpooled' (no additions, y_1 as it is),
            'parallel_conv' (no additions, all convolved) or 'plain' (scale 1).
        attention: Class of the attention layer, '' without one.
        attends: Where it acts: 'split' or 'output'.
        shortcut: What the shortcut is, in words.
        strided: 'conv1' or 'split', the convolutions that have the stride; '' without one.
        sides: Receptive field of y_1 .. y_s, in pixels.
    """
    name: str
    inputs: int
    width: int
    scale: int
    outputs: int
    cardinality: int
    stride: int
    form: str
    attention: str
    attends: str
    shortcut: str
    strided: str
    sides: Tuple[int, ...]


def describe(subject: Subject, name: str) -> Block:
    """The facts of one of `subject.blocks`."""
    block = split_blocks(subject.model)[name]
    layer = subject.layer(name)
    places = [one.name for one in subject.layers]
    before = subject.layers[places.index(name) - 1].field.jump
    attention = block.se if block.split_attn is None else block.split_attn
    stride = layer.field.jump // before
    in_split = block.convs[0].stride[0] > 1 or not isinstance(block.aa, torch.nn.Identity)  # type: ignore[index]
    return Block(
        name=name,
        inputs=block.conv1.in_channels,
        width=block.width,
        scale=block.scale,
        outputs=block.conv3.out_channels,
        cardinality=block.convs[0].groups,  # type: ignore[arg-type]
        stride=stride,
        form=_form(block),
        attention='' if attention is None else type(attention).__name__,
        attends='split' if block.split_attn is not None else 'output',
        shortcut='projection' if getattr(block, 'downsample', None) is not None else 'identity',
        strided='' if stride == 1 else 'split' if in_split else 'conv1',
        sides=tuple(g.field.largest for g in paper_order(layer.groups)),
    )


def _form(block: Res2NetBlock) -> str:
    if block.scale == 1:
        return 'plain'
    if not block.parallel:
        return 'hierarchical'
    if not block.keep_last:
        return 'parallel_conv'
    return 'unpooled' if isinstance(block.pool, torch.nn.Identity) else 'parallel'


def group_maps(
        subject: Subject,
        photo: Photo,
        name: str,
        size: int,
        channel: Optional[int] = None,
) -> List[torch.Tensor]:
    """The activations of y_1 .. y_s of a block, (h, w) each: the mean over channels, or one of them.

    Args:
        size: Pixels of height and width that the network is given.
        channel: From 0 to width - 1.
    """
    pixels, = photo.views(subject.config, [size])
    with COMPUTING, torch.inference_mode():
        groups = group_activations(subject.model, normalise(pixels, subject.config), [name])[name]
    return [g[0].mean(0) if channel is None else g[0, channel] for g in groups]
