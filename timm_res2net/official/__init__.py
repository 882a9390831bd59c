"""The authors' files as modules: what a project that carries a copy of one imports in its place.

    from lib.Res2Net_v1b import res2net50_v1b_26w_4s        becomes
    from timm_res2net.official import res2net50_v1b_26w_4s

| the authors' file | here | networks |
| --- | --- | --- |
| res2net_v1b.py | `timm_res2net.official.res2net_v1b` | v1b, timm's "d" |
| res2net.py | `timm_res2net.official.res2net` | the paper's |
| res2next.py | `timm_res2net.official.res2next` | Res2NeXt |

All functions are here too. Classes and `model_urls` are not: two files of theirs have a `Res2Net`, and they are not the
same network, so those are imported from the module that is meant. Written from the interface of the files (names,
arguments, attributes, the order of children); the networks are those of `timm_res2net.model`.
"""
from .res2net import (
    res2net50,
    res2net50_14w_8s,
    res2net50_26w_4s,
    res2net50_26w_6s,
    res2net50_26w_8s,
    res2net50_48w_2s,
    res2net101_26w_4s,
)
from .res2net_v1b import (
    res2net50_v1b,
    res2net50_v1b_26w_4s,
    res2net101_v1b,
    res2net101_v1b_26w_4s,
    res2net152_v1b_26w_4s,
)
from .res2next import res2next50

__all__ = [
    'res2net50', 'res2net50_14w_8s', 'res2net50_26w_4s', 'res2net50_26w_6s', 'res2net50_26w_8s', 'res2net50_48w_2s',
    'res2net50_v1b', 'res2net50_v1b_26w_4s', 'res2net101_26w_4s', 'res2net101_v1b', 'res2net101_v1b_26w_4s',
    'res2net152_v1b_26w_4s', 'res2next50']


def __getattr__(name: str) -> None:
    """Say where a name is that two modules have, or that is no function."""
    if name in ('Bottle2neck', 'Bottle2neckX', 'Res2NeXt', 'Res2Net', 'model_urls'):
        raise ImportError(
            f"{__name__} has functions alone: import {name} from the module that has the name of the authors' file, "
            f'{__name__}.res2net_v1b, .res2net or .res2next.')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
