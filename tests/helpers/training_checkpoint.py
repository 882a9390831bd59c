"""A checkpoint of timm's train.py, written by timm's own saver."""
import argparse

import torch
from timm.utils import CheckpointSaver


def trained(folder, model, arch, optimizer=None, averaged=None, metric=1., **args):
    """Leave in a folder, which is made, what a training leaves after its first epoch.

    Args:
        arch: What `--model` was.
        optimizer: A fresh one by default.
        averaged: timm's averaged model, if `--model-ema` was.
        metric: What was measured.
        **args: Other arguments of the training.

    Returns:
        last.pth.tar; beside it lies model_best.pth.tar, which holds the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    saver = CheckpointSaver(
        model, optimizer or torch.optim.SGD(model.parameters(), 0.1), argparse.Namespace(model=arch, **args),
        model_ema=averaged, checkpoint_dir=str(folder), recovery_dir=str(folder))
    saver.save_checkpoint(0, metric)
    return folder / 'last.pth.tar'
