"""The one place where this package changes timm: `create_model(checkpoint_path=...)` of our own networks.

`pretrained=True`, `pretrained_cfg_overlay=dict(file=...)`, `local-dir:` and `hf-hub:` go through timm's own hooks.
A hook of torch's (`register_load_state_dict_pre_hook`) would come too late here: timm has read the file by then.
"""
import functools

import timm
import torch

from ..model.networks import Network
from .checkpoint import CheckpointError
from .loading import load_checkpoint


def install() -> None:
    """Make timm's `load_checkpoint` load our networks by ours, and every other model as before.

    timm reads `create_model(checkpoint_path=...)` before a model can have a say: it knows neither other
    layouts nor .pdparams, copies what fits before it complains of what does not, and older versions of it unpickle
    whatever is in the file.
    """
    original = timm.models._helpers.load_checkpoint
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def load(model, checkpoint_path, use_ema=True, device='cpu', strict=True, remap=False, filter_fn=None, **kwargs):
        if hasattr(model, 'model_args') and not isinstance(model, Network):  # timm's extractor around one of ours
            raise CheckpointError(
                f'checkpoint_path={checkpoint_path!r} fills whole models, not the part that features_only=True keeps: '
                'use pretrained=True, pretrained_cfg_overlay=dict(file=...) with it.')
        if isinstance(model, Network) and strict and not remap and filter_fn is None:
            load_checkpoint(checkpoint_path, model, use_ema=use_ema)
            return torch.nn.modules.module._IncompatibleKeys([], [])
        return original(model, checkpoint_path, use_ema, device, strict, remap, filter_fn, **kwargs)

    for module in (timm.models._helpers, timm.models._factory, timm.models):
        module.load_checkpoint = load  # type: ignore[attr-defined]
