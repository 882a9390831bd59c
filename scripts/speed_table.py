"""The README's table of speeds, a part of what `timm-res2net benchmark` measured last on a CPU."""
import json
from pathlib import Path

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
PRECISIONS, BATCHES = ('fp32', 'bf16', 'int8'), ('1', '8')


def table() -> str:
    """Speeds relative to timm's own model, eager, in fp32 and channels last, at the same batch size; and on what."""
    result = json.loads(RESULTS.read_text(encoding='utf-8'))
    rows, on = result['inference']['milliseconds'], result['environment']
    base = rows['fp32'][BASE]
    head = [f'{p}, batch {b}' for p in PRECISIONS for b in BATCHES]
    lines = [
        'Speed of Res2Net-50 26w 4s at 224 x 224, with that of timm\'s own model in eager fp32, channels last, as 1',
        f'({" and ".join(f"{base[b]:.0f} ms at batch {b}" for b in BATCHES)}):',
        '']
    lines += [f'| | {" | ".join(head)} |', '| --- |' + ' ---: |' * len(head)]
    for path, words in PATHS.items():
        cells = [f'{base[b] / rows[p][path][b]:.2f}' if path in rows[p] else '' for p in PRECISIONS
                 for b in BATCHES]
        lines.append(f'| {words} | {" | ".join(cells)} |')
    names = {'torch': 'torch', 'timm': 'timm', 'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO'}
    lines += [
        '', f'One run of `{on["command"]}` with nothing else running on the machine:',
        f'{on["machine"]} ({on["cpu"]}), {on["date"]}, {", ".join(f"{v} {on[k]}" for k, v in names.items())}.']
    if 'rounds' not in result['inference']:  # before the benchmark measured as users call
        lines += [
            '', 'Measured in another way than users call: all paths in turns in one process, in its first thread, and',
            'the AOTInductor files exported with gradients off (which `export` now sees to itself), at batch 8 with',
            '`batch_size=8`. A file made without it answers 8 images one by one.']
    return '\n'.join(lines) + '\n'
