"""The hierarchical split against a literal implementation of the paper's equations."""
import literal
import pytest
import torch
from torch import nn

from timm_res2net import HierarchicalSplit
from timm_res2net.model.hierarchical_split import FORMS

MODES = pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])


def make_split(width, scale, **kwargs):
    return literal.randomize_norms(HierarchicalSplit(width, scale, **kwargs))


def compare(module, paper_x, training, **kwargs):
    scale = module.scale
    module.train(training)
    with torch.no_grad():
        expected = literal.split(paper_x, scale, module.convs, module.bns, training, **kwargs)
        y = literal.to_paper_order(module(literal.from_paper_order(paper_x, scale)), scale)
    assert y.shape == expected.shape
    torch.testing.assert_close(y, expected, rtol=1e-6, atol=1e-6)


@MODES
@pytest.mark.parametrize('dilation', [1, 2])
@pytest.mark.parametrize('cardinality', [1, 2, 8])
@pytest.mark.parametrize('scale', [2, 3, 4, 8])
def test_equations_of_the_paper(scale, cardinality, dilation, training):
    module = make_split(8, scale, cardinality=cardinality, dilation=dilation)
    assert len(module.convs) == len(module.bns) == len(module.acts) == scale - 1
    compare(module, torch.randn(3, 8 * scale, 11, 9), training)


@MODES
@pytest.mark.parametrize('count_include_pad', [True, False])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('scale', [2, 4, 6])
def test_parallel_form(scale, stride, count_include_pad, training):
    module = make_split(6, scale, stride=stride, form='parallel', count_include_pad=count_include_pad)
    assert len(module.convs) == scale - 1
    for size in ((10, 8), (9, 7)):
        x = torch.randn(2, 6 * scale, *size)
        compare(module, x, training, form='parallel', stride=stride, count_pad=count_include_pad)


@MODES
@pytest.mark.parametrize('stride', [1, 2])
def test_parallel_form_without_the_pool_at_stride_1(stride, training):
    module = make_split(6, 4, stride=stride, form='strided_pool')
    assert len(module.convs) == 3 and isinstance(module.pool, nn.AvgPool2d if stride == 2 else nn.Identity)
    compare(module, torch.randn(2, 24, 9, 10), training, form='strided_pool', stride=stride)


@MODES
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('scale', [2, 4, 6])
def test_parallel_form_with_every_group_convolved(scale, stride, training):
    module = make_split(6, scale, stride=stride, form='parallel_conv', cardinality=3)
    assert len(module.convs) == scale
    compare(module, torch.randn(2, 6 * scale, 9, 10), training, form='parallel_conv', stride=stride)


def test_the_permutation_matters():
    module = make_split(8, 4).eval()
    x = torch.randn(2, 32, 8, 8)
    with torch.no_grad():
        expected = literal.split(x, 4, module.convs, module.bns, False)
        assert not torch.allclose(module(x), expected, atol=1e-2)


@MODES
def test_statistics_are_updated_once_per_convolution(training):
    module = make_split(4, 4).train(training)
    before = [bn.running_mean.clone() for bn in module.bns]
    module(torch.randn(2, 16, 8, 8))
    for bn, mean in zip(module.bns, before, strict=True):
        assert torch.equal(bn.running_mean, mean) != training
        assert bn.num_batches_tracked == int(training)


@MODES
@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('stride', [1, 2])
def test_scale_1_is_one_convolution_norm_and_activation(form, stride, training):
    module = make_split(12, 1, stride=stride, cardinality=4, form=form).train(training)
    x = torch.randn(2, 12, 9, 9)
    assert [n for n, _ in module.named_parameters()] == ['convs.0.weight', 'bns.0.weight', 'bns.0.bias']
    with torch.no_grad():
        assert torch.equal(module(x), literal.conv_norm_relu(x, module.convs[0], module.bns[0], training))


def receptive_field(module, group, size=31):
    """Extent of the input pixels, over all channels, that the centre pixel of an output group depends on."""
    x = torch.rand(1, module.scale * module.width, size, size, requires_grad=True)
    y = module(x)[:, group * module.width:(group + 1) * module.width, size // 2, size // 2]
    y.sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    return int(rows.max() - rows.min()) + 1


def test_groups_see_1_to_2s_minus_1_pixels():
    module = HierarchicalSplit(2, 5, act_layer='sigmoid').eval()  # sigmoid: no dead units hide a dependence
    fields = [receptive_field(module, group) for group in range(5)]
    assert fields == [3, 5, 7, 9, 1]


def test_anti_aliasing_replaces_the_stride():
    x = torch.randn(1, 32, 16, 16)
    plain = HierarchicalSplit(8, 4, stride=2, form='parallel').eval()
    blur = HierarchicalSplit(8, 4, stride=2, form='parallel', aa_layer='blur').eval()
    blur.load_state_dict(plain.state_dict(), strict=False)
    y, z = plain(x), blur(x)
    assert y.shape == z.shape == (1, 32, 8, 8)
    assert not torch.allclose(y[:, :24], z[:, :24], atol=1e-3)
    assert torch.equal(y[:, 24:], z[:, 24:])  # the pooled group is smooth already
    assert all(conv.stride == (1, 1) for conv in blur.convs)


@pytest.mark.parametrize('layers', [
    dict(act_layer='silu', norm_layer='groupnorm1'),
    dict(act_layer=nn.GELU, norm_layer=nn.InstanceNorm2d),
    dict(act_layer='prelu', norm_layer='layernorm2d'),
], ids=['names', 'classes', 'prelu'])
def test_any_norm_and_activation(layers):
    module = HierarchicalSplit(8, 4, **layers)
    y = module(torch.randn(2, 32, 7, 7))
    y.sum().backward()
    assert y.shape == (2, 32, 7, 7)
    assert all(p.grad is not None for p in module.parameters())
    assert len({id(act) for act in module.acts}) == 3


def test_device_and_dtype_reach_every_parameter():
    for layer in ('relu', 'prelu'):
        module = HierarchicalSplit(8, 4, act_layer=layer, device='meta', dtype=torch.bfloat16)
        for tensor in module.parameters():
            assert tensor.is_meta and tensor.dtype == torch.bfloat16


@pytest.mark.parametrize('args, error, word', [
    (dict(width=0), ValueError, 'width'),
    (dict(width=8.), TypeError, 'width'),
    (dict(scale=0), ValueError, 'scale'),
    (dict(scale=True), TypeError, 'scale'),
    (dict(stride=0), ValueError, 'stride'),
    (dict(dilation='2'), TypeError, 'dilation'),
    (dict(cardinality=3), ValueError, 'cardinality'),
    (dict(form='serial'), ValueError, 'form'),
    (dict(stride=2), ValueError, 'stride'),
    (dict(norm_layer='nonorm'), ValueError, 'norm_layer'),
    (dict(norm_layer='groupnorm'), ValueError, 'norm_layer'),
    (dict(act_layer='noact'), ValueError, 'act_layer'),
    (dict(aa_layer='noaa'), ValueError, 'aa_layer'),
])
def test_impossible_arguments_are_named(args, error, word):
    with pytest.raises(error, match=rf'\b{word}\b'):
        HierarchicalSplit(**{'width': 8, **args})


@pytest.mark.parametrize('scale', [1, 4])
@pytest.mark.parametrize('channels', [24, 31, 40])
def test_other_numbers_of_channels_are_refused(scale, channels):
    """One group more would pass for the identity group."""
    module, x = make_split(32 // scale, scale).eval(), torch.randn(1, channels, 8, 8)
    for call in (module, torch.jit.script(module), torch.fx.symbolic_trace(module)):
        assert torch.equal(call(x[:, :1].expand(1, 32, 8, 8)), module(x[:, :1].expand(1, 32, 8, 8)))
        with pytest.raises(Exception, match=r'scale \* width = 32'):
            call(x)
    with pytest.raises(AssertionError, match=f'x has {channels} channels'):
        module(x)
