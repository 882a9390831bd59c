"""Stride traded for dilation: a stage at the resolution before it that computes what the strided one does.

Without its stride a layer answers at every position, no longer at every second. What follows must then look at every
second position, that is, be dilated by 2 (Yu and Koltun, https://arxiv.org/abs/1511.07122): convolutions, and pools and
blurs too. Position (2i, 2j) of the new map is then, to rounding, position (i, j) of the old one, and the positions
between are what the old stage computes where its stride begins a row or a column later. Only what looks at the map as a
whole sees more of it: channel attention, and norms with statistics of the map.

timm's ResNet leaves pools and blurs undilated and counts the padding of the shortcut's pool, so that its dilated
networks are others than its strided ones: `output_stride` without `exact_dilation`. Its DLA has no dilation.
"""
from typing import Any, List

import torch
import torch.nn.functional as F
from timm.layers import BlurPool2d
from timm.models.dla import DlaTree
from torch import nn

from .blocks import Res2NetBlock


class Dilated(nn.Module):
    """A layer of stride 1, dilated: applied to each of dilation x dilation interleaved maps, (B, C, H, W) -> the same.

    Attributes:
        layer: Keeps the resolution of any map.
        dilation: At most H and W; a smaller map is a ValueError.
    """

    def __init__(self, layer: nn.Module, dilation: int) -> None:
        super().__init__()
        self.layer = layer
        self.dilation = dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        d = self.dilation
        if not torch.jit.is_scripting():
            _check_size(x, d)
        rows = []
        for i in range(d):
            columns = [self.layer(x[:, :, i::d, j::d]) for j in range(d)]
            rows.append(_interleave(columns, 3, x.shape[3]))
        return _interleave(rows, 2, x.shape[2])


def _check_size(x: torch.Tensor, dilation: int) -> None:
    """Refuse a map so small that one of the interleaved ones would be empty; a traced one has no size to ask for."""
    if isinstance(x, torch.fx.Proxy) or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return
    height, width = x.shape[2:]
    if min(height, width) < dilation:
        raise ValueError(
            f'a map of {height} x {width} is smaller than the dilation of a pool or blur on it, {dilation}: give '
            f'images of at least {dilation} times the output_stride in height and width, or choose a larger one.')


def _interleave(maps: List[torch.Tensor], dim: int, size: int) -> torch.Tensor:
    """One map of `size` rows (`dim` 2) or columns (3), taken from several in turn, by operations that engines have."""
    longest = maps[0].shape[dim]  # the last ones may be shorter by one
    padded = [F.pad(m, [0, dim - 2, 0, 3 - dim]).narrow(dim, 0, longest) for m in maps]
    return torch.stack(padded, dim + 1).flatten(dim, dim + 1).narrow(dim, 0, size)


def without_stride(layer: nn.Module, dilation: int) -> nn.Module:
    """A layer that answers at every position, dilated; a convolution, which has weights, is changed in place.

    Args:
        layer: Convolution, pool, blur or Identity. With stride 1 already it is only dilated.
        dilation: That of the map before the layer.

    Raises:
        ValueError: Another kind of layer, such as an `aa_layer` of one's own.
    """
    if isinstance(layer, nn.Conv2d):
        kernel, = set(layer.kernel_size)
        layer.stride, layer.dilation, layer.padding = (1, 1), (dilation,) * 2, (kernel // 2 * dilation,) * 2
        return layer
    if isinstance(layer, nn.Identity):
        return layer
    if isinstance(layer, BlurPool2d):
        layer.stride = 1
    elif isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d)) and (layer.kernel_size, layer.padding) == (2, 0):
        layer = with_border(layer, 1)
    elif isinstance(layer, nn.AvgPool2d):
        layer = nn.AvgPool2d(layer.kernel_size, 1, layer.padding, count_include_pad=layer.count_include_pad)
    else:
        raise ValueError(
            f"aa_layer={type(layer).__name__} has no exact dilation, take 'blur', 'blurpc' or 'avg', or leave "
            'exact_dilation out.')
    return Dilated(layer, dilation) if dilation > 1 else layer


def with_border(pool: nn.Module, stride: int) -> nn.Module:
    """A 2x2 pool whose last window lies half outside, on a copy of the border: neither mean nor maximum change."""
    return nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), type(pool)(2, stride))


def trade_strides(model: Any, output_stride: int) -> None:
    """Trade the strides beyond `output_stride` for dilation, in place, and say so in the model's `feature_info`.

    Args:
        model: With its strides, each of them 2.
        output_stride: At least that of the first stage.

    Raises:
        ValueError: An anti-aliasing layer cannot be dilated.
    """
    for info in model.feature_info:
        dilation = info['reduction'] // output_stride
        if dilation > 1:
            _trade_stride(model.get_submodule(info['module']), dilation // 2, dilation)
            info['reduction'] = output_stride


def _trade_stride(stage: nn.Module, before: int, after: int) -> None:
    """Take the stride out of a stage's first block: `before` it the map has one dilation, `after` it twice that."""
    first, *others = (m for m in stage.modules() if isinstance(m, Res2NetBlock))
    early = first.conv1.stride != (1, 1) or not isinstance(first.aa1, nn.Identity)  # the stride is before the split
    without_stride(first.conv1, before)
    first.aa1 = without_stride(first.aa1, before)
    _dilate_split(first, after if early else before)
    for block in others:
        _dilate_split(block, after)
    shortcut: Any = getattr(first, 'downsample', ())
    for i, layer in enumerate(list(shortcut)[:-1]):  # all but the norm
        shortcut[i] = without_stride(layer, before)
    for tree in stage.modules():
        if isinstance(tree, DlaTree):
            tree.downsample = without_stride(tree.downsample, before)  # type: ignore[assignment]


def _dilate_split(block: Res2NetBlock, dilation: int) -> None:
    for conv in block.convs:
        without_stride(conv, dilation)
    block.aa = without_stride(block.aa, dilation)
    block.pool = without_stride(block.pool, dilation)
