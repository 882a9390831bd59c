"""The authors' res2net.py: the paper's networks, with the 7x7 stem."""
from typing import Any, Sequence

from .blocks import Bottle2neck
from .functions import AUTHORS, function
from .network import OfficialNetwork

__all__ = [
    'Bottle2neck', 'Res2Net', 'model_urls', 'res2net50', 'res2net50_14w_8s', 'res2net50_26w_4s', 'res2net50_26w_6s',
    'res2net50_26w_8s', 'res2net50_48w_2s', 'res2net101_26w_4s']

model_urls = {
    'res2net50_26w_4s': f'{AUTHORS}res2net50_26w_4s-06e79181.pth',
    'res2net50_48w_2s': f'{AUTHORS}res2net50_48w_2s-afed724a.pth',
    'res2net50_14w_8s': f'{AUTHORS}res2net50_14w_8s-6527dddc.pth',
    'res2net50_26w_6s': f'{AUTHORS}res2net50_26w_6s-19041792.pth',
    'res2net50_26w_8s': f'{AUTHORS}res2net50_26w_8s-2c7c9f12.pth',
    'res2net101_26w_4s': f'{AUTHORS}res2net101_26w_4s-02a759a1.pth',
}


class Res2Net(OfficialNetwork):
    """Res2Net as in the paper."""

    def __init__(
            self,
            block: Any,
            layers: Sequence[int],
            baseWidth: int = 26,
            scale: int = 4,
            num_classes: int = 1000,
    ) -> None:
        """See `OfficialNetwork`."""
        super().__init__(block, layers, num_classes, baseWidth, scale)


res2net50 = function('res2net50', Res2Net, Bottle2neck, 'res2net50_26w_4s_custom.in1k')
res2net50_26w_4s = function('res2net50_26w_4s', Res2Net, Bottle2neck, 'res2net50_26w_4s_custom.in1k')
res2net101_26w_4s = function('res2net101_26w_4s', Res2Net, Bottle2neck, 'res2net101_26w_4s_custom.in1k')
res2net50_26w_6s = function('res2net50_26w_6s', Res2Net, Bottle2neck, 'res2net50_26w_6s_custom.in1k')
res2net50_26w_8s = function('res2net50_26w_8s', Res2Net, Bottle2neck, 'res2net50_26w_8s_custom.in1k')
res2net50_48w_2s = function('res2net50_48w_2s', Res2Net, Bottle2neck, 'res2net50_48w_2s_custom.in1k')
res2net50_14w_8s = function('res2net50_14w_8s', Res2Net, Bottle2neck, 'res2net50_14w_8s_custom.in1k')
