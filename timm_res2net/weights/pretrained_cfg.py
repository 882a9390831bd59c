"""A row of the catalogue as timm's pretrained cfg, where weights are and what data the network takes; and back."""
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Union

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import PretrainedCfg

from ..model.cifar import Res2NetCifar
from ..model.dla import Res2NetDla
from ..model.variants import VARIANTS
from .cache import cached_file
from .catalogue import CATALOGUE, Weights
from .matching import complete

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
    first_conv = 'base_layer.0' if issubclass(variant.cls, Res2NetDla) else \
        'conv1.0' if arguments.get('stem_type') else 'conv1'
    cfg = dict(
        data,
        num_classes=arguments['num_classes'],
        pool_size=tuple(-(-n // arguments['output_stride']) for n in data['input_size'][1:]),
        first_conv=first_conv,
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


def local_file(
        cfg: PretrainedCfg,
        overlay: Optional[Mapping[str, Any]] = None,
        cache_dir: Union[str, Path, None] = None,
) -> Optional[str]:
    """The file or folder that holds the weights of a resolved cfg; one that has a URL is downloaded.

    Of several places timm's order holds (file, Hub, URL), but a URL given by `overlay` comes before those of the row.

    Args:
        cfg: As `timm.models.resolve_pretrained_cfg` gives it.
        overlay: What the caller laid over it.
        cache_dir: See `cached_file`.

    Returns:
        The path; None where the weights are in the cfg itself, on the Hub or nowhere.

    Raises:
        CheckpointError: The file of a URL cannot be had, see `cached_file`.
    """
    if cfg.state_dict or cfg.source == 'hf-hub':
        return None
    given = {k for k in ('file', 'hf_hub_id', 'url') if (overlay or {}).get(k)}
    if cfg.file and given != {'url'}:
        return cfg.file
    if cfg.url and (given == {'url'} or not cfg.hf_hub_id):
        sha256 = next((row.sha256 for row in CATALOGUE.values() if row.url == cfg.url), '')
        return str(cached_file(cfg.url, cache_dir, sha256))
    return None
