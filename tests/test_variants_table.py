"""The table of variants is what the registry says."""
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_table_is_current(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'scripts')
    import variants_table as script
    text = script.PAGE.read_text(encoding='utf-8')
    shown = text.split(script.BEGIN)[1].split(script.END)[0]
    assert shown == script.table(), 'stale: run python scripts/variants_table.py --write'
