"""With `exact_dilation` a dilated network equals its strided self at every second, or fourth, position."""
import itertools

import families
import literal
import pytest
import timm
import torch
from torch import nn

from timm_res2net import Res2Net, Res2NetCifar, Res2NetDla
from timm_res2net.model.dilation import Dilated

SMALL = dict(layers=(1, 1, 2, 2), channels=(8, 12, 16, 16), base_width=32, num_classes=0)  # two stages equally wide
DLA = dict(levels=(1, 1, 1, 2, 3, 1), channels=(8, 8, 16, 16, 32, 32), base_width=32, num_classes=0)
CIFAR = dict(layers=(1, 2, 2), channels=(8, 8, 12), base_width=16, cardinality=2, num_classes=0)
SPLITS = [
    (p, f) for p in ('split', 'conv1') for f in ('parallel', 'strided_pool', 'parallel_conv', 'paddle', 'hierarchical')
    if (p, f) != ('split', 'hierarchical')]
STEMS = [dict(stem_type=''), dict(stem_type='deep', stem_width=8), dict(stem_type='deep_tiered', stem_width=8)]
SHORTCUTS = [dict(), dict(down_kernel_size=3), dict(avg_down=True)]
BLURS = [dict(), dict(aa_layer='blur'), dict(aa_layer='blurpc'), dict(aa_layer='avg')]
ALL = list(itertools.product(SPLITS, STEMS, SHORTCUTS, BLURS))


def double(cls, **arguments):
    return cls(**arguments).double().eval()


@torch.no_grad()
def error(strided, dilated, size=(64, 96)):
    """Largest relative difference over the maps of all stages, at the positions that both have."""
    dilated.load_state_dict(literal.randomize_norms(strided).state_dict())
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    worst, traded = 0., 0
    for a, b, theirs, ours in zip(
            literal.intermediates(strided, x)[1], literal.intermediates(dilated, x)[1], strided.feature_info,
            dilated.feature_info, strict=True):
        step = theirs['reduction'] // ours['reduction']
        assert b.shape[2:] == tuple(-(-n // ours['reduction']) for n in size)
        worst = max(worst, ((b[:, :, ::step, ::step] - a).norm() / a.norm()).item())
        traded += step > 1
    assert traded
    return worst


def check_res2net(split, stem, shortcut, blur, output_stride, size=(64, 96)):
    arguments = dict(SMALL, stride_position=split[0], first_block=split[1], **stem, **shortcut, **blur)
    dilated = double(Res2Net, **arguments, output_stride=output_stride, exact_dilation=True)
    assert error(double(Res2Net, **arguments), dilated, size) < 1e-12


@pytest.mark.parametrize('output_stride', [16, 8])
@pytest.mark.parametrize('split', SPLITS, ids='-'.join)
def test_every_form(split, output_stride):
    """Every pair of split and blur, and of split and shortcut; all combinations are the slow test's."""
    for i, blur in enumerate(BLURS):
        check_res2net(split, STEMS[i % 3], SHORTCUTS[(i + 1) % 3], blur, output_stride)


@pytest.mark.slow
@pytest.mark.parametrize('output_stride', [16, 8])
def test_all_combinations(output_stride):
    for split, stem, shortcut, blur in ALL:
        check_res2net(split, stem, shortcut, blur, output_stride)
        if blur.get('aa_layer') != 'avg':  # whose 2x2 windows do not fit odd maps, strided or not
            check_res2net(split, stem, shortcut, blur, output_stride, size=(97, 75))


@pytest.mark.parametrize('size', [(97, 75), (65, 33)])
@pytest.mark.parametrize('shortcut', SHORTCUTS, ids=str)
def test_odd_maps(shortcut, size):
    for split in (('split', 'paddle'), ('conv1', 'hierarchical')):
        check_res2net(split, STEMS[0], shortcut, dict(aa_layer='blur'), 8, size)


@pytest.mark.parametrize('stem_stride', [1, 2])
@pytest.mark.parametrize('output', [2, 1])
def test_cifar(stem_stride, output):
    for extra in (dict(), dict(stride_position='conv1'), dict(aa_layer='blur', avg_down=True)):
        arguments = dict(CIFAR, stem_stride=stem_stride, **extra)
        dilated = double(Res2NetCifar, **arguments, output_stride=output * stem_stride, exact_dilation=True)
        assert error(double(Res2NetCifar, **arguments), dilated, (16, 24)) < 1e-12


@pytest.mark.parametrize('output_stride', [16, 8])
def test_dla_which_has_no_other_form_of_it(output_stride):
    for extra in (dict(), dict(stride_position='conv1'), dict(first_block='paddle', shortcut_root=True)):
        dilated = double(Res2NetDla, **DLA, **extra, output_stride=output_stride)
        assert error(double(Res2NetDla, **DLA, **extra), dilated) < 1e-12
    with pytest.raises(TypeError, match='unknown argument exact_dilation'):
        Res2NetDla(exact_dilation=True)


def test_hierarchical_blocks_need_no_argument_for_it():
    """The stride stands before the 3x3 convolutions, which take their stage's own dilation."""
    arguments = dict(SMALL, channels=(8, 12, 16, 20), stride_position='conv1')
    for output_stride in (16, 8):
        assert error(double(Res2Net, **arguments), double(Res2Net, **arguments, output_stride=output_stride)) < 1e-12


@pytest.mark.parametrize('arguments', [dict(), dict(avg_down=True), dict(aa_layer='blur')], ids=str)
def test_timms_form_is_another_function(arguments):
    """And the default: `test_every_argument` compares it with timm's own."""
    arguments = dict(SMALL, channels=(8, 12, 16, 20), **arguments)
    assert error(double(Res2Net, **arguments), double(Res2Net, **arguments, output_stride=8)) > 1e-2


def test_attention_sees_the_whole_map():
    """A mean over more positions is another mean; the block before it is exact, as without."""
    arguments = dict(SMALL, attn_layer='se')
    dilated = double(Res2Net, **arguments, output_stride=8, exact_dilation=True)
    strided = double(Res2Net, **arguments)
    assert error(strided, dilated) > 1e-6
    for model in (strided, dilated):
        for block in model.modules():
            if hasattr(block, 'se'):
                block.se = None
    assert error(strided, dilated) < 1e-12


def test_nothing_to_trade():
    model = Res2Net(**SMALL, exact_dilation=True)
    assert not any(isinstance(m, (Dilated, nn.ReplicationPad2d)) for m in model.modules())
    assert [f['reduction'] for f in model.feature_info] == [2, 4, 8, 16, 32]


def test_a_layer_of_ones_own_is_refused():
    class Own(nn.Module):
        def __init__(self, channels, stride, device=None, dtype=None):
            super().__init__()

    Res2Net(**SMALL, aa_layer=Own, output_stride=8)
    with pytest.raises(ValueError, match=r"aa_layer=Own has no exact dilation, take 'blur'"):
        Res2Net(**SMALL, aa_layer=Own, output_stride=8, exact_dilation=True)


@pytest.mark.parametrize('family', ['blur', 'dla'])
def test_dilated_networks_do_what_others_do(family):
    """Trained, traced, exported for any size, in channels-last: the rest is `test_every_argument`'s."""
    more = {} if family == 'dla' else dict(exact_dilation=True, avg_down=True)
    model = literal.randomize_norms(families.make(family, output_stride=8, **more)).eval()
    assert any(isinstance(m, Dilated) for m in model.modules())
    x, other = torch.randn(2, 3, 64, 64), torch.randn(3, 3, 96, 128)
    dynamic = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    with torch.no_grad():
        expected = model(other)
        program = torch.export.export(model, (x,), dynamic_shapes=(dynamic,))
        torch.testing.assert_close(program.module()(other), expected)
        torch.testing.assert_close(torch.fx.symbolic_trace(model)(other), expected)
        channels_last = model.to(memory_format=torch.channels_last)
        features = channels_last.forward_features(other.to(memory_format=torch.channels_last))
        assert features.is_contiguous(memory_format=torch.channels_last)
    model.train()(x).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@torch.no_grad()
def test_an_image_too_small_to_be_dilated_is_refused():
    """The last stage's shortcut is pooled, dilated by 2, on a map of an eighth of the image."""
    model = Res2Net(**SMALL, avg_down=True, output_stride=8, exact_dilation=True).eval()
    with pytest.raises(ValueError, match='a map of 1 x 2 is smaller than .*, 2: give images of at least 2 times'):
        model(torch.zeros(1, 3, 8, 16))
    assert model(torch.zeros(1, 3, 9, 16)).shape == (1, 64)
    small, odd = torch.zeros(1, 1, 2, 2), torch.arange(9.).reshape(1, 1, 3, 3)
    layer = Dilated(nn.AvgPool2d(1), 3)
    assert torch.equal(layer(odd), odd)
    for traced in (layer, torch.jit.trace(layer, odd), torch.compile(layer, backend='eager')):
        assert torch.equal(traced(odd), odd)
    with pytest.raises(ValueError, match='a map of 2 x 2 is smaller'):
        layer(small)


def test_features_of_a_dilated_extractor():
    for name, more in (('test_res2net_custom', dict(exact_dilation=True)), ('dla60_res2net_custom', {})):
        model = timm.create_model(name, features_only=True, output_stride=8, device='meta', **more)
        maps = model(torch.empty(1, 3, 64, 64, device='meta'))
        assert model.feature_info.reduction() == [2, 4, 8, 8, 8] == [64 // m.shape[-1] for m in maps]
