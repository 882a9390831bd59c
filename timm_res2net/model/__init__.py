"""What a Res2Net is: the split, the blocks around it, the networks, and the table of variants."""
from .blocks import Res2NetBottleneck, Res2NetDlaBottleneck
from .cifar import Res2NetCifar
from .dla import Res2NetDla
from .hierarchical_split import HierarchicalSplit
from .networks import Network, Res2Net

__all__ = [
    'HierarchicalSplit', 'Network', 'Res2Net', 'Res2NetBottleneck', 'Res2NetCifar', 'Res2NetDla',
    'Res2NetDlaBottleneck']
