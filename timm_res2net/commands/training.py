"""What a training by timm's train.py left behind: the class names, which are the names of its folders of images."""
import os
from pathlib import Path
from typing import Any, List, Mapping, Optional

from ..model import data_cfg
from .command_line import Refusal, warn


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
    known = args.get('dataset') in (None, '', 'folder', 'ImageFolder') and not args.get('class_map')
    if not where or not isinstance(where, str) or not known:
        return None
    if not os.path.isabs(where):
        ran_in = _ran_in(args, path)
        if ran_in is None:
            warn(f'it was trained on {where}, relative to what the place of {path} does not tell, so there are '
                 'no class names: --class-names, of `timm-res2net convert` say, gives them')
            return None
        where = str(ran_in / where)
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


def _ran_in(args: Mapping[str, Any], path: Path) -> Optional[Path]:
    """Where train.py ran that left a checkpoint: its folder is OUTPUT/EXPERIMENT there; None if that does not tell."""
    path = Path(os.path.abspath(path))
    outputs = (path if path.is_dir() else path.parent).parent
    output = Path(os.path.normpath(str(args.get('output') or 'output/train')))
    parts = output.parts  # of '.' none, which any place would fit
    if not parts or output.is_absolute() or '..' in parts or outputs.parts[-len(parts):] != parts:
        return None
    return outputs.parents[len(parts) - 1]
