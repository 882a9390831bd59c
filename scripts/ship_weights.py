"""Put the weights of a finished training into the package: `python scripts/ship_weights.py RUN NAME.TAG DATA`.

RUN is the output folder of timm's train.py, or of a run of train_on_gpu.py, by a recipe of timm_res2net/docs/recipes.
The last epoch's weights, averaged if the recipe averages, become timm_res2net/weights/shipped/NAME.TAG.safetensors,
and a JSON file beside it says how they were made; given --log and --command, scripts/results/shipped_runs.json gets the
command and the time. Refused if the run's arguments are not the recipe's, or if it is not finished.
"""
import argparse
import datetime
import hashlib
import json
import platform
import re
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Dict

import timm
import torch
import yaml

import timm_res2net
from timm_res2net.commands.evaluate import evaluate
from timm_res2net.deploy.benchmark.machine import processor
from timm_res2net.weights.catalogue import SHIPPED
from timm_res2net.weights.writing import portable, write_file, write_safetensors

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / 'scripts/results/shipped_runs.json'


def check_recipe(run: Dict[str, Any], recipe: Dict[str, Any]) -> None:
    """Raise a ValueError if the training was not the recipe's."""
    different = {k: (run.get(k), v) for k, v in recipe.items() if run.get(k) != v}
    if different:
        raise ValueError(f'the run is not the recipe, (run, recipe): {different}')


def check_finished(run: Path, recipe: Dict[str, Any]) -> int:
    """The epochs of a recipe; raises a ValueError if the run has not been through them."""
    epochs = recipe['epochs'] + (recipe['warmup_epochs'] if recipe.get('warmup_prefix') else 0)
    finished = torch.load(run / 'last.pth.tar', map_location='cpu', weights_only=False)['epoch'] + 1
    if finished < epochs:
        raise ValueError(f'the run has finished {finished} of {epochs} epochs, resume it first')
    return epochs


def measure(run: Path, model: Any, data: Path, use_ema: bool = True) -> Dict[str, Any]:
    """Fill a model with the last weights of a run and measure it in fp32, see `evaluate`."""
    timm_res2net.load_checkpoint(run / 'last.pth.tar', model, use_ema=use_ema)
    measured = evaluate(model.eval(), data)
    if measured['failures']:
        raise ValueError(measured['failures'][0]['error'])
    return measured


def made_on(run: Path) -> Dict[str, Any]:
    """The machine, versions and date of a run; train.py does not write them down: those of here and now."""
    by_gpu = run.parent / 'runs.json'
    if by_gpu.is_file():
        recorded = json.loads(by_gpu.read_text())
        return {'machine': recorded['device'], **{key: recorded[key] for key in ('versions', 'date')}}
    return {
        'machine': processor(),
        'versions': {'python': platform.python_version(), 'torch': torch.__version__, 'timm': timm.__version__},
        'date': datetime.date.today().isoformat()}


def time_of(log: str) -> Dict[str, Any]:
    """How long the epochs took, by what train.py prints at the end of each: an epoch begun again counts once."""
    line = r'Train: (\d+) \[ *\d+/(\d+) \(100%\)\].*?Time: [^(]*\(([\d.]+)s'
    seconds = {int(epoch): int(steps) * float(step) for epoch, steps, step in re.findall(line, log)}
    return {'epochs': len(seconds), 'minutes': round(sum(seconds.values()) / 60),
            'median_seconds_an_epoch': round(statistics.median(seconds.values()))}


def record_run(name: str, run: Dict[str, Any]) -> None:
    runs = json.loads(RUNS.read_text()) if RUNS.is_file() else {}
    RUNS.write_text(json.dumps({**runs, name: run}, indent=2) + '\n')


def last_commit(file: Path) -> str:
    log = ['git', 'log', '-1', '--format=%H', '--', str(file.resolve())]
    return subprocess.run(log, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run', type=Path, metavar='RUN')
    parser.add_argument('name', metavar='NAME.TAG')
    parser.add_argument('data', type=Path, metavar='DATA')
    parser.add_argument('--recipe', type=Path, default=ROOT / 'timm_res2net/docs/recipes/cifar100_res2net23.yaml')
    parser.add_argument('--log', type=Path, help='what train.py printed; not for a run of train_on_gpu.py')
    parser.add_argument('--command', help='that trained')
    parser.add_argument('--before', type=int, default=0, metavar='EPOCHS', help='of a training that it began with')
    parser.add_argument('--note', help='what recipe and command do not say of the training')
    args = parser.parse_args()
    if (args.log is None) != (args.command is None):
        parser.error('--log and --command go together')
    return args


def main() -> int:
    args = arguments()
    trained = None if args.log is None else {'command': args.command, **time_of(args.log.read_text())}
    run = yaml.safe_load((args.run / 'args.yaml').read_text())
    recipe = yaml.safe_load(args.recipe.read_text())
    check_recipe(run, recipe)
    epochs = check_finished(args.run, recipe)

    measured = {}
    for averaged in (True, False):
        model = timm.create_model(args.name.split('.')[0], num_classes=recipe['num_classes'])
        measured[averaged] = model, measure(args.run, model, args.data, averaged)
        print('averaged' if averaged else 'last', measured[averaged][1])
    averaged = recipe['model_ema']
    model, result = measured[averaged]

    SHIPPED.mkdir(exist_ok=True)
    file = SHIPPED / f'{args.name}.safetensors'
    write_file(file, partial(write_safetensors, portable(model.state_dict())))
    facts = {
        'file': file.name,
        'bytes': file.stat().st_size,
        'sha256': hashlib.sha256(file.read_bytes()).hexdigest(),
        'parameters': sum(p.numel() for p in model.parameters()),
        'dataset': 'CIFAR-100 (Krizhevsky 2009): trained on the 50,000 training images, measured on the 10,000 of test',
        'top1': result['top1'],
        'top5': result['top5'],
        'calibration_error': result['calibration_error'],
        'averaged': averaged,
        'top1_of_the_other': measured[not averaged][1]['top1'],
        'epochs': args.before + epochs,
        'recipe': str(args.recipe.resolve().relative_to(ROOT)),
        'recipe_commit': last_commit(args.recipe),
        'seed': run['seed'],
        'device': run['device'],
        'precision': run['amp_dtype'] if run['amp'] else 'float32',
        **made_on(args.run),
        **({} if args.note is None else {'note': args.note}),
        'license': 'apache-2.0',
    }
    file.with_suffix('.json').write_text(json.dumps(facts, indent=2) + '\n')
    print(json.dumps(facts, indent=2))
    if trained is not None:
        record_run(args.name, {**trained, **{key: facts[key] for key in ('seed', 'machine', 'versions', 'date')}})
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
