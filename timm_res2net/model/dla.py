"""Res2Net in Deep Layer Aggregation, on timm's DLA.

Papers: Res2Net https://arxiv.org/abs/1904.01169 (table 1), Deep Layer Aggregation https://arxiv.org/abs/1707.06484.
"""
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Sequence

import torch
from timm.models.dla import DLA

from .arguments import check_bool, check_choice, check_int, check_ints
from .block_arguments import argument, declared, takes, with_default
from .blocks import Res2NetDlaBottleneck
from .dilation import trade_strides
from .network_arguments import NetworkArguments
from .networks import Network


@dataclass(frozen=True, kw_only=True)
class Res2NetDlaArguments(NetworkArguments):
    """The arguments of `Res2NetDla`, checked."""
    pool_free: ClassVar[bool] = True
    base_width: float = with_default(NetworkArguments, 'base_width', 28)
    levels: Sequence[int] = argument(
        (1, 1, 1, 2, 3, 1), 'Depth of each of the six levels: convolutions in the first two, tree depth in the others.',
        in_weights=True)
    channels: Sequence[int] = argument(
        (16, 32, 128, 256, 512, 1024), 'Output channels of each level.', in_weights=True)
    shortcut_root: bool = argument(False, 'Residual connection in the aggregation nodes.', in_weights=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_head()
        check_choice('output_stride', check_int('output_stride', self.output_stride), (32, 16, 8))
        self.settle(
            levels=check_ints('levels', self.levels, 6),
            channels=check_ints('channels', self.channels, 6),
            shortcut_root=check_bool('shortcut_root', self.shortcut_root),
        )


class Res2NetDla(Network, DLA):
    """Res2Net in Deep Layer Aggregation: (B, in_chans, H, W) -> (B, num_classes), features at strides 1 to 32.

    The paper's Res2Net-DLA-60 and Res2NeXt-DLA-60 (table 1). Norms and activations, outside the blocks and inside, are
    those of timm's DLA: batch norm and ReLU.
    """
    Arguments = Res2NetDlaArguments
    out_indices = (1, 2, 3, 4, 5)  # as timm's DLA: the map at stride 1 is rarely wanted

    @takes(Res2NetDlaArguments)
    def __init__(self, device=None, dtype=None, **arguments: Any) -> None:
        """
        Args:
            **arguments: Those that `Res2NetDlaArguments` and its parents declare, with their meaning and default.

        Raises:
            TypeError, ValueError: An argument that is unknown, of the wrong kind or impossible, named in the message.
        """
        args = declared(self.Arguments, 'Res2NetDla', arguments)
        super().__init__(
            levels=tuple(args.levels),
            channels=tuple(args.channels),
            num_classes=args.num_classes,
            in_chans=args.in_chans,
            global_pool=args.global_pool,
            cardinality=args.cardinality,
            base_width=args.base_width,  # type: ignore[arg-type]
            block=partial(Res2NetDlaBottleneck, **args.block_kwargs()),  # type: ignore[arg-type]
            shortcut_root=args.shortcut_root,
            drop_rate=args.drop_rate,
            device=device,
            dtype=dtype,
        )
        trade_strides(self, args.output_stride)  # timm's DLA has no dilation
        self.in_chans = args.in_chans
        self.first_block = args.first_block
        self.arguments = args

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the branch of each block anew in the backward pass instead of keeping it; timm's DLA refuses."""
        for module in self.modules():
            if isinstance(module, Res2NetDlaBottleneck):
                module.grad_checkpointing = enable
