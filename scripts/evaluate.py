"""Top-1 and top-5 accuracy of a model on a folder of images: `python scripts/evaluate.py DATA [--model NAME]`.

DATA holds a folder `test` (see --split) with one folder per class, named as the model's classes where it knows their
names. For the shipped CIFAR-100 weights these are the 10,000 official test images as PNG (or any lossless format), in
`test/apple`, `test/aquarium_fish`, ... The shipped number is printed beside, and the exit code is 1 if they differ by
more than 0.01 points. timm's validate.py gives the same numbers.
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

import torch
from classify import load_model
from timm.data import create_dataset, create_loader

from timm_res2net import deploy
from timm_res2net.deploy.preprocessing import data_config, image_mode
from timm_res2net.model.data_cfg import class_names
from timm_res2net.weights.catalogue import SHIPPED, provenance


def describe(model: Any) -> Tuple[Dict[str, Any], int, Optional[Sequence[str]]]:
    """Preprocessing, number of classes and their names, of a model or of an exported file."""
    if isinstance(model, deploy.Deployed):
        return model.metadata['data_config'], model.metadata['num_classes'], model.labels
    return data_config(model), model.num_classes, class_names(model)


def check_classes(num_classes: int, names: Optional[Sequence[str]], found: Sequence[str], folder: Path) -> None:
    """Raise a ValueError if the folders with images that a split has are not the model's classes in their order."""
    if len(found) != num_classes:
        raise ValueError(f'{folder} holds {len(found)} folders of images, the model has {num_classes} classes')
    if names and list(names) != found:
        wrong = next(pair for pair in zip(found, names, strict=True) if pair[0] != pair[1])
        raise ValueError(f'{folder}: the folder {wrong[0]!r} is where the model has the class {wrong[1]!r}')


@torch.inference_mode()
def evaluate(
        model: Any,
        data: Path,
        split: str = 'test',
        batch_size: int = 500,
        workers: int = 2,
        device: str = 'cpu',
) -> Dict[str, float]:
    """Accuracy in percent and number of images of `DATA/split`, with the model's own preprocessing."""
    config, num_classes, names = describe(model)
    if not (data / split).is_dir():
        raise ValueError(f'there is no folder {data / split}: it must hold a folder of images for each class')
    pixels = isinstance(model, deploy.Deployed) and model.metadata['input'] == 'pixels'
    if pixels:
        config = {**config, 'mean': [0.] * len(config['mean']), 'std': [1.] * len(config['std'])}
    dataset = create_dataset('', root=str(data), split=split, is_training=False, input_img_mode=image_mode(config))
    found = dataset.reader.class_to_idx  # without empty folders
    check_classes(num_classes, names, sorted(found, key=found.__getitem__), data / split)
    loader = create_loader(dataset, batch_size=batch_size, num_workers=workers, use_prefetcher=False, **config)
    correct = torch.zeros(2)
    images = 0
    for x, target in loader:
        x = (255 * x).round().byte().permute(0, 2, 3, 1).contiguous() if pixels else x
        top5 = model(x.to(device)).topk(min(5, num_classes))[1] == target.to(device)[:, None]
        correct += torch.stack([top5[:, 0].sum(), top5.sum()]).cpu()
        images += len(x)
    top1, top5 = (100 * correct / images).tolist()
    return {'top1': round(top1, 4), 'top5': round(top5, 4), 'images': images}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, metavar='DATA')
    parser.add_argument('--model', default='res2net23_32w_4s_cifar_custom.cifar100',
                        help='registered name, hf-hub:USER/REPO, local-dir:FOLDER, checkpoint file or exported file '
                             '(%(default)s)')
    parser.add_argument('--split', default='test', help='folder inside DATA (%(default)s)')
    parser.add_argument('--batch-size', type=int, default=500)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    try:
        if Path(args.model).suffix in deploy.FORMATS.values():
            if args.device != 'cpu':
                raise ValueError(f'--device {args.device}: exported files run on the CPU')
            model = deploy.load(args.model)
        else:
            model = load_model(args.model).to(args.device)
        result = evaluate(model, args.data, args.split, args.batch_size, args.workers, args.device)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(json.dumps({'model': args.model, **result}, indent=2))
    if not (SHIPPED / f'{args.model}.json').is_file():
        return 0
    shipped = provenance(args.model)
    same = all(abs(result[k] - shipped[k]) <= 0.01 for k in ('top1', 'top5'))
    verdict = 'the same' if same else 'NOT the same'
    print(f'shipped: top-1 {shipped["top1"]:.2f}, top-5 {shipped["top5"]:.2f}: {verdict}', file=sys.stderr)
    return 0 if same else 1


if __name__ == '__main__':
    sys.exit(main())
