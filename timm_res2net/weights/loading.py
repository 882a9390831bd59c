"""Weights of any published layout into our networks: read -> rename -> recognise -> build -> check -> load.

    model = load_checkpoint('Res2Net50_vd_26w_4s_pretrained.pdparams')
    print(model.checkpoint_info)  # PaddleClas layout -> res2net50_vd_26w_4s_custom, 25.7 M parameters, 1000 classes

`building` does the same inside `timm.create_model`.
"""
import dataclasses
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Union

import timm
import torch
from timm.layers import BlurPool2d
from torch import nn

from ..model.arguments import check_path
from ..model.data_cfg import OF_THE_WEIGHTS, SOURCE_KEYS, Origin, for_channels
from ..model.networks import Network
from ..model.variants import VARIANTS, variant_of
from ..model.wrappers import input_channels, unwrapped
from .architecture import read_architecture
from .checking import check
from .checkpoint import Checkpoint, CheckpointError, CheckpointInfo, naming
from .layouts import rename
from .matching import HEAD, complete, match
from .own_word import taken_for_granted, told
from .reading import read_checkpoint
from .words import one_line

__all__ = ['inspect_checkpoint', 'load_checkpoint']

_ELSEWHERE = ('state_dict', 'file', 'url', 'hf_hub_id', 'hf_hub_filename', 'source')
_logger = logging.getLogger(__name__)


def load_checkpoint(
        path: Union[str, Path],
        model: Optional[nn.Module] = None,
        variant: Optional[str] = None,
        use_ema: bool = True,
        prefix: Optional[str] = None,
        entry: Optional[str] = None,
        **kwargs,
) -> nn.Module:
    """Load weights of any known layout, into a model that is built for them or into a given one.

    The layout is recognised from the names of the weights, the architecture from names and shapes. What has no weights
    (activation, strides, ...) is taken from the file where it says so (a folder with config.json, timm's training
    checkpoints), from `kwargs`, or from the registered variant that fits, which `checkpoint_info.assumed` then says. In
    particular weights of PaddleClas under our own names cannot be told from official ones: name their `variant`.

    Args:
        path: .pth, .pt, .bin, .tar, .safetensors, .pdparams or MindSpore's .ckpt, or a folder, with model.safetensors
            and config.json or of timm's train.py.
        model: Loaded in place if given, possibly compiled or inside DistributedDataParallel, else one is built.
        variant: Registered variant to build, if it is not the one that would be recognised.
        use_ema: Take the averaged weights of a training checkpoint where there are any.
        prefix: What stands before the names of the network, where there are several ('student.').
        entry: Entry of the file that holds the network, where several do ('teacher').
        **kwargs: Arguments for `timm.create_model`, which win over the recognised ones. With another `num_classes` the
            classifier is new, with another `in_chans` the first convolution is adapted, as by `pretrained=True`.

    Returns:
        The model, with what was recognised as its `checkpoint_info`.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: The file is damaged, would execute code, or does not fit; it names the file and the reason, and
            `model` is as it was.
    """
    if model is not None and (variant is not None or kwargs):
        raise TypeError('load_checkpoint takes either a model, or a variant and arguments to build one from.')
    return load_read(read_checkpoint(check_path('path', path), use_ema, entry), model, variant, prefix, **kwargs)


def load_read(
        checkpoint: Checkpoint,
        model: Optional[nn.Module] = None,
        variant: Optional[str] = None,
        prefix: Optional[str] = None,
        **kwargs,
) -> nn.Module:
    """`load_checkpoint` of a file that has been read."""
    _check_overlay(checkpoint, kwargs.get('pretrained_cfg_overlay') or {})
    network: Any = None if model is None else _given(model)
    with naming(checkpoint.path):
        with _understanding():
            checkpoint = rename(checkpoint, prefix)
            info = _recognise(checkpoint, variant, kwargs) if network is None else _describe_given(checkpoint, network)
        if model is None:
            network = _build(checkpoint, info, kwargs)
        else:
            check(checkpoint, network)
            _fill(network, checkpoint.state)
            _forget_other_weights(checkpoint, network)
    network.checkpoint_info = info
    told_more = info.assumed or any(what.startswith('parts ') for what in info.left_out)
    _logger.log(logging.WARNING if told_more else logging.INFO, f'{checkpoint.path}: {info}')
    return network if model is None else model


def inspect_checkpoint(
        path: Union[str, Path],
        use_ema: bool = True,
        prefix: Optional[str] = None,
        entry: Optional[str] = None,
) -> CheckpointInfo:
    """Say what is in a checkpoint, without building a model.

    Args:
        path: File or folder, see `load_checkpoint`.
        use_ema: Look at the averaged weights of a training checkpoint where there are any.
        prefix, entry: See `load_checkpoint`.

    Raises:
        FileNotFoundError, CheckpointError: As `load_checkpoint`.
    """
    checkpoint = read_checkpoint(check_path('path', path), use_ema, entry)
    with naming(path), _understanding():
        return _recognise(rename(checkpoint, prefix), None, {})


def _check_overlay(checkpoint: Checkpoint, overlay: Mapping[str, Any]) -> None:
    """A cfg may be laid over what a file says, but not to name other weights."""
    for name in overlay:
        if name in _ELSEWHERE:
            raise ValueError(
                f'pretrained_cfg_overlay[{name!r}] says where weights are, and these are those of {checkpoint.path}: '
                'leave it out.')


def _given(model: Any) -> Any:
    """The network that is to be filled, without its wrappers."""
    network: Any = unwrapped(model)
    if not (isinstance(network, nn.Module) and hasattr(network, 'num_classes')
            and any(isinstance(m, nn.Conv2d) for m in network.modules())):
        raise TypeError(
            f'model is {type(network).__name__}, it must be a network as timm.create_model makes it; a feature '
            'extractor gets a file by pretrained=True, pretrained_cfg_overlay=dict(file=...).')
    odd = [k for k, v in network.state_dict().items() if not isinstance(v, torch.Tensor) or v.is_quantized]
    if odd:
        raise TypeError(f'model is quantized ({odd[0]}): load the weights first, and quantize it then.')
    return network


@contextmanager
def _understanding() -> Iterator[None]:
    """Whatever goes wrong with names, shapes and words that nobody foresaw is the fault of a file."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f'its weights cannot be understood ({type(error).__name__}: {error}).') from error


def _recognise(checkpoint: Checkpoint, variant: Optional[str], given: Mapping[str, Any]) -> CheckpointInfo:
    """Variant and arguments, from names and shapes and from what the file says of itself; or of the given variant."""
    found = read_architecture(checkpoint.shapes, checkpoint.implies)
    assumed: List[str] = []
    if variant is None:
        said = told(checkpoint, found)
        name, model_args = said or match(found)
        if model_args.get('norm_layer') == 'groupnorm' and 'norm_layer' not in given:
            _check_groups(checkpoint)
        assumed = taken_for_granted(checkpoint, found, name, model_args, said is not None)
    else:
        name = variant_of(variant)
        if not name:
            raise CheckpointError(f"{variant!r} is not one of this package's variants.")
        known = complete(*VARIANTS[name][:2])
        model_args = {k: v for k, v in found.arguments.items() if k in HEAD and v != known[k]}
    return _info(checkpoint, name, model_args, found.arguments['num_classes'], found.arguments['in_chans'], assumed)


def _check_groups(checkpoint: Checkpoint) -> None:
    """A norm without statistics is taken for a group norm, which has 32 groups."""
    odd = next((k for k, s in checkpoint.shapes.items() if k.endswith('.weight') and len(s) == 1 and s[0] % 32), None)
    if odd:
        raise CheckpointError(
            f'it has no running_mean and running_var, and {odd} has {checkpoint.shapes[odd][0]} channels, which no '
            'group norm has: save state_dict(), of which named_parameters() is a part, or give norm_layer=.')


def _build(checkpoint: Checkpoint, info: CheckpointInfo, kwargs: Dict[str, Any]) -> Any:
    """The network that was recognised, with the weights, as timm's builder makes it; its cfg describes the weights."""
    file = dataclasses.replace(checkpoint, architecture='', model_args={})  # recognised; what the caller says wins
    overlay = {**(kwargs.pop('pretrained_cfg_overlay', None) or {}), 'file': file}
    network: Any = timm.create_model(
        info.architecture, pretrained=True, pretrained_cfg_overlay=overlay, **{**info.model_args, **kwargs})
    cfg = {k: v for k, v in network.pretrained_cfg.items() if k not in (*SOURCE_KEYS, 'tag')}
    named = {k: v for k, v in overlay.items() if k not in _ELSEWHERE}
    cfg = for_channels({**cfg, **checkpoint.cfg, **named}, getattr(network, 'in_chans', info.in_chans))
    cfg['license'] = cfg.get('license') or 'unknown'
    network.pretrained_cfg = network.default_cfg = cfg
    whole: Any = network
    if isinstance(network, Network):  # not timm's feature extractor
        whole.origin = Origin.of(network, checkpoint.path)
    return network


def _describe_given(checkpoint: Checkpoint, network: Any) -> CheckpointInfo:
    """The same for a model that was given."""
    cfg = getattr(network, 'pretrained_cfg', None) or {}
    return _info(
        checkpoint, cfg.get('architecture', type(network).__name__), getattr(network, 'model_args', {}),
        network.num_classes, input_channels(network), list(checkpoint.assumed))


def _fill(network: nn.Module, state: Dict[str, torch.Tensor]) -> None:
    """Copy weights that fit, all of them; a model that cannot take them, or an interrupt, leaves it as it was."""
    before = {k: v.detach().clone() for k, v in network.state_dict().items()}
    try:
        network.load_state_dict(state)
        for module in network.modules():
            if isinstance(module, BlurPool2d):  # its filter is in no file, nor in memory that has just been given
                blur: Any = module
                blur.filt.copy_(BlurPool2d(len(blur.filt), blur.filt_size).filt)
        lost = [k for k, v in network.state_dict().items() if not torch.equal(v, state[k].to(v))]
        if lost:
            raise RuntimeError(f'{lost[0]} has other values afterwards, as where two weights share their memory')
    except BaseException as error:
        with torch.no_grad():
            for k, v in network.state_dict().items():
                if not torch.equal(v, before[k]):
                    v.copy_(before[k])
        if not isinstance(error, RuntimeError):
            raise
        raise CheckpointError(
            f'the model cannot take its weights and is as it was ({one_line(error, 300)}).') from error


def _forget_other_weights(checkpoint: Checkpoint, network: Any) -> None:
    """What a model's cfg says of weights is said of these from now on."""
    if getattr(network, 'pretrained_cfg', None):
        network.pretrained_cfg.update(
            {k: checkpoint.cfg.get(k) for k in OF_THE_WEIGHTS}, num_classes=network.num_classes)
        network.origin = Origin.of(network, checkpoint.path)


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
        checkpoint.wrapper, checkpoint.prefix, list(checkpoint.left_out), assumed)
