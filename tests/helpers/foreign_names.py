"""The names that projects give to the weights of a Res2Net, written out beside the package's own tables."""
DEEP = (('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4'), ('conv1.6', 'bn1'))
PREFIXES = {'mmpretrain': 'backbone.', 'mmdetection': 'backbone.', 'detectron2': 'backbone.bottom_up.',
            'maskrcnn': 'backbone.body.', 'paddledetection': 'backbone.'}
HEADS = {'official': 'fc.', 'resnet': 'fc.', 'mmpretrain': 'head.fc.', 'paddle': 'out.', 'holocron': 'head.',
         'mindcv': 'classifier.'}  # the others have none
NORMS = {
    'paddle': ('weight', 'bias', '_mean', '_variance'),
    'paddledetection': ('weight', 'bias', '_mean', '_variance'),
    'mindcv': ('gamma', 'beta', 'moving_mean', 'moving_variance'),
}


def norm_entries(style):
    """Names of a norm's weight, bias, mean and variance."""
    return NORMS.get(style, ('weight', 'bias', 'running_mean', 'running_var'))


def stem_names(style, deep, i):
    """Convolution and norm number i of the stem."""
    p = PREFIXES.get(style, '')
    if style == 'paddle':
        name = f'conv1_{i + 1}' if deep else 'conv1'
        return f'{name}._conv', f'{name}._batch_norm'
    if style == 'paddledetection':
        name = f'{p}res1.conv1_{i + 1}' if deep else f'{p}res1.conv1'
        return f'{name}.conv', f'{name}.norm'
    if style == 'holocron':
        return f'features.{3 * i}', f'features.{3 * i + 1}'
    if style == 'mmpretrain' and deep:
        return f'{p}stem.{i}.conv', f'{p}stem.{i}.bn'
    if style == 'mmdetection':
        return f'{p}stem.{3 * i}', f'{p}stem.{3 * i + 1}'
    if style in ('detectron2', 'maskrcnn'):
        p += 'stem.'
    conv, bn = DEEP[i] if deep else ('conv1', 'bn1')
    return p + conv, p + bn


def block_names(style, deep, avg_down, layers, stage, block, part, i=0):
    """Convolution and norm of a block; stage, block and group i count from 0."""
    p = PREFIXES.get(style, '')
    first = 1 if avg_down and not (style == 'mindcv' and stage == 0) else 0  # a pool is before it
    if style == 'paddle':
        letter = f'b{block}' if stage == 2 and layers[2] > 6 and block else chr(97 + block)
        part = {'reduce': 'conv0', 'split': f'res{stage + 2}{letter}_branch2b_{i + 1}', 'expand': 'conv2',
                'short': 'short'}[part]
        return f'bb_{stage}_{block}.{part}._conv', f'bb_{stage}_{block}.{part}._batch_norm'
    if style == 'paddledetection':
        part = {'reduce': 'branch2a', 'split': f'branch2b.{i}', 'expand': 'branch2c', 'short': 'branch1'}[part]
        return tuple(f'{p}res{stage + 2}.blocks.{block}.{part}.{kind}' for kind in ('conv', 'norm'))
    if style == 'detectron2':
        pairs = {'reduce': ('conv1', 'conv1.norm'), 'split': (f'convs.{i}', f'bns.{i}'),
                 'expand': ('conv3', 'conv3.norm'), 'short': ('shortcut.1', 'shortcut.1.norm')}
        return tuple(f'{p}res{stage + 2}.{block}.{n}' for n in pairs[part])
    if style == 'holocron':
        pairs = {'reduce': ('conv.0', 'conv.1'), 'split': (f'conv.3.conv.{i}.0', f'conv.3.conv.{i}.1'),
                 'expand': ('conv.4', 'conv.5'), 'short': (f'downsample.{first}', f'downsample.{first + 1}')}
        return tuple(f'features.{stage + (10 if deep else 4)}.{block}.{n}' for n in pairs[part])
    down = 'down_sample' if style == 'mindcv' else 'downsample'
    pairs = {'reduce': ('conv1', 'bn1'), 'expand': ('conv3', 'bn3'),
             'split': ('conv2', 'bn2') if style == 'resnet' else (f'convs.{i}', f'bns.{i}'),
             'short': (f'{down}.{first}', f'{down}.{first + 1}')}
    return tuple(f'{p}layer{stage + 1}.{block}.{n}' for n in pairs[part])
