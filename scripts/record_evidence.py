"""Add a run of timm's train.py to the trainings at equal cost, of which evidence.py makes a table.

    python scripts/record_evidence.py RUN DATA --log LOG --command COMMAND

RUN is the output folder of train.py, by the recipe of equal_cost.py and with the arguments of one of its networks; LOG
is what it printed, COMMAND what was typed. The last epoch's weights are measured in fp32, as those of train_on_gpu.py
are, and scripts/results/evidence_runs.json gets the run with the machine it was made on, which is this one. Refused if
the arguments are not the plan's, or if it is not finished.
"""
import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict

import timm
import yaml
from equal_cost import MODEL, RECIPE, ROWS, run_name
from evidence import RECIPE_FILE, RESULTS
from ship_weights import check_finished, check_recipe, made_on, measure, time_of

import timm_res2net  # noqa: F401  registers the variants
from timm_res2net.insight import cost


def planned(arguments: Dict[str, Any], seed: int) -> str:
    """The name of a run; raises a ValueError if it is not the plan's."""
    for network, (wanted, seeds) in ROWS.items():
        if arguments == wanted and seed in range(seeds):
            return run_name(network, seed)
    raise ValueError(f'{arguments} with seed {seed} is no run of the plan: {ROWS}')


def result(folder: Path, data: Path, log: str) -> Dict[str, Any]:
    """What train_on_gpu.py says of a run of its own."""
    run, recipe = (yaml.safe_load(file.read_text()) for file in (folder / 'args.yaml', RECIPE_FILE))
    check_recipe(run, recipe)
    epochs = check_finished(folder, recipe)
    arguments, seed = run['model_kwargs'], run['seed']
    planned(arguments, seed)
    model = timm.create_model(MODEL, num_classes=recipe['num_classes'], **arguments)
    measured = measure(folder, model, data)
    parameters, macs = cost(MODEL, num_classes=recipe['num_classes'], **arguments)
    time, losses = time_of(log), re.findall(r'Train: .*\(100%\)\]  Loss: \S+ \(([\d.]+)\)', log)
    return {
        'recipe': RECIPE, 'arguments': arguments, 'seed': seed, 'model': '', 'epochs': epochs,
        'parameters': parameters, 'macs': macs, **{key: time[key] for key in ('minutes', 'median_seconds_an_epoch')},
        'mean_loss_of_the_last_epoch': float(losses[-1]), 'top1': measured['top1'], 'top5': measured['top5']}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run', type=Path, metavar='RUN')
    parser.add_argument('data', type=Path, metavar='DATA')
    parser.add_argument('--log', type=Path, required=True, help='what train.py printed')
    parser.add_argument('--command', required=True, help='that trained')
    args = parser.parse_args()
    found = result(args.run, args.data, args.log.read_text())
    made = made_on(args.run)
    file = RESULTS / 'evidence_runs.json'
    recorded = json.loads(file.read_text())
    name = planned(found['arguments'], found['seed'])
    if name in recorded['runs']:
        raise ValueError(f'{name} has been run, all that was started is in the table: take it out of {file} by hand')
    apart = {'device': made['machine'], 'date': made['date'], 'versions': made['versions'], 'command': args.command}
    recorded['runs'][name] = {**found, **apart}
    file.write_text(json.dumps(recorded, indent=2) + '\n')
    print(json.dumps(recorded['runs'][name], indent=2))


if __name__ == '__main__':
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
