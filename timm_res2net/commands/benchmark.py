"""How fast all the ways to run a Res2Net are on this machine: timm's own model and this package's.

Eager, folded, prepacked, compiled and exported, in fp32, bf16 and int8. On a CPU every file is made, and every path
measured, by a process of its own that does nothing else, in rounds and short turns: milliseconds a batch, time to load
and to the first answer, memory and size of the file, and images a second of several callers at once. Medians are given
as ratios, since timings of different runs say nothing. Where rounds of the same path are more than 10% apart, the
machine was busy and the figures are no good: the command says so. Engines that are not installed are skipped and named
(all of them: extra `deploy`, the plot: extra `figures`). Weights are random, which does not change times. Up to seven
processes run at a time, 6 GB with Res2Net-50. Tables and plot go to benchmark_DEVICE.{md,json,png} of a folder.

Exit code 0: measured. 1: measured on a busy machine.

    timm-res2net benchmark                                    # all parts: the longest, for a quiet machine
    timm-res2net benchmark --parts inference --batch 1 8 32
    timm-res2net benchmark --device cuda
"""
import argparse
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict

from .checks import at_least
from .command_line import Refusal, free_output, warn, write_whole

EXAMPLE = 'timm-res2net benchmark --parts inference --precision fp32 --batch 1 --paths prepack --rounds 1'
PARTS = ('inference', 'throughput', 'training', 'creation', 'growth')
CALLERS, ROUNDS = [2, 4], 3
PRECISIONS = ('fp32', 'bf16', 'int8')  # as deploy has them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--parts', nargs='+', choices=PARTS, help='all, of a GPU all but throughput')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--batch', nargs='+', type=int, default=[1, 8], metavar='N')
    parser.add_argument('--callers', nargs='+', type=int, default=CALLERS, metavar='N',
                        help='of throughput: threads that ask for an image each at the same time (%(default)s)')
    parser.add_argument('--precision', nargs='+', choices=PRECISIONS, help='all that the CPU computes in')
    parser.add_argument('--paths', metavar='REGEX', help='regular expression: only paths whose name has it')
    parser.add_argument('--seconds', type=float, default=3,
                        help='time of each path, batch size and round, of the other parts of each path (%(default)s)')
    parser.add_argument('--rounds', type=int, default=ROUNDS, metavar='N',
                        help='of inference, throughput (%(default)s)')
    parser.add_argument('--threads', type=int, metavar='N', help="torch's own choice")
    parser.add_argument('--theirs', default='res2net50_26w_4s', metavar='NAME', help="timm's model (%(default)s)")
    parser.add_argument('--ours', default='res2net50_26w_4s_custom', metavar='NAME',
                        help='ours with the same weights (%(default)s)')
    parser.add_argument('--output', type=Path, default=Path('results'), metavar='FOLDER',
                        help='folder to write to (%(default)s)')
    parser.add_argument('--json', action='store_true', help='print the results as JSON instead of tables')


def run(args: argparse.Namespace) -> int:
    _check(args)
    parts = args.parts or [p for p in PARTS if p != 'throughput' or args.device == 'cpu' and _serves(args)]
    import torch

    from ..deploy.benchmark.parts import environment, measure
    from ..deploy.benchmark.tables import markdown, plot
    from ..insight import cost
    if args.threads:
        torch.set_num_threads(args.threads)
    result: Dict[str, Any] = {'environment': environment(args)}
    stem = args.output / f'benchmark_{args.device}'
    with TemporaryDirectory() as args.files:
        for part in parts:
            warn(f'== {part}')
            result[part] = measure(args, part, cost)
            args.output.mkdir(parents=True, exist_ok=True)
            write_whole(stem.with_suffix('.json'), json.dumps(result, indent=2) + '\n')
            write_whole(stem.with_suffix('.md'), markdown(result))
    if 'inference' in result:
        plot(result, stem.with_suffix('.png'))
    print(json.dumps(result, indent=2) if args.json else markdown(result))
    busy = [path for part in ('inference', 'throughput') for path in result.get(part, {}).get('busy', ())]
    if busy:
        warn(f'the machine is busy, the figures are no good: {"; ".join(busy)}')
    return 1 if busy else 0


def _serves(args: argparse.Namespace) -> bool:
    """Whether one of the paths that were asked for serves several callers."""
    from ..deploy.benchmark.paths import ways
    named = ways(args.batch, args.callers).values()
    return any(way.serve and re.search(args.paths or '', name) for paths in named for name, way in paths.items())


def _check(args: argparse.Namespace) -> None:
    """Refuse what would fail after minutes."""
    import timm
    import torch
    free_output(args.output, overwrite=True, folder=True)
    if args.device == 'cuda' and 'throughput' in (args.parts or ()):
        raise Refusal('--parts throughput is measured on a CPU')
    for option, usual in (('precision', None), ('callers', CALLERS), ('rounds', ROUNDS)):
        if args.device == 'cuda' and getattr(args, option) != usual:
            raise Refusal(f'--{option} is of measurements on a CPU, leave it out with --device cuda')
    for option, least in (('batch', 1), ('callers', 1), ('threads', 1), ('seconds', 0), ('rounds', 1)):
        values = getattr(args, option)
        for value in values if isinstance(values, list) else [values]:
            at_least(least, f'--{option}', value)
    try:
        re.compile(args.paths or '')
    except re.error as error:
        raise Refusal(f'--paths {args.paths} is no regular expression: {error}') from error
    if 'throughput' in (args.parts or ()) and not _serves(args):
        raise Refusal(f'--paths {args.paths}: no path of that name serves several callers, which throughput measures')
    for option, name in (('--theirs', args.theirs), ('--ours', args.ours)):
        if not timm.is_model(name):
            raise Refusal(f'{option} {name} is no model that timm knows')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise Refusal('--device cuda: torch sees no GPU')
