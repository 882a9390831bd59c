"""Where models look: `python scripts/gradcam.py [IMAGE_OR_FOLDER ...] [--models A B ...] [--output FILE]`.

Draws each image beside its class activation map for each model, with what the model says and how sure it is, as the
Res2Net paper does for ResNet-50 and Res2Net-50 (figure 4). Without images it takes photographs bundled with
scikit-image. A model is a registered name, `hf-hub:USER/REPO`, `local-dir:FOLDER` or a checkpoint file.
Exit code 0: all images drawn; 1: some could not be read (named, the others drawn); 2: nothing could be done.

    python scripts/gradcam.py photo.jpg --models resnet50_custom res2net50_26w_4s_custom --class "golden retriever"
"""
import argparse
import sys
from pathlib import Path
from typing import Any, Dict, List

import torch
from classify import class_names, find_images, load_model, read_image

from timm_res2net.deploy.preprocessing import data_config, normalise, read_pixels
from timm_res2net.insight.activation_maps import METHODS, class_activation_maps


def find_class(text: str, names: List[str]) -> int:
    """A class by its number or its name."""
    if text.isdigit():
        return int(text)
    found = [i for i, name in enumerate(names) if text.lower() in [part.strip().lower() for part in name.split(',')]]
    if not found:
        raise ValueError(f'--class {text!r} is not a class of the model, which has {", ".join(names[:5])}, ...')
    return found[0]


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
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', nargs='*', metavar='IMAGE_OR_FOLDER')
    parser.add_argument('--models', nargs='+', default=['res2net23_32w_4s_cifar_custom'], metavar='NAME')
    parser.add_argument('--output', type=Path, default=Path('gradcam.png'), help='picture to write (%(default)s)')
    parser.add_argument('--class', dest='target', help="name or number of the class to look for (each model's answer)")
    parser.add_argument('--layer', help='module whose map is weighed (the last stage)')
    parser.add_argument('--method', choices=list(METHODS), default='gradcam')
    parser.add_argument('--image-size', type=int, help="height and width (the model's own)")
    args = parser.parse_args()
    failures, rows = [], []
    try:
        models = {name: load_model(name) for name in args.models}
        for name, source in find_images(args.images):
            try:
                image = read_image(source)
            except (OSError, ValueError, SyntaxError) as error:
                failures.append(name)
                print(f'cannot read {name}: {error}', file=sys.stderr)
                continue
            row: Dict[str, Any] = {'name': name, 'maps': []}
            for title, model in models.items():
                config = data_config(model, args.image_size)
                pixels = read_pixels([image], config, 1)
                shown = read_pixels([image], {**config, 'input_size': [3, 224, 224]}, 1)
                row.setdefault('pixels', shown[0].permute(1, 2, 0).numpy())
                x = normalise(pixels, config)
                with torch.inference_mode():
                    probabilities = model(x).softmax(-1)[0]
                names = class_names(model)
                target = probabilities.argmax().item() if args.target is None else find_class(args.target, names)
                heat = class_activation_maps(model, x, [target], args.layer, args.method)[0]
                row['maps'].append((f'{title}\n{names[target]} {probabilities[target]:.0%}', heat))
                print(f'{name}: {title}: {names[target]} {probabilities[target]:.1%}')
            rows.append(row)
        if not rows:
            print('no images found', file=sys.stderr)
            return 2
        draw(rows, args.output)
    except Exception as error:  # whatever timm, the Hub, a checkpoint or a layer says, in one line
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'written to {args.output}')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
