"""Weights of any published layout into our networks: recognise, check, load.

    model = load_checkpoint('Res2Net50_vd_26w_4s_pretrained.pdparams')
    print(model.checkpoint_info)  # PaddleClas layout -> res2net50_vd_26w_4s_custom, 25.7 M parameters, 1000 classes

`checkpoint_filter_fn` is the same for timm's builder, so that `timm.create_model(..., pretrained=True)`,
`pretrained_cfg_overlay=dict(file=...)`, `checkpoint_path=...` and `--initial-checkpoint` take any of them.
"""
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import timm
import torch
from torch import nn

from .architecture import HEAD, Recognised, complete, match, variant_arguments, variant_of
from .arguments import unwrapped
from .cifar import Res2NetCifar
from .data_cfg import SOURCE_KEYS, for_channels
from .layouts import PADDLE, Renamed, to_native
from .reading import CheckpointError, RawCheckpoint, as_tensors, read_checkpoint, unwrap

__all__ = ['CheckpointError', 'CheckpointInfo', 'checkpoint_filter_fn', 'inspect_checkpoint', 'load_checkpoint']

_logger = logging.getLogger(__name__)
_LISTED = 8  # names given in an error before the rest is counted
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass
class CheckpointInfo:
    """What was recognised in a checkpoint; `str()` of it is one line.

    Attributes:
        path: File or folder.
        layout: Project whose names the weights have.
        architecture: Registered variant that they fit.
        model_args: Arguments in which the network differs from the variant.
        num_parameters: Learnable numbers in the file.
        num_classes: Classes, 0 for a backbone alone.
        in_chans: Input channels.
        wrapper: Entry of a training checkpoint they were taken from ('state_dict_ema', ...), '' if none.
        left_out: What was left out, in words.
        assumed: What names and shapes do not tell and the file does not say, in words.
    """
    path: str
    layout: str
    architecture: str
    model_args: Dict[str, Any]
    num_parameters: int
    num_classes: int
    in_chans: int
    wrapper: str = ''
    left_out: List[str] = field(default_factory=list)
    assumed: List[str] = field(default_factory=list)

    def __str__(self) -> str:
        arguments = ', '.join(f'{k}={v!r}' for k, v in self.model_args.items())
        line = f'{self.layout} layout -> {self.architecture}' + (f' with {arguments}' if arguments else '')
        line += f', {self.num_parameters / 1e6:.1f} M parameters, '
        line += f'{self.num_classes} classes' if self.num_classes else 'no classifier'
        if self.wrapper:
            line += f', from {self.wrapper}'
        line += ''.join(f'; left out {what}' for what in self.left_out)
        return line + ''.join(f'; assumed {what}' for what in self.assumed)


def _listed(items: Sequence[str]) -> str:
    return ', '.join(items[:_LISTED]) + (f' and {len(items) - _LISTED} more' if len(items) > _LISTED else '')


def check_state(
        state: Dict[str, torch.Tensor],
        model: nn.Module,
        adaptable: Sequence[str] = (),
        layout: str = '',
) -> None:
    """Check weights against a model before any of them is copied.

    Args:
        state: Name -> tensor, in the model's names.
        model: The model they are meant for, left as it is.
        adaptable: Modules whose weights the caller will adapt or drop: their shapes and absence are no faults.
        layout: Source of the weights, for the message.

    Raises:
        CheckpointError: Listing what is missing, unexpected, misshapen, of the wrong dtype or not finite.
    """
    own = model.state_dict()
    free = tuple(f'{name}.' for name in adaptable)
    faults = []
    missing = [k for k in own if k not in state and not k.startswith(free)]
    unexpected = [k for k in state if k not in own and not k.startswith(free)]
    shared = [k for k in own if k in state]
    misshapen = [f'{k} is {tuple(state[k].shape)}, the model has {tuple(own[k].shape)}' for k in shared
                 if state[k].shape != own[k].shape and not k.startswith(free)]
    if missing:
        why = 'the checkpoint has no classifier, create the model with num_classes=0' if all(
            k.startswith('fc.') for k in missing) else 'the model has them, the checkpoint does not'
        faults.append(f'{len(missing)} missing ({why}): {_listed(missing)}')
    if unexpected:
        why = 'the model was created with num_classes=0' if all(
            k.startswith('fc.') for k in unexpected) else 'the checkpoint has them, the model does not'
        faults.append(f'{len(unexpected)} unexpected ({why}): {_listed(unexpected)}')
    if misshapen:
        faults.append(f'{len(misshapen)} misshapen (another width, scale or number of classes): {_listed(misshapen)}')
    wrong = [f'{k} is {state[k].dtype}' for k in shared
             if (state[k].dtype not in _FLOATS if own[k].is_floating_point()
                 else state[k].is_floating_point() or state[k].is_complex())]
    if wrong:
        faults.append(f'{len(wrong)} of a wrong dtype (weights are floating point): {_listed(wrong)}')
    infinite = [k for k in shared if state[k].dtype in _FLOATS and not state[k].is_meta
                and not torch.isfinite(state[k]).all()]
    if infinite:
        faults.append(f'{len(infinite)} with NaN or infinity: {_listed(infinite)}')
    if faults:
        raise CheckpointError(
            f'{layout or "these"} weights do not fit {type(model).__name__}, nothing was loaded. {"; ".join(faults)}.')


def _check_form(renamed: Renamed, model: nn.Module) -> None:
    """PaddleClas's weights load into the official form without an error, and give outputs up to 26% off."""
    form = getattr(model, 'first_block', None)
    if renamed.layout != PADDLE or form == 'paddle':
        return
    try:
        name, arguments = match(Recognised(renamed.state, paddle=True))
        listed = ''.join(f', {k}={v!r}' for k, v in arguments.items())
        right = f'timm.create_model({name!r}{listed})'
    except CheckpointError:
        right = "a model with first_block='paddle'"
    raise CheckpointError(
        f"PaddleClas weights need first_block='paddle', this model has first_block={form!r}: the first block of each "
        f'stage computes something else there, and outputs would be off by up to 26%. Use {right}.')


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
    renamed = to_native(as_tensors(unwrap(state_dict)[0]))
    _check_form(renamed, model)
    cfg = getattr(model, 'pretrained_cfg', None) or {}
    adaptable = []
    for key in ('first_conv', 'classifier'):
        names = cfg.get(key) or ()
        adaptable += [names] if isinstance(names, str) else list(names)
    check_state(renamed.state, model, adaptable, renamed.layout)
    return renamed.state


def _recognise(raw: RawCheckpoint, renamed: Renamed, variant: Optional[str]) -> CheckpointInfo:
    found = Recognised(renamed.state, paddle=renamed.layout == PADDLE)
    assumed = []
    if variant is None:
        name, model_args = match(found, (raw.architecture, raw.model_args))
        if ':' in raw.architecture:
            assumed.append(
                f'what has no weights (strides, activation) to be as in {name}: it was trained as {raw.architecture}, '
                'which is not here; load that, or give variant= and arguments')
        elif not raw.architecture and found.cls is Res2NetCifar and set(model_args) - set(HEAD):
            stride = complete(*variant_arguments(name))['stem_stride']
            assumed.append(f'stem_stride={model_args.get("stem_stride", stride)}, which no weight tells')
        if found.arguments.get('norm_layer') and 'norm_layer' not in raw.model_args:
            assumed.append('a group norm, as nothing but the absence of running statistics tells: give norm_layer=')
    else:
        name = variant_of(variant)
        if not name:
            raise CheckpointError(f"{variant!r} is not one of this package's variants.")
        known = complete(*variant_arguments(name))
        model_args = {k: v for k, v in found.arguments.items() if k in HEAD and v != known[k]}
    classes, channels = found.arguments['num_classes'], found.arguments['in_chans']
    return _describe(raw, renamed, name, model_args, classes, channels, assumed)


def _describe(
        raw: RawCheckpoint,
        renamed: Renamed,
        name: str,
        model_args: Dict[str, Any],
        num_classes: int,
        in_chans: int,
        assumed: Sequence[str] = (),
) -> CheckpointInfo:
    statistics = ('.running_mean', '.running_var', '.num_batches_tracked')
    parameters = sum(v.numel() for k, v in renamed.state.items() if not k.endswith(statistics))
    return CheckpointInfo(
        raw.path, renamed.layout, name, model_args, parameters, num_classes, in_chans, raw.wrapper, renamed.left_out,
        list(assumed))


def inspect_checkpoint(path: Union[str, Path], use_ema: bool = True) -> CheckpointInfo:
    """Say what is in a checkpoint, without building a model.

    Args:
        path: File or folder, see `load_checkpoint`.
        use_ema: Look at the averaged weights of a training checkpoint where there are any.

    Raises:
        FileNotFoundError, CheckpointError: As `load_checkpoint`.
    """
    raw = read_checkpoint(path, use_ema)
    try:
        return _recognise(raw, to_native(raw.state), None)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None


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
    raw = read_checkpoint(path, use_ema)
    network: Any = unwrapped(model)
    try:
        renamed = to_native(raw.state)
        info = None
        if network is None:
            info = _recognise(raw, renamed, variant)
            network = timm.create_model(info.architecture, **{**info.model_args, **kwargs})
            # the cfg describes the weights that the network now has
            cfg = {k: v for k, v in network.pretrained_cfg.items() if k not in (*SOURCE_KEYS, 'tag')}
            cfg.update(num_classes=info.num_classes, license='unknown')
            network.pretrained_cfg = for_channels({**cfg, **raw.cfg}, info.in_chans)
            network.default_cfg = network.pretrained_cfg
        _check_form(renamed, network)
        check_state(renamed.state, network, layout=renamed.layout)
        if info is None:
            cfg = getattr(network, 'pretrained_cfg', None) or {}
            info = _describe(
                raw, renamed, cfg.get('architecture', type(network).__name__), getattr(network, 'model_args', {}),
                network.num_classes, network.in_chans)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from None
    network.load_state_dict(renamed.state)
    network.checkpoint_info = info
    _logger.log(logging.WARNING if info.assumed else logging.INFO, f'{path}: {info}')
    return network if model is None else model
