"""A page to look inside a Res2Net, in the browser: what it answers to a photo, where it looks, what each group sees.

Serves the page on this machine, for this machine alone, without any network, until Ctrl-C. Photos stay in memory and
are forgotten; nothing is sent anywhere. Two models stand side by side:

    timm-res2net demo --model seres2net23_16w_8s_cifar_custom --model my-finetuned-folder

A model is a registered name, hf-hub:USER/REPO, local-dir:FOLDER, or a checkpoint file or folder. Needs the extra
`demo`: pip install 'timm-res2net[demo]'

With --space FOLDER it writes the page as a folder that runs as a Hugging Face Space instead.
"""
import argparse
import shlex
from pathlib import Path
from typing import Any, List, Tuple

from .checks import DEFAULT_MODEL, needs
from .command_line import Refusal, free_output, warn

EXAMPLE = 'timm-res2net demo --space my-space'
LOCAL = ('127.0.0.1', 'localhost', '::1')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--model', dest='models', action='append', metavar='NAME',
                        help=f'to show; twice for two side by side ({DEFAULT_MODEL})')
    parser.add_argument('--port', type=int, metavar='N', help='of the page (7860, or the next that is free)')
    parser.add_argument('--host', default='127.0.0.1', metavar='ADDRESS', help=(
        'where it listens (%(default)s, this machine alone); elsewhere visitors choose among the given models only'))
    parser.add_argument('--share', action='store_true', help=(
        "open it to everybody who has the link, through gradio's servers; needs a network"))
    parser.add_argument('--no-browser', action='store_true', help='do not open a browser')
    parser.add_argument('--space', type=Path, metavar='FOLDER', help='write a folder for Hugging Face Spaces instead')


def run(args: argparse.Namespace) -> int:
    models = args.models or [DEFAULT_MODEL]
    if len(models) > 2:
        raise Refusal(f'--model is there {len(models)} times, the page has room for two')
    if args.space is not None:
        return _space(args, models)
    if args.port is not None and not 0 < args.port < 65536:
        raise Refusal(f'--port {args.port} must be from 1 to 65535')
    needs('the page', 'demo', 'gradio', 'skimage', 'pytorch_grad_cam')
    free = args.host in LOCAL and not args.share
    from ..demo.serving import serve
    shelf = open_shelf()
    for name in models:
        shelf[name]  # what is wrong with a model is said here, rather than on the page
    serve(shelf, choices(models, free), models, free, host=args.host, port=args.port, share=args.share,
          browser=not args.no_browser, say=warn)


def _space(args: argparse.Namespace, models: List[str]) -> int:
    """A folder for Spaces; a model that lies on this machine goes into it."""
    import tempfile

    from ..demo.space import write_space
    from ..weights import save_folder
    from .models import is_registered, load_model
    if args.space.exists():
        raise Refusal(f'{args.space} exists already: choose another folder')
    free_output(args.space, folder=True)
    with tempfile.TemporaryDirectory() as scratch:
        names, written = [], {}
        for number, name in enumerate(models, 1):
            if is_registered(name) or name.startswith('hf-hub:'):
                names.append(name)
                continue
            names.append(f'models/{Path(name.removeprefix("local-dir:")).resolve().stem or number}')
            written[names[-1]] = save_folder(load_model(name), Path(scratch) / str(number))
        write_space(args.space, names, written)
    print(f'{args.space}: try it with `pip install -r requirements.txt && python app.py` there, then upload it: '
          f'`hf upload USER/NAME {shlex.quote(str(args.space))} . --repo-type space`')
    return 0


def open_shelf() -> Any:
    """Models as all commands load them."""
    from ..demo.subject import Shelf
    return Shelf(load)


def load(name: str) -> Tuple[Any, List[str], str]:
    """A model, the names of its classes, and what to know of its weights."""
    from timm.models import is_model_pretrained

    from .models import class_names, is_registered, load_model
    model = load_model(name)
    random = is_registered(name) and not is_model_pretrained(name)
    note = f'{name} has no trained weights: they are random, and so is what it says.' if random else ''
    return model, class_names(model), note


def choices(models: List[str], free: bool) -> List[str]:
    """Names to choose from: those given, and where a visitor is free, all that have weights."""
    from ..weights import list_pretrained
    there = [row.name for row in list_pretrained()] if free else []
    return list(dict.fromkeys([*models, DEFAULT_MODEL, *there]))
