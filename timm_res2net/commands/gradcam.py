"""Where models look: each image beside its class activation map for each model, as in the Res2Net paper (figure 4).

Says too what each model answers and how sure it is. Images are files, folders, which are searched for image files, or
none at all: then the photographs bundled with scikit-image. A model is a registered name, hf-hub:USER/REPO,
local-dir:FOLDER, or a checkpoint file or folder. Needs the extra `figures`: pip install 'timm-res2net[figures]'

    timm-res2net gradcam photo.jpg --models resnet50_custom res2net50_26w_4s_custom --class "golden retriever"

Exit code 0: all images drawn. 1: some could not be read (named, and the others drawn). 2: nothing could be done.
"""
import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

from .checks import DEFAULT_MODEL, at_least, check_picture, needs, save_picture
from .command_line import Refusal, warn
from .pictures import gather, read_each

EXAMPLE = 'timm-res2net gradcam --output gradcam.png'
METHODS = ('gradcam', 'gradcam++', 'layercam', 'eigencam', 'scorecam', 'xgradcam')  # as insight has them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('images', nargs='*', metavar='IMAGE_OR_FOLDER')
    parser.add_argument('--models', nargs='+', default=[DEFAULT_MODEL], metavar='NAME')
    parser.add_argument('--output', type=Path, default=Path('gradcam.png'), metavar='FILE',
                        help='picture to write (%(default)s)')
    parser.add_argument('--class', dest='target', metavar='CLASS',
                        help="name or number of the class to look for (each model's answer)")
    parser.add_argument('--layer', help='module whose map is weighed (the last stage)')
    parser.add_argument('--method', choices=METHODS, default='gradcam')
    parser.add_argument('--image-size', type=int, metavar='N', help="height and width (the model's own)")
    parser.add_argument('--json', action='store_true', help='print one JSON object about the answers')


def run(args: argparse.Namespace) -> int:
    needs('class activation maps', 'figures', 'pytorch_grad_cam', 'matplotlib')
    check_picture('--output', args.output)
    at_least(1, '--image-size', args.image_size)
    images = gather(args.images)
    from ..insight import find_layer
    from ..model.images import read_image
    from .models import class_names, load_model
    models = {name: load_model(name) for name in args.models}
    targets = {}
    for name, model in models.items():
        if not model.num_classes:
            raise Refusal(f'{name} has no classifier')
        if args.layer:
            find_layer(model, args.layer)
        targets[name] = None if args.target is None else find_class(args.target, class_names(model))

    failures: List[Dict[str, str]] = []
    rows: List[Dict[str, Any]] = []
    for name, image in read_each(images, failures, read_image, lines=not args.json):
        rows.append(_row(name, image, models, targets, args))
        for answer in () if args.json else rows[-1]['answers']:
            print(f'{name}: {answer["model"]}: {answer["class"]} {answer["probability"]:.1%}')
    if not rows:
        return 2
    draw(rows, args.output)
    warn(f'written to {args.output}')
    if args.json:
        results = [{'image': row['name'], 'answers': row['answers']} for row in rows]
        print(json.dumps({'output': str(args.output), 'results': results, 'failures': failures}, indent=2))
    return 1 if failures else 0


def find_class(text: str, names: List[str]) -> int:
    """A class by its number or its name."""
    found = [i for i, name in enumerate(names) if text.lower() in [part.strip().lower() for part in name.split(',')]]
    if not found and text.isdigit():
        if int(text) >= len(names):
            raise ValueError(f'--class {text} is not a class of the model, which has 0 to {len(names) - 1}')
        return int(text)
    if not found:
        raise ValueError(f'--class {text!r} is not a class of the model, which has {", ".join(names[:5])}, ...')
    return found[0]


def _row(name: str, image: Any, models: Dict[str, Any], targets: Dict[str, Any], args: argparse.Namespace) -> Any:
    """A line of the picture: what is shown, the map of each model, and the answers."""
    import torch

    from ..deploy.preprocessing import data_config, normalise, read_pixels
    from ..insight import class_activation_maps
    from .models import class_names
    row: Dict[str, Any] = {'name': name, 'maps': [], 'answers': []}
    for title, model in models.items():
        config = data_config(model, args.image_size)
        x = normalise(read_pixels([image], config, 1), config)
        if 'pixels' not in row:
            shown = read_pixels([image], {**config, 'input_size': [config['input_size'][0], 224, 224]}, 1)
            row['pixels'] = shown[0].permute(1, 2, 0).expand(-1, -1, 3).numpy()
        with torch.inference_mode():
            probabilities = model(x).softmax(-1)[0]
        target = int(probabilities.argmax()) if targets[title] is None else targets[title]
        heat = class_activation_maps(model, x, [target], args.layer, args.method)[0]
        answer = class_names(model)[target]
        row['maps'].append((f'{title}\n{answer} {probabilities[target]:.0%}', heat.numpy()))
        row['answers'].append(
            {'model': title, 'class': answer, 'index': target, 'probability': probabilities[target].item()})
    return row


def draw(rows: List[Dict[str, Any]], path: Path) -> None:
    """One row per image: the image, then the map of each model over it."""
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    columns = 1 + len(rows[0]['maps'])
    figure, axes = plt.subplots(len(rows), columns, figsize=(2.6 * columns, 2.9 * len(rows)), dpi=120, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        line[0].imshow(row['pixels'])
        line[0].set_title(Path(row['name']).name, fontsize=8)
        for panel, (title, heat) in zip(line[1:], row['maps'], strict=True):
            panel.imshow(row['pixels'])
            panel.imshow(heat, cmap='inferno', alpha=0.55, extent=(0, *row['pixels'].shape[1::-1], 0), vmin=0, vmax=1)
            panel.set_title(title, fontsize=8)
        for panel in line:
            panel.axis('off')
    figure.tight_layout()
    save_picture(figure, path)
