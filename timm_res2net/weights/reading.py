"""Files of weights -> dictionaries of tensors. Nothing in a file is ever executed.

| file | read by |
| --- | --- |
| .safetensors | safetensors |
| .pth, .pt, .bin, .tar (torch.save) | `load_archive`, and `load_legacy` before torch 1.6 |
| .pdparams (paddle.save) | `load_numpy_pickle` |
| .ckpt (MindSpore) | `load_mindspore` |
| a folder as timm and the Hub lay it out | its model.safetensors or pytorch_model.bin, and its config.json |
| the same with large weights in several files | `load_shards`, as the index says |
| either of these files | the same, with the config.json beside it |
| a folder of timm's train.py | its model_best.pth.tar or last.pth.tar |

The kind is read off the first bytes, not off the name: published files carry every suffix.
"""
import dataclasses
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np
import torch
import yaml
from safetensors.torch import load_file as load_safetensors

from ..model.data_cfg import OF_THE_WEIGHTS, read_config
from .checkpoint import Checkpoint, CheckpointError, naming
from .kinds import is_shard, kind_of, kind_of_archive, no_file, no_weights
from .mindspore import is_mindspore, load_mindspore
from .shards import INDEXES, load_shards
from .torch_pickle import load_archive, load_legacy
from .unpickle import Budget, UnsafePickleError, load_numpy_pickle, resolve
from .unwrapping import in_words, unwrap
from .words import listed

# opens, after the protocol's number, what torch.save wrote before torch 1.6
_TORCH_MAGIC = pickle.dumps(0x1950a86a20f9469cfc6c, protocol=2)[2:]
_DESCRIBED = ('model.safetensors', 'pytorch_model.bin', *INDEXES)  # by a config.json beside them
_WEIGHT_FILES = (*_DESCRIBED, 'model_best.pth.tar', 'last.pth.tar')
_NEITHER = "neither safetensors, nor a torch.save file, nor a pickle of arrays (.pdparams), nor MindSpore's (.ckpt)"
_ENTRIES = ('weight', 'bias', 'running_mean', 'running_var')
_LONGEST_YAML = 100_000  # bytes; a megabyte takes a minute to read
_PADDLE_NAMES = 'StructuredToParameterName@@'  # paddle.save's table of its internal names


def _load_any(path: Path) -> Any:
    size = path.stat().st_size
    with path.open('rb') as file:
        head = file.read(512)
        if size == 0:
            raise CheckpointError('the file is empty.')
        if head.startswith(b'PK\x03\x04') or path.suffix != '.pdparams' and zipfile.is_zipfile(path):
            _refuse(kind_of(head, path) or kind_of_archive(path))
            return load_archive(path)
        if head.startswith(b'\x80') and _TORCH_MAGIC in head[:32]:
            return load_legacy(path)
        header = struct.unpack('<Q', head[:8])[0] if len(head) > 8 else size
        if header < size and head[8:9] == b'{':
            return load_safetensors(path)
        if is_mindspore(head, path):
            return load_mindspore(path)
        _refuse(kind_of(head, path))
        if path.suffix == '.safetensors':
            return load_safetensors(path)  # which says what is wrong with it
        if not head.startswith(b'\x80'):
            raise CheckpointError(f'{_NEITHER}.')
        file.seek(0)
        return load_numpy_pickle(file)


def _refuse(kind: str) -> None:
    if kind:
        raise CheckpointError(f'{_NEITHER}: it is {kind}.')


def load_file(path: Union[str, Path]) -> Any:
    """Read one file, whatever it holds.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: It is damaged, of an unknown kind, or asks for code to be run.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(no_file(path))
    with naming(path):
        try:
            return _load_any(path)
        except CheckpointError:
            raise
        except UnsafePickleError as error:
            raise CheckpointError(
                f'refused, and nothing in it was executed: besides tensors it asks for {error}. If you trust where it '
                'comes from, save its state dict alone by torch.save, where it was made, and use that file.') from None
        except Exception as error:  # a damaged file makes the readers raise almost anything
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f'truncated or damaged, it cannot be read ({reason}).') from error


def as_tensors(state: Dict[Any, Any]) -> Tuple[Dict[str, torch.Tensor], List[str]]:
    """Check that every weight is a plain tensor, and turn arrays into tensors.

    Returns:
        Name -> tensor, and the names of the entries that are no weights.
    """
    tensors: Dict[str, torch.Tensor] = {}
    others: List[str] = []
    for name, value in state.items():
        if name == _PADDLE_NAMES:
            continue
        if not isinstance(name, str):
            raise CheckpointError(f'it has an entry named {name!r}, and names are text.')
        if isinstance(value, np.ndarray):
            try:
                value = torch.from_numpy(value)
            except TypeError:
                raise CheckpointError(f'{name} is an array of {value.dtype}, which torch has no tensors of.') from None
        if not isinstance(value, torch.Tensor):
            if name.rpartition('.')[2] in _ENTRIES:
                raise CheckpointError(f'{name} is {type(value).__name__}, not a tensor.')
            others.append(name)
            continue
        if value.is_nested or value.layout is not torch.strided or value.is_quantized:
            raise CheckpointError(f'{name} is a sparse, nested or quantized tensor, not a plain one.')
        if value.is_meta:
            raise CheckpointError(f'{name} is a tensor without values (on the meta device).')
        value = value.detach()
        if value.numel() > 1:
            _check_strides(name, value)
        tensors[name] = value
    if not tensors:
        raise CheckpointError('it holds no tensors.')
    return tensors, others


def _check_strides(name: str, value: torch.Tensor) -> None:
    """One that overlaps itself comes from a damaged file and would load without a word."""
    extent = 1
    for stride, length in sorted((s, n) for s, n in zip(value.stride(), value.shape, strict=True) if n > 1):
        if stride < extent:
            raise CheckpointError(f'{name} has strides {value.stride()}, which do not fit shape {tuple(value.shape)}.')
        extent = stride * length


class _Yaml(yaml.SafeLoader):
    """Without merged mappings (`<<`), of which sixty lines make 2^60 entries."""

    def flatten_mapping(self, node: Any) -> None:
        pass


def _words(path: Path, kind: str, parse: Callable[[str], Any]) -> Any:
    """What a file of text says: a tree no larger than the file, though YAML may say that a list is in itself."""
    try:
        if kind == 'YAML' and path.stat().st_size > _LONGEST_YAML:
            raise ValueError(f'of more than {_LONGEST_YAML:,} bytes, which no training writes')
        text = path.read_text(encoding='utf-8')
        return resolve(parse(text), Budget(len(text)))
    except (OSError, ValueError, RecursionError, yaml.YAMLError, pickle.UnpicklingError) as error:
        raise CheckpointError(f'{path}: not readable as {kind} ({error}).') from error


def _json(path: Path) -> Dict[str, Any]:
    content = _words(path, 'JSON', json.loads)
    if not isinstance(content, dict):
        raise CheckpointError(f'{path}: holds {type(content).__name__} instead of a configuration.')
    return content


def _mapping(value: Any) -> Dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _training(content: Any, folder: Path) -> Dict[str, Any]:
    """What timm's train.py says of a training: its `arch`, `epoch` and `metric`, and its arguments as a mapping `args`.

    They are in its checkpoints, the arguments else in the args.yaml beside them. Empty if it says nothing.
    """
    if not isinstance(content, dict) or not isinstance(content.get('state_dict'), dict):
        return {}
    args = content.get('args')
    if args is None and (folder / 'args.yaml').is_file():
        args = _words(folder / 'args.yaml', 'YAML', lambda text: yaml.load(text, _Yaml))
    told = {k: content[k] for k in ('arch', 'epoch', 'metric') if isinstance(content.get(k), (str, int, float))}
    return {**told, 'args': _mapping(args), 'averaged': isinstance(content.get('state_dict_ema'), dict)}


def ran_in(args: Mapping[str, Any], path: Path) -> Optional[Path]:
    """Where train.py ran that left a checkpoint: its folder is OUTPUT/EXPERIMENT there; None if that does not tell."""
    path = Path(os.path.abspath(path))
    outputs = (path if path.is_dir() else path.parent).parent
    output = Path(os.path.normpath(str(args.get('output') or 'output/train')))
    parts = output.parts  # of '.' none, which any place would fit
    if not parts or output.is_absolute() or '..' in parts or outputs.parts[-len(parts):] != parts:
        return None
    return outputs.parents[len(parts) - 1]


def _described(
        training: Dict[str, Any],
        config: Optional[Dict[str, Any]],
        path: Path,
) -> Tuple[str, Dict[str, Any], Dict[str, Any], Tuple[str, ...]]:
    """Architecture, arguments and cfg that the file itself gives: a folder's config.json, timm's training arguments.

    And what was assumed to find them, in words.
    """
    if config is not None:
        if 'architecture' not in config:
            return *_of_backbone(config), {}, ()
        return str(config['architecture']), _mapping(config.get('model_args')), read_config(config), ()
    args = training.get('args', {})
    name = training.get('arch') or args.get('model')
    if not isinstance(name, str):
        return '', {}, {}, ()
    model_args = {} if args.get('gp') is None else {'global_pool': args['gp']}
    model_args.update(_mapping(args.get('model_kwargs')))
    base = name.partition('local-dir:')[2]
    there = Path() if os.path.isabs(base) else ran_in(args, path)
    folder = base and (there or Path()) / base
    if folder and (folder / 'config.json').is_file():  # trained from there: its preprocessing, but own classes
        guessed = () if there is not None else (f'local-dir:{base} to be {folder.absolute()}',)
        name, base_args, cfg, _ = _described({}, _json(folder / 'config.json'), folder)
        cfg = {k: v for k, v in cfg.items() if k not in OF_THE_WEIGHTS}
        return name, {**base_args, **model_args}, {**cfg, **_preprocessing(args)}, guessed
    return name, model_args, _preprocessing(args), ()


def _of_backbone(config: Dict[str, Any]) -> Tuple[str, Dict[str, Any]]:
    """The network in what transformers and segmentation_models_pytorch save, which name it in their own words."""
    inside = _mapping(config.get('backbone_config')) or config
    name, stride = inside.get('backbone'), inside.get('output_stride')
    if not isinstance(name, str):
        name, stride = config.get('encoder_name'), config.get('encoder_output_stride')
    if not isinstance(name, str):
        return '', {}
    return re.sub(r'\A(?:tu|timm)-', '', name), {} if stride in (None, 32) else {'output_stride': stride}


def _preprocessing(args: Dict[str, Any]) -> Dict[str, Any]:
    """What train.py was told to show the network, as a cfg has it; the channels are for the network to say."""
    told = {k: args.get(k) for k in ('input_size', 'mean', 'std', 'interpolation', 'crop_pct', 'crop_mode')}
    if told['input_size'] is None:
        told['input_size'] = (3, args.get('img_size'), args.get('img_size'))
    read = {k: v for k, v in read_config({'pretrained_cfg': told}).items() if v}
    return {**read, 'test_input_size': None, 'pool_size': None} if 'input_size' in read else read


def read_checkpoint(path: Union[str, Path], use_ema: bool = True, entry: Optional[str] = None) -> Checkpoint:
    """Read a file or a folder.

    Args:
        path: See the table at the top of this file.
        use_ema: Take the averaged weights of a training checkpoint where there are any.
        entry: Of the weights, where a file holds several.

    Raises:
        FileNotFoundError: There is no such file.
        CheckpointError: See `load_file`; or the file holds something other than named tensors.
    """
    path = file = Path(path)
    described = path.name in _DESCRIBED
    if os.path.isdir(path):  # False, not an error, for a path that no file can have
        files = [path / name for name in _WEIGHT_FILES if (path / name).is_file()]
        if not files:
            raise CheckpointError(no_weights(path, _WEIGHT_FILES))
        file, described = files[0], True
    beside = file.parent / 'config.json'
    config = _json(beside) if described and beside.is_file() else None
    if is_shard(file):
        raise CheckpointError(f'{file}: a part of the weights alone, by its name: give the folder with all of them.')
    content = load_shards(file, _json(file), load_file) if file.name in INDEXES else load_file(file)
    with naming(file):
        checkpoint = checkpoint_of(content, use_ema, entry)
    training = _training(content, file.parent)
    name, arguments, cfg, guessed = _described(training, config, path)
    return dataclasses.replace(
        checkpoint, path=str(path), architecture=name, model_args=arguments, cfg=cfg, training=training,
        assumed=(*checkpoint.assumed, *guessed))


def checkpoint_of(content: Any, use_ema: bool = True, entry: Optional[str] = None) -> Checkpoint:
    """The weights of what a file holds, which says nothing else of itself.

    Raises:
        CheckpointError: See `unwrap` and `as_tensors`.
    """
    state, wrapper = unwrap(content, use_ema, entry)
    tensors, others = as_tensors(state)
    left_out = (f'entries that are no weights: {listed(others)}',) if others else ()
    return Checkpoint('', tensors, wrapper, left_out=left_out, assumed=in_words(content, wrapper))
