"""A model as a file of another project, which that project's own code loads: the way back of `layouts`.

    save_as(model, 'res2net50.pdparams', layout='PaddleClas')
"""
import logging
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Union

import torch
from torch import nn

from ..model.layers import FACTORIES, layer_name, resolve_layer
from ..model.networks import Network
from ..model.wrappers import unwrapped
from .architecture import read_architecture
from .checkpoint import shapes_of
from .layouts.layout import State
from .matching import match, values
from .projects import PROJECTS
from .timm_equivalent import timm_architecture, to_timm
from .writing import check_unchanged, pool_of, portable, write_file, write_safetensors

__all__ = ['LAYOUTS', 'save_as']

LAYOUTS = ('timm', *PROJECTS)

_logger = logging.getLogger(__name__)


def save_as(model: nn.Module, path: Union[str, Path], layout: str, overwrite: bool = False) -> Path:
    """Write the weights of a model as a file that another project loads, equal to the last bit.

    Args:
        model: `Res2Net`, or `Res2NetDla` where the project has it, possibly compiled or inside DistributedDataParallel.
        path: A file, with the suffix of the project: .pdparams for PaddleClas and PaddleDetection, .ckpt for mindcv,
            .safetensors or .pth for timm, .pth for the others.
        layout: 'official' (the authors' repository), 'timm', 'mmpretrain', 'mmdetection', 'detectron2'
            (Res2Net-detectron2), 'PaddleClas', 'PaddleDetection', 'Holocron' or 'mindcv'. Those of detectors have no
            classifier: it is left out.
        overwrite: Replace a file of that name.

    Returns:
        The path. The file is there complete or not at all.

    Raises:
        FileExistsError: There is such a file, and `overwrite` is not set.
        TypeError: `model` is no network of this package.
        ValueError: An unknown layout, another suffix; or the project has no such network, and the message says which
            arguments it would need.
    """
    path = Path(path)
    check_file(path, layout, overwrite)
    network: Any = unwrapped(model)
    if hasattr(network, 'as_variant'):  # of `official`
        network = network.as_variant()
    if not isinstance(network, Network):
        raise TypeError(
            f'{type(network).__name__} is not a network of timm_res2net. A feature extractor (features_only=True) has '
            'lost its head: save the model made without it, with num_classes=0.')
    arguments = arguments_of(network)
    check_unchanged(network, lambda: type(network)(**arguments))
    save: Callable[[Any, BinaryIO], None]
    if layout == 'timm':
        if timm_architecture(network) is None:
            raise ValueError('timm has no such network, nobody could load it there: use save_folder.')
        content, save = portable(to_timm(network)), _TIMM_FILES[path.suffix]
    else:
        project = PROJECTS[layout]
        faults = project.faults(type(network), arguments)
        if faults:
            raise ValueError(f'{layout} has no such network, its code would compute another: {"; ".join(faults)}.')
        if project.drops_head and network.num_classes:
            _logger.warning(f'{path}: the classifier is left out, backbones in {layout} have none.')
        state = portable(network.state_dict())
        content, save = project.wrap(project.from_ours(state), _said(arguments, state)), project.save
    write_file(path, lambda file: save(content, file))
    return path


def check_file(path: Path, layout: str, overwrite: bool) -> None:
    """Refuse at once what `save_as` could not do with any model, with its errors."""
    if layout not in LAYOUTS:
        raise ValueError(f'layout={layout!r} is not known, choose one of {", ".join(map(repr, LAYOUTS))}.')
    suffixes = tuple(_TIMM_FILES) if layout == 'timm' else (PROJECTS[layout].suffix,)
    if path.suffix not in suffixes:
        raise ValueError(f'path={str(path)!r} must end in {" or ".join(suffixes)}, as files of {layout} do.')
    if path.is_dir():
        raise FileExistsError(f'{path} is a folder, name a file.')
    if path.exists() and not overwrite:
        raise FileExistsError(f'{path} exists already; choose another file or overwrite it.')


def arguments_of(network: Any) -> Dict[str, Any]:
    """The arguments that make a network again, layers by timm's names; those of the head as they are now."""
    arguments = values(network.arguments)
    for name in FACTORIES.keys() & arguments.keys():
        layer = resolve_layer(name, arguments[name])
        arguments[name] = layer and layer_name(name, layer)
    arguments.update(
        num_classes=network.num_classes, in_chans=network.in_chans, global_pool=pool_of(network))
    return arguments


def _said(arguments: Dict[str, Any], state: State) -> Dict[str, Any]:
    """The variant and the arguments in which a network differs from it, as timm's training checkpoints tell them."""
    form = {name: arguments[name] for name in ('first_block', 'stride_position')}
    name, model_args = match(read_architecture(shapes_of(state), form))
    return {'arch': name, 'args': {'model_kwargs': model_args}}


_TIMM_FILES: Dict[str, Callable[[State, BinaryIO], None]] = {'.safetensors': write_safetensors, '.pth': torch.save}
