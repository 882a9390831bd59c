"""Res2Net on timm's ResNet: stem, stages, dilation, feature info, classifier, intermediates, checkpointing are timm's.

Paper: `Res2Net: A New Multi-scale Backbone Architecture` - https://arxiv.org/abs/1904.01169.
"""
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Dict, Optional, Tuple, Type

from timm.models.resnet import ResNet
from torch import nn

from .arguments import check_bool, check_choice, check_int
from .block_arguments import argument, declared, takes
from .blocks import Res2NetBottleneck
from .dilation import trade_strides
from .fold import fold_norms
from .layers import resolve_layer
from .network_arguments import NetworkArguments, StageArguments

LAYERS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 12, 48, 3)}


class Network(nn.Module):
    """What the networks share.

    Attributes:
        Arguments: What the constructor takes, flat.
        out_indices: What `features_only` gives by default; the last is the last that there is.
        first_block: Form of each stage's first block.
        arguments: All that it was made of, as its class has checked and settled them.
    """
    Arguments: ClassVar[Type[NetworkArguments]]
    out_indices: ClassVar[Tuple[int, ...]]
    if TYPE_CHECKING:  # what timm's classes and its builder give them; TorchScript must not see it
        num_classes: int
        num_features: Any
        head_hidden_size: Any
        in_chans: int
        first_block: str
        arguments: NetworkArguments
        global_pool: Any
        pretrained_cfg: Dict[str, Any]
        model_args: Dict[str, Any]

    def reset_classifier(self, num_classes: int, global_pool: Optional[str] = None) -> None:
        """As timm's: a new classifier, 0 classes for none, and another pool if one is given.

        Raises:
            TypeError, ValueError: As the constructor; the network is as it was.
        """
        global_pool = self.global_pool.pool_type if global_pool is None else global_pool
        head = copy.copy(self.arguments)
        head.settle(num_classes=num_classes, global_pool=global_pool)
        head.check_head()
        super().reset_classifier(num_classes, global_pool)  # type: ignore[misc]  # of timm's class beside this one
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()  # older timm leaves it as it was

    def reparameterize(self) -> None:
        """Fold every norm into its convolution, in place, and go to eval mode; see `fold`."""
        fold_norms(self)


@dataclass(frozen=True, kw_only=True)
class Res2NetArguments(StageArguments):
    """The arguments of `Res2Net`, checked; what may be given as None is settled afterwards."""
    depth: Optional[int] = argument(
        None, '26, 50, 101, 152 or 200; 50 if `layers` is not given either.', in_weights=True)
    stem_type: str = argument(
        '', "`''` (7x7 convolution), `'deep'` (three 3x3) or `'deep_tiered'`.", in_weights=True)
    stem_width: int = argument(
        None, "Channels of a deep stem's first convolutions, 32 by default (v1b; timm's ResNet has 64 there). The 7x7 "
              'stem is always 64 wide.', in_weights=True)
    replace_stem_pool: bool = argument(
        False, "Strided 3x3 convolution instead of the stem's max pool.", in_weights=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_head()
        if self.layers is None:
            self.settle(layers=LAYERS[check_choice('depth', 50 if self.depth is None else self.depth, tuple(LAYERS))])
        elif self.depth is not None:
            raise ValueError(
                f'depth={self.depth!r} and layers={self.layers!r} both set the number of blocks, give one of them.')
        check_choice('stem_type', self.stem_type, ('', 'deep', 'deep_tiered'))
        if self.stem_width is None:
            self.settle(stem_width=32 if self.stem_type else 64)
        check_int('stem_width', self.stem_width)
        if not self.stem_type and self.stem_width != 64:
            raise ValueError(
                f"stem_width={self.stem_width!r} has no effect on the 7x7 stem, add stem_type='deep'.")
        if self.stem_type == 'deep_tiered' and self.stem_width < 4:
            raise ValueError(f"stem_width={self.stem_width!r} must be at least 4 with stem_type='deep_tiered'.")
        self.check_stages()
        check_choice('output_stride', check_int('output_stride', self.output_stride), (32, 16, 8))
        self.settle(replace_stem_pool=check_bool('replace_stem_pool', self.replace_stem_pool))
        if not isinstance(resolve_layer('aa_layer', self.aa_layer), (type, type(None))) and not self.replace_stem_pool:
            raise ValueError(
                f"aa_layer={self.aa_layer!r} is not a class, as timm's stem pool needs: "
                "use 'blur', 'blurpc', 'avg' or a class, or add replace_stem_pool=True.")


class Res2Net(Network, ResNet):
    """Res2Net for ImageNet-sized images: (B, in_chans, H, W) -> (B, num_classes), features at strides 2, 4, 8, 16, 32.

    Variants of the paper by argument: Res2Net-50 is the default, `cardinality=8, base_width=4` Res2NeXt,
    `attn_layer='se'` SE-Res2Net, `stem_type='deep', avg_down=True` v1b (timm's "d"), `scale=1, base_width=64` ResNet.
    """
    Arguments = Res2NetArguments
    out_indices = (0, 1, 2, 3, 4)
    block: ClassVar[Any] = Res2NetBottleneck  # timm's stages call it

    @takes(Res2NetArguments)
    def __init__(self, device=None, dtype=None, **arguments: Any) -> None:
        """
        Args:
            **arguments: Those that `Res2NetArguments` and its parents declare, with their meaning and default.

        Raises:
            TypeError, ValueError: An argument that is unknown, of the wrong kind or impossible, named in the message.
        """
        args = declared(self.Arguments, 'Res2Net', arguments)
        super().__init__(
            self.block,
            num_classes=args.num_classes,
            in_chans=args.in_chans,
            output_stride=32 if args.exact_dilation else args.output_stride,
            global_pool=args.global_pool,
            stem_type=args.stem_type,
            stem_width=args.stem_width,
            replace_stem_pool=args.replace_stem_pool,
            drop_rate=args.drop_rate,
            zero_init_last=args.zero_init_last,
            block_args=args.block_kwargs(),
            device=device,
            dtype=dtype,
            **args.stage_kwargs(device, dtype),
        )
        trade_strides(self, args.output_stride)  # those that timm has not traded
        self.in_chans = args.in_chans
        self.first_block = args.first_block
        self.arguments = args
