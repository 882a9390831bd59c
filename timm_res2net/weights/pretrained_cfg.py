"""A row of the catalogue as timm's pretrained cfg: where weights are, and what data the network takes."""
from typing import Any, Dict, Optional

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from ..model.cifar import Res2NetCifar
from ..model.dla import Res2NetDla
from ..model.variants import VARIANTS
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
            hf_hub_id=weights.hf_hub_id or None, file=weights.file or None, label_names=weights.label_names)
    return cfg
