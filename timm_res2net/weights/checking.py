"""Weights against the model that is to have them: all of it is checked before any of it is copied."""
from typing import Any, Dict, List

import timm
import torch

from ..model.fold import check_weights
from ..model.networks import Network
from ..model.wrappers import input_channels
from .architecture import read_architecture
from .checkpoint import Checkpoint, CheckpointError
from .comparing import copied, undisturbed
from .matching import match
from .own_word import contradictions, dilates, told
from .timm_equivalent import pool_name, same_network, untold
from .words import creation, keywords, listed

State = Dict[str, torch.Tensor]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check(checkpoint: Checkpoint, model: Any, new_classifier: bool = False, new_channels: bool = False) -> None:
    """Check weights, under our names, against a model before any of them is copied.

    Args:
        checkpoint: The weights.
        model: The model they are meant for, left as it is.
        new_classifier: The caller drops their classifier, if they have one.
        new_channels: The caller adapts a first convolution of 3 channels to those of the model.

    Raises:
        CheckpointError: Listing what is missing, unexpected, misshapen, of the wrong dtype or not finite; or the model
            computes something else than the weights were trained for.
    """
    ours = isinstance(model, Network)
    if ours:
        _check_form(checkpoint, model)
        _check_word(checkpoint, model, with_head=bool(model.num_classes) and not new_classifier)
    state, own = checkpoint.state, model.state_dict()
    if new_classifier:
        state, own = ({k: v for k, v in s.items() if k not in ('fc.weight', 'fc.bias')} for s in (state, own))
    check_weights(own, CheckpointError)
    faults = [*_misfits(state, own, new_channels), *_unfit_values(state, own)]
    if faults:
        raise CheckpointError(
            f'{checkpoint.layout or "these"} weights do not fit {type(model).__name__}, nothing was loaded. '
            f'{"; ".join(faults)}.')
    if not ours and isinstance(model, (timm.models.ResNet, timm.models.DLA)):
        _check_foreign(checkpoint, model)


def _misfits(state: State, own: State, new_channels: bool) -> List[str]:
    """Names and shapes of weights that are not those of a model."""
    faults = []
    missing = [k for k in own if k not in state]
    unexpected = [  # frozen norms have no counter
        k for k in state if k not in own
        and not (k.endswith('.num_batches_tracked') and k.replace('num_batches_tracked', 'running_mean') in own)]
    first = next(k for k in own if own[k].ndim == 4)  # in every network the first of its children
    misshapen = [
        f'{k} is {tuple(state[k].shape)}, the model has {tuple(own[k].shape)}' for k in own if k in state
        and state[k].shape != own[k].shape
        and not (k == first and new_channels and tuple(state[k].shape) == (own[k].shape[0], 3, *own[k].shape[2:]))]
    if missing:
        why = 'the model has them, the checkpoint does not'
        if all(k.startswith('fc.') for k in missing):
            why = ('its classifier has none, num_classes=0 leaves it out' if 'fc.weight' in state else
                   'the checkpoint has no classifier, create the model with num_classes=0')
        faults.append(f'{len(missing)} missing ({why}): {listed(missing)}')
    if unexpected:
        why = 'the model was created with num_classes=0' if all(
            k.startswith('fc.') for k in unexpected) else 'the checkpoint has them, the model does not'
        faults.append(f'{len(unexpected)} unexpected ({why}): {listed(unexpected)}')
    if misshapen:
        faults.append(
            f'{len(misshapen)} misshapen (another width, scale, number of classes or of input channels): '
            f'{listed(misshapen)}')
    return faults


def _unfit_values(state: State, own: State) -> List[str]:
    """Values that cannot be weights."""
    faults = []
    shared = [k for k in own if k in state]
    wrong = [f'{k} is {state[k].dtype}' for k in shared
             if (state[k].dtype not in _FLOATS if own[k].is_floating_point()
                 else state[k].is_floating_point() or state[k].is_complex())]
    if wrong:
        faults.append(
            f'{len(wrong)} of a wrong dtype (float16, bfloat16, float32 and float64 are taken): {listed(wrong)}')
    floats = [k for k in shared if state[k].dtype in _FLOATS and own[k].dtype in _FLOATS]
    infinite = [k for k in floats if not torch.isfinite(state[k].to(own[k].dtype)).all()]
    if infinite:
        faults.append(f'{len(infinite)} with NaN, infinity or numbers beyond their dtype: {listed(infinite)}')
    negative = [k for k in floats if k.endswith('running_var') and (state[k] < 0).any()]
    if negative:
        faults.append(f'{len(negative)} with negative variances: {listed(negative)}')
    return faults


def _check_form(checkpoint: Checkpoint, model: Any) -> None:
    """Weights of one form of the first block load into another without an error, and give other outputs."""
    if not checkpoint.implies:
        return
    found = read_architecture(checkpoint.shapes, checkpoint.implies)
    wrong = {k: found.arguments[k] for k in found.implied if getattr(model.arguments, k) != found.arguments[k]}
    if not wrong:
        return
    try:
        name, arguments = match(found)
        right = creation(name, arguments)
    except CheckpointError:
        right = f'a model with {keywords(wrong)}'
    theirs, ours = keywords(wrong), keywords({k: getattr(model.arguments, k) for k in wrong})
    trap = f', and {checkpoint.trap}' if checkpoint.trap else ''
    raise CheckpointError(
        f'{checkpoint.layout} weights need {theirs}, this model has {ours}: '
        f'the first block of each stage computes something else there{trap}. Use {right}.')


@undisturbed()
def _check_foreign(checkpoint: Checkpoint, model: Any) -> None:
    """A model of timm's that computes something else than the file says or its project's networks do.

    As with ours, weights may be used dilated, and without a classifier the pool is nobody's.
    """
    found = read_architecture(checkpoint.shapes, checkpoint.implies)
    said = told(checkpoint, found) if checkpoint.architecture else None
    if said is None and not checkpoint.implies:
        return
    name, arguments = said or match(found)
    own = {'num_classes': model.num_classes, 'in_chans': input_channels(model)}
    if not model.num_classes:
        own['global_pool'] = pool_name(model)
    if isinstance(model, timm.models.ResNet):
        settings = untold(model)
        own.update(settings if said is None else {} if dilates(name, arguments) else {
            'output_stride': settings['output_stride']})
    if not same_network(timm.create_model(name, **{**arguments, **own}), copied(model)):
        raise CheckpointError(
            f'its weights are of {creation(name, arguments)}, and this {type(model).__name__} computes something else: '
            'use that, or load_checkpoint without a model.')


def _check_word(checkpoint: Checkpoint, model: Any, with_head: bool) -> None:
    """A model that computes something else than what a file says of itself."""
    if not checkpoint.architecture:
        return
    said = told(checkpoint, read_architecture(checkpoint.shapes, checkpoint.implies))
    if said is None:
        return
    faults = contradictions(*said, model, with_head)
    if faults:
        name, arguments = said
        raise CheckpointError(
            f'it describes another network than this model: {"; ".join(faults)}. '
            f'Use {creation(name, arguments)}, or load_checkpoint without a model.')
