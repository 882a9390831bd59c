"""A recipe of timm's train.py, obeyed or refused key by key: learning rate and moving average a step at a time."""
import math
from pathlib import Path
from typing import Optional

import torch
import yaml
from timm.utils import ModelEmaV3

import timm_res2net

RECIPES = Path(timm_res2net.__file__).parent / 'docs/recipes'


class Recipe:
    """What train_on_gpu.py does of a recipe of timm_res2net/docs/recipes, for `images` training images.

    `epochs` in place of the recipe's shrinks its schedule. Raises a ValueError for a key or value that is not obeyed.
    """

    OBEYED = frozenset((
        'model', 'num_classes', 'batch_size', 'lr', 'momentum', 'weight_decay', 'epochs', 'warmup_epochs', 'warmup_lr',
        'scale', 'ratio', 'smoothing', 'reprob', 'decay_rate', 'decay_milestones', 'model_ema', 'model_ema_decay',
        'model_ema_warmup'))
    MEANT = dict(  # what is done anyway
        opt=('nesterov',), sched=('cosine', 'multistep'), warmup_prefix=(True,), min_lr=(0,), color_jitter=(0,),
        sched_on_updates=(True,), channels_last=(True,), train_interpolation=('bilinear',), amp=(True,),
        train_crop_mode=('rkrr',),  # timm's nearest to ResNeXt's crop of a padded image, which is what is done here
        train_split=('train',), val_split=('test',))
    NEEDLESS = frozenset(('workers', 'validation_batch_size', 'checkpoint_hist', 'seed'))

    def __init__(self, name: str, images: int, epochs: Optional[int] = None) -> None:
        self.values = yaml.safe_load((RECIPES / f'{name}.yaml').read_text())
        for key, value in self.values.items():
            if key not in self.OBEYED | self.NEEDLESS and value not in self.MEANT.get(key, ()):
                raise ValueError(f'{name}.yaml: {key}: {value} is not done here, train with train.py of timm')
        v = self.values
        self.steps_per_epoch = images // v['batch_size']
        self.warmup = v['warmup_epochs'] * self.steps_per_epoch
        planned = v['epochs'] + v['warmup_epochs']
        self.epochs = epochs or planned
        self.steps = self.epochs * self.steps_per_epoch
        self.milestones = [  # timm counts them from 1: the rate falls with the epoch of that number
            (m * self.epochs / planned - 1) * self.steps_per_epoch for m in v.get('decay_milestones', ())]
        self.average = ModelEmaV3(
            torch.nn.Linear(1, 1), v.get('model_ema_decay', 0.9998), use_warmup=v.get('model_ema_warmup', False))

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 0: a linear warm-up, then steps or half a cosine, as timm's schedulers have it."""
        v = self.values
        if step < self.warmup:
            return v['warmup_lr'] + (v['lr'] - v['warmup_lr']) * step / self.warmup
        if v['sched'] == 'multistep':
            return v['lr'] * v['decay_rate'] ** sum(step >= m for m in self.milestones)
        return v['lr'] * (1 + math.cos(math.pi * (step - self.warmup) / (self.steps - self.warmup))) / 2

    def pull(self, step: int) -> float:
        """How far the weights after a step, counted from 0, pull their average, as timm's moving average has it."""
        return 1 - self.average.get_decay(step + 1)
