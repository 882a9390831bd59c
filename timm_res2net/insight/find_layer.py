"""A layer of a model by its name."""
from torch import nn


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module of that name in a model.

    Raises:
        ValueError: There is none; the message names the model's children.
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        children = ', '.join(n for n, _ in model.named_children())
        raise ValueError(f'layer={layer!r} is not in the model, choose from {children} and what they hold.')
    return modules[layer]
