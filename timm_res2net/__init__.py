"""The Res2Net family for timm: importing this package registers every variant in timm's registry."""
from . import checkpoint_path, deploy, res2net_custom
from .blocks import Res2NetBottleneck, Res2NetDlaBottleneck
from .checkpoints import CheckpointError, CheckpointInfo, inspect_checkpoint, load_checkpoint
from .cifar import Res2NetCifar
from .folders import save_as_timm, save_folder
from .hierarchical_split import HierarchicalSplit
from .hub import from_hub, push_to_hub
from .hub_errors import HubError
from .networks import Res2Net, Res2NetDla
from .version import __version__
from .writing import timm_architecture, to_timm

checkpoint_path.install()

__all__ = [
    'CheckpointError',
    'CheckpointInfo',
    'HierarchicalSplit',
    'HubError',
    'Res2Net',
    'Res2NetBottleneck',
    'Res2NetCifar',
    'Res2NetDla',
    'Res2NetDlaBottleneck',
    '__version__',
    'deploy',
    'from_hub',
    'inspect_checkpoint',
    'load_checkpoint',
    'push_to_hub',
    'res2net_custom',
    'save_as_timm',
    'save_folder',
    'timm_architecture',
    'to_timm',
]
