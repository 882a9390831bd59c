"""The front door: every row of the tables of variants and of weights, into timm's registry.

`timm.list_models(module='res2net_custom')` lists exactly these.
"""
import inspect
import re
import sys
import warnings
from typing import Any, Callable, Iterable, List, Mapping

from timm.models import generate_default_cfgs, is_model, model_entrypoint, register_model
from torch import nn

from .model.data_cfg import check_own_cfg
from .model.networks import Network
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
        TypeError, ValueError: It can be no variant, these can be no weights of it, or the arguments make no network;
            the message names the variant and what is wrong, and the tables are as they were.
    """
    rows = list(weights)
    _check(name, variant, rows)
    return _register(name, variant, rows, sys.modules[sys._getframe(1).f_globals['__name__']])


def _check(name: str, variant: Variant, rows: List[Weights]) -> None:
    """Build the variant and look at what timm will be told of it."""
    if not isinstance(name, str) or not re.fullmatch(r'[\w-]+', name):
        raise ValueError(
            f'name={name!r} must be letters, digits, _ and -: for timm a dot begins a tag, / and : tell where a model '
            'is.')
    if not isinstance(variant, Variant) or not (isinstance(variant.cls, type) and issubclass(variant.cls, Network)):
        raise TypeError(f'{name}: {variant!r} must be a Variant(cls, arguments, words), cls a class of this package.')
    for row in rows:
        if not isinstance(row, Weights) or row.variant != name or row.name == name:
            raise ValueError(f"{name}: weights hold {row!r}, these must be Weights('{name}.TAG', ..).")
    try:
        of_rows = [(f"data of '{row.name}'", row.data) for row in rows]
        for shown, given in (('arguments', variant.arguments), ('data', variant.data), *of_rows):
            if not isinstance(given, Mapping):
                raise TypeError(f'{shown}={given!r} must be a dictionary.')
        complete(variant.cls, variant.arguments)
        takes = inspect.signature(variant.cls).parameters.values()
        anywhere = any(p.name == 'device' or p.kind is p.VAR_KEYWORD for p in takes)  # a class of one's own may not
        network = variant.cls(**variant.arguments, **({'device': 'meta'} if anywhere else {}))
        for shown, given in (('data', variant.data), *of_rows):
            check_own_cfg(shown, given, network.in_chans)
    except (TypeError, ValueError) as error:
        raise type(error)(f'{name}: {error}') from error


def _register(name: str, variant: Variant, rows: Iterable[Weights], module: Any) -> Callable[..., nn.Module]:
    VARIANTS[name] = variant
    CATALOGUE.update({row.name: row for row in rows})

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
    _register(_name, _variant, (), sys.modules[__name__])
