"""The pages of the documentation, as they were for this version: without PAGE which there are, with PAGE the page.

A page is Markdown; where a person watches, it opens in the pager (PAGER, or less).
"""
import argparse
import json
import pydoc
import sys
from pathlib import Path
from typing import Dict

from .command_line import Refusal

EXAMPLE = 'timm-res2net docs training'
PAGES = Path(__file__).resolve().parents[1] / 'docs'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('page', nargs='?', metavar='PAGE', help='its name; all are listed without it')
    parser.add_argument('--list', action='store_true', help='list the pages, one name a line')
    parser.add_argument('--json', action='store_true', help='list them as JSON, name -> title')


def pages() -> Dict[str, Path]:
    """Name -> file."""
    return {path.stem: path for path in sorted(PAGES.glob('*.md'))}


def title(path: Path) -> str:
    """The heading of a page."""
    with path.open(encoding='utf-8') as file:
        return file.readline().strip('# \n')


def run(args: argparse.Namespace) -> int:
    there = pages()
    if args.page is None or args.list or args.json:
        if args.page is not None:
            raise Refusal(f'{"--json" if args.json else "--list"} lists all pages: leave it out to read {args.page}')
        titles = {name: title(path) for name, path in there.items()}
        if args.json:
            print(json.dumps(titles, indent=2))
        elif args.list:
            print('\n'.join(there))
        else:
            print('\n'.join(f'{name:{max(map(len, there))}}  {text}' for name, text in titles.items()))
        return 0
    path = there.get(args.page.removesuffix('.md'))
    if path is None:
        raise Refusal(f'there is no page {args.page!r}, there are: {", ".join(there)}')
    text = path.read_text(encoding='utf-8')
    if sys.stdin.isatty() and sys.stdout.isatty():
        pydoc.pager(text)
    else:
        sys.stdout.write(text)
    return 0
