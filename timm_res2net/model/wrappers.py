"""What training and compiling put around a network."""
from typing import Any

from torch import nn


def unwrapped(model: Any) -> Any:
    """The network inside the wrappers of torch.compile, DistributedDataParallel and DataParallel."""
    while hasattr(model, '_orig_mod') or isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        model = model._orig_mod if hasattr(model, '_orig_mod') else model.module
    return model
