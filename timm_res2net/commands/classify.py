"""What a model says of images: the most likely classes of each, with their probabilities.

Images are files, folders, which are searched for image files, or none at all: then the photographs bundled with
scikit-image (extra `demo`: pip install 'timm-res2net[demo]').

Exit code 0: all images read. 1: some could not be read (named, and the others classified). 2: nothing could be done.
"""
import argparse
import json
from typing import Any, Dict, List

from .checks import add_model_and_class_names, at_least
from .command_line import Refusal
from .pictures import gather, read_each

EXAMPLE = 'timm-res2net classify'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', nargs='*', metavar='IMAGE_OR_FOLDER')
    add_model_and_class_names(parser)
    parser.add_argument('--topk', type=int, default=5, metavar='N', help='classes to print (%(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')


def run(args: argparse.Namespace) -> int:
    at_least(1, '--topk', args.topk)
    images = gather(args.images)
    from .models import class_names, count_classes, input_of, load_model, read_class_names
    given = read_class_names(args.class_names)
    try:
        model = load_model(args.model, exported=True, names=given)
        to_input = input_of(model)
    except Refusal:
        raise
    except Exception as error:  # whatever timm, the Hub or a checkpoint says, in one line
        raise Refusal(f'cannot load {args.model}: {error}') from error
    if not count_classes(model):
        raise Refusal(f'{args.model} has no classifier')
    names = class_names(model)

    import torch
    results: List[Dict[str, Any]] = []
    failures: List[Dict[str, str]] = []
    for name, x in read_each(images, failures, to_input, lines=not args.json):
        with torch.inference_mode():
            outputs = model(x.unsqueeze(0))
        probabilities, indices = outputs.softmax(-1)[0].topk(min(args.topk, len(names)))
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
