"""Does the hierarchical split pay at equal cost? Train scale 1, 2, 4, 8 and SE on CIFAR-100 and write a table.

    python scripts/evidence.py TRAIN_PY DATA [--jobs 2] [-- --device cpu --amp --amp-dtype bfloat16]
    python scripts/evidence.py --table

TRAIN_PY is timm's train.py, DATA holds CIFAR-100's images, one folder per class, in train/ and test/; what follows `--`
goes to train.py. Every network is the shipped one with another scale and a base width that makes parameters and MACs
equal within 2% (SE adds 8% of parameters); recipe: timm_res2net/docs/recipes/cifar100_evidence.yaml. Finished runs (in
--output) are kept and interrupted ones resumed. The table goes to scripts/results/evidence_cifar100.{md,json}: top-1 of
the last epoch, never the best.
"""
import argparse
import csv
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List

import timm
import torch
import yaml

from timm_res2net.insight import cost

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / 'timm_res2net/docs/recipes/cifar100_evidence.yaml'
RESULTS = ROOT / 'scripts/results'
MODEL = 'res2net23_32w_4s_cifar_custom'
ROWS = {  # name: (arguments of the network, seeds)
    'scale 1 (plain bottleneck)': (dict(scale=1, base_width=77.34), 3),
    'scale 2': (dict(scale=2, base_width=60), 1),
    'scale 4': (dict(scale=4, base_width=32), 3),
    'scale 8': (dict(scale=8, base_width=18), 1),
    'scale 4 with SE': (dict(scale=4, base_width=32, attn_layer='se', rd_ratio=1 / 16), 1),
}


def epochs() -> int:
    recipe = yaml.safe_load(RECIPE.read_text())
    return recipe['epochs'] + recipe['warmup_epochs']


def history(folder: Path) -> List[Dict[str, str]]:
    """Rows of the summary that train.py writes, one per finished epoch."""
    path = folder / 'summary.csv'
    if not path.is_file():
        return []
    with open(path) as file:
        return [row for row in csv.DictReader(file) if row['epoch'] != 'epoch']  # a resumed run writes a header again


def run_folder(output: Path, name: str, seed: int) -> Path:
    return output / f'{name.split(" (")[0].replace(" ", "_")}-seed{seed}'


def train(args: argparse.Namespace, name: str, seed: int) -> None:
    """Run or resume one training, unless it is finished."""
    folder = run_folder(args.output, name, seed)
    done = len(history(folder))
    if done >= epochs():
        return
    command = [
        sys.executable, '-m', 'timm_res2net', str(args.train_py), '--config', str(RECIPE), '--data-dir', str(args.data),
        '--output', str(args.output), '--experiment', folder.name, '--seed', str(seed), *args.extra,
        '--model-kwargs', *(f'{k}={v}' for k, v in ROWS[name][0].items())]
    if done:
        command += ['--resume', str(folder / 'last.pth.tar')]
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    folder.mkdir(parents=True, exist_ok=True)
    print(f'{folder.name}: from epoch {done}', flush=True)
    start = time.time()
    with open(folder / 'log.txt', 'a') as log:
        result = subprocess.run(
            command, env={**os.environ, 'OMP_NUM_THREADS': str(threads)}, stdout=log, stderr=subprocess.STDOUT)
    with open(folder / 'seconds.txt', 'a') as file:
        print(round(time.time() - start), file=file)
    if result.returncode:
        raise RuntimeError(f'training of {folder.name} failed, see {folder / "log.txt"}')
    print(f'{folder.name}: top-1 {history(folder)[-1]["eval_top1"]}', flush=True)


def collect(output: Path) -> Dict[str, Any]:
    """What the finished runs say."""
    base = cost(MODEL, **ROWS['scale 4'][0])
    rows = []
    for name, (kwargs, seeds) in ROWS.items():
        folders = [run_folder(output, name, s) for s in range(seeds)]
        folders = [f for f in folders if len(history(f)) >= epochs()]
        if not folders:
            continue
        parameters, macs = cost(MODEL, **kwargs)
        rows.append({
            'network': name, 'arguments': kwargs, 'parameters': parameters, 'macs': macs,
            'parameters_ratio': parameters / base[0], 'macs_ratio': macs / base[1],
            'top1': [float(history(f)[-1]['eval_top1']) for f in folders],
            'seconds': [sum(map(int, (f / 'seconds.txt').read_text().split())) for f in folders],
        })
    return {
        'dataset': 'CIFAR-100', 'recipe': str(RECIPE.relative_to(ROOT)), 'epochs': epochs(), 'rows': rows,
        'date': datetime.date.today().isoformat(), 'cores': os.cpu_count(),
        'versions': {'python': platform.python_version(), 'torch': torch.__version__, 'timm': timm.__version__},
    }


def markdown(results: Dict[str, Any], command: str) -> str:
    lines = [
        f'# Scale at equal cost on {results["dataset"]}', '',
        f'The shipped network with another scale, {results["epochs"]} epochs of `{results["recipe"]}`;',
        'top-1 of the last epoch in percent, mean and sample standard deviation over the seeds; minutes are wall-clock',
        'and hold whatever else the machine did.', '',
        '| network | base width | parameters | MMACs | seeds | top-1 | minutes a run |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ]
    for row in results['rows']:
        top1 = row['top1']
        spread = f' ± {statistics.stdev(top1):.2f}' if len(top1) > 1 else ''
        minutes = ', '.join(f'{s / 60:.0f}' for s in row['seconds'])
        lines.append(
            f'| {row["network"]} | {row["arguments"]["base_width"]:g} | {row["parameters"]:,} '
            f'({row["parameters_ratio"] - 1:+.1%}) | {row["macs"] / 1e6:.1f} ({row["macs_ratio"] - 1:+.1%}) '
            f'| {len(top1)} | {statistics.mean(top1):.2f}{spread} | {minutes} |')
    by_name = {row['network']: row['top1'] for row in results['rows']}
    one, four = by_name.get('scale 1 (plain bottleneck)', []), by_name.get('scale 4', [])
    if len(one) > 1 and len(four) > 1:
        error = (statistics.variance(one) / len(one) + statistics.variance(four) / len(four)) ** 0.5
        difference = statistics.mean(four) - statistics.mean(one)
        lines += ['', f'Scale 4 minus scale 1: {difference:+.2f} points, standard error {error:.2f}.']
    versions = ', '.join(f'{k} {v}' for k, v in results['versions'].items())
    return '\n'.join([*lines, '', f'{results["date"]}, {results["cores"]} CPU cores, {versions}:', '',
                      '```sh', command, '```', ''])


def main() -> None:
    own, extra = sys.argv[1:], []
    if '--' in own:
        own, extra = own[:own.index('--')], own[own.index('--') + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('train_py', nargs='?', type=Path, metavar='TRAIN_PY')
    parser.add_argument('data', nargs='?', type=Path, metavar='DATA')
    parser.add_argument('--output', type=Path, default=Path('output/evidence'), help='folder of the runs (%(default)s)')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at once, sharing the cores (%(default)s)')
    parser.add_argument('--table', action='store_true', help='only write the table from the finished runs')
    args = parser.parse_args(own)
    args.extra = extra
    if not args.table:
        for path in (args.train_py, args.data and args.data / 'train', args.data and args.data / 'test'):
            if path is None or not path.exists():
                parser.error(f'{path or "TRAIN_PY and DATA"}: not there, see --help for what is needed')
        args.output.mkdir(parents=True, exist_ok=True)
        command = f'python scripts/evidence.py train.py DATA --jobs {args.jobs}'
        (args.output / 'command.txt').write_text(' '.join([command, *(['--', *extra] if extra else [])]))
        queue = [(name, seed) for name, (_, n) in ROWS.items() for seed in range(n)]
        queue.sort(key=lambda run: (ROWS[run[0]][1] == 1, run[1]))  # what is compared with a spread comes first
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda run: train(args, *run), queue))
    results = collect(args.output)
    if not results['rows']:
        parser.error(f'{args.output} holds no finished run')
    RESULTS.mkdir(exist_ok=True)
    command = (args.output / 'command.txt').read_text()
    (RESULTS / 'evidence_cifar100.json').write_text(json.dumps({**results, 'command': command}, indent=2) + '\n')
    text = markdown(results, command)
    (RESULTS / 'evidence_cifar100.md').write_text(text)
    print(text)


if __name__ == '__main__':
    try:
        main()
    except (OSError, RuntimeError) as error:
        sys.exit(f'error: {error}')
