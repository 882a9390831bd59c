"""Literal definitions of the published networks, over state dicts in the names of their own projects.

Written from the maths (paper, section 3; PaddleClas's form of the first blocks) with plain functions, so that they
share nothing with the package under test but torch's convolution.
"""
import torch
import torch.nn.functional as F
from foreign_names import HEADS, block_names, norm_entries, stem_names


class Foreign:
    """One network in one project's names: `weights` to save, and a call to compute it.

    Args:
        style: 'official', 'resnet', 'paddle' or another of `foreign_names`.
        stem: '7x7', 'deep' or '3x3' (CIFAR: no pool, three stages).
        se: Whether blocks end with squeeze and excitation, reduced to 1/16 (at least 8 channels).
        convolved: The first block of a stage convolves its identity group instead of pooling it.
        form: Of the first blocks, 'parallel', 'strided_pool' or 'paddle'; by default the project's.
    """

    def __init__(self, style, layers=(2, 1, 1, 1), planes=(12, 16, 20, 24), base_width=32, scale=4, groups=1,
                 stem='7x7',
                 stem_width=64, avg_down=False, se=False, convolved=False, classes=5, in_chans=3, seed=0, form=None):
        self.__dict__.update(locals())
        self.generator = torch.Generator().manual_seed(seed)
        self.form = form or {'paddle': 'paddle', 'paddledetection': 'paddle', 'mmdetection': 'strided_pool',
                             'detectron2': 'strided_pool'}.get(style, 'parallel')
        self.early = style in ('detectron2', 'maskrcnn')  # the stride is in conv1
        self.epsilon = 0 if style == 'maskrcnn' else 1e-5  # of norms
        self.head = HEADS.get(style)
        self.weights = {}
        self.widths = [int(p * base_width // 64) * groups for p in planes]
        self._make()

    def stem_names(self, i):
        return stem_names(self.style, self.stem == 'deep', i)

    def block_names(self, stage, block, part, i=0):
        return block_names(self.style, self.stem == 'deep', self.avg_down, self.layers, stage, block, part, i)

    # weights

    def _random(self, *shape, low=None, high=None):
        if low is not None:
            return torch.rand(shape, generator=self.generator) * (high - low) + low
        fan_in = shape[1:].numel() if isinstance(shape, torch.Size) else torch.Size(shape[1:]).numel()
        return torch.randn(shape, generator=self.generator) * (2 / max(fan_in, 1)) ** 0.5

    def _conv_bn(self, names, out, into, kernel, groups=1):
        conv, bn = names
        self.weights[conv + '.weight'] = self._random(out, into // groups, kernel, kernel)
        ranges = (0.5, 1.0), (-0.3, 0.3), (-0.3, 0.3), (0.5, 1.5)
        for entry, (low, high) in zip(norm_entries(self.style), ranges, strict=True):
            self.weights[f'{bn}.{entry}'] = self._random(out, low=low, high=high)

    def se_name(self, stage, block, layer):
        return self.block_names(stage, block, 'reduce')[0].replace('.conv1', f'.se.{layer}')

    def convolutions(self, block):
        return 1 if self.scale == 1 else self.scale - (not (self.convolved and block == 0))

    def _make(self):
        if self.stem == 'deep':
            w = self.stem_width
            for i, (out, into) in enumerate(((w, self.in_chans), (w, w), (2 * w, w))):
                self._conv_bn(self.stem_names(i), out, into, 3)
            channels = 2 * w
        else:
            self._conv_bn(self.stem_names(0), self.stem_width, self.in_chans, int(self.stem[0]))
            channels = self.stem_width
        for s, (count, planes, width) in enumerate(zip(self.layers, self.planes, self.widths, strict=True)):
            for b in range(count):
                self._conv_bn(self.block_names(s, b, 'reduce'), width * self.scale, channels, 1)
                for i in range(self.convolutions(b)):
                    self._conv_bn(self.block_names(s, b, 'split', i), width, width, 3, self.groups)
                self._conv_bn(self.block_names(s, b, 'expand'), planes * 4, width * self.scale, 1)
                if b == 0:
                    self._conv_bn(self.block_names(s, b, 'short'), planes * 4, channels, 1)
                if self.se:
                    for name, out, into in (('fc1', 8, planes * 4), ('fc2', planes * 4, 8)):
                        self.weights[self.se_name(s, b, name) + '.weight'] = self._random(out, into, 1, 1)
                        self.weights[self.se_name(s, b, name) + '.bias'] = self._random(out)
                channels = planes * 4
        if self.head:
            weight = self._random(self.classes, channels)
            self.weights[self.head + 'weight'] = weight.t().contiguous() if self.style == 'paddle' else weight
            self.weights[self.head + 'bias'] = self._random(self.classes)

    # the network

    def conv_bn(self, x, names, stride=1, groups=1, relu=True):
        conv, bn = names
        w = self.weights
        gain, shift, mean, var = (w[f'{bn}.{entry}'][:, None, None] for entry in norm_entries(self.style))
        x = F.conv2d(x, w[conv + '.weight'], stride=stride, padding=w[conv + '.weight'].shape[-1] // 2, groups=groups)
        x = (x - mean) / (var + self.epsilon).sqrt() * gain + shift
        return x.relu() if relu else x

    def split(self, x, s, b, stride):
        xs = x.split(self.widths[s], 1)
        paddle = self.form == 'paddle'
        additions = stride == 1 if paddle else b > 0
        ys = []
        for i in range(self.convolutions(b)):
            xi = xs[i] + ys[-1] if i > 0 and additions else xs[i]
            ys.append(self.conv_bn(xi, self.block_names(s, b, 'split', i), stride, self.groups))
        if len(ys) < self.scale:
            pooled = not additions and (self.form != 'strided_pool' or stride > 1)
            ys.append(F.avg_pool2d(xs[-1], 3, stride, 1, count_include_pad=not paddle) if pooled else xs[-1])
        return torch.cat(ys, 1)

    @torch.no_grad()
    def maps(self, x):
        """The outputs of the stages."""
        w = self.weights
        if self.stem == 'deep':
            for i in range(3):
                x = self.conv_bn(x, self.stem_names(i), stride=2 if i == 0 else 1)
        else:
            x = self.conv_bn(x, self.stem_names(0), stride=2 if self.stem == '7x7' else 1)
        if self.stem != '3x3':
            x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for s, count in enumerate(self.layers):
            for b in range(count):
                stride = 2 if s > 0 and b == 0 else 1
                early, late = (stride, 1) if self.early else (1, stride)
                y = self.conv_bn(x, self.block_names(s, b, 'reduce'), early)
                y = self.conv_bn(self.split(y, s, b, late), self.block_names(s, b, 'expand'), relu=False)
                if self.se:
                    z = y.mean((2, 3), keepdim=True)
                    fc1, fc2 = (self.se_name(s, b, layer) for layer in ('fc1', 'fc2'))
                    z = F.conv2d(z, w[fc1 + '.weight'], w[fc1 + '.bias']).relu()
                    y = y * F.conv2d(z, w[fc2 + '.weight'], w[fc2 + '.bias']).sigmoid()
                if b == 0 and self.avg_down and stride > 1:
                    x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
                if b == 0:
                    x = self.conv_bn(x, self.block_names(s, b, 'short'), 1 if self.avg_down else stride, relu=False)
                x = (x + y).relu()
            maps.append(x)
        return maps

    @torch.no_grad()
    def __call__(self, x):
        """Logits, or pooled features where the project has no classifier."""
        x = self.maps(x)[-1].mean((2, 3))
        if not self.head:
            return x
        weight = self.weights[self.head + 'weight']
        return x @ (weight if self.style == 'paddle' else weight.t()) + self.weights[self.head + 'bias']


class OfficialDla:
    """Res2Net-DLA over official names, with the projections that official files hold and never use."""

    def __init__(self, state, scale, groups, levels=(1, 1, 1, 2, 3, 1)):
        self.weights, self.scale, self.groups, self.levels = state, scale, groups, levels

    def conv_bn(self, x, conv, bn, stride=1, groups=1, relu=True):
        w = self.weights
        x = F.conv2d(x, w[conv + '.weight'], stride=stride, padding=w[conv + '.weight'].shape[-1] // 2, groups=groups)
        x = F.batch_norm(x, w[bn + '.running_mean'], w[bn + '.running_var'], w[bn + '.weight'], w[bn + '.bias'])
        return x.relu() if relu else x

    def block(self, p, x, residual, stride):
        y = self.conv_bn(x, f'{p}.conv1', f'{p}.bn1')
        xs = y.chunk(self.scale, 1)
        ys = []
        for i in range(self.scale - 1):
            xi = xs[i] + ys[-1] if i > 0 and stride == 1 else xs[i]
            ys.append(self.conv_bn(xi, f'{p}.convs.{i}', f'{p}.bns.{i}', stride, self.groups))
        ys.append(xs[-1] if stride == 1 else F.avg_pool2d(xs[-1], 3, stride, 1))
        return (self.conv_bn(torch.cat(ys, 1), f'{p}.conv3', f'{p}.bn3', relu=False) + residual).relu()

    def tree(self, p, x, depth, stride, level_root=False, children=()):
        bottom = F.max_pool2d(x, stride, stride) if stride > 1 else x
        children = list(children) + ([bottom] if level_root else [])
        if depth > 1:
            x1 = self.tree(f'{p}.tree1', x, depth - 1, stride)
            return self.tree(f'{p}.tree2', x1, depth - 1, 1, children=[*children, x1])
        residual = bottom
        if f'{p}.project.0.weight' in self.weights:
            residual = self.conv_bn(bottom, f'{p}.project.0', f'{p}.project.1', relu=False)
        x1 = self.block(f'{p}.tree1', x, residual, stride)
        x2 = self.block(f'{p}.tree2', x1, x1, 1)
        return self.conv_bn(torch.cat([x2, x1, *children], 1), f'{p}.root.conv', f'{p}.root.bn')

    @torch.no_grad()
    def __call__(self, x):
        x = self.conv_bn(x, 'base_layer.0', 'base_layer.1')
        x = self.conv_bn(x, 'level0.0', 'level0.1')
        x = self.conv_bn(x, 'level1.0', 'level1.1', stride=2)
        for i in range(2, 6):
            x = self.tree(f'level{i}', x, self.levels[i], 2, level_root=i > 2)
        return F.conv2d(x.mean((2, 3), keepdim=True), self.weights['fc.weight'], self.weights['fc.bias']).flatten(1)
