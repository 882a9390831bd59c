"""Classify images: `python scripts/classify.py [IMAGE_OR_FOLDER ...] [--model NAME]`.

Prints the most likely classes of each image with their probabilities. Without images it takes photographs bundled
with scikit-image. NAME is any model timm can create (registered, `hf-hub:USER/REPO` or `local-dir:FOLDER`), or a
checkpoint file or folder of any layout that `load_checkpoint` reads.
Exit code 0: all images read; 1: some could not be read (named, and the others classified); 2: nothing could be done.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo, create_transform

import timm_res2net
from timm_res2net.deploy.preprocessing import SUFFIXES, data_config, image_mode
from timm_res2net.model import data_cfg

CHECKPOINTS = ('.pth', '.pt', '.bin', '.tar', '.safetensors', '.pdparams')
BUNDLED = ('rocket', 'coffee', 'stereo_motorcycle', 'astronaut', 'camera')  # of scikit-image


def find_images(paths: List[str]) -> Iterator[Tuple[str, object]]:
    """Yield (name, source) of each image; folders are searched for image files, none at all means the bundled ones."""
    if not paths:
        from skimage import data
        for name in BUNDLED:
            image = getattr(data, name)()
            yield name, image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair
    for path in map(Path, paths):
        if path.is_dir():
            yield from ((str(p), p) for p in sorted(path.rglob('*')) if p.suffix.lower() in SUFFIXES)
        else:
            yield str(path), path


def read_image(source) -> Image.Image:
    """RGB image from a path or an array; raises OSError or ValueError if it cannot be read whole."""
    image = Image.open(source) if isinstance(source, Path) else Image.fromarray(source)
    return image.convert('RGB')


def class_names(model: torch.nn.Module) -> List[str]:
    """Names of the model's classes: its own, ImageNet's for 1000 classes, or numbers."""
    names = data_cfg.class_names(model)
    if names:
        descriptions = model.pretrained_cfg.get('label_descriptions') or {}
        return [descriptions.get(n, n) for n in names]
    if model.num_classes == 1000:
        info = ImageNetInfo()
        return [info.index_to_description(i) for i in range(1000)]
    return [f'class {i}' for i in range(model.num_classes)]


def load_model(name: str, pretrained: bool = True, **kwargs: Any) -> torch.nn.Module:
    """A registered name, `hf-hub:USER/REPO` or `local-dir:FOLDER`, or a checkpoint file or folder, in eval mode.

    `kwargs` win over what the name or the file says; a file always gives its weights.
    """
    path = Path(name)
    if path.exists() and not timm.is_model(name.partition('.')[0]):
        return timm_res2net.load_checkpoint(path, **kwargs).eval()
    if ':' not in name and (path.parent.name or path.suffix in CHECKPOINTS):
        raise FileNotFoundError(f'{name}: no such file')
    return timm.create_model(name, pretrained=pretrained, **kwargs).eval()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', nargs='*', metavar='IMAGE_OR_FOLDER')
    parser.add_argument('--model', default='res2net23_32w_4s_cifar_custom', help='default: %(default)s')
    parser.add_argument('--topk', type=int, default=5, help='classes to print (default: %(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead')
    args = parser.parse_args()
    if args.topk < 1:
        parser.error(f'--topk {args.topk} must be at least 1')
    try:
        model = load_model(args.model)
        config = data_config(model)
        mode = image_mode(config)
    except Exception as error:  # whatever timm, the Hub or a checkpoint says, in one line
        print(f'cannot load {args.model}: {error}', file=sys.stderr)
        return 2
    if not model.num_classes:
        print(f'{args.model} has no classifier', file=sys.stderr)
        return 2
    transform = create_transform(**config)
    names = class_names(model)

    results, failures = [], []
    try:
        for name, source in find_images(args.images):
            try:
                x = transform(read_image(source).convert(mode)).unsqueeze(0)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                failures.append({'image': name, 'error': str(error)})
                continue
            with torch.inference_mode():
                probabilities, indices = model(x).softmax(-1)[0].topk(min(args.topk, model.num_classes))
            results.append({
                'image': name,
                'predictions': [{'class': names[i], 'index': i, 'probability': p}
                                for i, p in zip(indices.tolist(), probabilities.tolist())],
            })
    except ImportError:
        print('no image given, and the bundled ones need scikit-image: pip install scikit-image', file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps({'model': args.model, 'results': results, 'failures': failures}, indent=2))
    else:
        for result in results:
            print(result['image'])
            for p in result['predictions']:
                print(f"  {p['probability']:6.1%}  {p['class']}")
    for failure in failures:
        print(f"cannot read {failure['image']}: {failure['error']}", file=sys.stderr)
    if not results:
        if not failures:
            print('no images found', file=sys.stderr)
        return 2
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
