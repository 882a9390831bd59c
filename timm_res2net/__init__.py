"""The Res2Net family for timm: importing this package registers every variant in timm's registry."""
from .commands import importing, needs_no_torch
from .version import __version__

if not needs_no_torch():
    with importing():
        from . import deploy, hub, insight, res2net_custom
        from .hub import HubError, from_hub, push_to_hub
        from .insight import class_activation_maps, effective_receptive_field, receptive_fields
        from .model import HierarchicalSplit, Res2Net, Res2NetBottleneck, Res2NetCifar, Res2NetDla, Res2NetDlaBottleneck
        from .model.variants import Variant
        from .res2net_custom import register_variant
        from .weights import (
            CheckpointError,
            CheckpointInfo,
            Weights,
            inspect_checkpoint,
            list_pretrained,
            load_checkpoint,
            save_as,
            save_as_timm,
            save_folder,
            timm_architecture,
            to_timm,
        )

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
    'Variant',
    'Weights',
    '__version__',
    'class_activation_maps',
    'deploy',
    'effective_receptive_field',
    'from_hub',
    'hub',
    'insight',
    'inspect_checkpoint',
    'list_pretrained',
    'load_checkpoint',
    'push_to_hub',
    'receptive_fields',
    'register_variant',
    'res2net_custom',
    'save_as',
    'save_as_timm',
    'save_folder',
    'timm_architecture',
    'to_timm',
]
