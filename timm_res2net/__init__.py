"""The Res2Net family for timm: importing this package registers every variant in timm's registry."""
from . import res2net_custom
from .blocks import Res2NetBottleneck, Res2NetDlaBottleneck
from .cifar import Res2NetCifar
from .hierarchical_split import HierarchicalSplit
from .networks import Res2Net, Res2NetDla
from .version import __version__

__all__ = [
    'HierarchicalSplit',
    'Res2Net',
    'Res2NetBottleneck',
    'Res2NetCifar',
    'Res2NetDla',
    'Res2NetDlaBottleneck',
    '__version__',
    'res2net_custom',
]
