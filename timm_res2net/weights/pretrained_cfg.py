"""A row of the catalogue as timm's pretrained cfg, where weights are and what data the network takes; and back."""
import os
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg

from ..model.cifar import Res2NetCifar
from ..model.data_cfg import for_channels
from ..model.dla import Res2NetDla
from ..model.variants import VARIANTS
from .cache import cached_file
from .catalogue import CATALOGUE, Weights
from .checkpoint import Checkpoint
from .hub_file import hub_file
from .matching import complete

SOURCES = {'hf-hub': 'hf_hub_id', 'local-dir': 'file'}  # timm's prefixes of names -> where it says what follows
_PLACES = ('state_dict', 'file', 'hf_hub_id', 'url')
_IMAGENET = dict(
    input_size=(3, 224, 224), crop_pct=0.875, interpolation='bilinear',
    mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD)
_CIFAR = dict(
    input_size=(3, 32, 32), crop_pct=1.0, interpolation='bicubic',
    mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))


def pretrained_cfgs(name: str) -> Dict[str, Dict[str, Any]]:
    """NAME.TAG -> cfg of all weights of a variant, the default first; NAME.untrained if it has none."""
    rows = [weights for weights in CATALOGUE.values() if weights.variant == name]
    return {row.name: _cfg(name, row) for row in rows} or {f'{name}.untrained': _cfg(name, None)}


def _cfg(name: str, weights: Optional[Weights]) -> Dict[str, Any]:
    variant = VARIANTS[name]
    arguments = complete(variant.cls, variant.arguments)
    data = {**(_CIFAR if issubclass(variant.cls, Res2NetCifar) else _IMAGENET), **variant.data}
    if weights is not None:
        data.update(weights.data)
    data = for_channels(data, arguments['in_chans'])
    cfg = dict(
        data,
        num_classes=arguments['num_classes'],
        pool_size=tuple(-(-n // arguments['output_stride']) for n in data['input_size'][1:]),
        first_conv=first_conv(variant.cls, arguments),
        classifier='fc',
        license=weights.license if weights else 'apache-2.0',
        paper_name='Res2Net: A New Multi-scale Backbone Architecture',
        paper_ids='arXiv:1904.01169',
    )
    if weights is not None:
        cfg.update(
            num_classes=arguments['num_classes'] if weights.num_classes is None else weights.num_classes,
            hf_hub_id=weights.hf_hub_id or None, url=weights.url or None, file=weights.file or None,
            description=weights.source or None, label_names=weights.label_names)
    return cfg


def first_conv(cls: Any, arguments: Mapping[str, Any]) -> str:
    """The first convolution of a network, which timm adapts to other input channels."""
    return 'base_layer.0' if issubclass(cls, Res2NetDla) else 'conv1.0' if arguments.get('stem_type') else 'conv1'


def source_of(cfg: PretrainedCfg, overlay: Mapping[str, Any]) -> str:
    """Which entry of a resolved cfg says where its weights are, '' if none does.

    Of several timm's order holds (weights themselves, file, Hub, URL), but what `overlay` gives comes before the places
    of the row, and a cfg that timm has read from a folder or from the Hub has its weights there, whatever it says.

    Args:
        cfg: As `timm.models.resolve_pretrained_cfg` gives it.
        overlay: What the caller laid over it.
    """
    if cfg.source in SOURCES:
        return SOURCES[cfg.source]
    return next((k for k in (*(k for k in _PLACES if overlay.get(k)), *_PLACES) if getattr(cfg, k)), '')


def local_file(cfg: PretrainedCfg, source: str, cache_dir: Union[str, Path, None]) -> Any:
    """The file or folder that holds the weights of a resolved cfg; one that is elsewhere is downloaded.

    Args:
        cfg: As `timm.models.resolve_pretrained_cfg` gives it.
        source: As `source_of` gives it.
        cache_dir: See `hub_file` and `cached_file`.

    Returns:
        The path, or whatever the cfg has as its file; None where the weights are in the cfg itself or nowhere.

    Raises:
        CheckpointError: The file cannot be had, see `hub_file` and `cached_file`.
        TypeError: The entry is nothing of that kind.
    """
    if source == 'file':
        if not isinstance(cfg.file, (str, os.PathLike, Checkpoint)):
            raise TypeError(f"pretrained_cfg_overlay['file']={cfg.file!r} must be a file or a folder.")
        return cfg.file
    if source == 'hf_hub_id':
        known = any(row.hf_hub_id == cfg.hf_hub_id for row in CATALOGUE.values())
        return hub_file(cfg.hf_hub_id, cfg.hf_hub_filename, cache_dir, described=not known)
    if source == 'state_dict' and not isinstance(cfg.state_dict, dict):
        kind = type(cfg.state_dict).__name__
        raise TypeError(f"pretrained_cfg_overlay['state_dict'] must be a dictionary of tensors, not {kind}.")
    if source == 'url' and cfg.url:
        sha256 = next((row.sha256 for row in CATALOGUE.values() if row.url == cfg.url), '')
        return cached_file(cfg.url, cache_dir, sha256)
    return None
