"""The CIFAR form of Res2Net: a 3x3 stem, no stem pool, three stages.

Paper: `Res2Net: A New Multi-scale Backbone Architecture` - https://arxiv.org/abs/1904.01169, section 4.3.
"""
from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple, Union

import torch
from timm.layers import LayerType, create_classifier
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from timm.models.resnet import ResNet, make_blocks
from torch import nn

from .arguments import check_bool, check_choice, check_int, check_unknown
from .blocks import Res2NetBottleneck
from .fold import FoldHook
from .networks import Foldable, check_head, make_block_args, make_stage_args


class Res2NetCifar(Foldable, ResNet):
    """Res2Net for small images: (B, in_chans, H, W) -> (B, num_classes), features at strides 1, 2, 4 times the stem's.

    The paper's CIFAR form (section 4.3, after ResNeXt): a 3x3 stem without pool and three stages.
    """
    out_indices = (0, 1, 2)
    if TYPE_CHECKING:
        layer1: nn.Module
        layer2: nn.Module
        layer3: nn.Module

    def __init__(
            self,
            layers: Sequence[int] = (3, 3, 3),
            scale: int = 4,
            base_width: float = 24,
            cardinality: int = 6,
            first_block: Optional[str] = None,
            stride_position: str = 'split',
            attn_layer: Optional[LayerType] = None,
            rd_ratio: Optional[float] = None,
            attn_position: str = 'output',
            num_classes: int = 100,
            in_chans: int = 3,
            output_stride: Optional[int] = None,
            global_pool: str = 'avg',
            stem_width: int = 64,
            stem_stride: int = 1,
            down_kernel_size: int = 1,
            avg_down: bool = False,
            channels: Sequence[int] = (64, 128, 256),
            act_layer: LayerType = 'relu',
            norm_layer: LayerType = 'batchnorm2d',
            aa_layer: Optional[LayerType] = None,
            drop_rate: float = 0.,
            drop_path_rate: float = 0.,
            drop_block_rate: float = 0.,
            zero_init_last: bool = True,
            device=None,
            dtype=None,
            **unknown,
    ) -> None:
        """
        Args, where they differ from `Res2Net`:
            layers: Blocks in each of the three stages.
            channels: Planes of each stage; its output has four times as many channels.
            output_stride: 4, 2 or 1 times `stem_stride`, None for 4 times.
            stem_width: Channels of the 3x3 stem.
            stem_stride: Stride of the 3x3 stem.
        """
        check_unknown('Res2NetCifar', unknown, Res2NetCifar.__init__)
        check_head(num_classes, in_chans, global_pool, drop_rate)
        check_int('stem_width', stem_width)
        check_int('stem_stride', stem_stride)
        if output_stride is None:
            output_stride = 4 * stem_stride
        check_choice('output_stride', output_stride, (4 * stem_stride, 2 * stem_stride, stem_stride))
        stage_args = make_stage_args(
            layers, channels, 3, cardinality, base_width, down_kernel_size, avg_down,
            act_layer, norm_layer, aa_layer, drop_path_rate, drop_block_rate, device, dtype)
        block_args = make_block_args(scale, first_block, stride_position, attn_layer, rd_ratio, attn_position)
        nn.Module.__init__(self)  # ResNet's own would build a 7x7 stem and four stages
        dd = {'device': device, 'dtype': dtype}
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.first_block = block_args['first_block']
        self.drop_rate = drop_rate
        self.grad_checkpointing = False

        self.conv1 = nn.Conv2d(in_chans, stem_width, kernel_size=3, stride=stem_stride, padding=1, bias=False, **dd)
        self.bn1 = stage_args['norm_layer'](stem_width, **dd)
        self.act1 = stage_args['act_layer'](inplace=True)
        stages, feature_info = make_blocks(
            (Res2NetBottleneck,) * 3,  # type: ignore[arg-type]  # timm's hints name its own blocks only
            stage_args.pop('channels'),
            stage_args.pop('layers'),
            stem_width,
            output_stride=4 * output_stride // stem_stride,  # timm counts from an ImageNet stem of stride 4
            **stage_args,
            **block_args,
            **dd,
        )
        for name, stage in stages:
            self.add_module(name, stage)
        self.feature_info = [dict(f, reduction=f['reduction'] // 4 * stem_stride) for f in feature_info]

        self.num_features = feature_info[-1]['num_chs']
        self.global_pool, self.fc = create_classifier(self.num_features, num_classes, pool_type=global_pool, **dd)
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        self.init_weights(zero_init_last=check_bool('zero_init_last', zero_init_last))
        FoldHook.install(self)

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
            self.num_features = self.head_hidden_size = self.feature_info[max_index]['num_chs']
        if prune_head or max_index < 2:
            self.reset_classifier(0, '')
        return take_indices
