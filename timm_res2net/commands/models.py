"""What a command does with the model that it is given: name, file or folder become a network with class names."""
import ast
import difflib
import json
import re
import shlex
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import timm
import torch
from timm.data import ImageNetInfo, create_transform
from timm.models import is_model_pretrained

from .. import deploy
from ..deploy.preprocessing import data_config, image_mode
from ..hub.errors import HubError, hub_errors
from ..model import data_cfg
from ..model.images import Source, read_image
from ..weights import CheckpointError
from ..weights.loading import load_read
from ..weights.reading import read_checkpoint
from ..weights.words import printable
from .checks import MODEL_FILES, NAMES
from .command_line import Refusal, warn
from .training import from_its_repository, names_of_training

EXPORTED = tuple(dict.fromkeys(deploy.FORMATS.values()))


def load_model(
        name: str,
        pretrained: bool = True,
        exported: bool = False,
        names: Optional[List[str]] = None,
        **kwargs: Any,
) -> Any:
    """The model that a person names, in eval mode; an exported file becomes `deploy.Deployed`.

    Args:
        name: One of `NAMES`, or an exported file.
        pretrained: Load the weights of a registered name; where it has none, or is NAME.untrained, stderr says that
            they are random. A file always gives its weights.
        exported: The command takes exported files.
        names: Of the classes, else its own, else those of the folder that a training checkpoint was trained on.
        **kwargs: Arguments of the network, which win over what the name or the file says.

    Raises:
        FileNotFoundError, Refusal: There is no such file, folder or name.
    """
    path = Path(name)
    if not name.strip():
        raise Refusal(f'the name of the model is empty, it must be one of: {NAMES}')
    if is_registered(name):
        model = _create(name, pretrained, kwargs)
    elif path.suffix in EXPORTED and (path.exists() or not timm.is_model(name)):
        model = _load_exported(name, exported, kwargs)
    elif path.exists():
        model = _load_file(path, names, kwargs)
    elif ':' in name:
        scheme, _, where = name.partition(':')
        if scheme == 'local-dir' and not Path(where).is_dir():
            raise FileNotFoundError(f'{name}: no such folder')
        model = _create(name, pretrained, kwargs)
    elif path.parent.name or path.suffix in MODEL_FILES:
        hub = re.fullmatch(r'[\w.-]+/[\w.-]+', name) and not path.suffix
        raise FileNotFoundError(f'{name}: no such file' + (f'; on the Hub it is hf-hub:{name}' if hub else ''))
    else:
        raise Refusal(_unknown(name))
    name_classes(model, names)
    return model if isinstance(model, deploy.Deployed) else model.eval()


def _load_file(path: Path, names: Optional[List[str]], kwargs: Any) -> Any:
    try:
        checkpoint = from_its_repository(read_checkpoint(path), required=False)
        model: Any = load_read(checkpoint, **kwargs)
    except CheckpointError as error:
        if not re.search(r'\b(prefix|entry)=', str(error)):
            raise
        said = re.sub(r'\b(prefix|entry)=', r'--\1 ', str(error))
        convert = f'timm-res2net convert {shlex.quote(str(path))} FOLDER'
        raise Refusal(f'{said} `{convert}` takes it, and this takes the folder') from error
    if names is None:
        name_classes(model, names_of_training(checkpoint.training, model, path))
    model.class_map = checkpoint.training.get('args', {}).get('class_map')  # by which its classes are numbered
    return model


def is_registered(name: str) -> bool:
    """Whether it is the name of a model that timm knows, alone or with the tag of weights that it knows."""
    base, _, tag = name.partition('.')
    return timm.is_model(base) and (not tag or is_model_pretrained(name) or tag == 'untrained')


def is_exported(name: str) -> bool:
    """Whether it is an exported file, by its suffix."""
    return not is_registered(name) and Path(name).suffix in EXPORTED


def _unknown(name: str) -> str:
    base, _, tag = name.partition('.')
    if tag and timm.is_model(base):
        there = timm.list_pretrained(f'{base}.*')
        return f'{base} has no weights {tag!r}' + (f', there are {", ".join(there)}' if there else ' and no others')
    near = difflib.get_close_matches(name, timm.list_models(), 3)
    meant = f' (did you mean {", ".join(near)}?)' if near else ''
    return f'{name} is no model that timm knows, and no file{meant}: `timm-res2net list` names the variants'


def _load_exported(name: str, exported: bool, kwargs: Any) -> deploy.Deployed:
    if not Path(name).is_file():
        raise FileNotFoundError(f'{name}: no such file')
    if not exported:
        raise Refusal(f'{name} is an exported file, this needs the network itself: {NAMES}')
    if kwargs:
        raise Refusal(f'{name} is an exported file, which takes no arguments of the network ({", ".join(kwargs)})')
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        loaded = deploy.load(name)
    for warning in said:  # of another number of threads
        warn(str(warning.message))
    return loaded


def _create(name: str, pretrained: bool, kwargs: Any) -> Any:
    """timm's model; says so where weights are random that are meant to be trained."""
    cfg: Any = None
    if ':' not in name:
        if pretrained and not is_model_pretrained(name):
            warn(f'{name} has no trained weights: they are random, and so is what it says')
            pretrained = False
        name = name.removesuffix('.untrained')  # a tag that timm knows of networks without any weights alone
        cfg = timm.get_pretrained_cfg(name)
    repo, _, revision = (cfg.hf_hub_id or name if cfg else name.partition(':')[2]).partition('@')
    try:
        with nullcontext() if name.startswith('local-dir:') else hub_errors(repo, revision or None):
            model: Any = timm.create_model(name, pretrained=pretrained, **kwargs)
    except HubError as error:
        raise Refusal(str(error).replace(' or pass token=', ' or set HF_TOKEN')) from error
    except (AssertionError, AttributeError, LookupError, json.JSONDecodeError) as error:  # of what is no config.json
        raise Refusal(f'{name} holds no model of timm ({type(error).__name__}: {error})') from error
    if pretrained and cfg and model.num_classes not in (0, cfg.num_classes):
        warn(f'{name} has weights for {cfg.num_classes} classes: the classifier of {model.num_classes} is random')
    return model


def count_classes(model: Any) -> int:
    """Classes of a network or of an exported file, 0 without a classifier."""
    return model.metadata['num_classes'] if isinstance(model, deploy.Deployed) else model.num_classes


def own_class_names(model: Any) -> Optional[List[str]]:
    """The names of its classes that a network or an exported file has, if any."""
    return model.labels if isinstance(model, deploy.Deployed) else data_cfg.class_names(model)


def class_names(model: Any) -> List[str]:
    """Names of the classes of a network or of an exported file: its own, ImageNet's for 1000 classes, or numbers."""
    count, names = count_classes(model), own_class_names(model)
    if names:
        described = (getattr(model, 'pretrained_cfg', None) or {}).get('label_descriptions') or {}
        return [printable(str(described.get(n, n))) for n in names]
    if count == 1000:
        info = ImageNetInfo()
        return [info.index_to_description(i) for i in range(1000)]
    return [f'class {i}' for i in range(count)]


def read_class_names(file: Optional[Path]) -> Optional[List[str]]:
    """Class names in the order of the classes, one a line or a JSON list; None without a file.

    Raises:
        Refusal: The file cannot be read, or holds no names.
    """
    if file is None:
        return None
    try:
        text = file.read_text(encoding='utf-8-sig').strip()  # with what Windows may put before the text
        names = json.loads(text) if text.startswith('[') else [line.strip() for line in text.splitlines()]
    except (OSError, ValueError) as error:
        raise Refusal(f'--class-names {file}: {getattr(error, "strerror", None) or error}') from error
    if not names:
        raise Refusal(f'--class-names {file}: it is empty, it must hold one name a line, or a JSON list of names')
    for number, name in enumerate(names, 1):
        if not isinstance(name, str) or not name.strip():
            raise Refusal(f'--class-names {file}: name {number} is {name!r}, it must hold one name a line, or a JSON '
                          'list of names')
    return names


def name_classes(model: Any, names: Optional[List[str]]) -> None:
    """Give a network or a loaded exported file the names of its classes, if there are any.

    Raises:
        Refusal: There is not one name a class.
    """
    if names is None:
        return
    if len(names) != count_classes(model):
        raise Refusal(f'--class-names: {len(names)} names, the model has {count_classes(model)} classes')
    if isinstance(model, deploy.Deployed):
        model.labels = names
    else:
        model.pretrained_cfg.update(label_names=names, label_descriptions=None)


def input_of(model: Any) -> Callable[[Source], torch.Tensor]:
    """What makes the input of a network or an exported file of a picture, without the batch.

    It raises an ImageError for one that cannot be read.

    Raises:
        ValueError: It takes other channels than pictures have.
    """
    if isinstance(model, deploy.Deployed):
        return model.transform
    config = data_config(model)
    return partial(_input, image_mode(config), create_transform(**config))


def _input(mode: str, transform: Callable[[Any], torch.Tensor], picture: Source) -> torch.Tensor:
    return transform(read_image(picture, mode))


def key_values(pairs: List[str]) -> Dict[str, Any]:
    """The arguments of `--model-kwargs KEY=VALUE ..`, values as Python writes them, else text, as in timm's scripts.

    Raises:
        Refusal: One of them is not KEY=VALUE.
    """
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition('=')
        if not equals or not key.isidentifier():
            raise Refusal(f'--model-kwargs {pair}: it must be KEY=VALUE')
        try:
            found[key] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            found[key] = value
    return found
