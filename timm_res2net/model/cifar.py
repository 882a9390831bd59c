"""The CIFAR form of Res2Net: a 3x3 stem, no stem pool, three stages.

Paper: `Res2Net: A New Multi-scale Backbone Architecture` - https://arxiv.org/abs/1904.01169, section 4.3.
"""
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple, Union

import torch
from timm.layers import create_classifier
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from timm.models.resnet import ResNet, make_blocks
from torch import nn

from .arguments import check_choice, check_int
from .block_arguments import argument, declared, takes, with_default
from .blocks import Res2NetBottleneck
from .dilation import trade_strides
from .network_arguments import StageArguments
from .networks import Network


@dataclass(frozen=True, kw_only=True)
class Res2NetCifarArguments(StageArguments):
    """The arguments of `Res2NetCifar`, checked; what may be given as None is settled afterwards."""
    base_width: float = with_default(StageArguments, 'base_width', 24)
    cardinality: int = with_default(StageArguments, 'cardinality', 6)
    num_classes: int = with_default(StageArguments, 'num_classes', 100)
    output_stride: int = argument(
        None, '4, 2 or 1 times `stem_stride`, by default 4 times.', in_weights=False)
    layers: Sequence[int] = with_default(StageArguments, 'layers', (3, 3, 3))
    channels: Sequence[int] = with_default(StageArguments, 'channels', (64, 128, 256))
    stem_width: int = argument(64, 'Channels of the 3x3 stem.', in_weights=True)
    stem_stride: int = argument(1, 'Stride of the 3x3 stem.', in_weights=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_head()
        check_int('stem_width', self.stem_width)
        check_int('stem_stride', self.stem_stride)
        if self.output_stride is None:
            self.settle(output_stride=4 * self.stem_stride)
        strides = tuple(n * self.stem_stride for n in (4, 2, 1))
        check_choice('output_stride', check_int('output_stride', self.output_stride), strides)
        self.check_stages()


class Res2NetCifar(Network, ResNet):
    """Res2Net for small images: (B, in_chans, H, W) -> (B, num_classes), features at strides 1, 2, 4 times the stem's.

    The paper's CIFAR form (section 4.3, after ResNeXt): a 3x3 stem without pool and three stages.
    """
    Arguments = Res2NetCifarArguments
    out_indices = (0, 1, 2)
    if TYPE_CHECKING:
        layer1: nn.Module
        layer2: nn.Module
        layer3: nn.Module

    @takes(Res2NetCifarArguments)
    def __init__(self, device=None, dtype=None, **arguments: Any) -> None:
        """
        Args:
            **arguments: Those that `Res2NetCifarArguments` and its parents declare, with their meaning and default.

        Raises:
            TypeError, ValueError: An argument that is unknown, of the wrong kind or impossible, named in the message.
        """
        args = declared(self.Arguments, 'Res2NetCifar', arguments)
        nn.Module.__init__(self)  # ResNet's own would build a 7x7 stem and four stages
        dd = {'device': device, 'dtype': dtype}
        stage_args = args.stage_kwargs(device, dtype)
        self.num_classes = args.num_classes
        self.in_chans = args.in_chans
        self.first_block = args.first_block
        self.arguments = args
        self.drop_rate = args.drop_rate
        self.grad_checkpointing = False

        self.conv1: Any = nn.Conv2d(
            args.in_chans, args.stem_width, kernel_size=3, stride=args.stem_stride, padding=1, bias=False, **dd)
        self.bn1 = stage_args['norm_layer'](args.stem_width, **dd)
        self.act1 = stage_args['act_layer'](inplace=True)
        stages, feature_info = make_blocks(
            (Res2NetBottleneck,) * 3,  # type: ignore[arg-type]  # timm's hints name its own blocks only
            stage_args.pop('channels'),
            stage_args.pop('layers'),
            args.stem_width,
            # timm counts from an ImageNet stem of stride 4
            output_stride=32 if args.exact_dilation else 4 * args.output_stride // args.stem_stride,
            **stage_args,
            **args.block_kwargs(),
            **dd,
        )
        for name, stage in stages:
            self.add_module(name, stage)
        self.feature_info = [dict(f, reduction=f['reduction'] // 4 * args.stem_stride) for f in feature_info]
        trade_strides(self, args.output_stride)  # those that timm has not traded

        self.num_features = feature_info[-1]['num_chs']
        self.global_pool, self.fc = create_classifier(
            self.num_features, args.num_classes, pool_type=args.global_pool, **dd)
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.init_weights(zero_init_last=args.zero_init_last)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_chans, H, W) -> (B, num_features, H / output_stride, W / output_stride)."""
        x = self.conv1(x)
        x = self.bn1(x)
        x = self.act1(x)
        if self.grad_checkpointing and not torch.jit.is_scripting():
            x = checkpoint_seq([self.layer1, self.layer2, self.layer3], x, flatten=True)
        else:
            x = self.layer1(x)
            x = self.layer2(x)
            x = self.layer3(x)
        return x

    def forward_intermediates(
            self,
            x: torch.Tensor,
            indices: Optional[Union[int, List[int]]] = None,
            norm: bool = False,
            stop_early: bool = False,
            output_fmt: str = 'NCHW',
            intermediates_only: bool = False,
    ) -> Union[List[torch.Tensor], Tuple[torch.Tensor, List[torch.Tensor]]]:
        """As timm's ResNet, over the outputs of the three stages."""
        check_choice('output_fmt', output_fmt, ('NCHW',))
        take_indices, max_index = feature_take_indices(3, indices)
        intermediates = []
        x = self.conv1(x)
        x = self.bn1(x)
        x = self.act1(x)
        stages = [self.layer1, self.layer2, self.layer3]
        for i, stage in enumerate(stages[:max_index + 1] if stop_early else stages):
            if self.grad_checkpointing and not torch.jit.is_scripting():
                x = checkpoint_seq(stage, x)
            else:
                x = stage(x)
            if i in take_indices:
                intermediates.append(x)
        if intermediates_only:
            return intermediates
        return x, intermediates

    def prune_intermediate_layers(
            self,
            indices: Union[int, List[int]] = 1,
            prune_norm: bool = False,
            prune_head: bool = True,
    ) -> List[int]:
        """As timm's ResNet: drop the stages after the last of `indices`, and the head."""
        take_indices, max_index = feature_take_indices(3, indices)
        for i in range(max_index + 1, 3):
            setattr(self, f'layer{i + 1}', nn.Sequential())
        if max_index < 2:
            self.num_features = self.feature_info[max_index]['num_chs']
        if prune_head or max_index < 2:
            self.reset_classifier(0, '')
        return take_indices
