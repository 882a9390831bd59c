"""Networks of any kind: what training and compiling put around them, and what the first layer takes."""
from typing import Any

from torch import nn


def unwrapped(model: Any) -> Any:
    """The network inside the wrappers of torch.compile, DistributedDataParallel and DataParallel."""
    while hasattr(model, '_orig_mod') or isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        model = model._orig_mod if hasattr(model, '_orig_mod') else model.module
    return model


def input_channels(model: nn.Module) -> int:
    """Of the first convolution: timm's networks say so themselves in its newer versions only."""
    return next(m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d))
