"""The authors' res2next.py: Res2NeXt."""
from typing import Any, Sequence

from .blocks import Bottle2neckX
from .functions import AUTHORS, function
from .network import OfficialNetwork

__all__ = ['Bottle2neckX', 'Res2NeXt', 'model_urls', 'res2next50']

model_urls = {'res2next50': f'{AUTHORS}res2next50_4s-6ef7e7bf.pth'}


class Res2NeXt(OfficialNetwork):
    """Res2NeXt; its stem pool is called `maxpool1`, as there."""
    child_names = {**OfficialNetwork.child_names, 'maxpool': 'maxpool1'}

    def __init__(
            self,
            block: Any,
            baseWidth: int,
            cardinality: int,
            layers: Sequence[int],
            num_classes: int,
            scale: int = 4,
    ) -> None:
        """See `OfficialNetwork`."""
        super().__init__(block, layers, num_classes, baseWidth, scale, cardinality=cardinality)
        self.cardinality = cardinality


res2next50 = function('res2next50', Res2NeXt, Bottle2neckX, 'res2next50_custom.in1k')
