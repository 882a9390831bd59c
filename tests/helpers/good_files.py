"""Whole files of one tiny network in every container that the package reads, which tests of damage begin with.

Numbers are drawn by numpy, so that they are the same under every torch.
"""
import argparse
import io
import json
import pickle

import mindspore_file
import numpy as np
import torch
from safetensors.torch import save as to_safetensors

from timm_res2net import Res2Net

VARIANT = 'res2net_custom'
TINY = dict(layers=(1, 1, 1, 1), channels=(2, 2, 3, 3), scale=2, base_width=64, num_classes=3)
CLASSES = ['cat', 'dog', 'fox']


def network(first_block='parallel'):
    """Every number of it drawn, each from a range in which it may lie."""
    rng = np.random.default_rng(0)
    model = Res2Net(**TINY, first_block=first_block)
    state = {k: torch.from_numpy(rng.uniform(0.1, 1, tuple(v.shape)).astype('f4')) if v.is_floating_point() else v
             for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    return model


def paddle_state(model):
    """The state of a tiny model under PaddleClas's names, as arrays."""
    names = {'conv1': 'conv0', 'bn1': 'conv0', 'convs.0': 'res2a_branch2b_1', 'bns.0': 'res2a_branch2b_1',
             'conv3': 'conv2', 'bn3': 'conv2', 'downsample.0': 'short', 'downsample.1': 'short'}
    entries = {'weight': 'weight', 'bias': 'bias', 'running_mean': '_mean', 'running_var': '_variance'}
    arrays = {}
    for name, value in model.state_dict().items():
        module, entry = name.rsplit('.', 1)
        if module == 'fc':
            arrays[f'out.{entry}'] = value.numpy().T.copy()
        elif entry in entries:
            part = '_conv' if value.ndim == 4 else '_batch_norm'
            if module.startswith('layer'):
                stage, block, rest = module[5:].split('.', 2)
                module = f'bb_{int(stage) - 1}_{block}.{names[rest]}'
            arrays[f'{module.replace("bn1", "conv1")}.{part}.{entries[entry]}'] = value.numpy().copy()
    return arrays


def torch_bytes(content, **kwargs):
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


def training(state, **changes):
    """A checkpoint of timm's train.py."""
    args = dict(model=VARIANT, model_kwargs={k: v for k, v in TINY.items() if k != 'num_classes'}, num_classes=3,
        gp=None)
    return {'epoch': 3, 'arch': VARIANT, 'state_dict': state, 'version': 2, 'metric': 76.5,
            'args': argparse.Namespace(**args), **changes}


def config(**changes):
    """What config.json of a folder says."""
    arguments = {k: list(v) if isinstance(v, tuple) else v for k, v in TINY.items() if k != 'num_classes'}
    return {
        'architecture': VARIANT, 'num_classes': 3, 'num_features': 12, 'global_pool': 'avg', 'model_args': arguments,
        'label_names': CLASSES, 'label_descriptions': {'cat': 'a cat'},
        'pretrained_cfg': {
            'tag': 'mine', 'custom_load': False, 'input_size': [3, 224, 224], 'fixed_input_size': False,
            'interpolation': 'bilinear', 'crop_pct': 0.875, 'crop_mode': 'center', 'mean': [0.5, 0.4, 0.3],
            'std': [0.2, 0.2, 0.2], 'num_classes': 3, 'pool_size': [7, 7], 'first_conv': 'conv1', 'classifier': 'fc',
            'license': 'apache-2.0', 'description': 'a test'},
        **changes}


def good_files():
    """Name -> bytes of a file that loads; `.pdparams` has the weights of a network of PaddleClas's form."""
    state = dict(network().state_dict())
    paddle = paddle_state(network('paddle'))
    floats = {k: v for k, v in state.items() if v.is_floating_point()}
    return {
        'zip.pth': torch_bytes({'state_dict': state, 'epoch': 3}),
        'training.pth.tar': torch_bytes(training(state)),
        'legacy.pth': torch_bytes(state, _use_new_zipfile_serialization=False),
        'weights.safetensors': to_safetensors(state),
        'protocol4.pdparams': pickle.dumps(paddle, protocol=4),
        'protocol2.pdparams': pickle.dumps(paddle, protocol=2),
        'checksum.ckpt': mindspore_file.dump(floats, checksum=True),
        'plain.ckpt': mindspore_file.dump(floats),
    }


def good_folder():
    """Name -> bytes of the files of a folder as `save_folder` writes it."""
    return {
        'model.safetensors': to_safetensors(dict(network().state_dict())),
        'config.json': json.dumps(config(), indent=1).encode()}
