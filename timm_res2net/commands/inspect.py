"""What a checkpoint is: whose names its weights have, which variant they fit, what was assumed. Nothing is built.

FILE is .pth, .pt, .bin, .tar, .ckpt, .safetensors or .pdparams, of any published layout, a folder with
model.safetensors, or a folder of timm's train.py.
"""
import argparse
import dataclasses
import json
from typing import Any, Dict

from .checks import add_entry_and_prefix

EXAMPLE = 'timm-res2net inspect Res2Net50_vd_26w_4s_pretrained.pdparams'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', metavar='FILE', help='checkpoint file or folder')
    parser.add_argument('--no-ema', action='store_true', help='look at the plain weights of a training checkpoint')
    add_entry_and_prefix(parser)
    parser.add_argument('--json', action='store_true', help='print JSON instead of lines')


def run(args: argparse.Namespace) -> int:
    from ..weights import inspect_checkpoint
    from ..weights.words import keywords, printable
    info = inspect_checkpoint(args.checkpoint, use_ema=not args.no_ema, prefix=args.prefix, entry=args.entry)
    if args.json:
        print(json.dumps(dataclasses.asdict(info), indent=2))
        return 0
    facts: Dict[str, Any] = {
        'layout': info.layout,
        'variant': info.architecture,
        'arguments': keywords(info.model_args) or 'as registered',
        'parameters': f'{info.num_parameters:,}',
        'classes': info.num_classes or 'none, a backbone alone',
        'channels': info.in_chans,
        'weights of': info.wrapper,
        'under': info.prefix.rstrip('.'),
        'left out': '; '.join(info.left_out),
        'assumed': '; '.join(info.assumed),
    }
    print('\n'.join(f'{name:10}  {printable(str(value))}' for name, value in facts.items() if value != ''))
    return 0
