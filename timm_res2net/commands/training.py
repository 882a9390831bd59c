"""What a training by timm's train.py left behind: the class names, which are the names of its folders of images.

And what it was trained from, where that is a repository of the Hub.
"""
import dataclasses
import os
from pathlib import Path
from typing import Any, List, Mapping, Optional

from ..model import data_cfg
from ..weights.reading import ran_in
from .command_line import Refusal, warn


def from_its_repository(checkpoint: Any, required: bool = True, timeout: Optional[float] = None) -> Any:
    """A checkpoint that names a repository, with the network and the preprocessing of that, but classes of its own.

    Args:
        required: Without what the repository says it is of no use.
        timeout: See `push_to_hub`.

    Raises:
        HubError: That cannot be had, and it is required; else it is said, and the checkpoint is as it was.
    """
    if not checkpoint.architecture.startswith('hf-hub:'):
        return checkpoint
    from timm.models import load_model_config_from_hf

    from ..hub.errors import HubError, hub_errors
    from ..hub.time_limit import time_limit
    repo = checkpoint.architecture.removeprefix('hf-hub:')
    try:
        with hub_errors(repo), time_limit(repo, timeout):
            cfg, name, base = load_model_config_from_hf(repo)
    except HubError as error:
        if required:
            raise
        warn(f'{checkpoint.path} was trained from hf-hub:{repo}, which cannot be asked: {error}')
        return checkpoint
    cfg = {k: v for k, v in data_cfg.read_config({'pretrained_cfg': cfg}).items() if k not in data_cfg.OF_THE_WEIGHTS}
    return dataclasses.replace(
        checkpoint, architecture=name, model_args={**(base or {}), **checkpoint.model_args},
        cfg={**cfg, **checkpoint.cfg})


def folder_names(folder: Path, args: Mapping[str, Any]) -> List[str]:
    """Class names in the order of the classes, from the folders of images of a training with these arguments.

    Raises:
        Refusal: There are none, or the training numbered its classes by a file.
    """
    from timm.data.readers.img_extensions import get_img_extensions
    from timm.utils import natural_key
    if args.get('class_map'):
        raise Refusal('the training used --class-map, so folders do not tell the classes: use --class-names')
    if not folder.is_dir():
        raise Refusal(f'--data-dir {folder}: no such folder')
    for split in (args.get('train_split') or 'train', 'train'):
        if (folder / split).is_dir():
            folder = folder / split
            break
    suffixes = tuple(get_img_extensions())
    # as train.py numbers them: by the last folder, and those without images are no classes
    names = {'' if place == str(folder) else os.path.basename(place) for place, _, files in os.walk(
        folder, followlinks=True) if any(f.lower().endswith(suffixes) for f in files)}
    if not names or '' in names:
        raise Refusal(f'--data-dir {folder}: there must be images in a folder for each class' + (
            ', and some are in none' if names else ''))
    return sorted(names, key=natural_key)


def names_of_training(training: Mapping[str, Any], model: Any, path: Path) -> Optional[List[str]]:
    """The class names of the folder that a training was given, where it is here; says which folder that is.

    None where the model has names, or no classes.

    Args:
        path: The checkpoint. A folder that was given relative to where train.py ran is looked for there, which the
            place of the checkpoint tells.
    """
    if not model.num_classes or data_cfg.class_names(model) is not None:
        return None
    args = training.get('args') or {}
    where = args.get('data_dir') or args.get('data')
    known = args.get('dataset') in (None, '', 'folder', 'ImageFolder')
    if args.get('class_map'):
        return _mapped_names(args, model, path)
    if not where or not isinstance(where, str) or not known:
        return None
    if not os.path.isabs(where):
        there = ran_in(args, path)
        if there is None:
            warn(f'it was trained on {where}, relative to what the place of {path} does not tell, so there are '
                 'no class names: --class-names, of `timm-res2net convert` say, gives them')
            return None
        where = str(there / where)
    if not Path(where).is_dir():
        warn(f'the training folder {where} is not here, so there are no class names: --class-names, of '
             '`timm-res2net convert` say, gives them')
        return None
    try:
        names = folder_names(Path(where), args)
    except Refusal:
        return None
    if len(names) != model.num_classes:
        warn(f'{where}, where it was trained, has folders of {len(names)} classes and the model has '
             f'{model.num_classes}: no class names are taken from there, --class-names gives them')
        return None
    warn(f'class names are the folders of {where}, where it was trained')
    return names


def _mapped_names(args: Mapping[str, Any], model: Any, path: Path) -> Optional[List[str]]:
    """The class names of a training by --class-map, which numbers folders otherwise than by their order.

    None where the file is not where the place of the checkpoint says, or is none of names.
    """
    given = str(args['class_map'])
    there = Path() if os.path.isabs(given) else ran_in(args, path)
    file = (there or Path()) / given
    known = there is not None and file.suffix == '.txt' and file.is_file()
    names = file.read_text(encoding='utf-8').splitlines() if known else []
    if len(names) != model.num_classes:
        warn(f'the training numbered its classes by --class-map {given}, which is not here as a .txt of '
             f'{model.num_classes} names: there are no class names, --class-names, of `timm-res2net convert` say, '
             'gives them')
        return None
    warn(f'class names are those of {file}, by which it was trained')
    return [name.strip() for name in names]
