"""The paper's equations as they are printed, slowly: the measure that the tests hold the package against."""
import torch
import torch.nn.functional as F
from torch import nn


def randomize_norms(model: nn.Module) -> nn.Module:
    """Give every batch norm statistics and affine parameters that are far from their initial 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def conv_norm_relu(x, conv: nn.Conv2d, bn: nn.BatchNorm2d, training: bool):
    """K_i: the weights are read off the modules, the computation is functional; statistics are left alone."""
    x = F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
    x = F.batch_norm(x, bn.running_mean.clone(), bn.running_var.clone(), bn.weight, bn.bias, training, 0.1, bn.eps)
    return F.relu(x)


def mean_pool(x, stride: int, count_include_pad: bool):
    """3x3 average pool with padding 1, one output pixel at a time."""
    height, width = x.shape[-2:]
    rows = []
    for top in range(-1, height - 1, stride):
        row = []
        for left in range(-1, width - 1, stride):
            window = x[..., max(top, 0):top + 3, max(left, 0):left + 3]
            count = 9 if count_include_pad else window.shape[-1] * window.shape[-2]
            row.append(window.sum((-2, -1)) / count)
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def split(x, scale: int, convs, bns, training: bool, form: str = 'hierarchical', stride: int = 1, count_pad=True):
    """Y for X, both in the paper's channel order; `convs[0]` is K_2, and the last K_1 if there is one per group."""
    xs = dict(enumerate(torch.chunk(x, scale, dim=1), start=1))
    y = {}
    if form == 'parallel_conv':
        y[1] = conv_norm_relu(xs[1], convs[scale - 1], bns[scale - 1], training)
    elif form == 'parallel' or form == 'strided_pool' and stride > 1:
        y[1] = mean_pool(xs[1], stride, count_pad)
    else:
        y[1] = xs[1]
    for i in range(2, scale + 1):
        if i == 2 or form != 'hierarchical':
            y[i] = conv_norm_relu(xs[i], convs[i - 2], bns[i - 2], training)
        else:
            y[i] = conv_norm_relu(xs[i] + y[i - 1], convs[i - 2], bns[i - 2], training)
    return torch.cat([y[i] for i in range(1, scale + 1)], dim=1)


def from_paper_order(x, scale: int):
    """The paper's group j + 1 (from 0, modulo `scale`) becomes group j."""
    groups = torch.chunk(x, scale, dim=1)
    return torch.cat([groups[(j + 1) % scale] for j in range(scale)], dim=1)


def to_paper_order(x, scale: int):
    """Inverse of `from_paper_order`."""
    groups = torch.chunk(x, scale, dim=1)
    return torch.cat([groups[(j - 1) % scale] for j in range(scale)], dim=1)


def intermediates(model, x):
    """The last map and those of all stages, as `forward_intermediates`, which older timm's DLA has not."""
    if hasattr(model, 'forward_intermediates'):
        return model.forward_intermediates(x)
    maps = []
    handles = [model.get_submodule(info['module']).register_forward_hook(lambda _, args, out: maps.append(out))
               for info in model.feature_info]
    final = model.forward_features(x)
    for handle in handles:
        handle.remove()
    return final, maps
