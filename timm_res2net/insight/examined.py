"""A model to look into, without a trace left in it."""
import copy
from typing import Any, Dict

import torch
from torch import nn

from ..model.wrappers import unwrapped


@torch.inference_mode(False)
def examined(model: nn.Module) -> Any:
    """A copy in eval mode, with the model's hooks; its weights are the same memory and have no gradients.

    Whoever trains the model meanwhile keeps modes and gradients, and two may look at once. Modules are copied and what
    they hold is not, since some of it cannot be.
    """
    model = unwrapped(model)
    copies: Dict[nn.Module, nn.Module] = {m: m.__class__.__new__(m.__class__) for m in model.modules()}
    tensors: Dict[int, torch.Tensor] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        value = tensor.detach().clone() if tensor.is_inference() else tensor.detach()
        tensors[id(tensor)] = nn.Parameter(value, False) if isinstance(tensor, nn.Parameter) else value
    for module, new in copies.items():
        state = {k: copy.copy(v) if k.endswith('_hooks') or k.startswith('_forward') else v
                 for k, v in vars(module).items()}
        state['_compiled_call_impl'] = None  # of model.compile(), which would call the model itself
        state['_modules'] = {k: v if v is None else copies[v] for k, v in module._modules.items()}
        for kind in ('_parameters', '_buffers'):
            state[kind] = {k: v if v is None else tensors[id(v)] for k, v in getattr(module, kind).items()}
        vars(new).update(state)
    return copies[model].eval()


def check_images(images: Any) -> torch.Tensor:
    """Return images that are a batch of floating point; a gradient may be asked for those."""
    if not (isinstance(images, torch.Tensor) and images.ndim == 4 and images.is_floating_point()):
        found = (f'{tuple(images.shape)} of {images.dtype}' if isinstance(images, torch.Tensor)
                 else f'of type {type(images).__name__}')
        raise TypeError(f'images are {found}, they must be a tensor (B, C, H, W) of floating point numbers.')
    return images
