"""The networks: equality with timm's own, sizes of the paper, forms, what arguments do."""
import families
import literal
import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from timm_res2net import Res2Net, Res2NetCifar, Res2NetDla

SAME_IN_TIMM = [
    'res2net50_26w_4s', 'res2net50_48w_2s', 'res2net50_14w_8s', 'res2net50_26w_6s', 'res2net50_26w_8s',
    'res2net101_26w_4s', 'res2net50d', 'res2net101d', 'res2next50', 'dla60_res2net', 'dla60_res2next', 'resnet50',
]

# 1000 classes, 224 x 224: parameters, GMACs
SIZES = {
    'res2net50_48w_2s_custom': (25_287_304, 4.16),
    'res2net50_26w_4s_custom': (25_699_120, 4.26),
    'res2net50_14w_8s_custom': (25_059_816, 4.18),
    'res2net50_26w_6s_custom': (37_051_448, 6.30),
    'res2net50_26w_8s_custom': (48_403_776, 8.34),
    'res2net50_18w_4s_custom': (18_095_104, 2.90),
    'res2net101_26w_4s_custom': (45_206_688, 8.07),
    'res2next50_custom': (24_671_464, 4.17),
    'res2net50d_custom': (25_718_352, 4.49),
    'res2net101d_custom': (45_225_920, 8.31),
    'res2net152d_custom': (61_294_480, 12.12),
    'res2net200d_custom': (76_215_536, 15.71),
    'seres2net50_26w_4s_custom': (28_230_112, 4.26),
    'dla60_res2net_custom': (20_848_072, 4.12),
    'dla60_res2next_custom': (17_032_984, 3.46),
    'resnet50_custom': (25_557_032, 4.09),
}

# the paper's table 4, millions of parameters with 10 classes
CIFAR_SIZES = {
    'res2next29_6c_24w_4s_cifar_custom': 24.3,
    'res2next29_8c_25w_4s_cifar_custom': 33.8,
    'res2next29_6c_24w_6s_cifar_custom': 36.7,
    'resnext29_8c_64w_cifar_custom': 34.4,
    'resnext29_16c_64w_cifar_custom': 68.1,
}


def count(model):
    return sum(p.numel() for p in model.parameters())


def rename(state_dict, name, to_timm=False):
    """timm's ResNet bottleneck calls the one convolution of scale 1 conv2."""
    pairs = [('.conv2.', '.convs.0.'), ('.bn2.', '.bns.0.')] if name == 'resnet50' else []
    for theirs, ours in pairs:
        old, new = (ours, theirs) if to_timm else (theirs, ours)
        state_dict = {k.replace(old, new): v for k, v in state_dict.items()}
    return state_dict


@pytest.mark.parametrize('name', SAME_IN_TIMM)
def test_same_weights_same_outputs_and_gradients_as_timm(name):
    theirs = literal.randomize_norms(timm.create_model(name))
    ours = timm.create_model(f'{name}_custom', device='meta')
    weights = {k: v.clone() for k, v in theirs.state_dict().items()}
    ours.load_state_dict(rename(weights, name), assign=True)
    x = torch.randn(2, 3, 64, 64)

    theirs.eval(), ours.eval()
    with torch.no_grad():
        expected = theirs(x)
        assert torch.equal(ours(x), expected)
        assert expected.std() > 1e-3  # not a comparison of zeros

    theirs.train(), ours.train()
    target = torch.randn(2, 1000)
    for model in (theirs, ours):
        (model(x) * target).mean().backward()
    expected = rename({k: p.grad for k, p in theirs.named_parameters()}, name)
    for key, param in ours.named_parameters():
        scale = expected[key].abs().max()
        assert scale > 0, key
        torch.testing.assert_close(param.grad / scale, expected[key] / scale, rtol=1e-3, atol=1e-4)

    fresh = timm.create_model(name, device='meta')
    fresh.load_state_dict(rename(ours.state_dict(), name, to_timm=True), assign=True)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), ours.eval()(x))


@pytest.mark.parametrize('name', SIZES)
def test_sizes(name):
    parameters, gmacs = SIZES[name]
    model = timm.create_model(name, device='meta').eval()
    assert count(model) == parameters
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 224, 224, device='meta'))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.01)


@pytest.mark.parametrize('name', CIFAR_SIZES)
def test_cifar_sizes(name):
    model = timm.create_model(name, num_classes=10, device='meta')
    assert count(model) / 1e6 == pytest.approx(CIFAR_SIZES[name], abs=0.06)
    assert model.num_features == 1024


@pytest.mark.parametrize('name, blocks, channels', [
    ('resnext29_8c_64w_cifar_custom', [3, 3, 3], [256, 512, 1024]),
    ('res2next29_6c_24w_4s_cifar_custom', [3, 3, 3], [256, 512, 1024]),
    ('res2net50_26w_4s_custom', [3, 4, 6, 3], [256, 512, 1024, 2048]),
])
def test_squeeze_and_excitation_adds_two_matrices_per_block(name, blocks, channels):
    plain = timm.create_model(name, device='meta')
    squeezed = timm.create_model(f'se{name}', device='meta')
    added = sum(n * (2 * c * (c // 16) + c + c // 16) for n, c in zip(blocks, channels, strict=True))
    assert count(squeezed) - count(plain) == added


@pytest.mark.parametrize('cls', [Res2Net, Res2NetCifar, Res2NetDla])
def test_default_arguments(cls):
    model = cls(device='meta')
    classes = 100 if cls is Res2NetCifar else 1000
    assert model(torch.empty(2, 3, 64, 64, device='meta')).shape == (2, classes)


def test_default_is_res2net50_26w_4s():
    assert count(Res2Net(device='meta')) == SIZES['res2net50_26w_4s_custom'][0]
    assert count(Res2NetDla(device='meta')) == SIZES['dla60_res2net_custom'][0]


@pytest.mark.parametrize('depth, blocks', [(26, 8), (50, 16), (101, 33), (152, 50), (200, 66)])
def test_depth(depth, blocks):
    model = Res2Net(depth=depth, device='meta')
    assert sum(len(stage) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)) == blocks
    model = Res2Net(layers=[1, 2, 3, 1], device='meta')
    assert [len(s) for s in (model.layer1, model.layer2, model.layer3, model.layer4)] == [1, 2, 3, 1]


@pytest.mark.parametrize('args, parallel, counted', [
    (dict(), [True] * 4, [True] * 4),
    (dict(first_block='paddle'), [False, True, True, True], [None, False, False, False]),
    (dict(first_block='strided_pool'), [True] * 4, [None, True, True, True]),
    (dict(first_block='strided_pool', stride_position='conv1'), [True] * 4, [None] * 4),
    (dict(first_block='strided_pool', output_stride=8), [True] * 4, [None, True, None, None]),  # timm takes it
    (dict(first_block='parallel_conv'), [True] * 4, [None] * 4),
    (dict(stride_position='conv1'), [False] * 4, [None] * 4),
])
def test_form_of_each_stage(args, parallel, counted):
    model = Res2Net(depth=26, device='meta', **args)
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    assert [stage[0].parallel for stage in stages] == parallel
    assert [getattr(stage[0].pool, 'count_include_pad', None) for stage in stages] == counted
    assert not any(stage[1].parallel for stage in stages)
    strides = [stage[0].conv1.stride[0] for stage in stages]
    assert strides == ([1, 2, 2, 2] if args.get('stride_position') == 'conv1' else [1] * 4)


@pytest.mark.parametrize('form', [None, 'paddle', 'parallel_conv'])
@pytest.mark.parametrize('output_stride', [16, 8])
def test_trading_stride_for_dilation_keeps_the_form(form, output_stride):
    args = dict(depth=26, first_block=form, device='meta')
    plain, dilated = Res2Net(**args), Res2Net(output_stride=output_stride, **args)
    assert plain.state_dict().keys() == dilated.state_dict().keys()
    for stage in ('layer1', 'layer2', 'layer3', 'layer4'):
        for a, b in zip(getattr(plain, stage), getattr(dilated, stage), strict=True):
            assert a.parallel == b.parallel
            assert isinstance(a.pool, nn.AvgPool2d) == isinstance(b.pool, nn.AvgPool2d)


@pytest.mark.parametrize('family', families.FAMILIES)
def test_every_activation_module_is_used_once(family):
    model = families.make(family).eval()
    calls = families.calls_of_activations(model, torch.randn(1, 3, 64, 64))
    assert len(calls) > 10
    if family in families.DLAS:  # the stem and the aggregation nodes are timm's
        calls = {k: v for k, v in calls.items() if '.acts.' in k or k.endswith(('.act1', '.act3'))}
    assert {name: n for name, n in calls.items() if n != 1} == {}


@pytest.mark.parametrize('name', ['seres2net50_26w_4s_custom', 'seres2next29_6c_24w_4s_cifar_custom'])
@pytest.mark.parametrize('ratio', [1 / 4, 1 / 8, 1 / 16])
def test_reduction_ratio_holds_in_every_block(name, ratio):
    model = timm.create_model(name, rd_ratio=ratio, device='meta')
    blocks = [m for m in model.modules() if hasattr(m, 'residual')]
    assert all(b.se.fc1.out_channels == b.conv3.out_channels * ratio for b in blocks)
    assert len(blocks) == (16 if 'cifar' not in name else 9)


def test_attention_position():
    at = {p: Res2Net(depth=26, attn_layer='se', attn_position=p, device='meta') for p in ('output', 'split')}
    for stage in ('layer1', 'layer4'):
        for block in getattr(at['output'], stage):
            assert block.split_attn is None and block.se.fc1.in_channels == block.conv3.out_channels
        for block in getattr(at['split'], stage):
            assert block.se is None and block.split_attn.fc1.in_channels == block.conv3.in_channels


@pytest.mark.parametrize('family', [*families.RESNETS, *families.CIFARS])
def test_zero_init_last(family):
    for zero in (True, False):
        model = families.make(family, zero_init_last=zero)
        norms = [m.bn3 for m in model.modules() if hasattr(m, 'residual')]
        assert norms
        assert all(bool(bn.weight.any()) != zero for bn in norms)


@pytest.mark.parametrize('family', ['plain', 'd', 'conv1', 'cifar'])
@pytest.mark.parametrize('aa_layer', ['blur', 'avg'])
def test_anti_aliasing_has_an_effect_and_keeps_sizes(family, aa_layer):
    plain = literal.randomize_norms(families.make(family, num_classes=0, global_pool='')).eval()
    model = families.make(family, num_classes=0, global_pool='', aa_layer=aa_layer).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        y, z = plain(x), model(x)
    assert y.shape == z.shape
    assert (y - z).abs().mean() > 1e-2 * y.abs().mean()


@pytest.mark.parametrize('family', ['plain', 'cifar'])
@pytest.mark.parametrize('drop', [
    dict(drop_path_rate=0.5), dict(drop_block_rate=0.5), dict(drop_rate=0.5)], ids=lambda d: next(iter(d)))
def test_drops_act_in_training_only(family, drop):
    if family == 'cifar' and 'drop_block_rate' in drop:
        drop = dict(drop, layers=(1, 1, 2))
    model = literal.randomize_norms(families.make(family, **drop))
    plain = families.make(family, **{k: v for k, v in drop.items() if k == 'layers'})
    plain.load_state_dict(model.state_dict())
    x = torch.randn(4, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), plain.eval()(x))
        for module in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            module.momentum = 0.
        assert not torch.equal(model.train()(x), model.train()(x))


def test_stems():
    x = torch.empty(1, 3, 64, 64, device='meta')
    for args, first in [
        (dict(), (64,)),
        (dict(stem_type='deep'), (32, 32, 64)),
        (dict(stem_type='deep', stem_width=24), (24, 24, 48)),
        (dict(stem_type='deep_tiered', stem_width=32), (24, 32, 64)),
    ]:
        model = Res2Net(depth=26, device='meta', **args)
        convs = [m.out_channels for m in model.conv1.modules() if isinstance(m, nn.Conv2d)]
        assert tuple(convs) == first
        assert model(x).shape == (1, 1000)
    replaced = Res2Net(depth=26, replace_stem_pool=True, device='meta')
    assert not any(isinstance(m, nn.MaxPool2d) for m in replaced.modules())
    assert replaced(x).shape == (1, 1000)


@pytest.mark.parametrize('stem_stride', [1, 2])
@pytest.mark.parametrize('output', [4, 2, 1])
def test_cifar_strides(stem_stride, output):
    model = families.make('cifar', stem_stride=stem_stride, output_stride=output * stem_stride, num_classes=0,
                          global_pool='', device='meta')
    y = model(torch.empty(1, 3, 32, 32, device='meta'))
    assert y.shape[-1] == 32 // (output * stem_stride)
    assert model.feature_info[-1]['reduction'] == output * stem_stride


@pytest.mark.parametrize('family', families.CIFARS)
def test_cifar_intermediates(family):
    model = families.make(family, stem_stride=1).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        final, maps = model.forward_intermediates(x)
        assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (96, 16, 16), (128, 8, 8)]
        assert torch.equal(final, maps[-1]) and torch.equal(final, model.forward_features(x))
        assert torch.equal(model.forward_head(final), model(x))
        only = model.forward_intermediates(x, indices=[1], stop_early=True, intermediates_only=True)
        assert len(only) == 1 and torch.equal(only[0], maps[1])
        assert model.prune_intermediate_layers([1]) == [1]
        pruned, kept = model.forward_intermediates(x, indices=[1])
        assert torch.equal(kept[0], maps[1]) and torch.equal(pruned, maps[1])
    assert model.num_features == 96


@pytest.mark.parametrize('pool', ['avg', 'max', 'avgmax', 'catavgmax'])
def test_pools_and_reset_classifier(pool):
    for family in ('plain', 'cifar', 'dla'):
        model = families.make(family, global_pool=pool).eval()
        x = torch.randn(2, 3, 64, 64)
        assert model(x).shape == (2, 7)
        features = model.forward_head(model.forward_features(x), pre_logits=True)
        assert features.flatten(1).shape[1] == model.num_features * (2 if pool == 'catavgmax' else 1)
        model.reset_classifier(3, pool)
        assert model(x).shape == (2, 3)
        model.reset_classifier(0, 'avg')
        assert model(x).shape == (2, model.num_features)


@pytest.mark.parametrize('given, error, said', [
    ((3, 'bogus'), ValueError, "global_pool='bogus' is not supported"), (('x',), TypeError, "num_classes='x' must be"),
    ((-1,), ValueError, 'num_classes=-1'), ((3, ''), ValueError, "global_pool='' leaves a map")])
@pytest.mark.parametrize('family', ['plain', 'cifar', 'dla'])
def test_a_classifier_that_cannot_be_leaves_the_old_one(family, given, error, said):
    model = families.make(family).eval()
    x = torch.randn(1, 3, 64, 64)
    y = model(x)
    if family == 'dla' and given == (3, ''):  # whose classifier is a convolution
        model.reset_classifier(*given)
        assert model(x).shape == (1, 3, 2, 2)
        return
    with pytest.raises(error, match=said):
        model.reset_classifier(*given)
    assert model.num_classes == 7 and torch.equal(model(x), y)


@pytest.mark.parametrize('family', ['plain', 'cifar', 'dla'])
def test_a_new_classifier_keeps_the_pool(family):
    model = families.make(family, global_pool='catavgmax').eval()
    model.reset_classifier(3)
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 3) and model.head_hidden_size == 2 * model.num_features


@pytest.mark.parametrize('args', [
    dict(act_layer='silu'), dict(act_layer=nn.GELU), dict(act_layer=nn.Tanh), dict(act_layer='prelu'),
    dict(norm_layer='groupnorm1'), dict(norm_layer=nn.InstanceNorm2d), dict(norm_layer='layernorm2d'),
], ids=str)
@pytest.mark.parametrize('family', ['plain', 'd', 'cifar'])
def test_layers_by_name_and_class(family, args):
    model = families.make(family, **args)
    y = model(torch.randn(2, 3, 64, 64))
    y.sum().backward()
    assert torch.isfinite(y).all()
    if 'act_layer' in args:
        assert not any(isinstance(m, nn.ReLU) for m in model.modules())
    else:
        assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


@pytest.mark.parametrize('family', families.FAMILIES)
def test_device_and_dtype_reach_everything(family):
    args = {} if family in families.DLAS else {'act_layer': 'prelu'}
    model = families.make(family, device='meta', dtype=torch.bfloat16, **args)
    for name, tensor in model.named_parameters():
        assert tensor.is_meta and tensor.dtype == torch.bfloat16, name
    for name, tensor in model.named_buffers():
        assert tensor.is_meta, name
