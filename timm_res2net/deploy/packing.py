"""The instant path: convolutions whose weights are laid out for this CPU once, with what follows fused. No compiler.

This file is the one place that calls operators of torch which it does not document, those that torch.compile itself
generates for CPUs (`torch.ops.mkldnn`). Each convolution compares them with the documented path the first time it sees
an input shape, and goes on with the documented path where they are missing, fail or differ.
"""
import copy
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import nn

from ..model.blocks import Res2NetBottleneck, Res2NetDlaBottleneck
from ..model.fold import conv_norm_acts, fold, replace_modules

_SHAPES = 8  # input shapes for which a weight is packed; the best layout differs from one to another


def prepack(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a model for inference on a CPU: norms folded, weights prepacked, ReLUs and shortcuts fused.

    Ready at once: the first batch of each shape takes a little longer. Calling it takes and gives float32, as the
    model. Shapes of input after the first eight, other devices, autograd, tracing and compiling get the speed of a
    folded model. Weights may be loaded into it, but not changed in place.

    Args:
        model: One of this package, or timm's feature extractor around one, in eval mode.
        dtype: torch.float32, or torch.bfloat16 to compute in that.

    Raises:
        ValueError: The model is in training mode or has a norm that cannot be folded, or `dtype` is another.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f'dtype={dtype} must be torch.float32 or torch.bfloat16.')
    packed = fold(model).to('cpu', dtype)
    packed = packed.to(memory_format=torch.channels_last).requires_grad_(False)
    blocks: List[Any] = [m for m in packed.modules() if type(m) in PACKED_BLOCKS]
    blocks = [block for block in blocks if block.se is None and type(block.act3) is nn.ReLU]
    last = {block.conv3 for block in blocks}
    new: Dict[nn.Module, nn.Module] = {}
    for conv, _, act in conv_norm_acts(packed):
        if conv.padding_mode == 'zeros':
            new[conv] = PackedConv2d(conv, relu=type(act) is nn.ReLU or conv in last)
            if type(act) is nn.ReLU:
                new[act] = _take_over(nn.Identity(), act)
    replace_modules(packed, new)
    new = {block: PACKED_BLOCKS[type(block)](block) for block in blocks}
    replace_modules(packed, new)
    packed = new.get(packed, packed)  # a block alone
    if dtype is not torch.float32:
        packed.register_forward_hook(_float_output)
    return packed


def _take_over(new: nn.Module, old: nn.Module) -> nn.Module:
    """Give a new module the parameters, children, attributes and hooks of the one whose place it takes."""
    new.__dict__.update(old.__dict__)
    return new


def _float_output(_: nn.Module, args: Tuple[Any, ...], out: Any) -> Any:
    return torch.utils._pytree.tree_map(torch.Tensor.float, out)


class PackedConv2d(nn.Conv2d):
    """conv(x), conv(x) + shortcut and their ReLU, through oneDNN's prepacked kernels."""

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        """Takes over the parameters of `conv`."""
        nn.Module.__init__(self)
        _take_over(self, conv)
        self.packed: Dict[Tuple[Any, ...], Optional[torch.Tensor]] = {}  # None: plain path for inputs of this shape
        self.relu = relu

    def forward(self, x: torch.Tensor, shortcut: Optional[torch.Tensor] = None) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', H', W'), plus a shortcut of that shape."""
        x = x.to(self.weight.dtype)
        if x.device.type != 'cpu' or torch.compiler.is_compiling() or torch.jit.is_tracing() or (
                torch.is_grad_enabled() and x.requires_grad):
            return self.plain(x, shortcut)
        key = (x.shape, x.stride(), shortcut is None or shortcut.stride())
        if key not in self.packed:
            return self.first(key, x, shortcut) if len(self.packed) < _SHAPES else self.plain(x, shortcut)
        weight = self.packed[key]
        return self.plain(x, shortcut) if weight is None else self.fast(x, weight, shortcut)

    def plain(self, x: torch.Tensor, shortcut: Optional[torch.Tensor]) -> torch.Tensor:
        """The documented path."""
        x = super().forward(x)
        if shortcut is not None:
            x += shortcut
        return x.relu_() if self.relu else x

    def fast(self, x: torch.Tensor, weight: torch.Tensor, shortcut: Optional[torch.Tensor]) -> torch.Tensor:
        how = self.bias, self.padding, self.stride, self.dilation, self.groups
        act = 'relu' if self.relu else 'none'
        if shortcut is None:
            return torch.ops.mkldnn._convolution_pointwise(x, weight, *how, act, [], '')
        return torch.ops.mkldnn._convolution_pointwise.binary(x, shortcut, weight, *how, 'add', 1., act, [], '')

    def first(self, key: Tuple[Any, ...], x: torch.Tensor, shortcut: Optional[torch.Tensor]) -> torch.Tensor:
        """Pack the weight for a new input shape if that computes the same."""
        expected = self.plain(x, shortcut)
        try:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, self.groups, x.shape)
            same = _same(self.fast(x, weight, shortcut), expected)
        except (AttributeError, RuntimeError):  # another torch, or one built without oneDNN
            same = False
        self.packed[key] = weight if same else None
        return expected

    def _apply(self, *args, **kwargs) -> 'PackedConv2d':
        self.packed = {}
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args) -> None:
        self.packed = {}
        super()._load_from_state_dict(*args)

    def __deepcopy__(self, memo: Dict[int, Any]) -> 'PackedConv2d':
        new = self.__class__.__new__(self.__class__)
        memo[id(self)] = new
        new.__dict__ = copy.deepcopy(self.__getstate__(), memo)
        return new

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, 'packed': {}}  # packed weights cannot be copied: a copy packs its own


class PackedBottleneck(Res2NetBottleneck):
    """A block whose last convolution adds the shortcut."""

    def __init__(self, block: Res2NetBottleneck) -> None:
        """Takes over what `block` holds, its convolutions packed already."""
        nn.Module.__init__(self)
        _take_over(self, block)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.conv3(self.branch(x), shortcut)


class PackedDlaBottleneck(Res2NetDlaBottleneck):
    """As `PackedBottleneck`, for DLA."""

    def __init__(self, block: Res2NetDlaBottleneck) -> None:
        nn.Module.__init__(self)
        _take_over(self, block)

    def forward(self, x: torch.Tensor, shortcut: Optional[torch.Tensor] = None, children=None) -> torch.Tensor:
        return self.conv3(self.branch(x), x if shortcut is None else shortcut)


PACKED_BLOCKS: Dict[type, Any] = {Res2NetBottleneck: PackedBottleneck, Res2NetDlaBottleneck: PackedDlaBottleneck}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    tolerance = 1e-4 if b.dtype == torch.float32 else 2e-2
    return a.shape == b.shape and bool((a.float() - b.float()).abs().max() <= tolerance * b.float().abs().max())
