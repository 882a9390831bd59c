"""The README's table of speeds, a part of what `timm-res2net benchmark` measured last on a CPU."""
import json
import textwrap
from pathlib import Path
from typing import Any, Dict

RESULTS = Path(__file__).resolve().parent / 'results' / 'benchmark_cpu.json'
BASE = 'timm eager, channels last'
PATHS = {
    BASE: "timm's own model, eager",
    'timm in ONNX Runtime': "timm's own model, ONNX Runtime",
    'timm in OpenVINO': "timm's own model, OpenVINO",
    'prepack': '`deploy.prepack`',
    'AOTInductor': "`deploy.export(.., 'x.pt2')`, AOTInductor",
    'ONNX Runtime': "`format='onnx'`, ONNX Runtime",
    'OpenVINO': "`format='openvino'`, OpenVINO",
}
BATCHES = ('1', '8')
LARGER = {'AOTInductor': 'AOTInductor, batch_size=8'}  # what is measured instead with more images than one


def table() -> str:
    """Speeds relative to timm's own model, eager, in fp32 and channels last, at the same batch size; and on what."""
    result = json.loads(RESULTS.read_text(encoding='utf-8'))
    part, on = result['inference'], result['environment']
    rows = part['milliseconds']
    base = rows['fp32'][BASE]
    head = [f'{precision}, batch {b}' for precision in rows for b in BATCHES]
    lines = [
        'Speed of Res2Net-50 26w 4s at 224 x 224, with that of timm\'s own model in eager fp32, channels last, as 1',
        f'({" and ".join(f"{base[b]:.0f} ms at batch {b}" for b in BATCHES)}):',
        '']
    lines += [f'| | {" | ".join(head)} |', '| --- |' + ' ---: |' * len(head)]
    for path, words in PATHS.items():
        cells = []
        for named in rows.values():
            larger = LARGER.get(path) if LARGER.get(path) in named else path
            times = [named.get(p, {}).get(b) for p, b in zip((path, larger), BATCHES, strict=True)]
            cells += [f'{base[b] / ms:.2f}' if ms else '' for b, ms in zip(BATCHES, times, strict=True)]
        lines.append(f'| {words} | {" | ".join(cells)} |')
    names = {'torch': 'torch', 'timm': 'timm', 'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO'}
    lines += [
        '', f'One run of `{on["command"]}` with nothing else running on the machine:',
        f'{on["machine"]} ({on["cpu"]}), {on["date"]}, {", ".join(f"{v} {on[k]}" for k, v in names.items())}.']
    return '\n'.join([*lines, _how(part)]) + '\n'


def _how(part: Dict[str, Any]) -> str:
    """In which way it was measured."""
    apart = [max(sizes.values()) for named in part['spread'].values() for sizes in named.values()]
    text = (
        f'Files made by that call, each path in a process of its own, {part["rounds"]} rounds in turns, the same path '
        f'at most {max(apart):.0%} apart. At batch 8 the file of AOTInductor was made with `batch_size=8`: without it, '
        'it answers 8 images one by one.')
    if part['busy']:
        text += (
            f' **The machine was not quiet**, though nothing else was started on it: {len(part["busy"])} of '
            f'{len(apart)} paths are more than 10% apart, and ratios hold to about as much.')
    return textwrap.fill(text, 120, break_on_hyphens=False)
