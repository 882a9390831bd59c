"""The tables of variants, their arguments and their weights, from the package's own tables."""
import dataclasses
from typing import Any, Optional

import timm

from timm_res2net import Res2Net, Res2NetCifar, Res2NetDla, Weights, list_pretrained
from timm_res2net.insight import cost
from timm_res2net.model.variants import VARIANTS
from timm_res2net.weights import provenance

CLASSES = {'Res2Net': Res2Net, 'CIFAR': Res2NetCifar, 'DLA': Res2NetDla}


def variants() -> str:
    """One row a variant: what it is, size and cost at its own input size and classes, input and weights."""
    weights = {row.variant: _where(row) for row in reversed(list_pretrained())}
    rows = [
        '| variant | what it is | parameters | GMACs | input | weights |',
        '| --- | --- | ---: | ---: | ---: | --- |',
    ]
    for name in timm.list_models(module='res2net_custom'):
        parameters, macs = cost(name)
        size = timm.get_pretrained_cfg(name).input_size[-1]
        rows.append(
            f'| `{name}` | {VARIANTS[name].words} | {parameters:,} | {macs / 1e9:.2f} | {size} '
            f'| {weights.get(name, "-")} |')
    return '\n'.join(rows) + '\n'


def arguments() -> str:
    """One row an argument: its default in each class that takes it, and its meaning."""
    fields = {label: {f.name: f for f in dataclasses.fields(cls.Arguments)} for label, cls in CLASSES.items()}
    rows = [
        f'| argument | {" | ".join(CLASSES)} | meaning |',
        '| --- |' + ' --- |' * len(CLASSES) + ' --- |',
    ]
    for name in dict.fromkeys(name for known in fields.values() for name in known):
        having = {label: known[name] for label, known in fields.items() if name in known}
        defaults = [_default(having[label].default) if label in having else '-' for label in CLASSES]
        meanings = dict.fromkeys(f.metadata['meaning'] for f in having.values())
        said = [f'{m} ({", ".join(label for label, f in having.items() if f.metadata["meaning"] == m)})'
                if len(meanings) > 1 else m for m in meanings]
        rows.append(f'| `{name}` | {" | ".join(defaults)} | {" ".join(said)} |')
    return '\n'.join(rows) + '\n'


def _default(value: Any) -> str:
    return '' if value is None else f'`{value!r}`'


def weights() -> str:
    """One row a set of weights: accuracy as published, license, and where it is."""
    rows = [
        '| weights | top-1 | top-5 | data | license | where | source |',
        '| --- | ---: | ---: | --- | --- | --- | --- |',
    ]
    rows += [
        f'| `{w.name}` | {_percent(w.top1)} | {_percent(w.top5)} | {w.dataset} | {w.license} | {_where(w)} '
        f'| {w.source} |' for w in list_pretrained()]
    return '\n'.join(rows) + '\n'


def shipped() -> str:
    """One row for weights in the package: accuracy and calibration on the test images, in percent, size and cost."""
    rows = [
        '| weights | top-1 | top-5 | calibration error | parameters | MMACs | MB | epochs |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ]
    for row in list_pretrained():
        if row.file:
            made = provenance(row.name)
            parameters, macs = cost(row.variant)
            rows.append(
                f'| `{row.name}` | {made["top1"]:.2f} | {made["top5"]:.2f} | {made["calibration_error"]:.2f} '
                f'| {parameters:,} | {macs / 1e6:.0f} | {made["bytes"] / 1e6:.1f} | {made["epochs"]} |')
    return '\n'.join(rows) + '\n'


def _where(weights: Weights) -> str:
    """Where they are; an address, which is long, as a link by its file name."""
    return f'[{weights.url.rpartition("/")[2]}]({weights.url})' if weights.url else weights.where


def _percent(value: Optional[float]) -> str:
    return '-' if value is None else f'{value:.2f}'
