"""The residual blocks around the hierarchical split, in the forms that timm's ResNet and DLA take.

A block is 1x1 convolution -> split -> 1x1 convolution (paper, figure 2b), each with its norm, plus the shortcut.
The blocks extend `HierarchicalSplit` rather than hold one so that their parameters keep the names of published weights
(`layer1.0.convs.0.weight`), which therefore load as they are.
"""
from typing import Any, Callable, Iterator, List, Optional, Type, cast

import torch
from timm.layers import LayerType, create_aa
from timm.models import checkpoint_seq
from torch import nn

from .arguments import check_width
from .block_arguments import BlockArguments, declared
from .fold import ConvNormAct, fold_norms
from .hierarchical_split import HierarchicalSplit
from .layers import create_act, create_attention, create_norm


def split_form(first_block: str, is_first: bool, downsamples: bool) -> str:
    """The form of a block's split, one of `hierarchical_split.FORMS`; arguments as of `Res2NetBlock`."""
    if first_block == 'paddle':
        return 'parallel' if downsamples else 'hierarchical'
    return first_block if is_first else 'hierarchical'


class Res2NetBlock(HierarchicalSplit):
    """Residual branch of both blocks: (B, in_chs, H, W) -> (B, out_chs, H / stride, W / stride), no shortcut yet."""

    def __init__(
            self,
            in_chs: int,
            width: int,
            out_chs: int,
            arguments: BlockArguments,
            stride: int,
            dilation: int,
            is_first: bool,
            downsamples: bool,
            act_layer: LayerType,
            norm_layer: LayerType,
            aa_layer: Optional[LayerType],
            device=None,
            dtype=None,
    ) -> None:
        """
        Args:
            width: Channels of one group of the split.
            is_first: The block opens a stage.
            downsamples: The block has a stride, or has traded it for dilation (`output_stride`).
        """
        dd = {'device': device, 'dtype': dtype}
        in_split = arguments.stride_position == 'split'
        aa_layer = aa_layer if downsamples else None
        super().__init__(
            width,
            arguments.scale,
            stride=stride if in_split else 1,
            dilation=dilation,
            cardinality=arguments.cardinality,
            form=split_form(arguments.first_block, is_first, downsamples),
            count_include_pad=arguments.first_block != 'paddle',
            act_layer=act_layer,
            norm_layer=norm_layer,
            aa_layer=aa_layer if in_split else None,
            **dd,
        )
        width *= arguments.scale
        conv1_stride = 1 if in_split or aa_layer is not None else stride
        self.conv1 = nn.Conv2d(in_chs, width, kernel_size=1, stride=conv1_stride, bias=False, **dd)
        self.bn1 = create_norm(width, norm_layer, **dd)
        self.act1 = create_act(act_layer, **dd)
        in_conv1 = aa_layer is not None and not in_split
        self.aa1 = cast(nn.Module, create_aa(
            aa_layer or nn.Identity, channels=width, stride=stride, enable=in_conv1, **dd))
        # the split comes after conv1 among the children as in timm's blocks: optimizers are resumed by position
        for name in ('convs', 'bns', 'acts', 'aa', 'pool'):
            module = getattr(self, name)
            delattr(self, name)
            setattr(self, name, module)

        self.conv3 = nn.Conv2d(width, out_chs, kernel_size=1, bias=False, **dd)
        self.bn3 = create_norm(out_chs, norm_layer, **dd)
        self.split_attn = self.se = None
        if arguments.attn_position == 'split':  # the names are those of published weights
            self.split_attn = create_attention(arguments.attn_layer, width, arguments.rd_ratio, **dd)
        else:
            self.se = create_attention(arguments.attn_layer, out_chs, arguments.rd_ratio, **dd)
        self.drop_block: nn.Module = nn.Identity()
        self.act3 = create_act(act_layer, **dd)

    def zero_init_last(self) -> None:
        """Zero the last norm's weight, so that the block starts as its shortcut."""
        weight = getattr(self.bn3, 'weight', None)
        if weight is not None:
            nn.init.zeros_(weight)

    def conv_norm_acts(self) -> Iterator[ConvNormAct]:
        """The branch's convolutions with the norm and the activation that follow each."""
        yield self.conv1, self.bn1, self.act1
        yield from zip(self.convs, self.bns, self.acts, strict=True)
        yield self.conv3, self.bn3, None

    def reparameterize(self) -> None:
        """Fold the norms into the convolutions, for timm's `reparameterize_model`; see `fold`."""
        fold_norms(self)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        """conv1 -> split, all but the last convolution."""
        x = self.conv1(x)
        x = self.bn1(x)
        x = self.act1(x)
        x = self.aa1(x)

        x = self.split(x)
        x = self.drop_block(x)
        if self.split_attn is not None:
            x = self.split_attn(x)
        return x

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """conv1 -> split -> conv3 -> attention, without the shortcut."""
        x = self.branch(x)
        x = self.conv3(x)
        x = self.bn3(x)
        if self.se is not None:
            x = self.se(x)
        return x


class Res2NetBottleneck(Res2NetBlock):
    """The bottleneck of Res2Net, for timm's ResNet: (B, inplanes, H, W) -> (B, 4 * planes, H / stride, W / stride).

    `scale=1` with `base_width=64` is ResNet's bottleneck, with `cardinality` above 1 ResNeXt's.
    """
    expansion = 4

    def __init__(
            self,
            inplanes: int,
            planes: int,
            stride: int = 1,
            downsample: Optional[nn.Module] = None,
            reduce_first: int = 1,
            dilation: int = 1,
            first_dilation: Optional[int] = None,
            act_layer: LayerType = nn.ReLU,
            norm_layer: LayerType = nn.BatchNorm2d,
            aa_layer: Optional[LayerType] = None,
            drop_block: Optional[Callable[[], nn.Module]] = None,
            drop_path: Optional[nn.Module] = None,
            is_first: Optional[bool] = None,
            device=None,
            dtype=None,
            **arguments: Any,
    ) -> None:
        """
        Args:
            inplanes: Input channels.
            planes: A quarter of the output channels.
            stride: Stride of the block.
            downsample: The shortcut's projection, None for the identity.
            reduce_first: Must be 1; SENet-154's halved first convolution has no counterpart here.
            dilation: Dilation of the stage.
            first_dilation: Dilation before this block, the previous stage's in a first block: that of its 3x3
                convolutions unless its stride, if it was traded for dilation, stood before them.
            drop_block: Makes the DropBlock layer that acts on the concatenation: after activation and anti-aliasing,
                which come after it in timm's Bottleneck.
            drop_path: Stochastic depth of the branch.
            is_first: Whether it opens a stage, None for yes where it has a stride or a projection.
            **arguments: `scale`, `base_width`, .. as `BlockArguments` declares them.
        """
        args = declared(BlockArguments, 'Res2NetBottleneck', arguments)
        if reduce_first != 1:
            raise ValueError(f'reduce_first={reduce_first!r} is not defined for a hierarchical split, leave it at 1.')
        first_dilation = first_dilation or dilation
        super().__init__(
            inplanes,
            check_width(planes, args.base_width, args.cardinality),
            planes * self.expansion,
            args,
            stride=stride,
            dilation=first_dilation if args.stride_position == 'split' else dilation,
            is_first=stride > 1 or downsample is not None if is_first is None else is_first,
            downsamples=stride > 1 or first_dilation != dilation,
            act_layer=act_layer,
            norm_layer=norm_layer,
            aa_layer=aa_layer,
            device=device,
            dtype=dtype,
        )
        if drop_block is not None:
            self.drop_block = drop_block()
        self.downsample = downsample
        self.drop_path = drop_path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x
        x = self.residual(x)
        if self.drop_path is not None:
            x = self.drop_path(x)
        if self.downsample is not None:
            shortcut = self.downsample(shortcut)
        x += shortcut
        return self.act3(x)


class Res2NetDlaBottleneck(Res2NetBlock):
    """The bottleneck of Res2Net-DLA, for timm's DLA: (B, inplanes, H, W) -> (B, outplanes, H / stride, W / stride).

    Only blocks with a stride open a stage here, so the stride-1 blocks of DLA's trees are all hierarchical.
    """
    expansion = 2

    def __init__(
            self,
            inplanes: int,
            outplanes: int,
            stride: int = 1,
            dilation: int = 1,
            act_layer: Type[nn.Module] = nn.ReLU,
            norm_layer: Type[nn.Module] = nn.BatchNorm2d,
            device=None,
            dtype=None,
            **arguments: Any,
    ) -> None:
        """See `Res2NetBottleneck`; `outplanes` are the output channels."""
        args = declared(BlockArguments, 'Res2NetDlaBottleneck', {'base_width': 28, **arguments})
        # the order of roundings is that of published weights: whole groups at outplanes, then halved
        width = check_width(outplanes, args.base_width, args.cardinality) // self.expansion
        if width < 1 or width % args.cardinality:
            raise ValueError(
                f'base_width={args.base_width!r} with cardinality={args.cardinality!r} gives groups of {width} '
                f'channels at {outplanes} output channels, which must be a positive multiple of the cardinality.')
        super().__init__(
            inplanes,
            width,
            outplanes,
            args,
            stride=stride,
            dilation=dilation,
            is_first=stride > 1,
            downsamples=stride > 1,
            act_layer=act_layer,
            norm_layer=norm_layer,
            aa_layer=None,
            device=device,
            dtype=dtype,
        )
        self.grad_checkpointing = False

    def forward(
            self,
            x: torch.Tensor,
            shortcut: Optional[torch.Tensor] = None,
            children: Optional[List[torch.Tensor]] = None,
    ) -> torch.Tensor:
        if shortcut is None:
            shortcut = x
        if self.grad_checkpointing and not torch.jit.is_scripting():
            x = checkpoint_seq([self.residual], x)
        else:
            x = self.residual(x)
        x += shortcut
        return self.act3(x)
