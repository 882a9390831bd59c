"""A model to look into, without a trace left in it."""
import copy
from typing import Any, Dict

import torch
from torch import nn

from ..model.wrappers import unwrapped


@torch.inference_mode(False)
def examined(model: nn.Module) -> Any:
    """A copy in eval mode, with the model's hooks; its weights are the same memory and have no gradients.

    Whoever trains the model meanwhile keeps modes and gradients, and two may look at once.
    """
    model = unwrapped(model)
    memo: Dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name.endswith('_hooks'):
                memo[id(value)] = copy.copy(value)
            elif isinstance(value, torch.Tensor):  # a pruned weight, computed at each call, cannot be copied
                memo[id(value)] = value.detach()
    for tensor in (*model.parameters(), *model.buffers()):
        value = tensor.detach().clone() if tensor.is_inference() else tensor.detach()
        memo[id(tensor)] = nn.Parameter(value, False) if isinstance(tensor, nn.Parameter) else value
    return copy.deepcopy(model, memo).eval()


def check_images(images: Any) -> torch.Tensor:
    """Return images that are a batch of floating point; a gradient may be asked for those."""
    if not (isinstance(images, torch.Tensor) and images.ndim == 4 and images.is_floating_point()):
        found = (f'{tuple(images.shape)} of {images.dtype}' if isinstance(images, torch.Tensor)
                 else f'of type {type(images).__name__}')
        raise TypeError(f'images are {found}, they must be a tensor (B, C, H, W) of floating point numbers.')
    return images
