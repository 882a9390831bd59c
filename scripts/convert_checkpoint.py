#!/usr/bin/env python3
"""Convert Res2Net weights of any published layout into a folder that timm loads.

    python scripts/convert_checkpoint.py Res2Net50_vd_26w_4s_pretrained.pdparams converted/
    python -c "import timm, timm_res2net; timm.create_model('local-dir:converted', pretrained=True)"

IN is .pth, .pt, .bin, .tar, .safetensors or .pdparams, or a folder with model.safetensors; OUT gets model.safetensors
and config.json. Exit code: 0 done, 1 the checkpoint cannot be converted, 2 wrong usage.
"""
import argparse
import sys
from pathlib import Path

import timm
import torch

from timm_res2net import load_checkpoint, save_as_timm, save_folder

CHECK_TOLERANCE = 1e-5  # relative; the folder holds the same bits, so the difference is 0 on most machines


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog='\n'.join(__doc__.splitlines()[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', metavar='IN', help='checkpoint file or folder')
    parser.add_argument('folder', metavar='OUT', help='folder to write')
    parser.add_argument('--name', metavar='VARIANT', help='registered variant, if it is not the one recognised')
    parser.add_argument('--no-ema', action='store_true', help='take the plain weights of a training checkpoint')
    parser.add_argument('--as-timm', action='store_true', help="under timm's own architecture name and parameter names")
    parser.add_argument('--check', action='store_true', help='load the folder again and compare the outputs')
    parser.add_argument('--overwrite', action='store_true', help='replace OUT if it exists')
    return parser


@torch.no_grad()
def compare(model: torch.nn.Module, folder: Path) -> float:
    """Largest difference of the outputs of `model` and of the folder's, relative to the largest output."""
    again = timm.create_model(f'local-dir:{folder}', pretrained=True).eval()
    size = model.pretrained_cfg['input_size'][1:]
    x = torch.randn(2, model.in_chans, *size, generator=torch.Generator().manual_seed(0))
    y = model.eval()(x)
    return float((again(x) - y).abs().max() / y.abs().max().clamp(min=1e-30))


def main(argv=None) -> int:
    args = get_parser().parse_args(argv)
    try:
        if Path(args.folder).exists() and not args.overwrite:  # before any work
            raise FileExistsError(f'{args.folder} exists already; choose another folder or add --overwrite.')
        model = load_checkpoint(args.checkpoint, variant=args.name, use_ema=not args.no_ema)
        folder = (save_as_timm if args.as_timm else save_folder)(model, args.folder, overwrite=args.overwrite)
        print(f'{args.checkpoint}: {model.checkpoint_info}')
        if args.check:
            difference = compare(model, folder)
            print(f'{folder}: loaded again, largest relative difference of the outputs {difference:.1e}')
            if not difference <= CHECK_TOLERANCE:
                print(f'error: that is more than {CHECK_TOLERANCE:.0e}', file=sys.stderr)
                return 1
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
