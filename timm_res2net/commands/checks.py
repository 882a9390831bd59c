"""What several commands share: options, what is refused at the start since it would fail at the end, pictures."""
import argparse
import importlib.util
from pathlib import Path
from typing import Any, Optional

from .command_line import Refusal, free_output, whole_file

NAMES = 'registered name, hf-hub:USER/REPO, local-dir:FOLDER, checkpoint file or folder'  # of a network
DEFAULT_MODEL = 'seres2net23_16w_8s_cifar_custom'  # where no model is named
MODEL_FILES = ('.pth', '.pt', '.bin', '.tar', '.ckpt', '.safetensors', '.pdparams', '.onnx', '.pt2', '.xml')


def needs(what: str, extra: str, *modules: str) -> None:
    """Refuse where a module is not installed; `extra` is the one of this package that brings it."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise Refusal(f"{what} needs {' and '.join(missing)}, which is not here: pip install 'timm-res2net[{extra}]'")


def at_least(least: float, option: str, value: Optional[float]) -> None:
    """Refuse a number below the least that an option takes; None is an option that is not there."""
    if value is not None and value < least:
        raise Refusal(f'{option} {value} must be at least {least}')


def add_model_and_class_names(parser: argparse.ArgumentParser, default: str = DEFAULT_MODEL) -> None:
    """The model of a command that takes exported files too, and names of its classes."""
    parser.add_argument('--model', default=default, help=f'{NAMES}, exported file (%(default)s)')
    parser.add_argument('--class-names', type=Path, metavar='FILE', help=(
        'names of the classes in their order, one a line or a JSON list, in place of any that the model has'))


def add_entry_and_prefix(parser: argparse.ArgumentParser) -> None:
    """Which network of a file that holds several."""
    parser.add_argument('--entry', metavar='NAME', help='entry of the file that holds the network, if several do')
    parser.add_argument('--prefix', metavar='NAME', help='what stands before its names, if there are several networks')


def check_picture(option: str, path: Path) -> None:
    """Refuse a file that matplotlib could not write."""
    from matplotlib.backend_bases import FigureCanvasBase
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix('.') not in known:
        raise Refusal(f'{option} {path} must end in one of {", ".join(f".{suffix}" for suffix in sorted(known))}')
    free_output(path, overwrite=True)


def save_picture(figure: Any, path: Path) -> None:
    """Write matplotlib's figure, whole or not at all."""
    with whole_file(path) as part:
        figure.savefig(part)
