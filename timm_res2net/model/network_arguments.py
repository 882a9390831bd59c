"""The arguments of networks, declared like those of blocks and beside them."""
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Dict, Optional, Sequence

from timm.layers import LayerType

from .arguments import check_bool, check_choice, check_int, check_ints, check_real
from .block_arguments import BlockArguments, argument
from .layers import check_norm, create_act, create_norm, resolve_layer

_POOLS = ('avg', 'max', 'avgmax', 'catavgmax', 'fast', 'fastavg', 'fastmax', 'fastavgmax', 'fastcatavgmax', '')


@dataclass(frozen=True, kw_only=True)
class NetworkArguments(BlockArguments):
    """What every network takes.

    Attributes:
        pool_free: Whether the classifier can do without a pool.
    """
    pool_free: ClassVar[bool] = False
    num_classes: int = argument(1000, 'Classes, 0 for pooled features.', in_weights=True)
    in_chans: int = argument(3, 'Input channels.', in_weights=True)
    output_stride: int = argument(
        32, '32, 16 or 8: stages beyond it trade their stride for dilation.', in_weights=False)
    global_pool: str = argument(
        'avg', "`'avg'`, `'max'`, `'avgmax'`, `'catavgmax'` or, with `num_classes=0`, `''`.", in_weights=False)
    drop_rate: float = argument(0., 'Dropout before the classifier.', in_weights=False)
    if TYPE_CHECKING:  # what constructors of networks take beside them, see `takes`
        device: Any = None
        dtype: Any = None

    def check_head(self) -> None:
        """Check classifier and input."""
        check_int('num_classes', self.num_classes, 0)
        check_int('in_chans', self.in_chans)
        check_choice('global_pool', self.global_pool, _POOLS)
        if not self.global_pool and self.num_classes and not self.pool_free:
            raise ValueError(
                f"global_pool='' leaves a map that num_classes={self.num_classes} cannot classify, set num_classes=0 "
                "or give global_pool='avg'.")
        check_real('drop_rate', self.drop_rate, 0, 1)


@dataclass(frozen=True, kw_only=True)
class StageArguments(NetworkArguments):
    """What the networks of ResNet's form take; the number of stages is that of the default `channels`."""
    layers: Sequence[int] = argument(None, 'Blocks of each stage.', in_weights=True)
    channels: Sequence[int] = argument(
        (64, 128, 256, 512), 'Planes of each stage; its output has four times as many channels.', in_weights=True)
    exact_dilation: bool = argument(
        False, 'With `output_stride`, dilate pools and anti-aliasing too: the new map then holds the old one, which '
               "timm's form of dilation, the default, does not.", in_weights=False)
    down_kernel_size: int = argument(1, "Kernel of the shortcut's strided convolution.", in_weights=True)
    avg_down: bool = argument(False, 'Average pool before a 1x1 convolution in the shortcut.', in_weights=True)
    act_layer: LayerType = argument('relu', "Activation, by timm's name or class.", in_weights=False)
    norm_layer: LayerType = argument('batchnorm2d', "Norm, by timm's name or class.", in_weights=True)
    aa_layer: Optional[LayerType] = argument(
        None, "Anti-aliasing (`'blur'`, `'blurpc'`, or `'avg'` for maps of even size) wherever the stem pool or a "
              'block has a stride.',
        in_weights=False)
    drop_path_rate: float = argument(0., 'Stochastic depth, growing linearly from 0 to this.', in_weights=False)
    drop_block_rate: float = argument(
        0., 'DropBlock in the third and the fourth stage; of three stages, in the last.', in_weights=False)
    zero_init_last: bool = argument(True, 'Zero the last norm of each block at the start.', in_weights=False)

    def check_stages(self) -> None:
        """Check what the stages are made of."""
        stages = len(type(self).channels)
        check_int('down_kernel_size', self.down_kernel_size)
        if self.down_kernel_size % 2 == 0:
            raise ValueError(
                f'down_kernel_size={self.down_kernel_size!r} must be odd, or the shortcut changes the resolution.')
        self.settle(
            channels=check_ints('channels', self.channels, stages),
            layers=check_ints('layers', self.layers, stages),
            avg_down=check_bool('avg_down', self.avg_down),
            exact_dilation=check_bool('exact_dilation', self.exact_dilation),
            zero_init_last=check_bool('zero_init_last', self.zero_init_last),
        )
        if self.avg_down and self.down_kernel_size != 1:
            raise ValueError(
                f'down_kernel_size={self.down_kernel_size!r} has no effect with avg_down=True, leave it at 1.')
        check_norm(resolve_layer('norm_layer', self.norm_layer), 4 * self.channels[0])
        resolve_layer('act_layer', self.act_layer)
        resolve_layer('aa_layer', self.aa_layer)
        check_real('drop_path_rate', self.drop_path_rate, 0, 1)
        check_real('drop_block_rate', self.drop_block_rate, 0, 1)

    def stage_kwargs(self, device, dtype) -> Dict[str, Any]:
        """The arguments of timm's stages, with layers as what makes them."""
        return dict(
            layers=self.layers,
            channels=self.channels,
            cardinality=self.cardinality,
            base_width=self.base_width,
            down_kernel_size=self.down_kernel_size,
            avg_down=self.avg_down,
            act_layer=partial(create_act, resolve_layer('act_layer', self.act_layer), device=device, dtype=dtype),
            norm_layer=partial(create_norm, norm_layer=resolve_layer('norm_layer', self.norm_layer)),
            aa_layer=resolve_layer('aa_layer', self.aa_layer),
            drop_path_rate=self.drop_path_rate,
            drop_block_rate=self.drop_block_rate,
        )
