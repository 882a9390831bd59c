"""What the groups of a hierarchical split answer: the feature maps y_1 .. y_s of the paper's equation 1."""
from typing import Dict, List, Optional, Sequence, TypeVar

import torch
from torch import nn

from ..model.blocks import Res2NetBlock
from .find_layer import find_layer

T = TypeVar('T')


def paper_order(groups: Sequence[T]) -> List[T]:
    """Something of each group of a split, y_1 first: published weights have the group that is not convolved last."""
    return [*groups[-1:], *groups[:-1]]


def split_blocks(model: nn.Module) -> Dict[str, Res2NetBlock]:
    """The blocks of a model by their names, in the order of the network; none in a network of another kind."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Res2NetBlock)}


def group_activations(
        model: nn.Module,
        images: torch.Tensor,
        blocks: Optional[Sequence[str]] = None,
) -> Dict[str, List[torch.Tensor]]:
    """The groups of blocks, block -> y_1 .. y_s, each (B, width, H, W), from one pass through the network.

    They are in the paper's order: the group that is not convolved, which published weights have last, comes first.

    Args:
        model: In eval mode; `Res2Net`, `Res2NetCifar` or `Res2NetDla`.
        images: (B, C, H, W), as the model takes them; with a gradient, the groups have one too.
        blocks: Names of blocks, such as 'layer1.0'; all of them by default.

    Raises:
        TypeError: `blocks` is a single name.
        ValueError: There is no such module, or it is no block of this package; named in the message.
    """
    if isinstance(blocks, str):
        raise TypeError(f'blocks={blocks!r} must be a list of names: [{blocks!r}].')
    modules = split_blocks(model) if blocks is None else {name: find_layer(model, name) for name in blocks}
    seen: Dict[str, torch.Tensor] = {}
    handles = []
    try:
        for name, block in modules.items():
            if not isinstance(block, Res2NetBlock):
                raise ValueError(f'blocks: {name!r} is a {type(block).__name__}, choose from '
                                 f'{", ".join(split_blocks(model)) or "nothing, the model has none"}.')
            # what stands behind the concatenation; attention before conv3 would change the groups
            behind = block.conv3 if block.split_attn is None else block.split_attn
            handles.append(behind.register_forward_pre_hook(
                lambda _, args, name=name: seen.__setitem__(name, args[0])))
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return {name: paper_order(seen[name].split(block.width, 1)) for name, block in modules.items()}
