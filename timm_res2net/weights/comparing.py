"""Whether two networks compute the same, which names and shapes of weights do not tell; nobody's process is touched."""
import copy
from collections import OrderedDict
from contextlib import contextmanager
from typing import Any, Dict, Iterator, cast

import torch
from torch import nn

from .layouts import with_counters


@contextmanager
def undisturbed() -> Iterator[None]:
    """Networks built in here are float32 on the CPU, whatever is the default, and take none of the random numbers."""
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.device('cpu'), torch.no_grad():
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def copied(model: nn.Module) -> Any:
    """In float32 on the CPU and in eval mode, without hooks."""
    memo: Dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if name.endswith('_hooks'):  # some keep what cannot be copied
                memo[id(value)] = OrderedDict()
    for tensor in (*model.parameters(), *model.buffers()):
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        value = tensor.detach().to('cpu', dtype, copy=True)
        memo[id(tensor)] = nn.Parameter(value, False) if isinstance(tensor, nn.Parameter) else value
    return copy.deepcopy(model, memo).to(memory_format=torch.contiguous_format).eval()


@torch.no_grad()
def randomize(model: nn.Module) -> Any:
    """Weights under which every difference shows, and eval mode: no norm is zero, nothing is negligible."""
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.is_floating_point():
            value.uniform_(0.5, 1, generator=generator)
            if name.endswith(('bias', 'running_mean')):
                value.sub_(0.75)
    return model.eval()


@torch.no_grad()
def same_outputs(model: nn.Module, other: nn.Module) -> bool:
    """Whether two networks whose weights have the same names and shapes compute the same, under random ones.

    Those that they have may hide a difference: behind a norm that starts at zero, or where they have diverged.
    """
    try:
        model = randomize(copied(model))
    except (RuntimeError, TypeError):  # it keeps a map of a graph, or a lock: names and shapes have to do
        return True
    other = copied(other)
    other.load_state_dict(with_counters(model.state_dict()))
    x = torch.randn(1, cast(Any, other).in_chans, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = other(x)
    if not expected.isfinite().all():  # of an attention that takes no such weights
        return True
    try:
        y = model(x)
    except RuntimeError:  # another pool may want a larger image
        return False
    return isinstance(y, torch.Tensor) and agree(y, expected, 1e-5)


def agree(y: torch.Tensor, expected: torch.Tensor, tolerance: float) -> bool:
    """Whether outputs are those expected, to a tolerance relative to the largest of them."""
    return y.shape == expected.shape and bool((y - expected).abs().max() <= tolerance * expected.abs().max())
