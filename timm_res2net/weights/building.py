"""How a variant becomes a timm model: registered, built by timm's builder, and remembering its arguments."""
import inspect
import warnings
from numbers import Integral, Real
from typing import Any, Callable, Dict, Tuple

from timm.layers import get_act_layer, get_attn, get_norm_layer
from timm.models import build_model_with_cfg, is_model, model_entrypoint, register_model, resolve_pretrained_cfg
from torch import nn

from .architecture import DESCRIBE
from .arguments import AA_LAYERS
from .checkpoints import checkpoint_filter_fn
from .reading import CheckpointError, read_checkpoint

# arguments that say where a model lives or how it is loaded or wrapped, not what it is
_RUNTIME = set(inspect.signature(build_model_with_cfg).parameters) | {
    'device', 'dtype', 'features_only', 'out_indices', 'feature_cls', 'pretrained_model_args'}
_LAYER_NAMES: Dict[str, Tuple[Callable, Tuple[str, ...]]] = {
    'act_layer': (get_act_layer, ('relu', 'relu6', 'leaky_relu', 'prelu', 'silu', 'gelu', 'elu', 'celu', 'selu', 'mish',
                                  'hard_swish', 'hard_sigmoid', 'hard_mish', 'sigmoid', 'tanh', 'identity')),
    'norm_layer': (get_norm_layer, ('batchnorm2d', 'groupnorm', 'groupnorm1', 'layernorm2d', 'rmsnorm2d',
                                    'frozenbatchnorm2d')),
    'attn_layer': (get_attn, ('se', 'ese', 'eca', 'ceca', 'ge', 'gc', 'cbam', 'lcbam', 'nl')),
    'aa_layer': (AA_LAYERS.get, ('blur', 'avg')),
}


def register_variant(fn: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """timm's `register_model`, silent when a reload registers the same function again."""
    name = fn.__name__
    with warnings.catch_warnings():
        if is_model(name) and model_entrypoint(name).__module__ == fn.__module__:
            warnings.simplefilter('ignore')
        return register_model(fn)


def build(
        model_cls: Any,
        variant: str,
        pretrained: bool,
        defaults: Dict[str, Any],
        kwargs: Dict[str, Any],
) -> Any:
    """Build a registered variant through timm's builder.

    Args:
        model_cls: `Res2Net`, `Res2NetCifar` or `Res2NetDla`.
        variant: Registered name.
        pretrained: Load the weights of the variant's pretrained cfg.
        defaults: The arguments that make the variant.
        kwargs: The caller's arguments, which win over `defaults`.

    Returns:
        The model, or timm's feature extractor around it with `features_only=True`. Its `model_args` are the caller's
        arguments, JSON-ready: `timm.create_model(variant, **model.model_args)` builds the same network again.
    """
    if pretrained is DESCRIBE:
        return model_cls, defaults
    if 'layers' in kwargs or 'depth' in kwargs:  # two ways to say one thing: the caller's wins
        defaults = {k: v for k, v in defaults.items() if k not in ('layers', 'depth')}
    arguments = {**defaults, **kwargs}
    cfg = resolve_pretrained_cfg(variant, kwargs.get('pretrained_cfg'), kwargs.get('pretrained_cfg_overlay'))
    local = cfg.file if pretrained and not cfg.state_dict and cfg.source != 'hf-hub' else None
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
            model_cls,
            variant,
            pretrained,
            pretrained_filter_fn=filter_fn,
            feature_cfg=dict(out_indices=model_cls.out_indices),
            **arguments,
        )
    except CheckpointError as error:
        if local is None:
            raise
        raise CheckpointError(f'{local}: {error}') from None
    model.pretrained_cfg['first_conv'] = cfg.first_conv
    if not pretrained:  # class names are the weights', another network may well have as many classes
        model.pretrained_cfg['label_names'] = model.pretrained_cfg['label_descriptions'] = None
    model.model_args = {k: _json_ready(k, v) for k, v in kwargs.items() if k not in _RUNTIME}
    return model


def _json_ready(name: str, value: Any) -> Any:
    """A layer class as timm's name for it, where it has one; plain lists and numbers; everything else as it is."""
    if isinstance(value, Real) and not isinstance(value, (bool, int, float)):  # numpy's
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, (list, tuple)):
        return list(value)
    if callable(value) and name in _LAYER_NAMES:
        getter, names = _LAYER_NAMES[name]
        named = {n: getter(n) for n in names}
        same = [n for n, layer in named.items() if layer is value]
        if value in vars(nn).values():  # timm wraps some of torch's activations under the same name
            same += [n for n, layer in named.items() if name == 'act_layer' and layer.__name__ == value.__name__]
        return same[0] if same else value
    return value
