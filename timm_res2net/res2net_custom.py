"""The front door: every row of the tables of variants and of weights, into timm's registry.

`timm.list_models(module='res2net_custom')` lists exactly these.
"""
import sys
import warnings
from typing import Any, Callable, Iterable, List

from timm.models import generate_default_cfgs, is_model, model_entrypoint, register_model
from torch import nn

from .model.variants import VARIANTS, Variant
from .weights.building import build
from .weights.catalogue import CATALOGUE, Weights
from .weights.matching import complete
from .weights.pretrained_cfg import pretrained_cfgs

__all__: List[str] = []  # filled by timm's registry


def register_variant(name: str, variant: Variant, weights: Iterable[Weights] = ()) -> Callable[..., nn.Module]:
    """Register a variant, in the tables and with timm, as one of the module that calls.

    Args:
        name: For `timm.create_model`.
        variant: Class, arguments and words.
        weights: Its weights, the default first.

    Returns:
        What timm calls, `NAME(pretrained=False, **kwargs)`, which also becomes an attribute of the calling module.

    Raises:
        TypeError, ValueError: The arguments make no network; the message names variant and argument, and the tables
            are as they were.
    """
    try:
        complete(variant.cls, variant.arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{name}: {error}') from error
    module: Any = sys.modules[sys._getframe(1).f_globals['__name__']]
    VARIANTS[name] = variant
    CATALOGUE.update({row.name: row for row in weights})

    def create(pretrained: bool = False, **kwargs) -> nn.Module:
        return build(name, pretrained, kwargs)

    create.__name__ = create.__qualname__ = name
    create.__module__ = module.__name__
    create.__doc__ = f'{variant.words}.'
    cfgs: Any = pretrained_cfgs(name)
    # where timm looks for them
    module.default_cfgs = {**getattr(module, 'default_cfgs', {}), **generate_default_cfgs(cfgs)}
    setattr(module, name, create)
    with warnings.catch_warnings():
        if is_model(name) and model_entrypoint(name).__module__ == module.__name__:
            warnings.simplefilter('ignore')  # the same again, by a reload
        return register_model(create)


for _name, _variant in list(VARIANTS.items()):
    register_variant(_name, _variant)
