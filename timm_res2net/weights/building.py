"""How a variant becomes a timm model: by timm's builder, with weights of any layout, remembering its arguments."""
import dataclasses
import logging
from numbers import Integral, Real
from typing import Any, Callable, Dict, Mapping, Optional

import torch
from timm.models import PretrainedCfg, build_model_with_cfg, resolve_pretrained_cfg
from torch import nn

from ..model.arguments import check_bool, check_indices, check_mapping
from ..model.data_cfg import OF_THE_WEIGHTS, Origin, own_cfg, unreadable
from ..model.layers import FACTORIES, layer_name
from ..model.networks import Network
from ..model.variants import VARIANTS
from .checking import check
from .checkpoint import Checkpoint, CheckpointError, naming
from .layouts import rename
from .matching import RUNTIME, check_size, with_arguments
from .pretrained_cfg import SOURCES, first_conv, local_file, source_of
from .reading import checkpoint_of, read_checkpoint

_logger = logging.getLogger(__name__)


def build(name: str, pretrained: bool, kwargs: Dict[str, Any]) -> nn.Module:
    """Build a registered variant through timm's builder.

    Args:
        name: Of the variant.
        pretrained: Load the weights of the variant's pretrained cfg, which also says how many classes there are unless
            `kwargs` do. A file, which the cfg may name or be given as the `Checkpoint` that was read, says it itself.
        kwargs: The caller's arguments, which win over the variant's.

    Returns:
        The model, or timm's feature extractor around it with `features_only=True`. Its `model_args` are the caller's
        arguments, JSON-ready: `timm.create_model(name, **model.model_args)` builds the same network again.

    Raises:
        CheckpointError: The weights cannot be had or read, or do not fit; or what a config.json says, by way of timm,
            cannot be built.
        TypeError, ValueError: An argument that the network does not take, named in the message.
    """
    told_by = _folder_or_repository(kwargs.get('pretrained_cfg'))
    with naming(told_by):
        try:
            if told_by:
                _check_cfg(kwargs['pretrained_cfg'])
            return _build(name, pretrained, kwargs, told=bool(told_by))
        except (CheckpointError, FileNotFoundError):
            raise
        except Exception as error:
            if not told_by:
                raise
            raise CheckpointError(
                f'what its config.json says, or the call, cannot be used ({type(error).__name__}: {error}).') from error


def _folder_or_repository(cfg: Any) -> str:
    """Where timm has a cfg from, and with it arguments that nobody has looked at; '' if it is the caller's."""
    source = cfg.get('source') if isinstance(cfg, dict) else None
    return str(cfg.get(SOURCES[source])) if source in SOURCES else ''


def _check_cfg(cfg: Mapping[str, Any]) -> None:
    """Data that nobody can preprocess by is told here, not where images are."""
    for key in unreadable({'pretrained_cfg': cfg}):
        raise CheckpointError(f'what its config.json says of {key} cannot be used: {cfg[key]!r}.')


def _checked_cfg(cfg: Any) -> Any:
    if isinstance(cfg, (str, PretrainedCfg)):
        return cfg  # a tag, as timm takes it
    return check_mapping('pretrained_cfg', cfg) or None


def _build(name: str, pretrained: bool, kwargs: Dict[str, Any], told: bool) -> nn.Module:
    """`build`; `told`: arguments and cfg may be those of a config.json."""
    cls = VARIANTS[name].cls
    arguments = with_arguments(name, kwargs)
    wanted = kwargs.get('features_only')
    features_only = wanted is not None and check_bool('features_only', wanted)
    if features_only and 'out_indices' in arguments:  # timm's errors are bare
        arguments['out_indices'] = check_indices('out_indices', arguments['out_indices'], cls.out_indices[-1] + 1)
    feature_cfg = {'out_indices': cls.out_indices, **check_mapping('feature_cfg', arguments.pop('feature_cfg', None))}
    check_indices("feature_cfg['out_indices']", feature_cfg['out_indices'], cls.out_indices[-1] + 1)
    given = dict(check_mapping('pretrained_cfg_overlay', kwargs.get('pretrained_cfg_overlay')))
    cfg = resolve_pretrained_cfg(name, _checked_cfg(kwargs.get('pretrained_cfg')), given)
    source = source_of(cfg, given) if pretrained else ''
    file = local_file(cfg, source, kwargs.get('cache_dir'))
    repo_id = str(cfg.hf_hub_id) if source == 'hf_hub_id' else ''
    with naming(repo_id or file):
        checkpoint = _read(file, repo_id) if file else None
        arguments['pretrained_cfg_overlay'] = {**given, 'first_conv': first_conv(cls, arguments)}
        if checkpoint:
            of_file = _as_overlay(checkpoint, cfg)
            head = {'num_classes': of_file['num_classes'], 'in_chans': of_file['input_size'][0]}
            check_size(cls, {**head, **arguments}, checkpoint)
            arguments['pretrained_cfg_overlay'].update(of_file)
        elif told:
            check_size(cls, {'num_classes': cfg.num_classes, 'in_chans': cfg.input_size[0], **arguments})
        model = build_model_with_cfg(
            cls,
            name,
            pretrained,
            pretrained_filter_fn=_filter(checkpoint, cfg, features_only),
            feature_cfg=feature_cfg,
            **arguments,
        )
    model.pretrained_cfg['first_conv'] = _first_conv(model.state_dict()) or cfg.first_conv
    if not pretrained or {'file', 'url', 'hf_hub_id', 'state_dict'} & given.keys():  # not the weights of the cfg
        said = checkpoint.cfg if checkpoint else {}
        model.pretrained_cfg.update({k: given.get(k, said.get(k)) for k in OF_THE_WEIGHTS})
    if pretrained and isinstance(model, Network):
        tag = model.pretrained_cfg.get('tag')
        network: Any = model
        network.origin = Origin.of(model, f'{name}.{tag}' if tag else checkpoint.path if checkpoint else name)
        model.pretrained_cfg.update(own_cfg(model))  # with a new head
    model.model_args = {k: json_ready(k, v) for k, v in kwargs.items() if k not in RUNTIME}
    return model


def _filter(checkpoint: Optional[Checkpoint], cfg: Any, features_only: bool) -> Callable:
    """What gives timm the weights once the model is there: those that have been read, or what timm has."""
    def filter_fn(state_dict: Any, model: Any) -> Dict[str, torch.Tensor]:
        if checkpoint:
            model.pretrained_cfg.pop('state_dict')
            model.pretrained_cfg.update({k: getattr(cfg, k) for k in ('source', 'custom_load') if getattr(cfg, k)})
        return _fitted(checkpoint or rename(checkpoint_of(state_dict)), model, features_only)
    return filter_fn


def checkpoint_filter_fn(state_dict: Dict[str, Any], model: nn.Module) -> Dict[str, torch.Tensor]:
    """Turn weights of any known layout into the names of `model`, for timm's builder.

    Where the model's cfg is of another number of classes or input channels, timm drops the classifier and adapts a
    first convolution of 3 channels: they may differ. Weights of PaddleClas under our own names, as this package saves
    them, cannot be told from official ones: load those into the variant that they were saved from.

    Args:
        state_dict: Name -> tensor, possibly wrapped as a training checkpoint.
        model: `Res2Net`, `Res2NetCifar` or `Res2NetDla`.

    Raises:
        CheckpointError: The weights do not fit `model`; the message lists what differs.
    """
    return _fitted(rename(checkpoint_of(state_dict)), model, features_only=False)


def _read(file: Any, repo_id: str) -> Checkpoint:
    """A file that a cfg names, of a repository or not: timm's own reader knows no .pdparams."""
    if isinstance(file, Checkpoint):
        return file
    checkpoint = rename(read_checkpoint(file))
    return dataclasses.replace(checkpoint, path=repo_id) if repo_id else checkpoint


def _as_overlay(checkpoint: Checkpoint, cfg: Any) -> Dict[str, Any]:
    """What timm has to know of a file: that there are weights, their classes and channels.

    The weights themselves, which are in a `Checkpoint` too, timm would copy.
    """
    state = checkpoint.state
    first: Optional[torch.Tensor] = state.get(f'{_first_conv(state)}.weight')
    size = (first.shape[1] if first is not None and first.ndim == 4 else cfg.input_size[0], *cfg.input_size[1:])
    file = checkpoint.path if isinstance(cfg.file, Checkpoint) else cfg.file
    return dict(
        state_dict=dict.fromkeys(state), source=None, custom_load=False, input_size=size, classifier='fc', file=file,
        label_offset=0, num_classes=len(state['fc.weight']) if 'fc.weight' in state else 0)


def _first_conv(state: Mapping[str, Any]) -> Optional[str]:
    """The first convolution: arguments may give a variant another stem than its cfg names."""
    return next((name for name in ('conv1.0', 'conv1', 'base_layer.0') if f'{name}.weight' in state), None)


def _fitted(checkpoint: Checkpoint, model: Any, features_only: bool) -> Dict[str, torch.Tensor]:
    """The weights, checked against what timm is going to do with them."""
    cfg = getattr(model, 'pretrained_cfg', None) or {}
    classes = 0 if features_only else model.num_classes
    new_classifier = cfg.get('num_classes', classes) != classes
    check(checkpoint, model, new_classifier, new_channels=model.in_chans != 3)
    if classes and 'fc.weight' not in checkpoint.state:
        _logger.warning(f'{checkpoint.path or "the weights"}: without classifier, that of {classes} classes is random')
    stem = _first_conv(checkpoint.state)
    # older timm would adapt from 3 channels regardless
    cfg['first_conv'] = None if checkpoint.state[f'{stem}.weight'].shape[1] == model.in_chans else stem
    return dict(checkpoint.state)


def json_ready(name: str, value: Any) -> Any:
    """A layer class as timm's name for it, where it has one; plain lists and numbers; everything else as it is."""
    if name == 'attn_layer' and isinstance(value, bool):  # timm's words for SE and none
        return 'se' if value else None
    if isinstance(value, Real) and not isinstance(value, (bool, int, float)):  # numpy's
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    return layer_name(name, value) if callable(value) and name in FACTORIES else value
