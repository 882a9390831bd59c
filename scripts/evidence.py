"""Does the hierarchical split pay at equal cost? A table of trainings on CIFAR-100 of the networks of equal_cost.py.

    python scripts/evidence.py

Reads scripts/results/evidence_runs.json, the runs.json of train_on_gpu.py, and writes evidence_cifar100.{md,json}
beside it: top-1 and top-5 of the last epoch, never the best, of every run that was finished. Parameters are equal
within 2%, and MACs too but for SE, which has fewer. timm's train.py makes a single run too, on any device, of the
recipe timm_res2net/docs/recipes/cifar100_evidence.yaml and the network's arguments; record_evidence.py adds it, and the
table says of it where it was made:

    timm-res2net train.py --config cifar100_evidence.yaml --data-dir DATA --seed 0 --amp --amp-dtype bfloat16 \\
        --model-kwargs scale=8 base_width=18
"""
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

import yaml
from equal_cost import EIGHT, FOUR, MODEL, PLAIN, RECIPE, ROWS, run_name

ROOT = Path(__file__).resolve().parent.parent
RECIPE_FILE = ROOT / f'timm_res2net/docs/recipes/{RECIPE}.yaml'
RESULTS = ROOT / 'scripts/results'
MADE = ('device', 'date', 'versions', 'command')  # of the runs together, and of each that was made apart from them
COMPARED = ((FOUR, PLAIN), (EIGHT, PLAIN), (EIGHT, FOUR))


def collect(recorded: Dict[str, Any]) -> Dict[str, Any]:
    """What the runs of a runs.json say; raises a ValueError if one is not of the plan's recipe, length or network."""
    recipe = yaml.safe_load(RECIPE_FILE.read_text())
    epochs = recipe['epochs'] + recipe['warmup_epochs']
    rows: List[Dict[str, Any]] = []
    missing = []
    for network, (arguments, seeds) in ROWS.items():
        runs = {seed: recorded['runs'].get(run_name(network, seed)) for seed in range(seeds)}
        missing += [f'{network}, seed {seed}' for seed, run in runs.items() if run is None]
        done = {seed: run for seed, run in runs.items() if run is not None}
        for seed, run in done.items():
            planned = {'recipe': RECIPE, 'arguments': arguments, 'seed': seed, 'model': '', 'epochs': epochs}
            if different := {k: (run[k], v) for k, v in planned.items() if run[k] != v}:
                raise ValueError(f'{run_name(network, seed)} is not the plan\'s, train it: (run, plan) {different}')
        if done:
            first, *_ = done.values()
            apart = {seed: run for seed, run in done.items() if 'device' in run}
            rows.append({
                'network': network, 'arguments': arguments, 'seeds': list(done),
                'apart': {seed: {key: run[key] for key in (*MADE, 'minutes')} for seed, run in apart.items()},
                **{key: first[key] for key in ('parameters', 'macs')},
                **{key: [run[key] for run in done.values()] for key in ('top1', 'top5')},
                'milliseconds_a_step': [run['milliseconds_a_step'] for seed, run in done.items() if seed not in apart]})
    by_name = {row['network']: row for row in rows}
    if FOUR not in by_name:
        raise ValueError(f'no run of {FOUR}, with which the others are compared: train it first')
    for row in rows:
        row.update({f'{key}_ratio': row[key] / by_name[FOUR][key] for key in ('parameters', 'macs')})
    pairs = [(a, b) for a, b in COMPARED if a in by_name and b in by_name]
    return {
        'dataset': 'CIFAR-100', 'recipe': str(RECIPE_FILE.relative_to(ROOT)), 'epochs': epochs, 'rows': rows,
        'differences': [found for a, b in pairs if len((found := difference(by_name[a], by_name[b]))['points']) > 1],
        'not_run': missing, **{key: recorded[key] for key in MADE}}


def difference(a: Dict[str, Any], b: Dict[str, Any]) -> Dict[str, Any]:
    """Top-1 of a row minus that of another, seed by seed; a run apart saw other crops than its seed's others."""
    apart = {*a['apart'], *b['apart']}
    other = {seed: top1 for seed, top1 in zip(b['seeds'], b['top1'], strict=True) if seed not in apart}
    return {
        'network': a['network'], 'minus': b['network'], 'points': [
            round(top1 - other[seed], 2) for seed, top1 in zip(a['seeds'], a['top1'], strict=True) if seed in other]}


def markdown(results: Dict[str, Any]) -> str:
    rows = results['rows']
    steps = {row['network']: statistics.mean(row['milliseconds_a_step']) for row in rows if row['milliseconds_a_step']}
    lines = [
        f'# Scale at equal cost on {results["dataset"]}', '',
        f'`{MODEL}` with another scale, {results["epochs"]} epochs of `{results["recipe"]}` in bfloat16',
        'autocast: percent of the test images in the last epoch, mean ± sample standard deviation over the seeds.', '',
        '| network | base width | parameters | MMACs | seeds | top-1 | top-5 | ms a step |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |']
    for row in rows:
        step = f'{steps[row["network"]]:.1f}' if row['network'] in steps else '-'
        lines.append(
            f'| {row["network"]} | {row["arguments"]["base_width"]:g} | {row["parameters"]:,} '
            f'({row["parameters_ratio"] - 1:+.1%}) | {row["macs"] / 1e6:.1f} ({row["macs_ratio"] - 1:+.1%}) '
            f'| {len(row["seeds"])} | {spread(row["top1"])} | {spread(row["top5"])} | {step} |')
    if results['differences']:
        lines += ['', 'Differences in top-1, seed by seed: runs of a seed see the same crops in the same order.', '']
        lines += [compared(**pair) for pair in results['differences']]
    lines += ['', 'Not run of what was planned: ' + '; '.join(results['not_run']) + '.'] if results['not_run'] else []
    first, slowest = next(iter(steps)), max(steps, key=lambda network: steps[network])
    runs = sum(len(row['seeds']) - len(row['apart']) for row in rows)
    lines += [
        '', 'Equal cost is not equal time: '
        f'a step of {slowest} takes {steps[slowest] / steps[first]:.1f} times that of {first}.',
        f'{runs} runs shared one GPU from the same start on: alone, a step is shorter.', '', *made(results)]
    for row in rows:
        for seed, run in row['apart'].items():
            lines += ['', f'Apart from these, with crops of its own, {row["network"]}, seed {seed}: '
                      f'{run["minutes"]} minutes, {made(run)[0]}', *made(run)[1:]]
    return '\n'.join([*lines, ''])


def made(what: Dict[str, Any]) -> List[str]:
    """When, on what and how."""
    versions = ', '.join(f'{k} {v}' for k, v in what['versions'].items())
    return [f'{what["date"]}, {what["device"]}, {versions}:', '', '```sh', what['command'], '```']


def spread(values: List[float]) -> str:
    return f'{statistics.mean(values):.2f}' + (f' ± {statistics.stdev(values):.2f}' if len(values) > 1 else '')


def compared(network: str, minus: str, points: List[float]) -> str:
    error = statistics.stdev(points) / len(points) ** 0.5
    return (f'* {network} minus {minus}: {statistics.mean(points):+.2f} points, standard error {error:.2f} '
            f'({", ".join(f"{p:+.2f}" for p in points)})')


def written(recorded: Dict[str, Any]) -> Tuple[str, str]:
    """The table as JSON and as Markdown."""
    results = collect(recorded)
    return json.dumps(results, indent=2) + '\n', markdown(results)


def main() -> None:
    as_json, text = written(json.loads((RESULTS / 'evidence_runs.json').read_text()))
    (RESULTS / 'evidence_cifar100.json').write_text(as_json)
    (RESULTS / 'evidence_cifar100.md').write_text(text)
    print(text)


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
