"""A table of the documentation that a script writes: printed, or put between two marks of its page with `--write`."""
import argparse
import sys
from pathlib import Path
from typing import Callable, Tuple

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'timm_res2net' / 'docs'


def marks(name: str) -> Tuple[str, str]:
    """The lines of a page before and after its table."""
    return f'<!-- {name}: begin -->\n', f'<!-- {name}: end -->\n'


def run(description: str, page: Path, name: str, table: Callable[[], str]) -> int:
    """The command line of such a script; returns its exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--write', action='store_true', help=f'write the table into {page.relative_to(ROOT)}')
    args = parser.parse_args()
    if not args.write:
        print(table(), end='')
        return 0
    begin, end = marks(name)
    text = page.read_text(encoding='utf-8')
    if begin not in text or end not in text:
        print(f'{page} has no lines "{begin.strip()}" and "{end.strip()}" to put the table between', file=sys.stderr)
        return 1
    head, rest = text.split(begin)
    page.write_text(head + begin + table() + end + rest.split(end)[1], encoding='utf-8')
    return 0
