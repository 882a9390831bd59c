"""What a training by timm's train.py left behind: the class names, which are the names of its folders of images."""
from pathlib import Path
from typing import Any, List, Mapping, Optional

from ..model import data_cfg
from .command_line import Refusal, warn


def folder_names(folder: Path, args: Mapping[str, Any]) -> List[str]:
    """Class names in the order of the classes, from the folders of images of a training with these arguments.

    Raises:
        Refusal: There are none, or the training numbered its classes by a file.
    """
    from timm.utils import natural_key
    if args.get('class_map'):
        raise Refusal('the training used --class-map, so folders do not tell the classes: use --class-names')
    if not folder.is_dir():
        raise Refusal(f'--data-dir {folder}: no such folder')
    for split in (args.get('train_split') or 'train', 'train'):
        if (folder / split).is_dir():
            folder = folder / split
            break
    names = sorted((f.name for f in folder.iterdir() if f.is_dir()), key=natural_key)
    if not names:
        raise Refusal(f'--data-dir {folder}: there are no folders of classes in it')
    return names


def names_of_training(training: Mapping[str, Any], model: Any) -> Optional[List[str]]:
    """The class names of the folder that a training was given, where it is here; says which folder that is.

    None where the model has names, or no classes.
    """
    if not model.num_classes or data_cfg.class_names(model) is not None:
        return None
    args = training.get('args') or {}
    where = args.get('data_dir') or args.get('data')
    known = args.get('dataset') in (None, '', 'folder', 'ImageFolder') and not args.get('class_map')
    if not where or not isinstance(where, str) or not known:
        return None
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
