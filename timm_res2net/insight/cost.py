"""What a network costs: parameters and multiply-accumulates."""
from typing import Any, Optional, Tuple

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode


def cost(name: str, size: Optional[int] = None, **kwargs: Any) -> Tuple[int, float]:
    """Parameters and multiply-accumulates (MACs) of one image, counted on the meta device: nothing is computed.

    Args:
        name: Of a registered model.
        size: Height and width of the image, the model's own by default.
        **kwargs: Arguments of the model.
    """
    model: Any = timm.create_model(name, device='meta', **kwargs).eval()
    channels, height, width = model.pretrained_cfg['input_size']
    counter = FlopCounterMode(display=False)
    with counter:
        model(torch.empty(1, channels, size or height, size or width, device='meta'))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2
