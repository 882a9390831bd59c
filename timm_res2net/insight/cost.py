"""What a network costs: parameters and multiply-accumulates."""
import copy
from typing import Any, Optional, Tuple, Union

import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..model.arguments import check_int
from ..model.wrappers import input_channels
from .groups import split_blocks


def cost(name: Union[str, nn.Module], size: Optional[int] = None, **kwargs: Any) -> Tuple[int, float]:
    """Parameters and multiply-accumulates (MACs) of one image, counted on the meta device: nothing is computed.

    Args:
        name: Of a registered model, or a model.
        size: Height and width of the image, the model's own by default.
        **kwargs: Arguments of the model that is named.

    Raises:
        TypeError, ValueError: The size is no number, or is not given and the model does not say its own.
    """
    model: Any = timm.create_model(name, device='meta', **kwargs) if isinstance(name, str) else copy.deepcopy(name)
    model = model.to('meta').eval()
    own = (getattr(model, 'pretrained_cfg', None) or {}).get('input_size')
    height, width = own[1:] if own and size is None else 2 * (check_int('size', size),)
    channels = getattr(model, 'in_chans', None) or kwargs.get('in_chans') or (
        input_channels(model) if split_blocks(model) or not own else own[0])
    counter = FlopCounterMode(display=False)
    with counter:
        model(torch.empty(1, channels, height, width, device='meta'))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2
