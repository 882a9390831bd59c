"""Whole networks computed from (arguments, weights) alone, slowly: the measure for every argument of the three classes.

Every layer is computed at every position; a stride then keeps every second one, from an offset. A dilated network needs
no dilation: it is the strided one from all offsets, interleaved. timm's form of it, which is another function, does.
Shares nothing with the package or with timm but torch's functions.
"""
import torch
import torch.nn.functional as F

ACTS = {'relu': F.relu, 'silu': F.silu, 'gelu': F.gelu, 'leaky_relu': F.leaky_relu, 'tanh': torch.tanh}
BLUR = torch.tensor([1., 2., 1.])
HERE = (1, 0, 0)  # every position: stride, first row, first column


def sample(x, at):
    """Every stride-th position, from an offset."""
    stride, top, left = at
    return x[:, :, top::stride, left::stride]


def shifted(x, shifts, fill=0.):
    """Stack of maps, in each of which stands at every position what is `shift` rows or columns away from it."""
    most = max(map(abs, shifts))
    padded = F.pad(x, (most,) * 4, value=fill)
    height, width = x.shape[2:]
    return torch.stack([padded[:, :, most + i:most + i + height, most + j:most + j + width]
                        for i in shifts for j in shifts])


def mean_of(x, shifts, count_outside):
    inside = shifted(torch.ones_like(x), shifts).sum(0)
    return shifted(x, shifts).sum(0) / (len(shifts) ** 2 if count_outside else inside)


def interleave(grid):
    """One map of k x k maps, whose position (i, j) belongs to map (i % k, j % k)."""
    k = len(grid)
    size = [sum(grid[i][0].shape[2] for i in range(k)), sum(grid[0][j].shape[3] for j in range(k))]
    out = grid[0][0].new_zeros(*grid[0][0].shape[:2], *size)
    for i in range(k):
        for j in range(k):
            out[:, :, i::k, j::k] = grid[i][j]
    return out


class Literal:
    """A network as its arguments say; calling it gives the maps of `features_only` and the output.

    Args:
        arguments: Every argument that matters to the function, given.
        weights: In the names of published weights.
    """

    def __init__(self, arguments, weights):
        self.a, self.w = arguments, weights

    # layers

    def conv(self, name, x, dilation=1):
        w = self.w[f'{name}.weight']
        bias = self.w.get(f'{name}.bias')
        return F.conv2d(x, w, bias, 1, dilation * (w.shape[-1] // 2), dilation, x.shape[1] // w.shape[1])

    def norm(self, name, x):
        kind = self.a.get('norm_layer', 'batchnorm2d')
        if kind == 'batchnorm2d':
            mean, var = (self.w[f'{name}.running_{s}'][:, None, None] for s in ('mean', 'var'))
            eps = 1e-5
        else:
            over, eps = ((1, 2, 3), 1e-5) if kind == 'groupnorm1' else ((1,), 1e-6)
            mean = x.mean(over, keepdim=True)
            var = ((x - mean) ** 2).mean(over, keepdim=True)
        gain, shift = (self.w[f'{name}.{s}'][:, None, None] for s in ('weight', 'bias'))
        return (x - mean) / (var + eps).sqrt() * gain + shift

    def act(self, x):
        return ACTS[self.a.get('act_layer', 'relu')](x)

    def anti_aliasing(self, x, at):
        """The layer with the stride of `at`; where timm has traded that for dilation, with stride 1."""
        if self.a['aa_layer'] == 'avg':
            return x if at[0] == 1 else sample(mean_of(x, (0, 1), False), at)
        mode = 'constant' if self.a['aa_layer'] == 'blurpc' else 'reflect'
        kernel = (BLUR[:, None] * BLUR / 16).to(x).expand(x.shape[1], 1, 3, 3)
        return sample(F.conv2d(F.pad(x, (1,) * 4, mode=mode), kernel, groups=x.shape[1]), at)

    def attention(self, name, x):
        kind = self.a['attn_layer']
        mean = x.mean((2, 3), keepdim=True)
        if kind == 'se':
            gate = self.conv(f'{name}.fc2', self.conv(f'{name}.fc1', mean).relu()).sigmoid()
        elif kind == 'ese':
            gate = F.hardsigmoid(self.conv(f'{name}.fc', mean))
        else:
            w = self.w[f'{name}.conv.weight']
            gate = F.conv1d(mean.flatten(1)[:, None], w, padding=w.shape[-1] // 2).sigmoid().transpose(1, 2)[..., None]
        return x * gate

    # the block

    def split(self, p, x, form, at, dilation, aa):
        xs = x.chunk(self.a['scale'], 1)
        ys = []
        while f'{p}.convs.{len(ys)}.weight' in self.w:
            i = len(ys)
            y = xs[i] + ys[-1] if i > 0 and form == 'hierarchical' else xs[i]
            y = self.conv(f'{p}.convs.{i}', y, dilation)
            y = self.act(self.norm(f'{p}.bns.{i}', y if aa else sample(y, at)))
            ys.append(self.anti_aliasing(y, at) if aa else y)
        if len(ys) < self.a['scale']:
            pooled = sample(mean_of(xs[-1], (-1, 0, 1), self.a['first_block'] != 'paddle'), at)
            ys.append(pooled if form == 'parallel' or form == 'strided_pool' and at[0] > 1 else xs[-1])
        return torch.cat(ys, 1)

    def branch(self, p, x, first, at, downsamples, before=1, own=1):
        """All of a block but the shortcut.

        Args:
            first: The block opens a stage.
            downsamples: It has a stride, or timm has traded it.
            before: Dilation of the map before the block, in timm's form.
            own: Of its stage.
        """
        a = self.a
        form = a['first_block'] if first else 'hierarchical'
        if a['first_block'] == 'paddle':
            form = 'parallel' if downsamples else 'hierarchical'
        aa = a.get('aa_layer') is not None and downsamples
        early = a['stride_position'] == 'conv1'
        y = self.conv(f'{p}.conv1', x)
        y = self.act(self.norm(f'{p}.bn1', sample(y, at) if early and not aa else y))
        if early:
            y = self.anti_aliasing(y, at) if aa else y
            y = self.split(p, y, form, HERE, own, False)
        else:
            y = self.split(p, y, form, at, before, aa)
        attn = a['attn_layer'] and a['attn_position']
        y = self.attention(f'{p}.split_attn', y) if attn == 'split' else y
        y = self.norm(f'{p}.bn3', self.conv(f'{p}.conv3', y))
        return self.attention(f'{p}.se', y) if attn == 'output' else y

    # stages, from one offset

    def resnet_stage(self, p, x, at, before=1, own=1):
        i = 0
        while f'{p}.{i}.conv1.weight' in self.w:
            b, stride, d = f'{p}.{i}', at if i == 0 else HERE, before if i == 0 else own
            projects = any(k.startswith(f'{b}.downsample') for k in self.w)
            downsamples = stride[0] > 1 or d != own
            y = self.branch(b, x, stride[0] > 1 or projects, stride, downsamples, d, own)
            if projects and self.a['avg_down']:
                if downsamples:  # timm's undilated pool counts what lies outside
                    x = sample(mean_of(x, (0, 1), stride[0] == 1), stride)
                x = self.norm(f'{b}.downsample.2', self.conv(f'{b}.downsample.1', x))
            elif projects:
                x = self.norm(f'{b}.downsample.1', sample(self.conv(f'{b}.downsample.0', x, d), stride))
            x = self.act(x + y)
            i += 1
        return x

    def tree(self, p, x, at, children=(), level_root=False):
        bottom = sample(shifted(x, (0, 1), -torch.inf).amax(0), at) if at[0] > 1 else x
        children = [*children, bottom] if level_root else list(children)
        if f'{p}.root.conv.weight' not in self.w:
            x1 = self.tree(f'{p}.tree1', x, at)
            return self.tree(f'{p}.tree2', x1, HERE, [*children, x1])
        if f'{p}.project.0.weight' in self.w:
            bottom = self.norm(f'{p}.project.1', self.conv(f'{p}.project.0', bottom))
        x1 = (self.branch(f'{p}.tree1', x, at[0] > 1, at, at[0] > 1) + bottom).relu()
        x2 = (self.branch(f'{p}.tree2', x1, False, HERE, False) + x1).relu()
        y = self.norm(f'{p}.root.bn', self.conv(f'{p}.root.conv', torch.cat([x2, x1, *children], 1)))
        return (y + x2 if self.a['shortcut_root'] else y).relu()

    # networks

    def stem(self, x):
        """The stem, and what stands between it and the first stage."""
        a, s = self.a, (2, 0, 0)
        if 'stem_stride' in a:  # CIFAR
            x = sample(self.conv('conv1', x), (a['stem_stride'], 0, 0))
            return self.act(self.norm('bn1', x))
        if a['stem_type']:
            x = self.act(self.norm('conv1.1', sample(self.conv('conv1.0', x), s)))
            x = self.conv('conv1.6', self.act(self.norm('conv1.4', self.conv('conv1.3', x))))
        else:
            x = sample(self.conv('conv1', x), s)
        return self.act(self.norm('bn1', x))

    def stem_pool(self, x):
        a, s = self.a, (2, 0, 0)
        aa = a['aa_layer'] is not None
        if a['replace_stem_pool']:
            x = self.conv('maxpool.0', x)
            x = self.anti_aliasing(x, s) if aa else sample(x, s)
            return self.act(self.norm(f'maxpool.{1 + aa}', x))
        if a['aa_layer'] != 'avg':
            x = shifted(x, (-1, 0, 1), -torch.inf).amax(0)
        return self.anti_aliasing(x, s) if aa else sample(x, s)

    def stages(self, x, names, strides, reduction, run, exact):
        """The maps of stages, which beyond `output_stride` trade their stride; `reduction` is that of `x`."""
        grid, maps, before = [[x]], [], 1
        for name, stride in zip(names, strides, strict=True):
            reduction *= stride
            if reduction <= self.a['output_stride']:
                grid = [[run(name, grid[0][0], (stride, 0, 0))]]
            elif exact:
                k = len(grid)
                grid = [[run(name, grid[r % k][c % k], (2, r // k, c // k)) for c in range(2 * k)]
                        for r in range(2 * k)]
            else:
                grid = [[run(name, grid[0][0], HERE, before, 2 * before)]]
                before *= 2
            maps.append(interleave(grid))
        return maps

    def __call__(self, x):
        a = self.a
        if 'levels' in a:
            x = self.norm('base_layer.1', self.conv('base_layer.0', x)).relu()
            maps = []
            for i, stride in ((0, 1), (1, 2)):
                for j in range(a['levels'][i]):
                    x = sample(self.conv(f'level{i}.{3 * j}', x), (stride if j == 0 else 1, 0, 0))
                    x = self.norm(f'level{i}.{3 * j + 1}', x).relu()
                maps.append(x)
            maps += self.stages(
                x, [f'level{i}' for i in (2, 3, 4, 5)], (2, 2, 2, 2), 2,
                lambda name, x, at: self.tree(name, x, at, level_root=name != 'level2'), True)
        elif 'stem_stride' in a:
            maps = self.stages(
                self.stem(x), [f'layer{i}' for i in (1, 2, 3)], (1, 2, 2), a['stem_stride'], self.resnet_stage,
                a['exact_dilation'])
        else:
            x = self.stem(x)
            maps = [x, *self.stages(
                self.stem_pool(x), [f'layer{i}' for i in (1, 2, 3, 4)], (1, 2, 2, 2), 4, self.resnet_stage,
                a['exact_dilation'])]
        return maps, self.head(maps[-1])

    def head(self, x):
        pool = self.a['global_pool']
        mean, most = x.mean((2, 3)), x.amax((2, 3))
        both = torch.cat([mean, most], 1)
        x = {'avg': mean, 'max': most, 'avgmax': (mean + most) / 2, 'catavgmax': both, '': x}[pool]
        return x @ self.w['fc.weight'].flatten(1).t() + self.w['fc.bias'] if self.a['num_classes'] else x
