"""What commands refuse at the start, before anything is loaded or computed, since it would fail at the end."""
import importlib.util
from pathlib import Path

from .command_line import Refusal, free_output


def needs(what: str, extra: str, *modules: str) -> None:
    """Refuse where a module is not installed; `extra` is the one of this package that brings it."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise Refusal(f"{what} needs {' and '.join(missing)}, which is not here: pip install 'timm-res2net[{extra}]'")


def check_picture(option: str, path: Path) -> None:
    """Refuse a file that matplotlib could not write."""
    from matplotlib.backend_bases import FigureCanvasBase
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix('.') not in known:
        raise Refusal(f'{option} {path} must end in one of {", ".join(f".{suffix}" for suffix in sorted(known))}')
    free_output(path, overwrite=True)
