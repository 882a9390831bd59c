"""Weights against the model that is to have them: all of it is checked before any of it is copied."""
from typing import Dict, List, Sequence, Tuple

import torch
from torch import nn

from .architecture import read_architecture
from .checkpoint import Checkpoint, CheckpointError
from .matching import match

State = Dict[str, torch.Tensor]

_LISTED = 8  # names given in an error before the rest is counted
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _listed(items: Sequence[str]) -> str:
    return ', '.join(items[:_LISTED]) + (f' and {len(items) - _LISTED} more' if len(items) > _LISTED else '')


def check(checkpoint: Checkpoint, model: nn.Module, adaptable: Sequence[str] = ()) -> None:
    """Check weights, under our names, against a model before any of them is copied.

    Args:
        checkpoint: The weights.
        model: The model they are meant for, left as it is.
        adaptable: Modules whose weights the caller will adapt or drop: their shapes and absence are no faults.

    Raises:
        CheckpointError: Listing what is missing, unexpected, misshapen, of the wrong dtype or not finite; or the form
            of the model is another than that of the weights.
    """
    _check_form(checkpoint, model)
    state, own = checkpoint.state, model.state_dict()
    free = tuple(f'{name}.' for name in adaptable)
    faults = [*_misfits(state, own, free), *_unfit_values(state, own)]
    if faults:
        raise CheckpointError(
            f'{checkpoint.layout or "these"} weights do not fit {type(model).__name__}, nothing was loaded. '
            f'{"; ".join(faults)}.')


def _misfits(state: State, own: State, free: Tuple[str, ...]) -> List[str]:
    """Names and shapes of weights that are not those of a model."""
    faults = []
    missing = [k for k in own if k not in state and not k.startswith(free)]
    unexpected = [k for k in state if k not in own and not k.startswith(free)]
    shared = [k for k in own if k in state]
    misshapen = [f'{k} is {tuple(state[k].shape)}, the model has {tuple(own[k].shape)}' for k in shared
                 if state[k].shape != own[k].shape and not k.startswith(free)]
    if missing:
        why = 'the checkpoint has no classifier, create the model with num_classes=0' if all(
            k.startswith('fc.') for k in missing) else 'the model has them, the checkpoint does not'
        faults.append(f'{len(missing)} missing ({why}): {_listed(missing)}')
    if unexpected:
        why = 'the model was created with num_classes=0' if all(
            k.startswith('fc.') for k in unexpected) else 'the checkpoint has them, the model does not'
        faults.append(f'{len(unexpected)} unexpected ({why}): {_listed(unexpected)}')
    if misshapen:
        faults.append(f'{len(misshapen)} misshapen (another width, scale or number of classes): {_listed(misshapen)}')
    return faults


def _unfit_values(state: State, own: State) -> List[str]:
    """Values that cannot be weights."""
    faults = []
    shared = [k for k in own if k in state]
    wrong = [f'{k} is {state[k].dtype}' for k in shared
             if (state[k].dtype not in _FLOATS if own[k].is_floating_point()
                 else state[k].is_floating_point() or state[k].is_complex())]
    if wrong:
        faults.append(f'{len(wrong)} of a wrong dtype (weights are floating point): {_listed(wrong)}')
    infinite = [k for k in shared if state[k].dtype in _FLOATS and not state[k].is_meta
                and not torch.isfinite(state[k]).all()]
    if infinite:
        faults.append(f'{len(infinite)} with NaN or infinity: {_listed(infinite)}')
    return faults


def _check_form(checkpoint: Checkpoint, model: nn.Module) -> None:
    """Weights of one form of the first block load into another without an error, and give other outputs."""
    form = getattr(model, 'first_block', None)
    if not checkpoint.first_block or form == checkpoint.first_block:
        return
    try:
        name, arguments = match(read_architecture(checkpoint.shapes, checkpoint.first_block))
        listed = ''.join(f', {k}={v!r}' for k, v in arguments.items())
        right = f'timm.create_model({name!r}{listed})'
    except CheckpointError:
        right = f'a model with first_block={checkpoint.first_block!r}'
    raise CheckpointError(
        f'{checkpoint.layout} weights need first_block={checkpoint.first_block!r}, this model has '
        f'first_block={form!r}: the first block of each stage computes something else there, and {checkpoint.trap}. '
        f'Use {right}.')
