"""The results of the benchmark as Markdown and as a plot."""
import sys
from pathlib import Path
from typing import Any, Dict, List


def markdown(result: Dict[str, Any]) -> str:
    lines = ['# Benchmark', '']
    lines += [f'* {k}: {f"`{v}`" if k == "command" else v}' for k, v in result['environment'].items()]
    if 'inference' in result:
        lines += inference_tables(result['inference'])
    if 'throughput' in result:
        lines += throughput_tables(result['throughput'])
    if 'training' in result:
        part = result['training']
        base: Dict[str, Any] = {}
        lines += ['', f'## A training step, batch {part["batch"]}, channels last, SGD', '',
                  '| model | ms | of timm | peak MB | of timm |', '| --- | ---: | ---: | ---: | ---: |']
        for name, row in part['rows'].items():
            kind = name.rsplit(', ', 1)[1]
            base.setdefault(kind, row)
            ratios = [row[k] / base[kind][k] for k in ('milliseconds', 'peak MB')]
            cells = f'{row["milliseconds"]:.0f} | {ratios[0]:.2f} | {row["peak MB"]:.0f} | {ratios[1]:.2f}'
            lines.append(f'| {name} | {cells} |')
    if 'creation' in result:
        lines += ['', '## Import and creation', '', '| what | seconds |', '| --- | ---: |']
        lines += [f'| `{k}` | {v:.3f} |' for k, v in result['creation'].items()]
    for kind, rows in result.get('growth', {}).items():
        keys = list(next(iter(rows.values())))
        lines += ['', f'## Growth with {kind}', '']
        lines += [f'| {kind} | {" | ".join(keys)} |', '| ---: |' + ' ---: |' * len(keys)]
        lines += [f'| {n} | {" | ".join(f"{row[k]:.2f}" for k in keys)} |' for n, row in rows.items()]
    return '\n'.join(lines) + '\n'


def batch_sizes(rows: Dict[str, Dict[str, Dict[str, float]]]) -> List[str]:
    """The batch sizes that any path could do, smallest first."""
    return sorted({b for named in rows.values() for times in named.values() for b in times}, key=int)


def inference_tables(part: Dict[str, Any]) -> List[str]:
    """Per precision: ms and the speed relative to timm's eager fp32 in its faster layout, for each batch size."""
    rows = part['milliseconds']
    batches = batch_sizes(rows)
    theirs = [times for name, times in rows.get('fp32', {}).items() if name.startswith('timm eager')]
    eager = {b: min((times[b] for times in theirs if b in times), default=None) for b in batches}
    lines = ['', '## Inference', '',
             "ms a batch (median); in brackets, speed relative to timm's eager fp32 in its faster memory layout.", '']
    lines += how_quiet(part)
    for precision, named in rows.items():
        lines += [f'| {precision} | {" | ".join(f"batch {b}" for b in batches)} |']
        lines += ['| --- |' + ' ---: |' * len(batches)]
        for name, times in named.items():
            cells = ['' if b not in times else f'{times[b]:.1f}' + (
                f' ({eager[b] / times[b]:.2f}x)' if eager[b] else '') for b in batches]
            lines.append(f'| {name} | {" | ".join(cells)} |')
        peers = {b: [t[b] for n, t in named.items() if n.startswith('timm in') and b in t] for b in batches}
        own = {b: [t[b] for n, t in named.items() if not n.startswith('timm') and b in t] for b in batches}
        if all(peers.values()) and all(own.values()):
            lines.append('| **best here against best peer** | ' + ' | '.join(
                f'**{min(peers[b]) / min(own[b]):.2f}x**' for b in batches) + ' |')
        lines.append('')
    lines += once_table(part.get('once', {}))
    lines += [f'Skipped: {name} ({why})' for name, why in part['skipped'].items()]
    return lines


def how_quiet(part: Dict[str, Any]) -> List[str]:
    """How far the rounds of a path are apart, and whether that is too far."""
    if part.get('busy'):
        return [f'**The machine was busy, the figures are no good.** The same path came out apart by more than 10% '
                f'between rounds: {"; ".join(part["busy"])}.', '']
    if 'rounds' not in part:
        return []
    most = max(s for named in part['spread'].values() for apart in named.values() for s in apart.values())
    return [f'Every path in a process of its own, {part["rounds"]} rounds in turns; rounds of the same path are apart '
            f'by {most:.0%} at most.', '']


def throughput_tables(part: Dict[str, Any]) -> List[str]:
    """Per precision: images a second and the share of OpenVINO's own throughput mode, for each number of callers."""
    lines = ['', '## Throughput', '',
             'Images a second of several callers at once, one image each (median); in brackets, of the throughput mode '
             "of OpenVINO on timm's model.", '', *how_quiet(part)]
    for precision, named in part['images a second'].items():
        callers = list(next(iter(named.values())))
        peer = named.get('timm in OpenVINO')
        lines += [f'| {precision} | {" | ".join(f"{n} callers" for n in callers)} |']
        lines += ['| --- |' + ' ---: |' * len(callers)]
        for name, speeds in named.items():
            cells = [f'{speeds[n]:.1f}' + (f' ({speeds[n] / peer[n]:.2f}x)' if peer else '') for n in callers]
            lines.append(f'| {name} | {" | ".join(cells)} |')
        lines.append('')
    return [*lines, *(f'Skipped: {name} ({why})' for name, why in part['skipped'].items())]


def once_table(once: Dict[str, Dict[str, Dict[str, float]]]) -> List[str]:
    """Besides time: what each path takes to load and for the first answer, memory at most, its files, checks."""
    if not once:
        return []
    heads = list(next(iter(next(iter(once.values())).values())))
    lines = [f'| path | {" | ".join(heads)} |', '| --- |' + ' ---: |' * len(heads)]
    for precision, named in once.items():
        for name, row in named.items():
            cells = [f'{row[head]:.{1 + (head == "checks %")}f}' if row[head] else '' for head in heads]
            lines.append(f'| {precision} {name} | {" | ".join(cells)} |')
    return [*lines, '']


def plot(result: Dict[str, Any], path: Path) -> None:
    """Bars of images a second at the first batch size."""
    try:
        import matplotlib
    except ImportError:
        print('no plot: matplotlib is not installed', file=sys.stderr)
        return
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    rows = result['inference']['milliseconds']
    batch = batch_sizes(rows)[0]
    bars = [(f'{name} ({p})', 1e3 * int(batch) / times[batch], name.startswith(('timm', 'resnet')))
            for p, named in rows.items() for name, times in named.items() if batch in times]
    figure, axes = plt.subplots(figsize=(8, 0.28 * len(bars) + 1), dpi=120)
    axes.barh([b[0] for b in bars], [b[1] for b in bars], color=['#9aa5b1' if b[2] else '#1f77b4' for b in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlabel(f'images a second, batch {batch}, {result["environment"]["machine"]}')
    axes.spines[['top', 'right']].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={'Software': None})
