"""Res2Net on timm's ResNet and DLA, with flat and validated arguments.

Everything but the blocks is timm's: stem, stages, dilation, feature info, classifier, intermediates, checkpointing.
Papers: Res2Net https://arxiv.org/abs/1904.01169, Deep Layer Aggregation https://arxiv.org/abs/1707.06484.
"""
from functools import partial
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from timm.layers import LayerType
from timm.models.dla import DLA
from timm.models.resnet import ResNet
from torch import nn

from .arguments import (
    check_bool,
    check_choice,
    check_int,
    check_ints,
    check_norm,
    check_real,
    check_unknown,
    create_act,
    create_norm,
    resolve_layer,
)
from .blocks import (
    ATTN_POSITIONS,
    FIRST_BLOCKS,
    STRIDE_POSITIONS,
    Res2NetBottleneck,
    Res2NetDlaBottleneck,
    default_first_block,
)
from .fold import ConvNormAct, FoldHook, fold_norms

LAYERS = {26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 12, 48, 3)}
_POOLS = ('avg', 'max', 'avgmax', 'catavgmax', 'fast', 'fastavg', 'fastmax', 'fastavgmax', 'fastcatavgmax', '')


def check_head(num_classes: int, in_chans: int, global_pool: str, drop_rate: float, pool_free: bool = False) -> None:
    check_int('num_classes', num_classes, 0)
    check_int('in_chans', in_chans)
    check_choice('global_pool', global_pool, _POOLS)
    if not global_pool and num_classes and not pool_free:
        raise ValueError(
            f"global_pool='' leaves a map that num_classes={num_classes} cannot classify, set num_classes=0.")
    check_real('drop_rate', drop_rate, 0, 1)


def make_block_args(
        scale: int,
        first_block: Optional[str],
        stride_position: str,
        attn_layer: Optional[LayerType],
        rd_ratio: Optional[float],
        attn_position: str,
) -> Dict[str, Any]:
    """The arguments of our blocks that timm's networks do not know, checked."""
    check_int('scale', scale)
    check_choice('stride_position', stride_position, STRIDE_POSITIONS)
    check_choice('attn_position', attn_position, ATTN_POSITIONS)
    if first_block is None:
        first_block = default_first_block(stride_position)
    check_choice('first_block', first_block, FIRST_BLOCKS)
    if first_block == 'hierarchical' and stride_position == 'split' and scale > 1:
        raise ValueError(
            "first_block='hierarchical' needs stride_position='conv1': with the stride in the split, groups of "
            'different resolution would be added.')
    attn_layer = resolve_layer('attn_layer', attn_layer)
    if attn_layer is None and rd_ratio is not None:
        raise ValueError(f"rd_ratio={rd_ratio!r} has no effect without an attn_layer, add attn_layer='se'.")
    return dict(
        scale=scale,
        first_block=first_block,
        stride_position=stride_position,
        attn_layer=attn_layer,
        rd_ratio=rd_ratio,
        attn_position=attn_position,
    )


def make_stage_args(
        layers: Sequence[int],
        channels: Sequence[int],
        stages: int,
        cardinality: int,
        base_width: float,
        down_kernel_size: int,
        avg_down: bool,
        act_layer: LayerType,
        norm_layer: LayerType,
        aa_layer: Optional[LayerType],
        drop_path_rate: float,
        drop_block_rate: float,
        device,
        dtype,
) -> Dict[str, Any]:
    """The arguments of timm's stages, checked."""
    check_int('down_kernel_size', down_kernel_size)
    if down_kernel_size % 2 == 0:
        raise ValueError(f'down_kernel_size={down_kernel_size!r} must be odd, or the shortcut changes the resolution.')
    if avg_down and down_kernel_size != 1:
        raise ValueError(f'down_kernel_size={down_kernel_size!r} has no effect with avg_down=True, leave it at 1.')
    channels = check_ints('channels', channels, stages)
    norm_layer = check_norm(resolve_layer('norm_layer', norm_layer), 4 * channels[0])
    return dict(
        layers=check_ints('layers', layers, stages),
        channels=channels,
        cardinality=check_int('cardinality', cardinality),
        base_width=check_real('base_width', base_width, 0),
        down_kernel_size=down_kernel_size,
        avg_down=check_bool('avg_down', avg_down),
        act_layer=partial(create_act, resolve_layer('act_layer', act_layer), device=device, dtype=dtype),
        norm_layer=partial(create_norm, norm_layer=norm_layer),
        aa_layer=resolve_layer('aa_layer', aa_layer),
        drop_path_rate=check_real('drop_path_rate', drop_path_rate, 0, 1),
        drop_block_rate=check_real('drop_block_rate', drop_block_rate, 0, 1),
    )


class Foldable(nn.Module):
    """What the networks share: their norms fold into their convolutions."""
    if TYPE_CHECKING:  # what timm's classes and its builder give them; TorchScript must not see it
        num_classes: int
        in_chans: int
        global_pool: Any
        conv1: Any
        bn1: Any
        act1: Any
        pretrained_cfg: Dict[str, Any]
        model_args: Dict[str, Any]

    def stem_conv_norm_act(self) -> List[ConvNormAct]:
        """The stem's convolution, norm and activation that are modules of the network itself."""
        conv: Any = self.conv1[-1] if isinstance(self.conv1, nn.Sequential) else self.conv1
        return [(conv, self.bn1, self.act1)]

    def reparameterize(self) -> None:
        """Fold every norm into its convolution, in place, and go to eval mode; see `fold`."""
        fold_norms(self)


class Res2Net(Foldable, ResNet):
    """Res2Net for ImageNet-sized images: (B, in_chans, H, W) -> (B, num_classes), features at strides 2, 4, 8, 16, 32.

    Variants of the paper by argument: Res2Net-50 is the default, `cardinality=8, base_width=4` Res2NeXt,
    `attn_layer='se'` SE-Res2Net, `stem_type='deep', avg_down=True` v1b (timm's "d"), `scale=1, base_width=64` ResNet.
    """
    out_indices = (0, 1, 2, 3, 4)  # what `features_only` gives by default

    def __init__(
            self,
            depth: Optional[int] = None,
            layers: Optional[Sequence[int]] = None,
            scale: int = 4,
            base_width: float = 26,
            cardinality: int = 1,
            first_block: Optional[str] = None,
            stride_position: str = 'split',
            attn_layer: Optional[LayerType] = None,
            rd_ratio: Optional[float] = None,
            attn_position: str = 'output',
            num_classes: int = 1000,
            in_chans: int = 3,
            output_stride: int = 32,
            global_pool: str = 'avg',
            stem_type: str = '',
            stem_width: Optional[int] = None,
            replace_stem_pool: bool = False,
            down_kernel_size: int = 1,
            avg_down: bool = False,
            channels: Sequence[int] = (64, 128, 256, 512),
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
        Args:
            depth: 26, 50, 101, 152 or 200; 50 if `layers` is not given either.
            layers: Blocks in each of the four stages, instead of `depth`.
            scale: Groups of the split, the paper's s.
            base_width: Channels of a convolution group at 64 planes, the paper's w.
            cardinality: Groups of each 3x3 convolution, the paper's c.
            first_block: Form of each stage's first block:
                * 'parallel' - no additions, identity group through a 3x3 average pool; official and timm weights
                * 'parallel_conv' - no additions, identity group convolved too; the parameter counts of the CIFAR table
                * 'paddle' - stage 1 hierarchical, others parallel with a pool that ignores padding; PaddleClas weights
                * 'hierarchical' - no exception at all, with `stride_position='conv1'`
                * None (default) - 'parallel', or 'hierarchical' if `stride_position='conv1'`
            stride_position: 'split' (3x3 convolutions) or 'conv1' (first 1x1 convolution, the authors' alternative).
            attn_layer: Attention, by timm's name ('se', 'eca', ...), class or partial.
            rd_ratio: Reduction ratio of the attention, None for its own default (SE: 1/16).
            attn_position: 'output' (on the block's output before the shortcut, the paper) or 'split' (SE(Y)).
            num_classes: Classes, 0 for pooled features.
            in_chans: Input channels.
            output_stride: 32, 16 or 8; the last stages trade stride for dilation.
            global_pool: 'avg', 'max', 'avgmax', 'catavgmax' or, with `num_classes=0`, ''.
            stem_type: '' (7x7 convolution), 'deep' (three 3x3) or 'deep_tiered'.
            stem_width: Channels of a deep stem's first convolutions, 32 by default. The 7x7 stem is always 64 wide.
            replace_stem_pool: Strided 3x3 convolution instead of the stem's max pool.
            down_kernel_size: Kernel of the shortcut's strided convolution.
            avg_down: Average pool before a 1x1 convolution in the shortcut.
            channels: Planes of each stage; its output has four times as many channels.
            act_layer: Activation.
            norm_layer: Norm.
            aa_layer: Anti-aliasing ('blur', 'blurpc', 'avg') wherever the stem pool or a block has a stride.
            drop_rate: Dropout before the classifier.
            drop_path_rate: Stochastic depth, growing linearly from 0 to this.
            drop_block_rate: DropBlock in the last two stages.
            zero_init_last: Zero the last norm of each block.

        Raises:
            TypeError, ValueError: An argument that is unknown, of the wrong kind or impossible, named in the message.
        """
        check_unknown('Res2Net', unknown, Res2Net.__init__)
        check_head(num_classes, in_chans, global_pool, drop_rate)
        if layers is None:
            layers = LAYERS[check_choice('depth', 50 if depth is None else depth, tuple(LAYERS))]
        elif depth is not None:
            raise ValueError(f'depth={depth!r} and layers={layers!r} both set the number of blocks, give one of them.')
        check_choice('stem_type', stem_type, ('', 'deep', 'deep_tiered'))
        if not stem_type and stem_width not in (None, 64):
            raise ValueError(f"stem_width={stem_width!r} has no effect on the 7x7 stem, add stem_type='deep'.")
        if stem_width is None:
            stem_width = 32 if stem_type else 64
        check_int('stem_width', stem_width)
        if stem_type == 'deep_tiered' and stem_width < 4:
            raise ValueError(f"stem_width={stem_width!r} must be at least 4 with stem_type='deep_tiered'.")
        stage_args = make_stage_args(
            layers, channels, 4, cardinality, base_width, down_kernel_size, avg_down,
            act_layer, norm_layer, aa_layer, drop_path_rate, drop_block_rate, device, dtype)
        if not isinstance(stage_args['aa_layer'], (type, type(None))) and not replace_stem_pool:
            raise ValueError(
                f"aa_layer={aa_layer!r} is not a class, as timm's stem pool needs: "
                "use 'blur', 'avg' or a class, or add replace_stem_pool=True.")
        block_args = make_block_args(scale, first_block, stride_position, attn_layer, rd_ratio, attn_position)
        super().__init__(
            Res2NetBottleneck,  # type: ignore[arg-type]  # timm's hints name its own blocks only
            num_classes=num_classes,
            in_chans=in_chans,
            output_stride=check_choice('output_stride', output_stride, (32, 16, 8)),
            global_pool=global_pool,
            stem_type=stem_type,
            stem_width=stem_width,
            replace_stem_pool=check_bool('replace_stem_pool', replace_stem_pool),
            drop_rate=drop_rate,
            zero_init_last=check_bool('zero_init_last', zero_init_last),
            block_args=block_args,
            device=device,
            dtype=dtype,
            **stage_args,
        )
        self.in_chans = in_chans
        self.first_block = block_args['first_block']
        FoldHook.install(self)


class Res2NetDla(Foldable, DLA):
    """Res2Net in Deep Layer Aggregation: (B, in_chans, H, W) -> (B, num_classes), features at strides 1 to 32.

    The paper's Res2Net-DLA-60 and Res2NeXt-DLA-60 (table 2). Norms and activations outside the blocks are timm's
    DLA's, batch norm and ReLU, and so are those inside.
    """
    out_indices = (1, 2, 3, 4, 5)  # as timm's DLA: the map at stride 1 is rarely wanted

    def __init__(
            self,
            levels: Sequence[int] = (1, 1, 1, 2, 3, 1),
            channels: Sequence[int] = (16, 32, 128, 256, 512, 1024),
            scale: int = 4,
            base_width: float = 28,
            cardinality: int = 1,
            first_block: Optional[str] = None,
            stride_position: str = 'split',
            attn_layer: Optional[LayerType] = None,
            rd_ratio: Optional[float] = None,
            attn_position: str = 'output',
            num_classes: int = 1000,
            in_chans: int = 3,
            output_stride: int = 32,
            global_pool: str = 'avg',
            shortcut_root: bool = False,
            drop_rate: float = 0.,
            device=None,
            dtype=None,
            **unknown,
    ) -> None:
        """
        Args, where they differ from `Res2Net`:
            levels: Depth of each of the six levels: convolutions in the first two, tree depth in the others.
            channels: Output channels of each level.
            output_stride: 32, the only one that DLA has.
            shortcut_root: Residual connection in the aggregation nodes.
        """
        check_unknown('Res2NetDla', unknown, Res2NetDla.__init__)
        check_head(num_classes, in_chans, global_pool, drop_rate, pool_free=True)
        block_args = make_block_args(scale, first_block, stride_position, attn_layer, rd_ratio, attn_position)
        super().__init__(
            levels=check_ints('levels', levels, 6),
            channels=check_ints('channels', channels, 6),
            output_stride=check_choice('output_stride', output_stride, (32,)),
            num_classes=num_classes,
            in_chans=in_chans,
            global_pool=global_pool,
            cardinality=check_int('cardinality', cardinality),
            base_width=check_real('base_width', base_width, 0),  # type: ignore[arg-type]
            block=partial(Res2NetDlaBottleneck, **block_args),  # type: ignore[arg-type]
            shortcut_root=check_bool('shortcut_root', shortcut_root),
            drop_rate=drop_rate,
            device=device,
            dtype=dtype,
        )
        self.in_chans = in_chans
        self.first_block = block_args['first_block']
        FoldHook.install(self)

    def stem_conv_norm_act(self) -> List[ConvNormAct]:
        return []  # all in Sequentials
