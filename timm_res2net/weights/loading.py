"""Weights of any published layout into our networks: read -> rename -> recognise -> build -> check -> load.

    model = load_checkpoint('Res2Net50_vd_26w_4s_pretrained.pdparams')
    print(model.checkpoint_info)  # PaddleClas layout -> res2net50_vd_26w_4s_custom, 25.7 M parameters, 1000 classes

`checkpoint_filter_fn` is the same for timm's builder, so that `timm.create_model(..., pretrained=True)`,
`pretrained_cfg_overlay=dict(file=...)`, `checkpoint_path=...` and `--initial-checkpoint` take any of them.
"""
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Union

import timm
import torch
from torch import nn

from ..model.cifar import Res2NetCifar
from ..model.data_cfg import SOURCE_KEYS, Origin, for_channels
from ..model.variants import VARIANTS, variant_of
from ..model.wrappers import unwrapped
from .architecture import Architecture, read_architecture
from .checking import check
from .checkpoint import Checkpoint, CheckpointError, CheckpointInfo
from .layouts import rename
from .matching import HEAD, complete, match
from .reading import as_tensors, read_checkpoint, unwrap

__all__ = ['checkpoint_filter_fn', 'inspect_checkpoint', 'load_checkpoint']

_logger = logging.getLogger(__name__)


def load_checkpoint(
        path: Union[str, Path],
        model: Optional[nn.Module] = None,
        variant: Optional[str] = None,
        use_ema: bool = True,
        **kwargs,
) -> nn.Module:
    """Load weights of any known layout, into a model that is built for them or into a given one.

    The layout is recognised from the names of the weights, the architecture from names and shapes. What has no weights
    (activation, strides, ...) is taken from the registered variant that fits, from the file where it says so (a folder
    with config.json, timm's training checkpoints), or from `kwargs`. In particular weights of PaddleClas under our own
    names cannot be told from official ones: name their `variant`.

    Args:
        path: .pth, .pt, .bin, .tar, .safetensors or .pdparams, or a folder with model.safetensors and config.json.
        model: Loaded in place if given, possibly compiled or inside DistributedDataParallel, else one is built.
        variant: Registered variant to build, if it is not the one that would be recognised.
        use_ema: Take the averaged weights of a training checkpoint where there are any.
        **kwargs: Arguments for `timm.create_model`, which win over the recognised ones.

    Returns:
        The model, with what was recognised as its `checkpoint_info`.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, would execute code, or does not fit; it names the file and the reason, and
            `model` is as it was.
    """
    if model is not None and (variant is not None or kwargs):
        raise TypeError('load_checkpoint takes either a model, or a variant and arguments to build one from.')
    return load_read(read_checkpoint(path, use_ema), model, variant, **kwargs)


def load_read(
        checkpoint: Checkpoint,
        model: Optional[nn.Module] = None,
        variant: Optional[str] = None,
        **kwargs,
) -> nn.Module:
    """`load_checkpoint` of a file that has been read."""
    network: Any = unwrapped(model)
    with _naming(checkpoint.path):
        checkpoint = rename(checkpoint)
        if network is None:
            info = _recognise(checkpoint, variant)
            network = _build(checkpoint, info, kwargs)
        else:
            info = _describe_given(checkpoint, network)
        check(checkpoint, network)
    network.load_state_dict(checkpoint.state)
    network.checkpoint_info = info
    if model is None:
        network.origin = Origin.of(network, checkpoint.path)
    _logger.log(logging.WARNING if info.assumed else logging.INFO, f'{checkpoint.path}: {info}')
    return network if model is None else model


def inspect_checkpoint(path: Union[str, Path], use_ema: bool = True) -> CheckpointInfo:
    """Say what is in a checkpoint, without building a model.

    Args:
        path: File or folder, see `load_checkpoint`.
        use_ema: Look at the averaged weights of a training checkpoint where there are any.

    Raises:
        FileNotFoundError, CheckpointError: As `load_checkpoint`.
    """
    checkpoint = read_checkpoint(path, use_ema)
    with _naming(path):
        return _recognise(rename(checkpoint), None)


def checkpoint_filter_fn(state_dict: Dict[str, Any], model: nn.Module) -> Dict[str, torch.Tensor]:
    """Turn weights of any known layout into the names of `model`, for timm's builder.

    The classifier and the first convolution may differ in shape: timm adapts them to `num_classes` and `in_chans`.
    Weights of PaddleClas under our own names, as this package saves them, cannot be told from official ones: load those
    into the variant that they were saved from.

    Args:
        state_dict: Name -> tensor, possibly wrapped as a training checkpoint.
        model: `Res2Net`, `Res2NetCifar` or `Res2NetDla`.

    Raises:
        CheckpointError: The weights do not fit `model`; the message lists what differs.
    """
    checkpoint = rename(Checkpoint('', as_tensors(unwrap(state_dict)[0])))
    cfg = getattr(model, 'pretrained_cfg', None) or {}
    adaptable: List[str] = []
    for key in ('first_conv', 'classifier'):
        names = cfg.get(key) or ()
        adaptable += [names] if isinstance(names, str) else list(names)
    check(checkpoint, model, adaptable)
    return checkpoint.state


@contextmanager
def _naming(path: Union[str, Path]) -> Iterator[None]:
    """Put the file before what is wrong with it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None


def _recognise(checkpoint: Checkpoint, variant: Optional[str]) -> CheckpointInfo:
    """Variant and arguments, from names and shapes and from what the file says of itself; or of the given variant."""
    found = read_architecture(checkpoint.shapes, checkpoint.first_block)
    assumed: List[str] = []
    if variant is None:
        name, model_args = match(found, (checkpoint.architecture, checkpoint.model_args))
        assumed = _assumed(checkpoint, found, name, model_args)
    else:
        name = variant_of(variant)
        if not name:
            raise CheckpointError(f"{variant!r} is not one of this package's variants.")
        known = complete(*VARIANTS[name][:2])
        model_args = {k: v for k, v in found.arguments.items() if k in HEAD and v != known[k]}
    return _info(checkpoint, name, model_args, found.arguments['num_classes'], found.arguments['in_chans'], assumed)


def _assumed(checkpoint: Checkpoint, found: Architecture, name: str, model_args: Dict[str, Any]) -> List[str]:
    """What neither names and shapes nor the file tell, in words."""
    assumed = []
    if ':' in checkpoint.architecture:
        assumed.append(
            f'what has no weights (strides, activation) to be as in {name}: it was trained as '
            f'{checkpoint.architecture}, which is not here; load that, or give variant= and arguments')
    elif not checkpoint.architecture and found.cls is Res2NetCifar and set(model_args) - set(HEAD):
        stride = complete(*VARIANTS[name][:2])['stem_stride']
        assumed.append(f'stem_stride={model_args.get("stem_stride", stride)}, which no weight tells')
    if found.arguments.get('norm_layer') and 'norm_layer' not in checkpoint.model_args:
        assumed.append('a group norm, as nothing but the absence of running statistics tells: give norm_layer=')
    return assumed


def _build(checkpoint: Checkpoint, info: CheckpointInfo, kwargs: Dict[str, Any]) -> Any:
    """The network that was recognised; its cfg describes the weights that it is to have."""
    network: Any = timm.create_model(info.architecture, **{**info.model_args, **kwargs})
    cfg = {k: v for k, v in network.pretrained_cfg.items() if k not in (*SOURCE_KEYS, 'tag')}
    cfg.update(num_classes=info.num_classes, license='unknown')
    network.pretrained_cfg = network.default_cfg = for_channels({**cfg, **checkpoint.cfg}, info.in_chans)
    return network


def _describe_given(checkpoint: Checkpoint, network: Any) -> CheckpointInfo:
    """The same for a model that was given."""
    cfg = getattr(network, 'pretrained_cfg', None) or {}
    return _info(
        checkpoint, cfg.get('architecture', type(network).__name__), getattr(network, 'model_args', {}),
        network.num_classes, network.in_chans, [])


def _info(
        checkpoint: Checkpoint,
        name: str,
        model_args: Dict[str, Any],
        num_classes: int,
        in_chans: int,
        assumed: List[str],
) -> CheckpointInfo:
    return CheckpointInfo(
        checkpoint.path, checkpoint.layout, name, model_args, checkpoint.num_parameters, num_classes, in_chans,
        checkpoint.wrapper, list(checkpoint.left_out), assumed)
