"""Train small networks on CIFAR-100 on one GPU, many at once: the images and all work on them stay in its memory.

    python scripts/train_on_gpu.py DATA OUTPUT [--only REGEX] [--epochs N]
    python scripts/train_on_gpu.py DATA OUTPUT --probe 100     # how long it would take

DATA is a folder of images as timm's train.py takes it, or the same as arrays in an .npz file: {train,test}_images
(N, H, W, 3) of uint8 and {train,test}_labels (N,). The runs are `RUNS` below: recipes are those of
timm_res2net/docs/recipes, of which every key is obeyed or refused. A training step - crop, flip, erase, forward,
backward, update, average - is captured once as a CUDA graph, and every network replays its own on a stream of its own,
with random numbers of its own: networks of the same seed see the same crops in the same order. OUTPUT gets runs.json,
of which evidence.py makes its table, and a folder of each run, of which ship_weights.py takes the weights. What is
measured is the last epoch, in fp32.

A run differs from one of `train.py --amp --amp-dtype bfloat16` in this only: random crops are made in one piece (as
Pillow makes them, within one level of 255), those of Res2NeXt-29's recipe are ResNeXt's (moved by up to four pixels
over black), and random numbers are others.
"""
import argparse
import copy
import datetime
import json
import platform
import re
import shlex
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import timm
import torch
import yaml
from augmentation import crop_and_resize, erase, random_box
from equal_cost import RECIPE, ROWS, run_name
from gpu_data import Data, read
from schedule import Recipe
from timm.optim import param_groups_weight_decay
from torch.nn import functional as F

from timm_res2net.insight import cost

BATCHES_TO_WARM_UP = 11  # cuDNN chooses its algorithms, and torch captures none of the first


class Run(NamedTuple):
    """A training: a recipe, the arguments of its network, the seed, and a network in place of the recipe's."""

    recipe: str
    arguments: Dict[str, Any] = {}
    seed: int = 0
    model: str = ''


RUNS = {
    **{run_name(network, seed): Run(RECIPE, arguments, seed)
       for network, (arguments, seeds) in ROWS.items() for seed in range(seeds)},
    'res2next29': Run('cifar100_res2next29'),
    'resnext29': Run('cifar100_res2next29', model='resnext29_8c_64w_cifar_custom'),
    'res2net23': Run('cifar100_res2net23', seed=42),
}


class Training:
    """A network, its step as a CUDA graph, and its place in the recipe."""

    def __init__(self, name: str, run: Run, train: Data, epochs: Optional[int]) -> None:
        self.name, self.run, self.train = name, run, train
        self.recipe = Recipe(run.recipe, len(train.images), epochs)
        v = self.values = self.recipe.values
        device = train.images.device
        torch.manual_seed(run.seed)
        model = timm.create_model(run.model or v['model'], num_classes=v['num_classes'], **run.arguments)
        self.mean, self.std = (
            255 * torch.tensor(model.pretrained_cfg[k], device=device)[:, None, None] for k in ('mean', 'std'))
        self.model = model.to(device, memory_format=torch.channels_last).train()
        self.draw = torch.Generator(device).manual_seed(run.seed)
        self.stream = torch.cuda.Stream(device)
        self.graph = torch.cuda.CUDAGraph()
        self.step_ = torch.zeros(1, dtype=torch.long, device=device)
        self.order = torch.arange(len(train.images), device=device)
        self.rates = torch.tensor([self.recipe.learning_rate(s) for s in range(self.recipe.steps)], device=device)
        self.rate = torch.zeros((), device=device)
        self.optimizer = torch.optim.SGD(
            param_groups_weight_decay(self.model, v['weight_decay']), v['lr'], v['momentum'], nesterov=True, fused=True)
        for group in self.optimizer.param_groups:
            group['lr'] = self.rate
        self.pulls = torch.tensor([self.recipe.pull(s) for s in range(self.recipe.steps)], device=device)
        self.averaged = copy.deepcopy(self.model) if v.get('model_ema') else None
        self.loss = torch.zeros((), device=device)
        self.seconds = 0.0
        self._capture()

    def _batch(self) -> Tuple[torch.Tensor, torch.Tensor]:
        v, size = self.values, self.values['batch_size']
        place = self.step_ % self.recipe.steps_per_epoch * size + torch.arange(size, device=self.step_.device)
        chosen = self.order[place]
        x, y = self.train.images[chosen].float(), self.train.labels[chosen]
        n, _, h, w = x.shape
        if v.get('train_crop_mode'):  # ResNeXt's and the paper's: moved by up to four pixels
            move = torch.randint(-4, 5, (2, n), generator=self.draw, device=x.device)
            whole = torch.full((n,), h, device=x.device), torch.full((n,), w, device=x.device)
            box: Tuple[torch.Tensor, ...] = (move[0], move[1], *whole)
        else:
            box = random_box(n, v['scale'], v['ratio'], (h, w), self.draw)
        flip = torch.rand(n, generator=self.draw, device=x.device) < 0.5
        x = (crop_and_resize(x, box, flip) - self.mean) / self.std
        x = erase(x, v['reprob'], self.draw) if v.get('reprob') else x
        return x.contiguous(memory_format=torch.channels_last), y

    def _step(self) -> None:
        self.rate.copy_(self.rates.index_select(0, self.step_)[0])  # not [self.step_[0]], which asks the CPU
        x, y = self._batch()
        with torch.autocast('cuda', torch.bfloat16, cache_enabled=False):
            logits = self.model(x)
        loss = F.cross_entropy(logits.float(), y, label_smoothing=self.values['smoothing'])
        loss.backward()
        self.optimizer.step()
        if self.averaged is not None:
            average(self.averaged, self.model, self.pulls.index_select(0, self.step_)[0])
        self.loss.copy_(loss.detach())
        self.step_ += 1

    def _capture(self) -> None:
        """Record a step, and leave everything as it was before the steps that this takes."""
        before = copy.deepcopy(self.model.state_dict())
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(BATCHES_TO_WARM_UP):
                self.optimizer.zero_grad(set_to_none=True)
                self._step()
        self.stream.synchronize()
        self.optimizer.zero_grad(set_to_none=True)  # so that the graph writes gradients instead of adding to them
        self.graph.register_generator_state(self.draw)
        with torch.cuda.graph(self.graph, stream=self.stream):
            self._step()
        self.model.load_state_dict(before)
        for state in self.optimizer.state.values():
            state['momentum_buffer'].zero_()
        self.step_.zero_()
        self.draw.manual_seed(self.run.seed)
        torch.cuda.synchronize()

    def go(self, steps: int) -> None:
        """Replay the first steps of the recipe; each epoch has an order of its own."""
        start = time.perf_counter()
        with torch.cuda.stream(self.stream):
            self.step_.zero_()
            for step in range(steps):
                if step % self.recipe.steps_per_epoch == 0:
                    self.order.copy_(torch.randperm(len(self.order), generator=self.draw, device=self.draw.device))
                    self.stream.synchronize()  # not too far ahead of the GPU
                self.graph.replay()
        self.stream.synchronize()
        self.seconds = time.perf_counter() - start

    def result(self, test: Data) -> Dict[str, Any]:
        """What was trained, how long it took, and top-1 and top-5 in percent."""
        v = self.values
        parameters, macs = cost(self.run.model or v['model'], **{'num_classes': v['num_classes'], **self.run.arguments})
        top1, top5 = self._accuracy(self.model, test)
        averaged = {} if self.averaged is None else {'averaged': self._accuracy(self.averaged, test)}
        return {
            **self.run._asdict(), 'epochs': self.recipe.epochs, 'parameters': parameters, 'macs': macs,
            'seconds': round(self.seconds, 1), 'milliseconds_a_step': round(1e3 * self.seconds / self.recipe.steps, 3),
            'last_loss': round(self.loss.item(), 4), 'top1': top1, 'top5': top5, **averaged}

    @torch.inference_mode()
    def _accuracy(self, model: torch.nn.Module, test: Data) -> List[float]:
        model.eval()
        right = torch.zeros(2)
        for x, y in zip(test.images.split(500), test.labels.split(500)):
            ranks = model((x.float() - self.mean) / self.std).topk(5).indices == y[:, None]
            right += torch.stack([ranks[:, 0].sum(), ranks.sum()]).cpu()
        return [round(100 * r / len(test.labels), 2) for r in right.tolist()]

    def save(self, folder: Path) -> None:
        """Write what train.py leaves of a run, as far as ship_weights.py reads it: args.yaml and last.pth.tar."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'args.yaml').write_text(yaml.safe_dump({
            **self.values, 'model': self.run.model or self.values['model'], 'model_kwargs': self.run.arguments,
            'seed': self.run.seed, 'device': 'cuda', 'amp': True, 'amp_dtype': 'bfloat16'}))
        averaged = {} if self.averaged is None else {'state_dict_ema': self.averaged.state_dict()}
        told = {'epoch': self.recipe.epochs - 1, 'arch': self.run.model or self.values['model']}
        torch.save({**told, 'state_dict': self.model.state_dict(), **averaged}, folder / 'last.pth.tar')


def average(averaged: torch.nn.Module, model: torch.nn.Module, pull: torch.Tensor) -> None:
    """A step of timm's `ModelEmaV3`; its weight is a tensor, since a CUDA graph would keep a number as it was."""
    mine, theirs = averaged.state_dict(), model.state_dict()
    numbers = [key for key, value in mine.items() if value.is_floating_point()]
    to, of = [mine[key] for key in numbers], [theirs[key] for key in numbers]
    torch._foreach_add_(to, torch._foreach_mul(torch._foreach_sub(of, to), pull))
    for key in mine.keys() - set(numbers):
        mine[key].copy_(theirs[key])


def together(trainings: Sequence[Training], work: Callable[[Training], None]) -> None:
    """Do the work of each training in a thread of its own."""
    threads = [threading.Thread(target=work, args=(training,), daemon=True) for training in trainings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def train_all(
        runs: Mapping[str, Run], train: Data, test: Data, epochs: Optional[int], folder: Path, command: str) -> None:
    """Train every run at once; runs.json grows with each that ends. Raises a RuntimeError if one did not."""
    results: Dict[str, Any] = {}
    torch.backends.cudnn.benchmark = True
    trainings = [Training(name, run, train, epochs) for name, run in runs.items()]
    print(f'{len(trainings)} networks captured', flush=True)
    lock = threading.Lock()

    def work(training: Training) -> None:
        training.go(training.recipe.steps)
        with lock, torch.cuda.stream(training.stream):
            torch.backends.cudnn.allow_tf32 = False
            results[training.name] = training.result(test)
            training.save(folder / training.name)
            print(training.name, results[training.name], flush=True)
            write({name: results[name] for name in runs if name in results}, folder, command)
    together(trainings, work)
    if len(results) < len(runs):
        raise RuntimeError(f'not finished: {", ".join(name for name in runs if name not in results)}, see above')


def probe(runs: Mapping[str, Run], train: Data, epochs: Optional[int], steps: int) -> None:
    """Print what a step and the whole would take."""
    if steps > (shortest := min(Recipe(run.recipe, len(train.images), epochs).steps for run in runs.values())):
        raise ValueError(f'--probe {steps} is more than the {shortest} steps of the shortest run')
    torch.backends.cudnn.benchmark = True
    start = time.perf_counter()
    trainings = [Training(name, run, train, epochs) for name, run in runs.items()]
    print(f'capture of {len(trainings)} networks: {time.perf_counter() - start:.1f} s', flush=True)
    for training in trainings if len(trainings) < 4 else trainings[:1]:
        training.go(steps)
        print(f'{training.name} alone: {1e3 * training.seconds / steps:.3f} ms a step, '
              f'loss {training.loss.item():.3f}')
    start = time.perf_counter()
    together(trainings, lambda training: training.go(steps))
    seconds = time.perf_counter() - start
    print(f'together: {1e3 * seconds / steps:.3f} ms for a step of each; the longest run has '
          f'{max(t.recipe.steps for t in trainings)} steps, all have {sum(t.recipe.steps for t in trainings)}: '
          f'{seconds / steps * sum(t.recipe.steps for t in trainings) / len(trainings):.0f} s', flush=True)


def write(results: Dict[str, Any], folder: Path, command: str) -> None:
    facts = {
        'device': torch.cuda.get_device_name(), 'date': datetime.date.today().isoformat(),
        'versions': {'python': platform.python_version(), 'torch': torch.__version__, 'timm': timm.__version__},
        'command': command, 'runs': results}
    (folder / 'runs.json').write_text(json.dumps(facts, indent=2) + '\n')


def arguments() -> Tuple[argparse.Namespace, Dict[str, Run]]:
    """The command line and the runs that it names; exits with what is wrong about it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, metavar='DATA')
    parser.add_argument('output', type=Path, metavar='OUTPUT')
    parser.add_argument('--only', default='', metavar='REGEX', help='the runs whose names have it')
    parser.add_argument('--epochs', type=int, metavar='N', help='in place of the recipe\'s, its schedule shrunk')
    parser.add_argument('--probe', type=int, metavar='STEPS', help='train for as many and say how long all would take')
    args = parser.parse_args()
    try:
        runs = {name: run for name, run in RUNS.items() if re.search(args.only, name)}
    except re.error as error:
        parser.error(f'--only {args.only} is no regular expression: {error}')
    if not runs:
        parser.error(f'--only {args.only}: no run has it, there are: {", ".join(RUNS)}')
    for option in ('epochs', 'probe'):
        if getattr(args, option) is not None and getattr(args, option) < 1:
            parser.error(f'--{option} {getattr(args, option)} must be at least 1')
    for path in (args.data,) if args.data.suffix == '.npz' else (args.data / 'train', args.data / 'test'):
        if not path.exists():
            parser.error(f'DATA: {path} is not there, see --help for what is needed')
    if not torch.cuda.is_available():
        parser.error('torch sees no GPU: train one run after the other with timm\'s train.py, see the recipe')
    return args, runs


def main() -> None:
    args, runs = arguments()
    train, test = read(args.data, 'train'), read(args.data, 'test')
    if args.probe:
        probe(runs, train, args.epochs, args.probe)
        return
    options = (('--only', args.only), ('--epochs', args.epochs))
    command = shlex.join(['python', 'scripts/train_on_gpu.py', 'DATA', 'OUTPUT', *(
        str(word) for option, value in options if value for word in (option, value))])
    args.output.mkdir(parents=True, exist_ok=True)
    train_all(runs, train, test, args.epochs, args.output, command)


if __name__ == '__main__':
    try:
        main()
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f'error: {error}')
