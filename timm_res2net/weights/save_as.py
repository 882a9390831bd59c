"""A model as a file of another project, which that project's own code loads: the way back of `layouts`.

    save_as(model, 'res2net50.pdparams', layout='PaddleClas')

A project's file tells depth and widths, never the form of a block: the project's code has one. So a model that is
another network than the one which would load the file is refused, with what differs.
"""
import os
import pickle
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Tuple, Union

import safetensors.torch
import torch
from torch import nn

from ..model.dla import Res2NetDla
from ..model.layers import FACTORIES, layer_name, resolve_layer
from ..model.networks import LAYERS, Network, Res2Net
from ..model.wrappers import unwrapped
from .layouts import detectron2, holocron, mindcv, mmdetection, mmpretrain, official, paddleclas, paddledetection
from .layouts.layout import State
from .mindspore import dump_mindspore
from .timm_twin import timm_architecture, to_timm

__all__ = ['save_as']


@dataclass(frozen=True)
class Need:
    """What an argument must be.

    Attributes:
        holds: Whether a value is that.
        words: The same, for the message.
    """
    holds: Callable[[Any], bool]
    words: str


def only(*values: Any) -> Need:
    """One of these."""
    return Need(lambda value: value in values, ' or '.join(map(repr, values)))


def depths(*names: int) -> Need:
    """The blocks of these networks."""
    return Need(lambda value: value in [LAYERS[n] for n in names], f'those of depth {", ".join(map(str, names))}')


Form = Dict[str, Need]  # argument -> what it must be
_AT_LEAST_2 = Need(lambda value: value > 1, 'more than 1')
_WHOLE = Need(lambda value: float(value).is_integer(), 'a whole number')
_CLASSES = Need(lambda value: value > 0, 'at least 1')
_PLAIN_BLOCKS: Form = dict(attn_layer=only(None), stride_position=only('split'), global_pool=only('avg'),
                           output_stride=only(32))
_RESNET: Form = dict(
    _PLAIN_BLOCKS, channels=only((64, 128, 256, 512)), act_layer=only('relu'), norm_layer=only('batchnorm2d'),
    aa_layer=only(None), replace_stem_pool=only(False), down_kernel_size=only(1))
_V1: Form = dict(stem_type=only(''), avg_down=only(False))
_V1B: Form = dict(stem_type=only('deep'), stem_width=only(32), avg_down=only(True))
_STEMS: Tuple[Form, Form] = dict(stem_type=only('')), dict(stem_type=only('deep'), stem_width=only(32))
_OPENMMLAB: Form = dict(_RESNET, layers=depths(50, 101, 152), scale=_AT_LEAST_2, cardinality=only(1))
_AUTHORS: Form = dict(_RESNET, first_block=only('parallel'), num_classes=_CLASSES)
_PADDLE: Form = dict(_RESNET, first_block=only('paddle'), in_chans=only(3), scale=_AT_LEAST_2, base_width=_WHOLE)
_PADDLECLAS: Form = dict(_PADDLE, cardinality=only(1), num_classes=_CLASSES)
_DLA: Form = dict(
    _PLAIN_BLOCKS, first_block=only('parallel'), in_chans=only(3), num_classes=_CLASSES, shortcut_root=only(False),
    levels=only((1, 1, 1, 2, 3, 1)), channels=only((16, 32, 128, 256, 512, 1024)))


def _save_pth(content: Callable[[State], Any]) -> Callable[[State, BinaryIO], None]:
    return lambda state, file: torch.save(content(state), file)


def _save_pdparams(state: State, file: BinaryIO) -> None:
    """As paddle.save does: arrays, and a table of Paddle's internal names, which makes them tensors again."""
    odd = next((name for name, value in state.items() if value.dtype == torch.bfloat16), None)
    if odd is not None:
        raise ValueError(f'{odd} is of type bfloat16, which numpy and so .pdparams have not: save model.float().')
    arrays: Dict[str, Any] = {name: value.numpy() for name, value in state.items()}
    pickle.dump({**arrays, 'StructuredToParameterName@@': {name: name for name in arrays}}, file, protocol=4)


def _save_ckpt(state: State, file: BinaryIO) -> None:
    file.write(dump_mindspore(state))


@dataclass(frozen=True)
class Project:
    """What a project's file needs, and how it is written.

    Attributes:
        forms: Class of the network -> the forms that the project's code has, by arguments.
        from_ours: Renames our weights.
        save: Writes them.
        suffix: Of its files.
        drops_head: Its networks are backbones: a classifier is left out.
    """
    forms: Mapping[type, Tuple[Form, ...]]
    from_ours: Callable[[State], State]
    save: Callable[[State, BinaryIO], None]
    suffix: str = '.pth'
    drops_head: bool = False


PROJECTS: Dict[str, Project] = {
    'official': Project(
        {Res2Net: (dict(_AUTHORS, **_V1, in_chans=only(3)),
                   dict(_AUTHORS, **_V1B, in_chans=only(3), cardinality=only(1))),
         Res2NetDla: (_DLA,)}, official.from_ours, _save_pth(lambda state: state)),
    'mmpretrain': Project(
        {Res2Net: tuple(dict(_OPENMMLAB, **stem, first_block=only('parallel')) for stem in _STEMS)}, mmpretrain.from_ours,
        _save_pth(lambda state: {'meta': {}, 'state_dict': state})),
    'mmdetection': Project(
        {Res2Net: (dict(_OPENMMLAB, **_V1B, first_block=only('strided_pool')),)}, mmdetection.from_ours,
        _save_pth(lambda state: {'meta': {}, 'state_dict': state}), drops_head=True),
    'detectron2': Project(
        {Res2Net: (dict(_RESNET, **_V1B, layers=depths(50, 101, 152), base_width=_WHOLE,
                        first_block=only('strided_pool'), stride_position=only('conv1')),)}, detectron2.from_ours,
        _save_pth(lambda state: {'model': state, 'matching_heuristics': True}), drops_head=True),
    'PaddleClas': Project(
        {Res2Net: (dict(_PADDLECLAS, **_V1, layers=depths(50, 101, 152)),
                   dict(_PADDLECLAS, **_V1B, layers=depths(50, 101, 152, 200)))}, paddleclas.from_ours,
        _save_pdparams, '.pdparams'),
    'PaddleDetection': Project(
        {Res2Net: tuple(dict(_PADDLE, **stem, layers=depths(50, 101, 152, 200), avg_down=only(False)) for stem in _STEMS)},
        paddledetection.from_ours, _save_pdparams, '.pdparams', drops_head=True),
    'Holocron': Project(
        {Res2Net: tuple(dict(_AUTHORS, **stem) for stem in _STEMS)}, holocron.from_ours, _save_pth(lambda state: state)),
    'mindcv': Project(
        {Res2Net: (dict(_AUTHORS, **_V1, cardinality=only(1)), dict(_AUTHORS, **_V1B, cardinality=only(1)))},
        mindcv.from_ours, _save_ckpt, '.ckpt'),
}
LAYOUTS = ('timm', *PROJECTS)


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
        ValueError: An unknown layout, another suffix; or the project has no such network: the message says which
            arguments it would need.
    """
    if layout not in LAYOUTS:
        raise ValueError(f'layout={layout!r} is not known, choose one of {", ".join(map(repr, LAYOUTS))}.')
    path = Path(path)
    network: Any = unwrapped(model)
    if not isinstance(network, Network):
        raise TypeError(f'{type(network).__name__} is not a network of timm_res2net, save_as has nothing to write.')
    suffixes = ('.safetensors', '.pth') if layout == 'timm' else (PROJECTS[layout].suffix,)
    if path.suffix not in suffixes:
        raise ValueError(f'path={str(path)!r} must end in {" or ".join(suffixes)}, as files of {layout} do.')
    if path.exists() and not overwrite:
        raise FileExistsError(f'{path} exists already; choose another file or overwrite it.')
    arguments = arguments_of(network)
    _check_weights(network, arguments)
    if layout == 'timm':
        if timm_architecture(network) is None:
            raise ValueError('timm has no such network, so that nobody could load it there: use save_folder.')
        state, save = to_timm(network), _save_safetensors if path.suffix == '.safetensors' else _save_pth(dict)
    else:
        project = PROJECTS[layout]
        _check_form(layout, project, type(network), arguments)
        state, save = project.from_ours(dict(network.state_dict())), project.save
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_file(path, lambda file: save(state, file))
    return path


def _save_safetensors(state: State, file: BinaryIO) -> None:
    file.write(safetensors.torch.save(state, metadata={'format': 'pt'}))


def write_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """A file that appears complete or not at all, readable by whom the umask says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f'.{path.name}.{secrets.token_hex(4)}')
    try:
        with scratch.open('xb') as file:
            write(file)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def arguments_of(network: Any) -> Dict[str, Any]:
    """The arguments that make a network again, layers by timm's names; those of the head as they are now."""
    args = network.arguments
    arguments = {f.name: getattr(args, f.name) for f in fields(args) if f.name != 'depth'}  # `layers` says it
    for name in FACTORIES.keys() & arguments.keys():
        layer = resolve_layer(name, arguments[name])
        arguments[name] = layer and layer_name(name, layer)
    arguments.update(
        num_classes=network.num_classes, in_chans=network.in_chans, global_pool=network.global_pool.pool_type)
    return arguments


def _check_weights(network: Any, arguments: Dict[str, Any]) -> None:
    """A network whose layers were changed (folded, pruned, quantized) is another one than its arguments say."""
    with torch.device('meta'):
        expected = type(network)(**arguments).state_dict()
    state = network.state_dict()
    shapes, wanted = ({k: tuple(v.shape) for k, v in s.items()} for s in (state, expected))
    if shapes != wanted:
        name = min(set(shapes.items()) ^ set(wanted.items()))[0]
        raise ValueError(
            f'The model was changed after it was built ({name}: {shapes.get(name, "missing")}, built as '
            f'{wanted.get(name, "missing")}): save it before folding, pruning or quantizing.')
    if any(value.is_meta for value in state.values()):
        raise ValueError('The model is on the meta device and has no weights to save.')


def _check_form(layout: str, project: Project, kind: type, arguments: Dict[str, Any]) -> None:
    """Refuse a network that the project's code would not compute, with what the nearest of its forms needs."""
    forms = project.forms.get(kind, ())
    if not forms:
        raise ValueError(f'{layout} has no network like {kind.__name__}.')
    faults: List[List[str]] = []
    for form in forms:
        needs = {name: need for name, need in form.items() if name != 'first_block' or arguments['scale'] > 1}
        if project.drops_head:
            needs.pop('global_pool')
        faults.append([f'{name}={arguments[name]!r} must be {need.words}' for name, need in needs.items()
                       if not need.holds(arguments[name])])
    nearest = min(faults, key=len)
    if nearest:
        raise ValueError(f'{layout} has no such network, its code would compute another: {"; ".join(nearest)}.')
