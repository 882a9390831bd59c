"""What comes into a fast model: refused by name where the model in eager mode would refuse it, NaN where it is broken.

Engines clip, quantize and fuse: NaN and inf become numbers, and an image that holds them a confident class. So does one
whose numbers overflow inside the network. They are looked for in the input, in its largest and its smallest number:
0.03 ms an image of 224 x 224. A sum would be as quick, and may cancel.
"""
import math
from typing import Any

import numpy as np
import torch

ENORMOUS = 1e30  # of float32's 3e38: beyond it a network's own numbers may overflow


def check_tensor(x: Any, remedy: str = 'torch.as_tensor(x) makes one') -> None:
    """Refuse arrays, lists and pictures.

    Raises:
        TypeError: `x` is no tensor, or one that is sparse or nested.
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(f'The input is {type(x).__module__}.{type(x).__name__}, it must be a torch.Tensor: {remedy}.')
    if x.is_nested or x.layout != torch.strided:
        kind = 'nested' if x.is_nested else f'of layout {x.layout}'
        raise TypeError(f'The input is a tensor {kind}, it must be dense: use x.to_dense().')


def holds_numbers(x: torch.Tensor) -> bool:
    """Whether there is memory behind a tensor that an engine may read, which would end the process if there is none.

    There is none behind tensors that are fake, on the device meta, not initialised, or of torch.func's transforms such
    as vmap, nor behind those of classes that compute for themselves, such as masked and distributed ones.
    """
    if type(x).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return False
    try:
        return x.data_ptr() != 0 or not x.numel()
    except (RuntimeError, ValueError):
        return False


def is_broken(x: torch.Tensor) -> bool:
    """Whether there are NaN, inf or enormous numbers in a batch on the CPU."""
    if not x.is_floating_point() or not x.numel():
        return False
    # torch would start its threads for this, once more for every thread of the caller, and slow down the engine's
    numbers = x.numpy()
    with np.errstate(invalid='ignore'):
        return not (numbers.max() < ENORMOUS and numbers.min() > -ENORMOUS)


def nan_for_broken(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Outputs (B, ...) with NaN for the images of (B, ...) that hold NaN, inf or more than `ENORMOUS`."""
    whole = (x.abs() < ENORMOUS).flatten(1).all(1)
    return torch.where(whole.view(-1, *[1] * (y.ndim - 1)), y, math.nan)
