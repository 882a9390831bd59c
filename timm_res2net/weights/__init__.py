"""Any file <-> a model: the catalogue of weights, reading, recognising, loading and saving."""
from . import timm_patch
from .building import checkpoint_filter_fn
from .catalogue import Weights, list_pretrained, provenance
from .checkpoint import CheckpointError, CheckpointInfo
from .loading import inspect_checkpoint, load_checkpoint
from .save_as import save_as
from .saving import save_as_timm, save_folder
from .timm_equivalent import timm_architecture, to_timm

timm_patch.install()

__all__ = [
    'CheckpointError', 'CheckpointInfo', 'Weights', 'checkpoint_filter_fn', 'inspect_checkpoint', 'list_pretrained',
    'load_checkpoint', 'provenance', 'save_as', 'save_as_timm', 'save_folder', 'timm_architecture', 'to_timm']
