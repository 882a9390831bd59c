"""The instant path: convolutions whose weights are laid out for this CPU once, with what follows fused. No compiler.

This file is the one place that calls operators of torch which it does not document, those that torch.compile itself
generates for CPUs (`torch.ops.mkldnn`). Each convolution compares them with the documented path the first time it sees
an input shape, and goes on with the documented path where they are missing, fail or differ.

oneDNN's fused ReLU makes 0 of NaN, and so a confident class of a broken image. The first convolution looks at what
comes in, and a batch with NaN, inf or numbers near the end of float32 goes through the documented path from there on.
"""
import copy
import math
import threading
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import nn
from torch.autograd import forward_ad

from ..model.blocks import Res2NetBottleneck, Res2NetDlaBottleneck
from ..model.fold import check_weights, conv_norm_acts, fold, replace_modules
from .inputs import check_tensor, holds_numbers

_SHAPES = 8  # input shapes and numbers of threads for which a weight is packed; the best layout differs among them


@torch.inference_mode(False)  # or its weights could not be used where gradients are asked for
def prepack(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a model for inference on a CPU: norms folded, weights prepacked, ReLUs and shortcuts fused.

    Ready at once: the first batch of each shape takes a little longer. Calling it takes and gives float32, as the
    model. Shapes of input after the first eight, other devices, autograd, autocast, tracing, compiling and batches with
    NaN or inf get the speed of a folded model. Weights may be loaded into it, but not changed in place.

    Args:
        model: One of this package, or timm's feature extractor around one, in eval mode.
        dtype: torch.float32, or torch.bfloat16 to compute in that.

    Raises:
        TypeError: It is no network.
        ValueError: The model is in training mode, prepacked already, has no weights yet (device meta) or a norm that
            cannot be folded, or `dtype` is another. What it gives raises TypeError or ValueError for an input of
            another type, dtype or number of dimensions.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f'dtype={dtype} must be torch.float32 or torch.bfloat16.')
    packed = fold(model)
    check_weights(packed.state_dict())
    if any(isinstance(m, PackedConv2d) for m in packed.modules()):  # whose ReLUs are in its convolutions
        raise ValueError('The model is prepacked already: give the one that it was made of.')
    packed = packed.to('cpu', dtype)
    packed = packed.to(memory_format=torch.channels_last).requires_grad_(False)
    blocks: List[Any] = [m for m in packed.modules() if type(m) in PACKED_BLOCKS]
    blocks = [block for block in blocks if block.se is None and type(block.act3) is nn.ReLU]
    last = {block.conv3 for block in blocks}
    new: Dict[nn.Module, nn.Module] = {}
    batch = Batch()
    for conv, _, act in conv_norm_acts(packed):
        if conv.padding_mode == 'zeros':
            new[conv] = PackedConv2d(conv, type(act) is nn.ReLU or conv in last, batch)
            if type(act) is nn.ReLU:
                new[act] = _take_over(nn.Identity(), act)
    replace_modules(packed, new)
    for first in [m for m in packed.modules() if isinstance(m, PackedConv2d)][:1]:
        first.takes_input = True
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


class Batch(threading.local):
    """What a model's convolutions have to know of the batch that a thread is computing.

    Attributes:
        ordinary: Its numbers are finite, and so are their squares; nothing else is computed along with them, as in
            torch.func's transforms and derivatives forward.
    """
    ordinary = True

    def __reduce__(self) -> Tuple[Any, ...]:
        return Batch, ()  # copies of a model begin anew


class PackedConv2d(nn.Conv2d):
    """conv(x), conv(x) + shortcut and their ReLU, through oneDNN's prepacked kernels."""

    def __init__(self, conv: nn.Conv2d, relu: bool, batch: Batch) -> None:
        """Takes over the parameters of `conv`; `batch` is the model's."""
        nn.Module.__init__(self)
        _take_over(self, conv)
        self.packed: Dict[Tuple[Any, ...], Optional[torch.Tensor]] = {}  # None: plain path for inputs of this shape
        self.own = [self.weight]  # what is packed, and not what torch.func.functional_call puts there for a call
        self.relu = relu
        self.batch = batch
        self.takes_input = False  # the first of its model, which looks at what users give

    def forward(self, x: torch.Tensor, shortcut: Optional[torch.Tensor] = None) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', H', W'), plus a shortcut of that shape."""
        if self.takes_input:
            _check_input(x, self.weight.dtype)
        weight = self.weight
        x = x.to(weight.dtype)
        if x.device.type != 'cpu' or torch.compiler.is_compiling() or torch.jit.is_tracing() or (
                torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)) or (
                torch.is_autocast_enabled('cpu')):
            return self.plain(x, shortcut)
        if self.takes_input:
            self.batch.ordinary = _is_ordinary(x)
        if not self.batch.ordinary or not x.numel() or weight is not self.own[0]:
            return self.plain(x, shortcut)
        key = (torch.get_num_threads(), x.shape, x.stride(), shortcut is None or shortcut.stride())
        if key not in self.packed:
            return self.first(key, x, shortcut) if len(self.packed) < _SHAPES else self.plain(x, shortcut)
        packed = self.packed[key]
        return self.plain(x, shortcut) if packed is None else self.fast(x, packed, shortcut)

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
        if not math.isfinite(expected.sum().item()):
            return expected  # nothing can be compared with that: another batch decides
        try:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, self.groups, x.shape)
            same = _same(self.fast(x, weight, shortcut), expected)
        except (AttributeError, RuntimeError):  # another torch, or one built without oneDNN
            same = False
        self.packed[key] = weight if same else None
        return expected

    def _apply(self, *args, **kwargs) -> 'PackedConv2d':
        super()._apply(*args, **kwargs)
        self.packed, self.own = {}, [self.weight]
        return self

    def _load_from_state_dict(self, *args) -> None:
        super()._load_from_state_dict(*args)
        self.packed, self.own = {}, [self.weight]

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


def _check_input(x: Any, dtype: torch.dtype) -> None:
    """Refuse what the model itself would refuse, or, in three dimensions, take for a batch of another shape."""
    check_tensor(x)
    wanted = torch.float32 if dtype == torch.bfloat16 else dtype
    if x.dtype not in (dtype, wanted):
        raise ValueError(f'The input is {x.dtype}, it must be {wanted}: use x.to({wanted}).')
    if x.ndim != 4:
        raise ValueError(f'The input has shape {tuple(x.shape)}, it must be (B, C, H, W): x[None] is a batch of one.')


def _is_ordinary(x: torch.Tensor) -> bool:
    """See `Batch`."""
    return holds_numbers(x) and forward_ad.unpack_dual(x).tangent is None and (
        math.isfinite(torch.linalg.vector_norm(x).item()))


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    tolerance = 1e-4 if b.dtype == torch.float32 else 2e-2
    return a.shape == b.shape and bool((a.float() - b.float()).abs().max() <= tolerance * b.float().abs().max())
