"""Variants, and the trained weights that there are of them.

Parameters and multiply-accumulates (MACs) are those of one image at the variant's own size, with its own classes.
Weights have the accuracy in percent that was published with them, on the data named, and their size in fp32;
`timm.create_model(NAME.TAG, pretrained=True)` loads them, and downloads those that do not ship.
"""
import argparse
import fnmatch
import json
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .command_line import Refusal, progress, warn

EXAMPLE = "timm-res2net list '*50*' --pretrained"
PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'variants.md'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('pattern', nargs='?', default='*', metavar='GLOB',
                        help="names to list, such as '*50*' or '*.cifar100' (quoted, or the shell takes it)")
    parser.add_argument('--pretrained', action='store_true', help='only those with weights')
    parser.add_argument('--license', metavar='L', help="only weights under a license, as a glob ('apache*')")
    parser.add_argument('--max-parameters', type=float, metavar='M', help='at most so many millions of parameters')
    parser.add_argument('--json', action='store_true', help='print JSON instead of tables')


def run(args: argparse.Namespace) -> int:
    if args.max_parameters is not None and not args.max_parameters > 0:
        raise Refusal(f'--max-parameters {args.max_parameters:g} must be above 0, it counts millions')
    found = select(args)
    if not found:
        raise Refusal(f'nothing like this: {_asked(args)}; `timm-res2net list` shows all', 1)
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    rows: List[Tuple[str, ...]] = [('variant', 'parameters', 'GMACs', 'input', 'what it is')]
    rows += [(v['variant'], f'{v["parameters"] / 1e6:.1f} M', f'{v["gmacs"]:.2f}', str(v['input_size'][-1]), v['words'])
             for v in found]
    print(aligned(rows, '<>>><'))
    weights = [w for v in found for w in v['weights']]
    if weights:
        rows = [('weights', 'top-1', 'top-5', 'size', 'data', 'license', 'where')]
        rows += [(w['name'], _percent(w['top1']), _percent(w['top5']), f'{w["megabytes"]:.0f} MB', w['dataset'],
                  w['license'], w['where']) for w in weights]
        print(f'\n{aligned(rows, "<>>><<<")}')
    warn(f'variants: {len(found)}, weights: {len(weights)}')
    return 0


def select(args: argparse.Namespace) -> List[Dict[str, Any]]:
    """The variants asked for, each with its weights."""
    import timm

    from ..model.variants import VARIANTS
    from ..weights import list_pretrained
    rows: Dict[str, List[Any]] = {}
    for row in list_pretrained():
        rows.setdefault(row.variant, []).append(row)
    chosen = []
    for name in VARIANTS:
        named = fnmatch.fnmatchcase(name, args.pattern)
        weights = [
            row for row in rows.get(name, ()) if (named or fnmatch.fnmatchcase(row.name, args.pattern))
            and (not args.license or fnmatch.fnmatchcase(row.license, args.license))]
        if weights or named and not args.pretrained and not args.license:
            chosen.append((name, weights))
    known = costs()
    found = []
    for name, weights in progress(chosen, unit='variant'):
        parameters, gmacs = known.get(name) or _cost(name)
        if args.max_parameters is None or parameters <= args.max_parameters * 1e6:
            cfg: Any = timm.get_pretrained_cfg(name)
            found.append({
                'variant': name, 'words': VARIANTS[name].words, 'parameters': parameters, 'gmacs': gmacs,
                'input_size': list(cfg.input_size), 'weights': [_described(row, parameters) for row in weights]})
    return found


def costs() -> Dict[str, Tuple[int, float]]:
    """Variant -> parameters and GMACs, from the table of the page of variants: counting all takes half a minute."""
    rows = re.findall(r'^\| `(\w+)` \| .* \| ([\d,]+) \| ([\d.]+) \|', PAGE.read_text(encoding='utf-8'), flags=re.M)
    return {name: (int(parameters.replace(',', '')), float(gmacs)) for name, parameters, gmacs in rows}


def _cost(name: str) -> Tuple[int, float]:
    """The same of a variant of one's own, counted."""
    from ..insight import cost
    parameters, macs = cost(name)
    return parameters, round(macs / 1e9, 2)


def _described(row: Any, parameters: int) -> Dict[str, Any]:
    facts = {k: getattr(row, k) for k in ('name', 'top1', 'top5', 'dataset', 'license', 'where', 'source', 'sha256')}
    return {**facts, 'megabytes': round(4 * parameters / 1e6, 1)}


def _percent(value: Optional[float]) -> str:
    return '-' if value is None else f'{value:.2f}'


def _asked(args: argparse.Namespace) -> str:
    asked = [args.pattern, '--pretrained' if args.pretrained else '', args.license and f'--license {args.license}',
             args.max_parameters and f'--max-parameters {args.max_parameters:g}']
    return ' '.join(a for a in asked if a)


def aligned(rows: List[Tuple[str, ...]], sides: str) -> str:
    """Rows in columns, each to the left or to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(sides))]
    lines = ('  '.join(f'{cell:{side}{width}}' for cell, side, width in zip(row, sides, widths)) for row in rows)
    return '\n'.join(line.rstrip() for line in lines)
