"""A model as a file for fast inference: run in its engine on real images, compared with the model, kept if it agrees.

The suffix of FILE names the format: .pt2 is compiled code for this kind of CPU (AOTInductor, which needs a C++ compiler
here; --format torch: a torch.export program, which needs none), .onnx ONNX, .xml OpenVINO with a .bin beside it. These
two and int8 need the extra `deploy`: pip install 'timm-res2net[deploy]'. It also brings the photographs that a file is
compared on without --images; where they are missing, pictures are made up, but not for int8. MODEL is a registered
name, hf-hub:USER/REPO, local-dir:FOLDER, or a checkpoint file or folder. `classify` and `evaluate` take FILE as
--model, `timm_res2net.deploy.load(FILE)` gives a callable.

Exit code 0: exported. 1: not kept, since it does not agree, or exported without images that could not be read (named).
2: nothing could be done.
"""
import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, List

from .checks import needs
from .command_line import Refusal, free_output, warn

EXAMPLE = 'timm-res2net export res2net23_32w_4s_cifar_custom model.onnx'
WORDS = {
    "take format='torch', 'onnx' or 'openvino'": 'take --format torch, .onnx or .xml',
    'choose another path or overwrite=True': 'choose another file, or add --overwrite'}
SUFFIXES = ('.pt2', '.onnx', '.xml')
FORMATS, PRECISIONS = ('aotinductor', 'torch', 'onnx', 'openvino'), ('fp32', 'bf16', 'int8')  # as deploy has them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', metavar='MODEL')
    parser.add_argument('file', metavar='FILE', type=Path)
    parser.add_argument('--format', choices=FORMATS, help='instead of what the suffix says')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32', help='(%(default)s)')
    parser.add_argument('--images', metavar='FOLDER',
                        help="images to check with and to calibrate int8 on (default: scikit-image's photographs)")
    parser.add_argument('--calibration', type=int, default=128, metavar='N',
                        help='most images to calibrate on (%(default)s)')
    parser.add_argument('--batch-size', type=int, metavar='N', help='fixed batch size (any; 1 for AOTInductor)')
    parser.add_argument('--image-size', type=int, metavar='N', help="height and width (the model's own)")
    parser.add_argument('--dynamic-size', action='store_true', help='any height and width')
    parser.add_argument('--pixels', action='store_true', help='the graph takes uint8 RGB (B, H, W, C)')
    parser.add_argument('--threads', type=int, metavar='N', help=(
        "AOTInductor: how many a call will run with, a worker's share say (torch's own number)"))
    parser.add_argument('--overwrite', action='store_true', help='replace FILE if it exists')
    parser.add_argument('--class-names', type=Path, metavar='NAMES', help=(
        'file with names of the classes, one a line or a JSON list, kept in FILE in place of any that the model has'))
    parser.add_argument('--no-pretrained', action='store_true', help='random weights, to measure speed')
    parser.add_argument('--model-kwargs', nargs='*', default=[], metavar='KEY=VALUE', help='arguments of the model')
    parser.add_argument('--json', action='store_true', help='print one JSON object about the file instead of a line')


def run(args: argparse.Namespace) -> int:
    format = _check(args)
    from .. import deploy
    from .models import key_values, load_model, read_class_names
    names, kwargs = read_class_names(args.class_names), key_values(args.model_kwargs)
    model = load_model(args.model, not args.no_pretrained, names=names, **kwargs)
    unreadable: List[str] = []
    pixels = _pixels(model, args, unreadable) if args.images else None
    for line in unreadable:
        warn(line)
    watched = sys.stderr.isatty()
    try:
        report = deploy.export(
            model, args.file, format, args.precision, batch_size=args.batch_size, image_size=args.image_size,
            dynamic_size=args.dynamic_size, pixels_in=args.pixels, images=pixels, calibration=args.calibration,
            threads=args.threads, overwrite=args.overwrite,
            progress=lambda line: warn(f'{line} ..') if watched else None)
    except deploy.ExportError as error:
        raise Refusal(str(error), 1) from error
    print(json.dumps(dataclasses.asdict(report), indent=2) if args.json else report)
    return 1 if unreadable else 0


def _check(args: argparse.Namespace) -> str:
    """The format; refuses what would fail after the model is loaded."""
    if args.format is None and args.file.suffix not in SUFFIXES:
        raise Refusal(f'{args.file}: the suffix must be one of {", ".join(SUFFIXES)}')
    from .. import deploy
    from ..deploy.exporting import check_target, format_of
    from ..model.images import find_images
    format = args.format or format_of(args.file)
    if args.file.suffix != deploy.FORMATS[format]:
        raise Refusal(f'{args.file}: the suffix must be {deploy.FORMATS[format]} for --format {format}')
    check_target(args.file, format, args.precision, args.batch_size, args.image_size, args.dynamic_size,
                 args.calibration, args.overwrite, args.threads)
    if args.file.parent.is_dir():
        free_output(args.file, args.overwrite)
    else:
        free_output(args.file.parent, folder=True)  # which is made
    if args.images is not None:
        find_images(Path(args.images))
    elif args.precision == 'int8':
        needs('int8 without --images', 'deploy', 'skimage')
    return format


def _pixels(model: Any, args: argparse.Namespace, unreadable: List[str]) -> Any:
    """The images, read here, where one among many may be unreadable."""
    from ..deploy.preparing import count_images
    from ..deploy.preprocessing import data_config, read_pixels
    count = count_images(args.precision, args.calibration)
    return read_pixels(args.images, data_config(model, args.image_size), count, unreadable)
