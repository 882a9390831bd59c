"""Print the table of all variants, or write it into the docs: `python scripts/variants_table.py [--write]`.

Parameters and multiply-accumulates (MACs) are counted on the meta device at each variant's own input size and classes.
"""
import sys
from typing import Any, Optional, Tuple

import timm
import torch
from page_table import DOCS, run
from torch.utils.flop_counter import FlopCounterMode

import timm_res2net  # noqa: F401  registers the variants

PAGE = DOCS / 'variants.md'
NAME = 'variants'


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


if __name__ == '__main__':
    sys.exit(run(__doc__.split('\n')[0], PAGE, NAME, table))
