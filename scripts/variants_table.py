"""Print the table of all variants, or write it into the docs: `python scripts/variants_table.py [--write]`.

Parameters and multiply-accumulates (MACs) are counted on the meta device at each variant's own input size and classes.
"""
import argparse
import sys
from pathlib import Path
from typing import Any, Optional, Tuple

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

import timm_res2net  # noqa: F401  registers the variants

PAGE = Path(__file__).resolve().parent.parent / 'timm_res2net' / 'docs' / 'variants.md'
BEGIN, END = '<!-- variants: begin -->\n', '<!-- variants: end -->\n'


def cost(name: str, size: Optional[int] = None, **kwargs: Any) -> Tuple[int, float]:
    """Parameters and MACs of one image, of the model's own size or of `size`, counted on the meta device."""
    model = timm.create_model(name, device='meta', **kwargs).eval()
    channels, height, width = model.pretrained_cfg['input_size']
    counter = FlopCounterMode(display=False)
    with counter:
        model(torch.empty(1, channels, size or height, size or width, device='meta'))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 2


def table() -> str:
    """The Markdown table: one row a variant, with its description, size, cost, input and pretrained weights."""
    rows = [
        '| variant | what it is | parameters | GMACs | input | weights |',
        '| --- | --- | ---: | ---: | ---: | --- |',
    ]
    for name in timm.list_models(module='res2net_custom'):
        cfg = timm.get_pretrained_cfg(name)
        parameters, macs = cost(name)
        what = timm.models.model_entrypoint(name).__doc__.split('\n')[0].rstrip('.')
        weights = cfg.hf_hub_id or ('ships with the package' if cfg.file else '-')
        rows.append(
            f'| `{name}` | {what} | {parameters:,} | {macs / 1e9:.2f} | {cfg.input_size[-1]} | {weights} |')
    return '\n'.join(rows) + '\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--write', action='store_true', help='write the table into timm_res2net/docs/variants.md')
    args = parser.parse_args()
    if not args.write:
        print(table(), end='')
        return 0
    text = PAGE.read_text(encoding='utf-8')
    if BEGIN not in text or END not in text:
        print(f'{PAGE} has no lines "{BEGIN.strip()}" and "{END.strip()}" to put the table between', file=sys.stderr)
        return 1
    head, rest = text.split(BEGIN)
    PAGE.write_text(head + BEGIN + table() + END + rest.split(END)[1], encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
