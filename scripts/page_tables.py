"""Print the tables of README and pages, or write them there: `python scripts/page_tables.py [NAME ...] [--write]`.

Each stands on its page between two comments with its name. `libraries` holds the versions installed here, so run the
tests with other libraries (`python -m pytest -m ecosystem`, `-m slow`) before it is written.
"""
import argparse
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Callable, Dict, Tuple

import command_table
import libraries_table
import model_tables
import speed_table

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / 'timm_res2net' / 'docs'
TABLES: Dict[str, Tuple[Path, Callable[[], str]]] = {
    'variants': (DOCS / 'variants.md', model_tables.variants),
    'arguments': (DOCS / 'variants.md', model_tables.arguments),
    'weights': (DOCS / 'weights.md', model_tables.weights),
    'shipped': (ROOT / 'README.md', model_tables.shipped),
    'commands': (ROOT / 'README.md', command_table.table),
    'speed': (ROOT / 'README.md', speed_table.table),
    'libraries': (DOCS / 'integrations.md', libraries_table.table),
}


def parts(name: str) -> Tuple[str, str, str]:
    """The page of a table: what is before it, the table, what is after it."""
    page, _ = TABLES[name]
    begin, end = f'<!-- {name}: begin -->\n', f'<!-- {name}: end -->\n'
    before, _, rest = page.read_text(encoding='utf-8').partition(begin)
    table, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f'error: {page} has no lines "{begin.strip()}" and "{end.strip()}" to put the table between')
    return before + begin, table, end + after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'of {", ".join(TABLES)}; all if none is named')
    parser.add_argument('--write', action='store_true', help='write the tables into their pages')
    args = parser.parse_args()
    for name in args.names or TABLES:
        if name not in TABLES:
            parser.error(f'there is no table {name!r}, choose from {", ".join(TABLES)}')
        page, table = TABLES[name]
        if args.write:
            before, _, after = parts(name)
            page.write_text(before + table() + after, encoding='utf-8')
        else:
            print(table())
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except PackageNotFoundError as error:
        sys.exit(f"error: {error.name} is not installed: pip install -e '.[test,ecosystem]'")
