"""What `pretrained=` of the authors' functions stands for, and its way into their networks.

Weights come as a network of ours, which says what function they were trained for: those of PaddleClas have the shapes
of the authors', and are refused here.
"""
import logging
import os
from pathlib import Path
from typing import Any, Dict, Tuple, Union

import timm

from ..model.arguments import check_width
from ..model.data_cfg import own_cfg
from ..model.networks import Res2Net
from ..model.variants import VARIANTS, variant_of
from ..weights.catalogue import CATALOGUE, find_weights, list_pretrained
from ..weights.checkpoint import CheckpointError
from ..weights.loading import load_checkpoint
from ..weights.matching import complete, with_arguments

Pretrained = Union[bool, str, 'os.PathLike[str]', None]
_HEAD = ('fc.weight', 'fc.bias')
# arguments with which the same weights make the same function; of `base_width` only the widths that it gives count
_FREE = ('num_classes', 'base_width', 'drop_rate', 'drop_path_rate', 'drop_block_rate', 'zero_init_last',
         'exact_dilation')
_logger = logging.getLogger(__name__)


def load(model: Any, pretrained: Pretrained, name: str, weights: str) -> None:
    """Load weights into a network that has just been built.

    Args:
        model: The network.
        pretrained: True for `weights`, a file, a folder, or NAME.TAG; False, None and '' for nothing.
        name: Function that built it, for messages.
        weights: Those of the authors, or the bare variant if there are none.

    Raises:
        TypeError, ValueError, FileNotFoundError: `pretrained` is nothing of these.
        CheckpointError: The weights cannot be read, or are those of another network.
    """
    if not pretrained:
        return
    source = _source(pretrained, name, weights)
    where = str(weights if pretrained == 1 else pretrained)
    _check(source, model, where, name)
    state = source.state_dict()
    if source.num_classes != model.num_classes:
        own = model.state_dict()
        state = {**{k: v for k, v in state.items() if k not in _HEAD}, **{k: own[k] for k in _HEAD if k in own}}
        left = f'its classifier of {source.num_classes} classes is left out' if source.num_classes else \
            'it has no classifier'
        _logger.warning(f'{where}: {left}, {name} was asked for {model.num_classes} classes.')
    model.load_state_dict(state)
    cfg = {**source.pretrained_cfg, 'architecture': model.pretrained_cfg['architecture']}
    model.pretrained_cfg = model.default_cfg = cfg
    model.origin = source.origin
    model.pretrained_cfg.update(own_cfg(model))  # with a new classifier


def _source(pretrained: Pretrained, name: str, weights: str) -> Any:
    """The network that has the weights; arguments and errors as of `load`."""
    if pretrained == 1:  # as commands pass it too
        if weights not in CATALOGUE:
            raise ValueError(f'pretrained=True: no weights of {name} were published, give a file of your own.')
        return timm.create_model(weights, pretrained=True)
    if not isinstance(pretrained, (str, os.PathLike)):
        raise TypeError(f'pretrained={pretrained!r} must be True, False, a file or the name of weights, NAME.TAG.')
    if Path(pretrained).exists():
        return load_checkpoint(Path(pretrained))
    named, dot, tag = str(pretrained).partition('.')
    variant = variant_of(named)
    found = find_weights(f'{variant}{dot}{tag}')
    if found is None:
        rows = [row.name for row in list_pretrained(f'{variant}.*')]
        known = ', '.join(rows) or (weights if weights in CATALOGUE else 'none for this network')
        raise FileNotFoundError(
            f'pretrained={str(pretrained)!r} of {name}: no such file, nor the name of weights, which are: {known}.')
    return timm.create_model(found.name, pretrained=True)


def _check(source: Any, model: Any, where: str, name: str) -> None:
    """Refuse weights that were trained for another function than the model's."""
    kind, theirs = _function(source)
    _, ours = _function(model)
    differing = [f'{k}={v!r}, not {ours[k]!r}' for k, v in theirs.items() if k in ours and v != ours[k]]
    if kind is not Res2Net or differing:
        raise CheckpointError(
            f'{where}: weights of {source.pretrained_cfg["architecture"]}, which is another network than {name}'
            f'{" (" + "; ".join(differing) + ")" if kind is Res2Net else ""}. Nothing was loaded.')


def _function(model: Any) -> Tuple[type, Dict[str, Any]]:
    """What decides which function a network computes with its weights: its class, and its arguments."""
    variant = model.pretrained_cfg['architecture']
    cls = VARIANTS[variant].cls
    arguments = complete(cls, with_arguments(variant, model.model_args))
    widths = tuple(
        check_width(planes, arguments['base_width'], arguments['cardinality']) for planes in arguments['channels'])
    return cls, {**{k: v for k, v in arguments.items() if k not in _FREE}, 'widths': widths}
