"""Weights of any published layout into a folder that timm loads, model.safetensors and config.json, or --to a file.

    timm-res2net convert Res2Net50_vd_26w_4s_pretrained.pdparams converted
    python -c "import timm, timm_res2net; timm.create_model('local-dir:converted', pretrained=True)"
    timm-res2net convert converted res2net50.pdparams --to PaddleClas

--to writes a file as another project has it. That project must have the same network: where its code would compute
another, nothing is written, and the error says what differs.

IN is .pth, .pt, .bin, .tar, .ckpt, .safetensors or .pdparams, a folder with model.safetensors, a folder of timm's
train.py, or NAME.TAG of `timm-res2net list`. Class names are those of --class-names, else those that IN has, else those
of the training folder that its arguments name, if that is here.

Exit code 0: done. 1: the checkpoint cannot be converted. 2: wrong usage.
"""
import argparse
from pathlib import Path
from typing import Any, Tuple

from .checks import MODEL_FILES, add_entry_and_prefix
from .command_line import Refusal, free_output, message_of

EXAMPLE = 'timm-res2net convert res2net23_32w_4s_cifar_custom.cifar100 converted --check'
WORDS = {
    'leave out as_timm or use save_folder': 'leave out --as-timm',
    'use save_folder': 'leave out --to',
    'layout=': '--to ',
    'path=': 'OUT ',
    'name their `variant`': 'name their --variant',
    'or give variant= and arguments': 'or give --variant',
    'give variant= to have': 'give --variant to have',
    ', or load_checkpoint without a model': '',
}
CHECK_TOLERANCE = 1e-5  # relative; the folder holds the same bits, so the difference is 0 on most machines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', metavar='IN', help='checkpoint file or folder, or NAME.TAG')
    parser.add_argument('folder', metavar='OUT', help='folder to write, or file with --to')
    parser.add_argument('--variant', '--name', metavar='NAME', help='registered variant, if not the one recognised')
    parser.add_argument('--class-names', type=Path, metavar='FILE', help='names, one a line or a JSON list')
    parser.add_argument('--no-ema', action='store_true', help='take the plain weights of a training checkpoint')
    add_entry_and_prefix(parser)
    parser.add_argument(
        '--to', metavar='LAYOUT',
        help='write a file of this project: official, timm, mmpretrain, mmdetection, detectron2, PaddleClas, '
             'PaddleDetection, Holocron or mindcv')
    parser.add_argument('--as-timm', action='store_true', help="under timm's own architecture name and parameter names")
    parser.add_argument('--check', action='store_true', help='load the folder again and compare the outputs')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')


def run(args: argparse.Namespace) -> int:
    from ..weights import save_as, save_folder
    from ..weights.save_as import check_file
    if args.to and (args.as_timm or args.class_names):
        left_out = '--as-timm' if args.as_timm else '--class-names'
        raise Refusal(f'files of projects have their own names and no class names: leave out {left_out} with --to')
    try:
        suffix = Path(args.folder).suffix
        if not args.to and suffix in MODEL_FILES and not Path(args.folder).is_dir():
            raise Refusal(f'OUT {args.folder} has the name of a file, and a folder is written: leave out {suffix}, or '
                          'write a file of another project by --to (timm, official, ..)')
        free_output(args.folder, args.overwrite, folder=not args.to)  # before any work
        if args.to:
            check_file(Path(args.folder), args.to, args.overwrite)
        model, found = load(args)
        if args.to:
            folder = save_as(model, args.folder, args.to, overwrite=args.overwrite)
        else:
            folder = save_folder(model, args.folder, overwrite=args.overwrite, as_timm=args.as_timm)
    except (OSError, Refusal, RuntimeError, TypeError, ValueError) as error:
        raise Refusal(message_of(error), 1) from error
    print(f'{args.checkpoint}: {found}')
    if args.check:
        difference = compare(model, folder)
        print(f'{folder}: loaded again, largest relative difference of the outputs {difference:.1e}')
        if not difference <= CHECK_TOLERANCE:
            raise Refusal(f'that is more than {CHECK_TOLERANCE:.0e}', 1)
    return 0


def load(args: argparse.Namespace) -> Tuple[Any, str]:
    """The model with its class names, and what was found in words."""
    from ..weights.loading import load_read
    from ..weights.reading import read_checkpoint
    from .models import load_model, name_classes, read_class_names
    from .training import from_its_repository, names_of_training
    names = read_class_names(args.class_names)
    weights = None if Path(args.checkpoint).exists() else published(args.checkpoint)
    if weights is not None:
        if args.variant:
            raise Refusal(f'{args.checkpoint} says the variant, leave out --variant')
        model: Any = load_model(weights.name)
        found = f'{weights.where}, license {weights.license}'
    else:
        checkpoint = read_checkpoint(args.checkpoint, use_ema=not args.no_ema, entry=args.entry)
        if not args.variant:
            checkpoint = from_its_repository(checkpoint, required=False)
        model = load_read(checkpoint, variant=args.variant, prefix=args.prefix)
        found = str(model.checkpoint_info)
        if names is None:
            names = names_of_training(checkpoint.training, model, Path(args.checkpoint))
    name_classes(model, names)
    return model, found


def published(name: str) -> Any:
    """The row of the catalogue of a variant or of NAME.TAG; None if it is no such name.

    Raises:
        Refusal: There are no such weights of the variant.
    """
    from ..model.variants import VARIANTS
    from ..weights.catalogue import find_weights, list_pretrained
    base = name.partition('.')[0]
    row = find_weights(name)
    if row is None and base in VARIANTS:
        there = ', '.join(row.name for row in list_pretrained(f'{base}.*')) or 'none'
        raise Refusal(f'there are no weights {name}, of {base} there are: {there} (timm-res2net list --pretrained)')
    return row


def compare(model: Any, folder: Path) -> float:
    """Largest difference of the outputs of `model` and of what was written, relative to the largest output."""
    import timm
    import torch

    from ..weights import load_checkpoint
    again: Any = load_checkpoint(folder) if folder.is_file() else timm.create_model(
        f'local-dir:{folder}', pretrained=True)
    if again.num_classes != model.num_classes:  # where the project has no classifiers
        model.reset_classifier(0)
    size = model.pretrained_cfg['input_size'][1:]
    x = torch.randn(2, model.in_chans, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = model.eval()(x)
        return float((again.eval()(x) - y).abs().max() / y.abs().max().clamp(min=1e-30))
