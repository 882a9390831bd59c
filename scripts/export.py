"""Export a model for fast inference: `python scripts/export.py MODEL FILE [--precision int8] [--images FOLDER]`.

The suffix of FILE names the format: .pt2 is compiled code for this kind of CPU (AOTInductor; --format torch: a
torch.export program), .onnx ONNX, .xml OpenVINO. The file is run in its engine on real images, compared with the model,
and kept only if it agrees. `timm_res2net.deploy.load(FILE)` gives a callable.
"""
import argparse
import sys
from pathlib import Path

from classify import load_model
from timm.utils import ParseKwargs

from timm_res2net import deploy

BY_SUFFIX = {'.pt2': 'aotinductor', '.onnx': 'onnx', '.xml': 'openvino'}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', metavar='MODEL', help='registered name, hf-hub:, local-dir: or checkpoint file')
    parser.add_argument('file', metavar='FILE', type=Path)
    parser.add_argument('--format', choices=list(deploy.FORMATS), help='instead of what the suffix says')
    parser.add_argument('--precision', choices=list(deploy.PRECISIONS), default='fp32')
    parser.add_argument('--images', metavar='FOLDER',
                        help="images to check with and to calibrate int8 on (default: scikit-image's photographs)")
    parser.add_argument('--calibration', type=int, default=128, help='most images to calibrate on (%(default)s)')
    parser.add_argument('--batch-size', type=int, help='fixed batch size (any; 1 for AOTInductor)')
    parser.add_argument('--image-size', type=int, help="height and width (the model's own)")
    parser.add_argument('--dynamic-size', action='store_true', help='any height and width')
    parser.add_argument('--pixels', action='store_true', help='the graph takes uint8 RGB (B, H, W, C)')
    parser.add_argument('--overwrite', action='store_true')
    parser.add_argument('--no-pretrained', action='store_true', help='random weights, to measure speed')
    parser.add_argument('--model-kwargs', nargs='*', default={}, action=ParseKwargs)
    args = parser.parse_args()
    format = args.format or BY_SUFFIX.get(args.file.suffix)
    if format is None:
        parser.error(f'{args.file}: the suffix must be one of {", ".join(BY_SUFFIX)}')
    try:
        model = load_model(args.model, not args.no_pretrained, **args.model_kwargs)
        print(deploy.export(
            model, args.file, format, args.precision, batch_size=args.batch_size, image_size=args.image_size,
            dynamic_size=args.dynamic_size, pixels_in=args.pixels, images=args.images, calibration=args.calibration,
            overwrite=args.overwrite))
    except Exception as error:  # whatever timm, a checkpoint or an exporter says, in one line
        print(f'error: {error}', file=sys.stderr)
        return 1 if isinstance(error, deploy.ExportError) else 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
