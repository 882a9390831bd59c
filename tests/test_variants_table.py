"""The table of variants is what the registry says."""
import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_table_is_current():
    spec = importlib.util.spec_from_file_location('variants_table', ROOT / 'scripts' / 'variants_table.py')
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = script.PAGE.read_text(encoding='utf-8')
    shown = text.split(script.BEGIN)[1].split(script.END)[0]
    assert shown == script.table(), 'stale: run python scripts/variants_table.py --write'
