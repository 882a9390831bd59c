"""A model as a folder that timm loads: model.safetensors and config.json, complete or not there at all.

    save_folder(model, 'folder')       then timm.create_model('local-dir:folder', pretrained=True)
    save_as_timm(model, 'folder')      the same under timm's own name, for people without this package
"""
import copy
import errno
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Union

import timm
import torch
from timm.models import is_model, model_entrypoint
from timm.models._hub import save_config_for_hf
from torch import nn

from ..model.cifar import Res2NetCifar
from ..model.data_cfg import OF_THE_WEIGHTS, SOURCE_KEYS, class_names, data_entries, for_channels, in_order, own_cfg
from ..model.dla import Res2NetDla
from ..model.networks import Network, Res2Net
from ..model.scratch import scratch
from ..model.variants import FREE_FORM, VARIANTS
from ..model.wrappers import unwrapped
from .building import json_ready
from .matching import complete, with_arguments
from .timm_equivalent import timm_architecture, to_timm
from .words import keywords
from .writing import check_unchanged, pool_of, portable, write_safetensors

__all__ = ['save_as_timm', 'save_folder']

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
_OURS = f'{__package__.rpartition(".")[0]}.res2net_custom'  # the module of the variants that everybody has
_BASES: Dict[type, str] = {  # class -> a variant of it that takes all of its arguments
    Res2Net: FREE_FORM, Res2NetCifar: 'res2net23_32w_4s_cifar_custom', Res2NetDla: 'dla60_res2net_custom'}


def save_folder(
        model: nn.Module,
        folder: Union[str, Path],
        overwrite: bool = False,
        as_timm: bool = False,
        label_names: Union[Sequence[str], Mapping[int, str], None] = None,
) -> Path:
    """Write model.safetensors and config.json, which `timm.create_model('local-dir:FOLDER', pretrained=True)` loads.

    The arguments that the model was created with are recorded, so a model created with `scale=8` comes back as such.

    Args:
        model: From `timm.create_model` or `load_checkpoint`, possibly compiled or inside DistributedDataParallel.
        folder: Made, with its parents; it appears complete or not at all.
        overwrite: Replace a folder of that name that holds nothing else.
        as_timm: See `save_as_timm`.
        label_names: One name per class, recorded for whoever loads the folder.

    Raises:
        FileExistsError: The folder exists, and `overwrite` is not set or there is more in it.
        TypeError, ValueError: The model cannot be built again from a name and arguments, or `as_timm` is set and timm
            has no such network; the message names what stands in the way.
    """
    network = network_of(model)
    architecture, args, state = describe(network, as_timm)
    labels = check_labels(network, label_names, None)

    def fill(new: Path) -> None:
        write_config(network, new, architecture, args, labels)
        write_weights(state, new)

    return _write(folder, overwrite, fill)


def save_as_timm(model: nn.Module, folder: Union[str, Path], overwrite: bool = False, **kwargs) -> Path:
    """Write a folder under timm's own architecture and names, for people without this package, equal to the last bit.

    Arguments, return value and errors: as `save_folder`.
    """
    return save_folder(model, folder, overwrite, as_timm=True, **kwargs)


def _write(folder: Union[str, Path], overwrite: bool, fill: Callable[[Path], Any]) -> Path:
    """Fill a temporary folder beside `folder` and move it there at the end, so that nothing half-done is left."""
    folder = Path(folder)
    if os.path.lexists(folder) and not overwrite:  # a link, too, to whatever
        raise FileExistsError(f'{folder} exists already; choose another folder or overwrite it.')
    if os.path.lexists(folder):
        names = [p.name for p in folder.iterdir()] if folder.is_dir() else ['a file or a link']
        others = sorted(n for n in names if n not in (CONFIG, WEIGHTS))
        if others:
            raise FileExistsError(f'{folder} holds more than weights ({", ".join(others[:4])}); it is not overwritten.')
    with scratch(folder) as beside:
        new, old = beside / 'new', beside / 'old'
        new.mkdir()
        fill(new)
        try:
            if overwrite and os.path.lexists(folder):
                folder.rename(old)
            new.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY):
                raise
            raise FileExistsError(
                f'{folder} cannot be put in place ({error.strerror}): it is in use, or another has written it '
                'meanwhile; choose another folder.') from error
        finally:
            if os.path.lexists(old) and not os.path.lexists(folder):  # interrupted in between
                old.rename(folder)
    return folder


def describe(model: nn.Module, as_timm: bool = False) -> Tuple[str, Dict[str, Any], Dict[str, torch.Tensor]]:
    """Architecture, arguments and weights that make `model` again, checked to belong together; see `save_folder`."""
    network = network_of(model)
    described = _as_is(network)
    return _as_timm(network) if as_timm else described


def write_weights(state: Dict[str, torch.Tensor], folder: Path) -> None:
    """Write the weights that `describe` returned into an existing folder."""
    with (folder / WEIGHTS).open('wb') as file:
        write_safetensors(state, file)


def check_labels(model: Any, names: Any, descriptions: Any) -> Dict[str, Any]:
    """The label entries of config.json."""
    labels = {
        'label_names': None if names is None else in_order(names, model.num_classes),
        'label_descriptions': descriptions and dict(descriptions)}
    return {k: v for k, v in labels.items() if v}


def network_of(model: nn.Module) -> Network:
    """The model inside torch.compile and DistributedDataParallel, if it is one of ours and whole."""
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError('A scripted model has lost its arguments, push the model that was scripted.')
    network = unwrapped(model)
    if hasattr(network, 'as_variant'):  # of `timm_res2net.official`
        network = network.as_variant()
    if not isinstance(network, Network):
        raise TypeError(
            f'{type(network).__name__} is not a model of timm_res2net. A feature extractor (features_only=True) has '
            'lost its head: push the model made without it; for models of timm use timm.models.push_to_hf_hub.')
    if not hasattr(network, 'model_args') or not is_model(network.pretrained_cfg.get('architecture') or ''):
        raise TypeError(
            f'This {type(network).__name__} was not built by timm.create_model, so its architecture has no name: build '
            "it as timm.create_model('res2net_custom', ...) and load the weights into that.")
    return network


def as_registered_here(model: Network) -> Tuple[str, Dict[str, Any]]:
    """Name and arguments that build a model again where nothing but this package is registered.

    A variant of one's own becomes the package's variant of its class, with the arguments in which it differs.

    Raises:
        TypeError: Its class is not one of this package's.
    """
    name = model.pretrained_cfg['architecture']
    if model_entrypoint(name).__module__ == _OURS:
        return name, {**model.model_args, **_current(model)}
    if type(model) not in _BASES:
        raise TypeError(
            f'{name} is a {type(model).__name__}, which is no class of timm_res2net, so that nobody could build it '
            f'again from a file: push a model whose class is one of {", ".join(c.__name__ for c in _BASES)}.')
    base = _BASES[type(model)]
    known = complete(type(model), VARIANTS[base].arguments)
    full = complete(type(model), with_arguments(name, {**model.model_args, **_current(model)}))
    differing = {k: json_ready(k, v) for k, v in full.items() if v != known[k]}
    if 'stride_position' in differing:  # which the default of the other hangs on
        differing['first_block'] = full['first_block']
    return base, {**differing, **_current(model)}


def _current(model: Network) -> Dict[str, Any]:
    """The arguments that `reset_classifier` may have changed since the model was built."""
    return {'num_classes': model.num_classes, 'in_chans': model.in_chans, 'global_pool': pool_of(model)}


def _as_is(model: Network) -> Tuple[str, Dict[str, Any], Dict[str, torch.Tensor]]:
    """Architecture, arguments and weights, checked to belong together."""
    architecture, args = as_registered_here(model)
    for name, value in args.items():
        text = _as_json(value)
        if text is None or json.loads(text) != value:
            raise ValueError(
                f'{name}={value!r} cannot be written to config.json, so nobody could build this model again: use a '
                'name that timm knows, a number, a list or a string.')
    check_unchanged(model, lambda: timm.create_model(architecture, pretrained=False, **args))
    return architecture, args, portable(model.state_dict())


def _as_json(value: Any) -> Optional[str]:
    """None where JSON cannot hold it."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return None


def _as_timm(model: Network) -> Tuple[str, Dict[str, Any], Dict[str, torch.Tensor]]:
    """The same under timm's own name."""
    architecture = timm_architecture(model)
    if architecture is None:
        raise ValueError(
            f'timm has no architecture like this {model.pretrained_cfg["architecture"]} '
            f'({keywords(model.model_args) or "as registered"}), '
            'leave out as_timm or use save_folder.')
    return architecture, _current(model), portable(to_timm(model))


def write_config(
        model: Network,
        folder: Path,
        architecture: str,
        args: Dict[str, Any],
        labels: Dict[str, Any],
        license: Optional[str] = None,
        data_config: Optional[Mapping[str, Any]] = None,
) -> Dict[str, Any]:
    """Write config.json into an existing folder as timm does, the same from every version of it, and return it."""
    source: Any = copy.copy(model)  # to describe these weights without touching the model
    source._model_args = args
    cfg, data_config = own_cfg(model), data_config or {}
    names = class_names(model)
    if not labels and names:
        labels = check_labels(model, names, cfg.get('label_descriptions'))
    license = license or cfg.get('license') or 'unknown'
    cfg = {k: v for k, v in cfg.items() if k not in SOURCE_KEYS and (v is not None or k not in OF_THE_WEIGHTS)}
    cfg.update(data_entries(cfg), architecture=architecture, num_classes=args['num_classes'], license=license)
    for key, value in cfg.items():
        if _as_json(value) is None:
            raise ValueError(f'pretrained_cfg[{key!r}]={value!r} cannot be written to config.json: take it out.')
    source.pretrained_cfg = cfg = for_channels(cfg, args['in_chans'])
    if data_config.get('input_size') and tuple(data_config['input_size']) != tuple(cfg['input_size']):
        cfg['pool_size'] = None
        cfg.pop('test_input_size', None)
    cfg.update({k: v for k, v in data_config.items() if v is not None})
    path = folder / CONFIG
    target: Any = path  # timm 1.0.21 wants a Path, whatever later annotations say
    save_config_for_hf(source, target, model_config=dict(labels, global_pool=args['global_pool']), model_args=args)
    config = json.loads(path.read_text(encoding='utf-8'))
    # the number of classes has its own entry, and transformers passes it along with these
    config['model_args'] = {k: v for k, v in args.items() if k != 'num_classes'}
    config['pretrained_cfg'].update(json.loads(json.dumps(cfg)))
    if args['in_chans'] not in (1, 3):
        # older timm takes every first convolution for one of 3 channels and would start this one at random
        config['pretrained_cfg']['first_conv'] = None
    config['pretrained_cfg'].pop('architecture', None)
    config['pretrained_cfg']['custom_load'] = False
    path.write_text(json.dumps(config, indent=2, allow_nan=False), encoding='utf-8')
    return config
