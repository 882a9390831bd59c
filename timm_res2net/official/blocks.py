"""The blocks under the authors' names and arguments; what they compute is `Res2NetBottleneck`'s."""
import copy
from typing import Any, Optional

import torch
from torch import nn

from ..model.arguments import check_choice
from ..model.blocks import Res2NetBottleneck

STYPES = ('normal', 'stage')


class _Block(Res2NetBottleneck):
    """(B, inplanes, H, W) -> (B, 4 * planes, H / stride, W / stride).

    Attributes:
        stype: 'stage' (no additions, identity group pooled) or 'normal'.
        nums: Convolutions of the split.
        relu: The activation. There is one module a use; setting this sets all of them, to copies of what is given.
    """

    def __init__(
            self,
            inplanes: int,
            planes: int,
            stride: int,
            downsample: Optional[nn.Module],
            stype: str,
            **arguments: Any,
    ) -> None:
        if check_choice('stype', stype, STYPES) == 'normal' and stride != 1 and arguments['scale'] > 1:
            raise ValueError(
                f"stype='normal' needs stride=1, not {stride!r}: groups of different resolution would be added. "
                "Use stype='stage'.")
        super().__init__(inplanes, planes, stride, downsample, is_first=stype == 'stage', **arguments)
        self.stype = stype
        self.nums = len(self.convs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the authors' block: with what it has alone, so that a subclass may call anything else what it likes."""
        xs = torch.split(self.act1(self.bn1(self.conv1(x))), self.width, 1)
        y = xs[0]
        ys = []
        for i, (conv, bn, act) in enumerate(zip(self.convs, self.bns, self.acts)):  # noqa: B905  as torch.jit.script reads it
            if i > 0:
                y = xs[i] if self.stype == 'stage' else y + xs[i]
            y = act(bn(conv(y)))
            ys.append(y)
        if self.scale != 1:
            ys.append(self.pool(xs[self.nums]) if self.stype == 'stage' else xs[self.nums])
        out = self.bn3(self.conv3(torch.cat(ys, 1)))
        out += x if self.downsample is None else self.downsample(x)
        return self.act3(out)

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__('act3' if name == 'relu' else name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != 'relu':
            super().__setattr__(name, value)
            if isinstance(value, nn.Module) and hasattr(type(self), name):  # `residual`, say: before the method
                self.__dict__[name] = value
            return
        self.act1, self.act3 = copy.deepcopy(value), value
        self.acts = nn.ModuleList(copy.deepcopy(value) for _ in self.acts)


class Bottle2neck(_Block):
    """The block of res2net.py and res2net_v1b.py, which is one and the same."""

    def __init__(
            self,
            inplanes: int,
            planes: int,
            stride: int = 1,
            downsample: Optional[nn.Module] = None,
            baseWidth: int = 26,
            scale: int = 4,
            stype: str = 'normal',
    ) -> None:
        """
        Args:
            inplanes, planes, stride, downsample: As of `Res2NetBottleneck`.
            baseWidth: Channels of a group at 64 planes.
            scale: Groups of the split.
            stype: 'stage' for the first block of a stage, else 'normal'. As in the authors' file nothing is concluded
                from a stride or a projection.

        Raises:
            TypeError, ValueError: An argument of the wrong kind or value, named in the message.
        """
        super().__init__(inplanes, planes, stride, downsample, stype, base_width=baseWidth, scale=scale)


class Bottle2neckX(_Block):
    """The block of res2next.py."""

    def __init__(
            self,
            inplanes: int,
            planes: int,
            baseWidth: int,
            cardinality: int,
            stride: int = 1,
            downsample: Optional[nn.Module] = None,
            scale: int = 4,
            stype: str = 'normal',
    ) -> None:
        """As `Bottle2neck`, with groups of `cardinality` times as many channels, convolved in `cardinality` groups."""
        super().__init__(
            inplanes, planes, stride, downsample, stype, base_width=baseWidth, cardinality=cardinality, scale=scale)
