"""The residual blocks: forms of a stage's first block, attention, anti-aliasing, drops, initialization."""
from functools import partial

import families
import literal
import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropBlock2d, DropPath, SEModule
from timm.models.resnet import downsample_conv
from torch import nn

from timm_res2net import Res2NetBottleneck, Res2NetDlaBottleneck

MODES = pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])


def make_block(inplanes=32, planes=16, stride=1, projection=True, **kwargs):
    downsample = downsample_conv(inplanes, planes * 4, 1, stride) if projection else None
    kwargs = {'base_width': 32, 'scale': 4, **kwargs}
    return literal.randomize_norms(Res2NetBottleneck(inplanes, planes, stride, downsample, **kwargs))


def literal_block(block, x, training, form, stride=1, conv1_stride=1, count_pad=True):
    """The bottleneck of figure 2b, its split in the paper's channel order."""
    def norm(x, bn):
        return F.batch_norm(x, bn.running_mean.clone(), bn.running_var.clone(), bn.weight, bn.bias, training)
    shortcut = x
    x = F.relu(norm(F.conv2d(x, block.conv1.weight, stride=conv1_stride), block.bn1))
    x = literal.to_paper_order(x, block.scale)
    x = literal.split(x, block.scale, block.convs, block.bns, training, form, stride, count_pad)
    x = literal.from_paper_order(x, block.scale)
    x = norm(F.conv2d(x, block.conv3.weight), block.bn3)
    if block.downsample is not None:
        conv, bn = block.downsample
        shortcut = norm(F.conv2d(shortcut, conv.weight, stride=conv.stride), bn)
    return F.relu(x + shortcut)


@MODES
@pytest.mark.parametrize('args, expected', [
    # a stage's first block; with stride 1 it is stage 1's
    (dict(stride=1), dict(form='parallel')),
    (dict(stride=2), dict(form='parallel', stride=2)),
    (dict(stride=1, first_block='parallel_conv'), dict(form='parallel_conv')),
    (dict(stride=2, first_block='parallel_conv'), dict(form='parallel_conv', stride=2)),
    (dict(stride=1, first_block='strided_pool'), dict(form='strided_pool')),
    (dict(stride=2, first_block='strided_pool'), dict(form='strided_pool', stride=2)),
    (dict(stride=2, stride_position='conv1', first_block='strided_pool'), dict(form='strided_pool', conv1_stride=2)),
    (dict(stride=1, first_block='paddle'), dict(form='hierarchical')),
    (dict(stride=2, first_block='paddle'), dict(form='parallel', stride=2, count_pad=False)),
    (dict(stride=1, stride_position='conv1'), dict(form='hierarchical')),
    (dict(stride=2, stride_position='conv1'), dict(form='hierarchical', conv1_stride=2)),
    (dict(stride=2, stride_position='conv1', first_block='parallel'), dict(form='parallel', conv1_stride=2)),
    # the others
    (dict(projection=False, inplanes=64), dict(form='hierarchical')),
    (dict(projection=False, inplanes=64, first_block='paddle'), dict(form='hierarchical')),
    (dict(projection=False, inplanes=64, first_block='parallel_conv'), dict(form='hierarchical')),
], ids=lambda d: '-'.join(f'{k}={v}' for k, v in d.items()))
def test_block_is_the_literal_one(args, expected, training):
    block = make_block(**args).train(training)
    x = torch.randn(2, args.get('inplanes', 32), 9, 11)
    with torch.no_grad():
        y = block(x.clone())
        torch.testing.assert_close(y, literal_block(block, x, training, **expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('position, channels', [('output', 64), ('split', 32)])
def test_attention_sees_the_channels_of_its_position(position, channels):
    block = make_block(attn_layer='se', attn_position=position)
    attention = [m for m in block.modules() if isinstance(m, SEModule)]
    assert len(attention) == 1
    shapes = []
    attention[0].register_forward_hook(lambda module, args, output: shapes.append(args[0].shape[1]))
    block(torch.randn(2, 32, 8, 8))
    assert shapes == [channels] == [attention[0].fc1.in_channels]


@pytest.mark.parametrize('position', ['output', 'split'])
def test_attention_position_is_where_it_says(position):
    """A gate of zeros silences all the branch at 'output', and leaves the bias of the last norm at 'split'."""
    class Silence(nn.Module):
        def __init__(self, channels, device=None, dtype=None):
            super().__init__()

        def forward(self, x):
            return torch.zeros_like(x)

    block = make_block(attn_layer=Silence, attn_position=position).eval()
    x = torch.randn(2, 32, 8, 8)
    branch = block.residual(x.clone())
    if position == 'output':
        assert torch.equal(branch, torch.zeros_like(branch))
    else:
        bn = block.bn3
        constant = bn.bias - bn.weight * bn.running_mean / (bn.running_var + bn.eps).sqrt()
        torch.testing.assert_close(branch, constant[None, :, None, None].expand_as(branch))


@pytest.mark.parametrize('position, channels', [('output', 256), ('split', 128)])
@pytest.mark.parametrize('ratio', [1 / 2, 1 / 4, 1 / 8, 1 / 16])
def test_reduction_ratio(ratio, position, channels):
    block = make_block(planes=64, attn_layer='se', rd_ratio=ratio, attn_position=position)
    attention = next(m for m in block.modules() if isinstance(m, SEModule))
    assert attention.fc1.out_channels == attention.fc2.in_channels == channels * ratio


def test_reduction_ratio_defaults_to_a_sixteenth():
    block = make_block(planes=64, attn_layer='se')
    assert block.se.fc1.out_channels == 16


@pytest.mark.parametrize('name', ['se', 'ese', 'eca', 'ceca', 'gc', 'cbam', 'lcbam'])
@pytest.mark.parametrize('position', ['output', 'split'])
def test_attention_layers_of_timm(name, position):
    block = make_block(planes=32, attn_layer=name, attn_position=position)
    x = torch.randn(2, 32, 8, 8, requires_grad=True)
    y = block(x)
    y.square().sum().backward()
    assert y.shape == (2, 128, 8, 8)
    assert all(torch.isfinite(p.grad).all() for p in block.parameters())
    plain = make_block(planes=32)
    plain.load_state_dict(block.state_dict(), strict=False)
    assert not torch.allclose(plain(x.detach().clone()), y, atol=1e-3)


@pytest.mark.parametrize('position', ['split', 'conv1'])
@pytest.mark.parametrize('aa_layer', ['blur', 'blurpc', 'avg'])
def test_anti_aliasing_changes_strided_blocks_only(aa_layer, position):
    x = torch.randn(2, 32, 16, 16)
    for stride in (1, 2):
        plain = make_block(stride=stride, stride_position=position).eval()
        block = make_block(stride=stride, stride_position=position, aa_layer=aa_layer).eval()
        block.load_state_dict(plain.state_dict(), strict=False)
        y, z = plain(x.clone()), block(x.clone())
        assert y.shape == z.shape == (2, 64, 16 // stride, 16 // stride)
        assert torch.allclose(y, z, atol=1e-3) == (stride == 1)


def test_anti_aliasing_where_dilation_replaced_the_stride():
    block = make_block(dilation=2, first_dilation=1, aa_layer='blur').eval()
    plain = make_block(dilation=2, first_dilation=1).eval()
    plain.load_state_dict(block.state_dict(), strict=False)
    x = torch.randn(2, 32, 16, 16)
    assert plain(x.clone()).shape == block(x.clone()).shape
    assert not torch.allclose(plain(x.clone()), block(x.clone()), atol=1e-3)


@pytest.mark.parametrize('drop', [
    dict(drop_path=DropPath(0.5)),
    dict(drop_block=partial(DropBlock2d, drop_prob=0.5, block_size=3)),
], ids=['path', 'block'])
def test_drops_act_in_training_only(drop):
    block = make_block(**drop)
    for bn in (m for m in block.modules() if isinstance(m, nn.BatchNorm2d)):
        bn.momentum = 0.  # statistics stay, so that only the drops differ between calls
    x = torch.randn(8, 32, 8, 8)
    block.train()
    assert not torch.equal(block(x.clone()), block(x.clone()))
    block.eval()
    plain = make_block().eval()
    plain.load_state_dict(block.state_dict())
    assert torch.equal(block(x.clone()), plain(x.clone()))


def test_dropped_path_leaves_the_shortcut():
    block = make_block(inplanes=64, projection=False, drop_path=DropPath(0.5)).train()
    x = torch.randn(64, 64, 8, 8)
    y = block(x.clone())
    dropped = [torch.equal(a, b.relu()) for a, b in zip(y, x, strict=True)]
    assert 10 < sum(dropped) < 54


@pytest.mark.parametrize('norm_layer', [nn.BatchNorm2d, partial(nn.GroupNorm, 4)], ids=['batchnorm', 'groupnorm'])
def test_zeroed_block_is_its_shortcut(norm_layer):
    block = Res2NetBottleneck(64, 16, base_width=32, scale=4, norm_layer=norm_layer)
    block.zero_init_last()
    x = torch.randn(2, 64, 8, 8)
    assert not block.bn3.weight.any()
    assert torch.equal(block(x.clone()), x.relu())


def test_zero_init_of_a_norm_without_weight_is_left_out():
    block = Res2NetBottleneck(64, 16, base_width=32, norm_layer=partial(nn.BatchNorm2d, affine=False))
    block.zero_init_last()
    assert block(torch.randn(2, 64, 8, 8)).shape == (2, 64, 8, 8)


@pytest.mark.parametrize('block', [
    make_block(stride=2), make_block(stride_position='conv1', stride=2), Res2NetDlaBottleneck(32, 32, base_width=32)])
def test_every_activation_is_used_once(block):
    calls = families.calls_of_activations(block, torch.randn(2, 32, 8, 8))
    assert set(calls.values()) == {1}
    assert len(calls) == 2 + len(block.convs)


def test_scale_1_is_the_bottleneck_of_resnet():
    from timm.models.resnet import Bottleneck
    theirs = literal.randomize_norms(Bottleneck(64, 16, base_width=64, cardinality=1))
    ours = Res2NetBottleneck(64, 16, base_width=64, scale=1)
    ours.load_state_dict({
        k.replace('conv2.', 'convs.0.').replace('bn2.', 'bns.0.'): v for k, v in theirs.state_dict().items()})
    x = torch.randn(2, 64, 8, 8)
    for training in (True, False):
        assert torch.equal(theirs.train(training)(x.clone()), ours.train(training)(x.clone()))


@pytest.mark.parametrize('first_block, expected', [
    (None, dict(form='parallel', stride=2)),
    ('paddle', dict(form='parallel', stride=2, count_pad=False)),
    ('strided_pool', dict(form='strided_pool', stride=2)),
    ('parallel_conv', dict(form='parallel_conv', stride=2)),
])
def test_dla_block_is_the_literal_one(first_block, expected):
    block = literal.randomize_norms(Res2NetDlaBottleneck(32, 64, 2, base_width=32, first_block=first_block)).eval()
    block.downsample = None
    assert block.width == 16
    x = torch.randn(2, 32, 10, 10)
    shortcut = torch.randn(2, 64, 5, 5)
    with torch.no_grad():
        y = block(x.clone(), shortcut)
        block.bn3.weight.zero_()
        block.bn3.bias.zero_()
        assert torch.equal(block(x.clone(), shortcut), shortcut.relu())
    assert y.shape == (2, 64, 5, 5)

    block = literal.randomize_norms(Res2NetDlaBottleneck(32, 64, 2, base_width=32, first_block=first_block)).eval()
    with torch.no_grad():
        inner = F.relu(block.bn1(block.conv1(x)))
        inner = literal.split(
            literal.to_paper_order(inner, 4), 4, block.convs, block.bns, False, **expected)
        inner = block.bn3(block.conv3(literal.from_paper_order(inner, 4)))
        torch.testing.assert_close(block(x, shortcut), F.relu(inner + shortcut), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('make, args, word', [
    (make_block, dict(reduce_first=2), 'reduce_first'),
    (make_block, dict(first_block='other'), 'first_block'),
    (make_block, dict(stride_position='conv3'), 'stride_position'),
    (make_block, dict(attn_position='input', attn_layer='se'), 'attn_position'),
    (make_block, dict(base_width=0), 'base_width'),
    (make_block, dict(base_width=3.9), 'base_width'),
    (make_block, dict(scale=0), 'scale'),
    (make_block, dict(rd_ratio=0.25), 'rd_ratio'),
    (make_block, dict(rd_ratio=0.25, attn_layer='eca'), 'rd_ratio'),
    (partial(Res2NetDlaBottleneck, 32, 32), dict(base_width=0.5), 'base_width'),
    (partial(Res2NetDlaBottleneck, 32, 32), dict(base_width=6, cardinality=3), 'cardinality'),
    (partial(Res2NetDlaBottleneck, 32, 32), dict(first_block='hierarchical', stride=2), 'hierarchical'),
])
def test_impossible_arguments_are_named(make, args, word):
    with pytest.raises(ValueError, match=rf'\b{word}\b'):
        make(**args)
