"""Recipes for timm's train.py: without NAME what there is, with NAME the recipe itself.

    timm-res2net recipes imagenet_res2net50_modern --output modern.yaml
    timm-res2net train.py --config modern.yaml --data-dir IMAGENET

Each says in its first lines what it reaches, or that it was not run. train.py is in timm's repository, not in its
package: git clone https://github.com/huggingface/pytorch-image-models
"""
import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Dict

from .command_line import Refusal, free_output, warn, write_whole

EXAMPLE = 'timm-res2net recipes cifar100_res2net23 --output recipe.yaml'
RECIPES = Path(__file__).resolve().parents[1] / 'docs' / 'recipes'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('name', nargs='?', metavar='NAME', help='of the recipe; all are listed without it')
    parser.add_argument('--output', type=Path, metavar='FILE', help='write it there instead of printing it')
    parser.add_argument('--overwrite', action='store_true', help='replace FILE if it exists')
    parser.add_argument('--json', action='store_true', help='list them as JSON')


def recipes() -> Dict[str, Path]:
    """Name -> file."""
    return {path.stem: path for path in sorted(RECIPES.glob('*.yaml'))}


def words(path: Path) -> str:
    """What a recipe is, the first line of it, and whether it has been run."""
    lines = path.read_text(encoding='utf-8').splitlines()
    return lines[0].strip('# ').rstrip('.') + (' (not run)' if any('NOT RUN' in line for line in lines) else '')


def run(args: argparse.Namespace) -> int:
    there = recipes()
    if args.name is None:
        if args.output is not None:
            raise Refusal(f'--output {args.output}: name the recipe to write, of {", ".join(there)}')
        described = {name: words(path) for name, path in there.items()}
        print(json.dumps(described, indent=2) if args.json else '\n'.join(
            f'{name:{max(map(len, there))}}  {text}' for name, text in described.items()))
        return 0
    if args.json:
        raise Refusal('--json lists the recipes, a recipe itself is YAML: leave out --json')
    path = there.get(args.name.removesuffix('.yaml'))
    if path is None:
        raise Refusal(f'there is no recipe {args.name!r}, there are: {", ".join(there)}')
    text = path.read_text(encoding='utf-8')
    if args.output is None:
        sys.stdout.write(text)
        return 0
    write_whole(free_output(args.output, args.overwrite), text)
    warn(f'{args.output} written: timm-res2net train.py --config {shlex.quote(str(args.output))} --data-dir DATA')
    return 0
