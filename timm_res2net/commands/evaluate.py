"""Top-1 and top-5 accuracy of a model on a folder of images, and how well its confidence is calibrated, in percent.

DATA holds a folder `test` (see --split) with one folder per class, named as the model's classes where it knows their
names. For the shipped CIFAR-100 weights these are the 10,000 official test images as PNG (or any lossless format), in
`test/apple`, `test/aquarium_fish`, ... For weights of the catalogue (`timm-res2net list`) the published accuracy is
printed too. timm's validate.py gives the same accuracy.

The expected calibration error is how far the probability of the first answer is from how often it is right, on average
over the images, in 15 bins of equal width (Guo et al. 2017, equation 3).

Exit code 0: measured. 1: another accuracy than published (by more than 0.01 points, or 0.3 for PaddleClas's weights,
which were measured on images that another library resized), or images that cannot be read (named and left out). 2:
nothing could be done.
"""
import argparse
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from .checks import DEFAULT_MODEL, add_model_and_class_names, at_least
from .command_line import Refusal, progress, warn

EXAMPLE = 'timm-res2net evaluate DATA --model seres2net23_16w_8s_cifar_custom.cifar100'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('data', type=Path, metavar='DATA')
    add_model_and_class_names(parser, f'{DEFAULT_MODEL}.cifar100')
    parser.add_argument('--split', default='test', help='folder inside DATA (%(default)s)')
    parser.add_argument('--batch-size', type=int, default=500, metavar='N', help='(%(default)s)')
    parser.add_argument('--workers', type=int, default=2, metavar='N', help='processes that read images (%(default)s)')
    parser.add_argument('--device', default='cpu', help='(%(default)s)')
    parser.add_argument('--json', action='store_true', help='print one JSON object instead of lines')


def run(args: argparse.Namespace) -> int:
    from .models import is_exported, load_model, own_class_names, read_class_names
    _check(args, is_exported(args.model))
    names = read_class_names(args.class_names)
    model = load_model(args.model, exported=True, names=names)
    mapped = getattr(model, 'class_map', None)
    if mapped and own_class_names(model) is None:
        raise Refusal(f'the order of folders is not that of the classes, which were numbered by --class-map {mapped}: '
                      'name them, in their order, by --class-names')
    if not is_exported(args.model):
        model = model.to(args.device)
    result = {'model': args.model, **evaluate(
        model, args.data, args.split, args.batch_size, args.workers, args.device)}
    result['published'] = compare(args.model, result)
    failures, published = result['failures'], result['published']
    for failure in failures:
        warn(failure['error'])
    if failures:
        warn(f'{len(failures)} images could not be read, the accuracy is of the other {result["images"]}')
    print(json.dumps(result, indent=2) if args.json else in_words(result))
    return 1 if failures or published and not published['same'] else 0


def compare(name: str, result: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """What was published of the weights NAME.TAG, or of the default of NAME, and whether it is the same; else None."""
    from ..weights.catalogue import find_weights
    row = find_weights(name)
    if row is None or row.top1 is None or row.top5 is None:
        return None
    off = max(abs(result['top1'] - row.top1), abs(result['top5'] - row.top5))
    return {'name': row.name, 'dataset': row.dataset, 'top1': row.top1, 'top5': row.top5, 'tolerance': row.tolerance,
            'same': off <= row.tolerance}


def in_words(result: Dict[str, Any]) -> str:
    """The accuracy, and beside it that which was published."""
    error = result['calibration_error']
    sure = '' if error is None else f'expected calibration error {error:.2f}, '
    lines = [f'{result["model"]}: top-1 {result["top1"]:.2f}, top-5 {result["top5"]:.2f}, {sure}of {result["images"]} '
             'images']
    there = result['published']
    if there:
        lines.append(
            f'{there["name"]} as published, on {there["dataset"]}: top-1 {there["top1"]:.2f}, top-5 {there["top5"]:.2f}'
            f': {"" if there["same"] else "NOT "}the same (within {there["tolerance"]} points)')
    return '\n'.join(lines)


def _check(args: argparse.Namespace, exported: bool) -> None:
    """Refuse what would fail after the model is loaded."""
    import torch
    at_least(1, '--batch-size', args.batch_size)
    at_least(0, '--workers', args.workers)
    if not (args.data / args.split).is_dir():
        raise Refusal(f'there is no folder {args.data / args.split}: it must hold a folder of images for each class')
    if exported and args.device != 'cpu':
        raise Refusal(f'--device {args.device}: exported files run on the CPU')
    try:
        torch.empty(0, device=args.device)
    except (AssertionError, RuntimeError) as error:
        raise Refusal(f'--device {args.device}: {str(error).splitlines()[0]}') from error


def check_classes(num_classes: int, names: Optional[Sequence[str]], found: Sequence[str], folder: Path) -> None:
    """Raise a ValueError if the folders with images that a split has are not the model's classes, in any order."""
    if len(found) != num_classes:
        raise ValueError(f'{folder} holds {len(found)} folders of images, the model has {num_classes} classes')
    if names and sorted(names) != sorted(found):
        wrong = next(pair for pair in zip(sorted(found), sorted(names), strict=True) if pair[0] != pair[1])
        raise ValueError(f'{folder}: the folder {wrong[0]!r} is where the model has the class {wrong[1]!r}')


class Pictures:
    """Images of a folder as (input, class, ''), or (zeros, -1, why) for one that cannot be read."""

    def __init__(self, samples: Sequence[Any], to_input: Any) -> None:
        from PIL import Image
        self.samples, self.to_input = samples, to_input
        self.empty = to_input(Image.new('L', (8, 8))) * 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        from ..model.images import ImageError
        path, target = self.samples[index]
        try:
            return self.to_input(path), target, ''
        except ImageError as error:
            return self.empty, -1, str(error)


def evaluate(
        model: Any,
        data: Path,
        split: str = 'test',
        batch_size: int = 500,
        workers: int = 2,
        device: str = 'cpu',
) -> Dict[str, Any]:
    """Accuracy in percent and number of images of `DATA/split`, with the model's own preprocessing, and failures.

    With the calibration error in percent, None where an answer is NaN.
    """
    import torch
    from timm.data.readers.reader_image_folder import ReaderImageFolder
    from torch.utils.data import DataLoader

    from ..model.images import SUFFIXES
    from .models import count_classes, input_of, own_class_names
    to_input = input_of(model)
    reader = ReaderImageFolder(str(data / split), input_key=';'.join(SUFFIXES))  # class order as in timm's train.py
    found = sorted(reader.class_to_idx, key=reader.class_to_idx.__getitem__)
    classes = count_classes(model)
    names = own_class_names(model)
    check_classes(classes, names, found, data / split)
    number = [names.index(folder) if names else n for n, folder in enumerate(found)]
    if number != sorted(number):
        warn(f'the folders of {data / split} are numbered by the names of the classes, not by their order')
    samples = [(path, number[target]) for path, target in reader.samples]
    pictures: Any = Pictures(samples, to_input)
    loader = DataLoader(pictures, batch_size, num_workers=workers)
    answers: List[torch.Tensor] = []  # of each image: probability of the first answer, is it right, is one of five
    failures: List[Dict[str, str]] = []
    images = 0
    for x, target, errors in progress(loader, unit='batch'):
        failures += [{'image': samples[images + len(failures) + i][0], 'error': error}
                     for i, error in enumerate(errors) if error]
        read = target >= 0
        with torch.inference_mode():
            logits = model(x.to(device)).float().cpu()[read]
        right = logits.topk(min(5, classes))[1] == target[read, None]
        answers.append(torch.stack([logits.softmax(1).amax(1), right[:, 0], right.any(1)]).double())
        images += len(right)
    if not images:
        raise ValueError(f'{data / split}: none of its {len(failures)} images can be read')
    sure, first, five = torch.cat(answers, 1)
    error = calibration_error(sure, first)
    return {
        'top1': round(100 * first.mean().item(), 4),
        'top5': round(100 * five.mean().item(), 4),
        'calibration_error': None if error is None else round(100 * error, 4),
        'images': images,
        'failures': failures,
    }


def calibration_error(confidence: Any, right: Any, bins: int = 15) -> Optional[float]:
    """Expected calibration error, 0 to 1: Guo et al. 2017, `On Calibration of Modern Neural Networks`, equation 3.

    Args:
        confidence: (N,) probability of the first answer, float64.
        right: (N,) 1 where it is right, else 0.
        bins: Of equal width, each with its upper end.

    Returns:
        None where a confidence is NaN.
    """
    if confidence.isnan().any():
        return None
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gap = confidence.new_zeros(bins).index_add_(0, index, right - confidence)
    return gap.abs().sum().item() / len(confidence)
