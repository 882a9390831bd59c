"""The hierarchical split of Res2Net, alone.

Paper: `Res2Net: A New Multi-scale Backbone Architecture` - https://arxiv.org/abs/1904.01169, section 3.1, equation 1.

A feature map X of `scale * width` channels is split into s = `scale` groups x_1 .. x_s of `width` channels each, and

    y_1 = x_1
    y_2 = K_2(x_2)
    y_i = K_i(x_i + y_{i-1})      i = 3 .. s
    Y   = concat(y_1, .., y_s)

where K_i is a 3x3 convolution with `cardinality` groups, a norm and an activation. A pixel of y_i has passed through
anything from one to i - 1 of the convolutions, so Y mixes s receptive fields: 1x1, 3x3, .., (2s - 1) x (2s - 1).

Channel order. Published weights store the same maths with the identity group last, and so does this module:

    here        convs[0]  convs[1]  ..  convs[s-2]  last group
    the paper   K_2       K_3       ..  K_s         y_1 = x_1

that is, group j of the input and of the output here is the paper's group j + 1 counted from 0, modulo s.
"""
from typing import Optional, cast

import torch
from timm.layers import LayerType, create_aa
from torch import nn

from .arguments import check_choice, check_int
from .layers import create_act, create_norm, resolve_layer

FORMS = ('hierarchical', 'parallel', 'strided_pool', 'parallel_conv')


class HierarchicalSplit(nn.Module):
    """Split, convolve group by group, concatenate: (B, scale * width, H, W) -> (B, scale * width, H', W').

    H' = ceil(H / stride), likewise W'. With `scale=1` it is one 3x3 convolution, norm and activation.

    The form of a stage's first block differs in published networks, since x_i and y_{i-1} cannot be added once a
    stride has made their resolutions differ:

      * 'hierarchical': the equations above, stride 1 only.
      * 'parallel': y_i = K_i(x_i) without additions, and the identity group through a 3x3 average pool with the stride.
      * 'strided_pool': the same, but without the pool at stride 1.
      * 'parallel_conv': y_i = K_i(x_i) for every group, the identity group too (`scale` convolutions instead of
        `scale - 1`; the only form that gives the parameter counts of the paper's CIFAR-100 table).

    Parameters are `convs.{i}` and `bns.{i}` as in published weights.
    """

    def __init__(
            self,
            width: int,
            scale: int = 4,
            stride: int = 1,
            dilation: int = 1,
            cardinality: int = 1,
            form: str = 'hierarchical',
            count_include_pad: bool = True,
            act_layer: LayerType = 'relu',
            norm_layer: LayerType = 'batchnorm2d',
            aa_layer: Optional[LayerType] = None,
            device=None,
            dtype=None,
    ) -> None:
        """
        Args:
            width: Channels of one group.
            scale: Number of groups, the paper's s.
            stride: Stride of the 3x3 convolutions.
            dilation: Dilation of the 3x3 convolutions.
            cardinality: Groups of each 3x3 convolution, divides `width`.
            form: One of `FORMS`.
            count_include_pad: Whether the average pool counts its zero padding (official weights) or not (PaddleClas
                weights).
            act_layer: Activation, made anew for each use: a shared module stops quantizers from telling uses apart.
            norm_layer: Norm.
            aa_layer: Anti-aliasing of the convolved groups: convolution at stride 1, then this layer with the stride.

        Raises:
            TypeError, ValueError: An argument of the wrong kind or value, named in the message.
        """
        dd = {'device': device, 'dtype': dtype}
        super().__init__()
        self.width = check_int('width', width)
        self.scale = check_int('scale', scale)
        stride = check_int('stride', stride)
        dilation = check_int('dilation', dilation)
        if self.width % check_int('cardinality', cardinality):
            raise ValueError(f'cardinality={cardinality!r} must divide the group width, which is {width}.')
        self.parallel = check_choice('form', form, FORMS) != 'hierarchical'
        if stride > 1 and scale > 1 and not self.parallel:
            raise ValueError(
                f"form='hierarchical' needs stride=1, not {stride}: x_i and y_(i-1) would differ in resolution. "
                "Use form='parallel', or put the stride before the split.")
        act_layer = resolve_layer('act_layer', act_layer)
        norm_layer = resolve_layer('norm_layer', norm_layer)
        aa_layer = resolve_layer('aa_layer', aa_layer)

        convs, bns, acts = [], [], []
        for _ in range(scale if scale == 1 or form == 'parallel_conv' else scale - 1):
            convs.append(nn.Conv2d(
                width,
                width,
                kernel_size=3,
                stride=stride if aa_layer is None else 1,
                padding=dilation,
                dilation=dilation,
                groups=cardinality,
                bias=False,
                **dd,
            ))
            bns.append(create_norm(width, norm_layer, **dd))
            acts.append(create_act(act_layer, **dd))
        self.convs = nn.ModuleList(convs)
        self.bns = nn.ModuleList(bns)
        self.acts = nn.ModuleList(acts)
        self.aa = cast(nn.Module, create_aa(aa_layer, channels=width, stride=stride, **dd))
        self.keep_last = len(convs) < scale  # the last group is not convolved
        self.pool: nn.Module = nn.Identity()
        if self.keep_last and (form == 'parallel' or form == 'strided_pool' and stride > 1):
            self.pool = nn.AvgPool2d(kernel_size=3, stride=stride, padding=1, count_include_pad=count_include_pad)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """The equations at the top of this file, (B, scale * width, H, W) -> (B, scale * width, H', W')."""
        xs = torch.split(x, self.width, 1)
        y = xs[0]
        ys = []
        for i, (conv, bn, act) in enumerate(zip(self.convs, self.bns, self.acts)):  # noqa: B905  as torch.jit.script reads it
            if i > 0:
                y = xs[i] if self.parallel else y + xs[i]
            y = self.aa(act(bn(conv(y))))
            ys.append(y)
        if self.scale == 1:
            return y
        if self.keep_last:
            ys.append(self.pool(xs[-1]))
        return torch.cat(ys, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = self.scale * self.width
        torch._assert(x.shape[1] == channels, f'x has {x.shape[1]} channels, it must have scale * width = {channels}.')
        return self.split(x)
