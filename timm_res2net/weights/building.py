"""How a variant becomes a timm model: by timm's builder, with weights of any layout, remembering its arguments."""
import inspect
from numbers import Integral, Real
from typing import Any, Dict

from timm.models import build_model_with_cfg, resolve_pretrained_cfg
from torch import nn

from ..model.arguments import check_indices
from ..model.data_cfg import OF_THE_WEIGHTS, Origin, own_cfg
from ..model.layers import FACTORIES, layer_name
from ..model.networks import Network
from ..model.variants import VARIANTS
from .checkpoint import CheckpointError
from .loading import checkpoint_filter_fn
from .matching import with_arguments
from .pretrained_cfg import local_file
from .reading import read_checkpoint

# arguments that say where a model lives or how it is loaded or wrapped, not what it is
_RUNTIME = set(inspect.signature(build_model_with_cfg).parameters) | {
    'device', 'dtype', 'features_only', 'out_indices', 'feature_cls', 'pretrained_model_args'}


def build(name: str, pretrained: bool, kwargs: Dict[str, Any]) -> nn.Module:
    """Build a registered variant through timm's builder.

    Args:
        name: Of the variant.
        pretrained: Load the weights of the variant's pretrained cfg, which also says how many classes there are unless
            `kwargs` do.
        kwargs: The caller's arguments, which win over the variant's.

    Returns:
        The model, or timm's feature extractor around it with `features_only=True`. Its `model_args` are the caller's
        arguments, JSON-ready: `timm.create_model(name, **model.model_args)` builds the same network again.

    Raises:
        CheckpointError: The weights cannot be read or do not fit.
        TypeError, ValueError: An argument that the network does not take, named in the message.
    """
    cls = VARIANTS[name].cls
    arguments = with_arguments(name, kwargs)
    if arguments.get('features_only') and 'out_indices' in arguments:  # timm's errors are bare
        arguments['out_indices'] = check_indices('out_indices', arguments['out_indices'], cls.out_indices[-1] + 1)
    cfg = resolve_pretrained_cfg(name, kwargs.get('pretrained_cfg'), kwargs.get('pretrained_cfg_overlay'))
    local = local_file(cfg, kwargs.get('pretrained_cfg_overlay'), kwargs.get('cache_dir')) if pretrained else None
    if local:  # read it here: timm's own torch.load knows no .pdparams
        overlay = dict(state_dict=read_checkpoint(local).state, source=None, custom_load=False)
        arguments['pretrained_cfg_overlay'] = {**(kwargs.get('pretrained_cfg_overlay') or {}), **overlay}

    def filter_fn(state_dict, model):
        if local:
            model.pretrained_cfg.pop('state_dict')
            model.pretrained_cfg.update({k: getattr(cfg, k) for k in ('source', 'custom_load') if getattr(cfg, k)})
        state_dict = checkpoint_filter_fn(state_dict, model)
        stem = f'{cfg.first_conv}.weight'
        if model.in_chans != 3 and stem in state_dict and state_dict[stem].shape[1] == model.in_chans:
            model.pretrained_cfg['first_conv'] = None  # older timm would adapt from 3 channels regardless
        return state_dict

    try:
        model = build_model_with_cfg(
            cls,
            name,
            pretrained,
            pretrained_filter_fn=filter_fn,
            feature_cfg=dict(out_indices=cls.out_indices),
            **arguments,
        )
    except CheckpointError as error:
        if local is None:
            raise
        raise CheckpointError(f'{local}: {error}') from None
    model.pretrained_cfg['first_conv'] = cfg.first_conv
    overlay = kwargs.get('pretrained_cfg_overlay') or {}
    if not pretrained or {'file', 'url', 'hf_hub_id', 'state_dict'} & overlay.keys():  # not the weights of the cfg
        model.pretrained_cfg.update({k: overlay.get(k) for k in OF_THE_WEIGHTS})
    if pretrained and isinstance(model, Network):
        tag = model.pretrained_cfg.get('tag')
        network: Any = model
        network.origin = Origin.of(model, f'{name}.{tag}' if tag else local or cfg.hf_hub_id or name)
        model.pretrained_cfg.update(own_cfg(model))  # with a new head
    model.model_args = {k: json_ready(k, v) for k, v in kwargs.items() if k not in _RUNTIME}
    return model


def json_ready(name: str, value: Any) -> Any:
    """A layer class as timm's name for it, where it has one; plain lists and numbers; everything else as it is."""
    if isinstance(value, Real) and not isinstance(value, (bool, int, float)):  # numpy's
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    return layer_name(name, value) if callable(value) and name in FACTORIES else value
