"""Weights on their way into a file: values that any reader takes, of the network that was built, whole or not at all.

`reading` is the way back.
"""
import os
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Mapping

import safetensors.torch
from torch import Tensor

from ..model.fold import check_weights
from ..model.scratch import scratch
from .checkpoint import shapes_of
from .comparing import same_outputs, undisturbed
from .layouts import with_counters


def portable(state: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    """Name -> values alone: on the CPU, in one piece each, without a gradient; frozen norms as others.

    Raises:
        ValueError: One of them is on the meta device.
    """
    check_weights(state)
    return with_counters({name: value.detach().cpu().contiguous() for name, value in state.items()})


def difference(model: Any, built: Any) -> str:
    """In what a model differs from one that was built anew and gets its weights here, '' if in nothing.

    Raises:
        ValueError: The model is on the meta device.
    """
    state = portable(model.state_dict())
    here, there = shapes_of(state), shapes_of(with_counters(built.state_dict()))
    name = min(here.items() ^ there.items(), default=('',))[0]
    if name:
        return f'{name}: {here.get(name, "missing")}, built as {there.get(name, "missing")}'
    built.load_state_dict(state)
    return '' if same_outputs(model, built) else 'its outputs are others'


@undisturbed()
def check_unchanged(model: Any, build: Callable[[], Any]) -> None:
    """Refuse a model whose layers were changed (folded, pruned, replaced): its arguments make another one.

    Raises:
        ValueError: It is one, and the message names a weight that shows it, if one does.
    """
    found = difference(model, build())
    if found:
        raise ValueError(
            f'The model was changed after it was built ({found}), so nobody could load it: save or push it before '
            'folding, pruning or quantizing, and without layers that were replaced.')


def pool_of(model: Any) -> str:
    """timm's name of the pooling before the classifier, as it is now.

    Raises:
        ValueError: It is no layer of timm's, and so has no name.
    """
    pool = getattr(model.global_pool, 'pool_type', None)
    if pool is None:
        raise ValueError(
            f'The model has a {type(model.global_pool).__name__} as its global_pool, which has no name in timm, so '
            'nobody could load it: use reset_classifier(num_classes, global_pool=...).')
    return pool


def write_safetensors(state: Dict[str, Tensor], file: BinaryIO) -> None:
    """Not by safetensors' own `save_file`, whose files nobody else may read."""
    file.write(safetensors.torch.save(state, metadata={'format': 'pt'}))


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """A file that appears complete or not at all, readable by whom the umask says; its folder is made."""
    with scratch(path) as folder:
        with (folder / path.name).open('xb') as file:
            write(file)
        os.replace(folder / path.name, path)
