"""The README's table of commands."""
from timm_res2net.commands import COMMANDS


def table() -> str:
    rows = ['| command | |', '| --- | --- |', *(f'| `{name}` | {words} |' for name, words in COMMANDS.items())]
    rows.append("| `SCRIPT.py` | timm's train.py, validate.py, .. with the variants registered |")
    return '\n'.join(rows) + '\n'
