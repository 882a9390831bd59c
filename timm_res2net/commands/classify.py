"""What a model says of images: the most likely classes of each, with their probabilities.

Images are files, folders, which are searched for image files, or none at all: then the photographs bundled with
scikit-image (extra `demo`: pip install 'timm-res2net[demo]').

Exit code 0: all images read. 1: some could not be read (named, and the others classified). 2: nothing could be done.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Tuple

from .command_line import Refusal, progress, warn

if TYPE_CHECKING:
    from ..model.images import Source

EXAMPLE = 'timm-res2net classify'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', nargs='*', metavar='IMAGE_OR_FOLDER')
    parser.add_argument('--model', default='res2net23_32w_4s_cifar_custom', help=(
        'registered name, hf-hub:USER/REPO, local-dir:FOLDER, checkpoint file or folder, exported file (%(default)s)'))
    parser.add_argument('--topk', type=int, default=5, metavar='N', help='classes to print (%(default)s)')
    parser.add_argument('--class-names', type=Path, metavar='FILE',
                        help='names of the classes, one a line or a JSON list, where the model has none')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')


def run(args: argparse.Namespace) -> int:
    if args.topk < 1:
        raise Refusal(f'--topk {args.topk} must be at least 1')
    images = gather(args.images)
    from .models import class_names, count_classes, input_of, load_model, name_classes, read_class_names
    given = read_class_names(args.class_names)
    try:
        model = load_model(args.model, exported=True)
        transform, mode = input_of(model)
    except Exception as error:  # whatever timm, the Hub or a checkpoint says, in one line
        raise Refusal(f'cannot load {args.model}: {error}') from error
    if not count_classes(model):
        raise Refusal(f'{args.model} has no classifier')
    name_classes(model, given)
    names = class_names(model)

    import torch

    from ..model.images import ImageError, read_image
    results: List[Dict[str, Any]] = []
    failures: List[Dict[str, str]] = []
    # lines as they come are better than a bar on the same screen
    for name, source in images if sys.stdout.isatty() and not args.json else progress(images):
        try:
            x = transform(read_image(source, mode)).unsqueeze(0)
        except ImageError as error:
            failures.append({'image': name, 'error': str(error)})
            warn(str(error))
            continue
        with torch.inference_mode():
            probabilities, indices = model(x).softmax(-1)[0].topk(min(args.topk, len(names)))
        predictions = [{'class': names[i], 'index': i, 'probability': p}
                       for i, p in zip(indices.tolist(), probabilities.tolist(), strict=True)]
        results.append({'image': name, 'predictions': predictions})
        if not args.json:
            print('\n'.join([name, *(f"  {p['probability']:6.1%}  {p['class']}" for p in predictions)]))
    if args.json:
        print(json.dumps({'model': args.model, 'results': results, 'failures': failures}, indent=2))
    if not results:
        return 2
    return 1 if failures else 0


def gather(paths: List[str]) -> List[Tuple[str, 'Source']]:
    """(name, source) of each image; folders are searched, no path at all means scikit-image's photographs.

    Raises:
        ImportError: Those are meant, and scikit-image is not installed.
        Refusal: There are no images.
    """
    from ..model.images import bundled
    empty: List[str] = []
    images: List[Tuple[str, Source]] = [*(_listed(paths, empty) if paths else bundled())]
    if not images:
        raise Refusal(f'no images found in {", ".join(paths)}')
    for path in empty:
        warn(f'{path}: no images found')
    return images


def _listed(paths: List[str], empty: List[str]) -> Iterator[Tuple[str, 'Source']]:
    """(name, source) of each image; folders without any are added to `empty`."""
    from ..model.images import find_images
    for path in map(Path, paths):
        if not path.is_dir():
            yield str(path), path
            continue
        try:
            yield from ((str(p), p) for p in find_images(path))
        except ValueError:
            empty.append(str(path))
