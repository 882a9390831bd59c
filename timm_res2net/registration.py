"""How a variant becomes a timm model: registered, built by timm's builder, and remembering its arguments."""
import inspect
import warnings
from typing import Any, Callable, Dict, Type

from torch import nn
from timm.layers import get_act_layer, get_attn, get_norm_layer
from timm.models import build_model_with_cfg, is_model, model_entrypoint, register_model

from .arguments import AA_LAYERS
from .checkpoints import checkpoint_filter_fn

# arguments that say where a model lives or how it is loaded or wrapped, not what it is
_RUNTIME = set(inspect.signature(build_model_with_cfg).parameters) | {
    'device', 'dtype', 'features_only', 'out_indices', 'feature_cls', 'pretrained_model_args'}
_LAYER_NAMES = {
    'act_layer': (get_act_layer, ('relu', 'relu6', 'leaky_relu', 'prelu', 'silu', 'gelu', 'elu', 'celu', 'selu', 'mish',
                                  'hard_swish', 'sigmoid', 'tanh')),
    'norm_layer': (get_norm_layer, ('batchnorm2d', 'groupnorm', 'groupnorm1', 'layernorm2d', 'frozenbatchnorm2d')),
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
        model_cls: Type[nn.Module],
        variant: str,
        pretrained: bool,
        defaults: Dict[str, Any],
        kwargs: Dict[str, Any],
) -> nn.Module:
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
    if 'layers' in kwargs and 'depth' not in kwargs:
        defaults = {k: v for k, v in defaults.items() if k != 'depth'}
    model = build_model_with_cfg(
        model_cls,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg=dict(out_indices=model_cls.out_indices),
        **{**defaults, **kwargs},
    )
    model.model_args = {k: _json_ready(k, v) for k, v in kwargs.items() if k not in _RUNTIME}
    return model


def _json_ready(name: str, value: Any) -> Any:
    """A layer class as timm's name for it, where it has one; everything else as it is."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if callable(value) and name in _LAYER_NAMES:
        getter, names = _LAYER_NAMES[name]
        return next((n for n in names if getter(n) is value), value)
    return value
