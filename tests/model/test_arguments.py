"""Any combination of arguments builds a network that trains and saves, or is refused by an error that names one."""
import io
import re
from functools import partial

import numpy as np
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from timm.layers import BlurPool2d, GroupNorm
from torch import nn

import timm_res2net  # noqa: F401  registers the variants

SETTINGS = dict(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

JUNK = st.sampled_from([
    None, True, False, 'se', 'nonsense', '', 0, 1, 2, -1, 0.5, 1.5, float('nan'), float('inf'), (), [1], (2, 'a'), {},
    object, int, 1j, b'8', [None] * 4, (0,) * 4, (1.5,) * 4, lambda *args, **kwargs: 1, torch.tensor(5),
    torch.tensor([1., 2.]), np.array(3), np.array([1, 2])])
BLOCK = dict(
    scale=st.integers(0, 5),
    base_width=st.sampled_from([0, 0.5, 1, 4, 26, 32.5, 64]),
    cardinality=st.integers(0, 4),
    first_block=st.sampled_from([None, 'parallel', 'strided_pool', 'parallel_conv', 'paddle', 'hierarchical']),
    stride_position=st.sampled_from(['split', 'conv1']),
    attn_layer=st.sampled_from([
        None, True, False, 'se', 'ese', 'eca', 'ecam', 'ceca', 'ge', 'gc', 'gca', 'cbam', 'lcbam', 'sk', 'splat',
        'lambda', 'bottleneck', 'halo', 'nl', 'bat', 'SE', 'none', nn.Identity, nn.BatchNorm2d]),
    rd_ratio=st.sampled_from([None, 0, 1 / 16, 0.25, 1, 2]),
    attn_position=st.sampled_from(['output', 'split']),
    num_classes=st.integers(0, 3),
    in_chans=st.integers(0, 4),
    global_pool=st.sampled_from(['avg', 'max', 'avgmax', 'catavgmax', 'fast', '']),
    drop_rate=st.sampled_from([0., 0.5, 1.]),
)
STAGES = dict(
    act_layer=st.sampled_from(['relu', 'silu', 'prelu', 'hard_swish', nn.GELU, nn.Tanh, nn.ReLU, nn.Threshold]),
    norm_layer=st.sampled_from([
        'batchnorm2d', 'groupnorm', 'groupnorm1', 'layernorm2d', 'layernorm', 'batchnorm1d', nn.InstanceNorm2d,
        nn.GroupNorm, partial(GroupNorm, num_groups=4), partial(nn.GroupNorm, 4),
        partial(nn.BatchNorm2d, momentum=0.2)]),
    aa_layer=st.sampled_from([None, False, True, 'blur', 'blurpc', 'avg', nn.AvgPool2d, 'other']),
    down_kernel_size=st.integers(0, 4),
    avg_down=st.sampled_from([False, True, 0, 1]),
    exact_dilation=st.sampled_from([False, True, 0, 1, 'yes']),
    drop_path_rate=st.sampled_from([0., 0.3, 1.]),
    drop_block_rate=st.sampled_from([0., 0.3]),
    zero_init_last=st.booleans(),
)
FORMS = {
    'res2net_custom': (
        dict(layers=(1, 2, 1, 1), channels=(8, 8, 16, 16), base_width=32),
        dict(
            **BLOCK, **STAGES,
            depth=st.sampled_from([None, 26, 34]),
            output_stride=st.sampled_from([32, 16, 8, 4]),
            stem_type=st.sampled_from(['', 'deep', 'deep_tiered', 'wide']),
            stem_width=st.sampled_from([None, 0, 2, 8, 64]),
            replace_stem_pool=st.booleans(),
            channels=st.sampled_from([(8, 8, 8, 8), [4, 8, 8, 8], (8, 8, 8), (64, 0, 8, 8)]),
        )),
    'res2next29_6c_24w_4s_cifar_custom': (
        dict(layers=(1, 2, 1), channels=(8, 8, 16), base_width=16, cardinality=2),
        dict(
            **BLOCK, **STAGES,
            output_stride=st.sampled_from([None, 1, 2, 4, 8]),
            stem_width=st.sampled_from([0, 8, 16]),
            stem_stride=st.integers(0, 2),
            channels=st.sampled_from([(8, 8, 8), [4, 8, 8], (8, 8)]),
        )),
    'dla60_res2net_custom': (
        dict(levels=(1, 1, 1, 2, 1, 1), channels=(8, 8, 8, 16, 16, 32), base_width=32),
        dict(
            **BLOCK,
            output_stride=st.sampled_from([32, 16, 8, 4]),
            shortcut_root=st.booleans(),
            levels=st.sampled_from([(1, 1, 1, 1, 1, 1), [1, 1, 2, 1, 1, 1], (1, 0, 1, 1, 1, 1), (1,) * 5]),
        )),
}


def build(variant, args):
    """The model, or None if the arguments are refused by an error that names one of them."""
    try:
        return timm.create_model(variant, **{**FORMS[variant][0], **args})
    except (TypeError, ValueError) as error:
        names = [name for name in args if re.search(rf'\b{name}\b', str(error))]
        assert names, f'{type(error).__name__}: {error} names none of {sorted(args)}'
        return None


def check(variant, args):
    torch.manual_seed(0)
    model = build(variant, args)
    if model is None:
        return False
    size = 128 if 'drop_block_rate' in args else 64  # older timm's DropBlock divides by zero on maps below its block
    x = torch.randn(2, model.in_chans, size, size)
    model.train()
    y = model(x)
    y.square().mean().backward()
    assert any(p.grad is not None for p in model.parameters())
    if model.num_classes:
        assert y.shape == (2, model.num_classes)

    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = build(variant, args)
    again.load_state_dict(torch.load(file))
    with torch.no_grad():
        assert torch.equal(again.eval()(x), model.eval()(x))
    return True


def some_of(strategies, most):
    """A few of the arguments, each from its own strategy."""
    names = st.lists(st.sampled_from(sorted(strategies)), max_size=most, unique=True)
    return names.flatmap(lambda keys: st.fixed_dictionaries({key: strategies[key] for key in keys}))


@pytest.mark.parametrize('variant', FORMS)
def test_any_combination_of_plausible_arguments(variant):
    @settings(max_examples=40, **SETTINGS)
    @given(some_of(FORMS[variant][1], 5))
    def run(args):
        check(variant, args)
    run()


@pytest.mark.parametrize('variant', FORMS)
def test_any_argument_of_the_wrong_kind(variant):
    names = sorted({*FORMS[variant][1], *FORMS[variant][0]})

    @settings(max_examples=60, **SETTINGS)
    @given(st.sampled_from(names), JUNK, some_of(FORMS[variant][1], 1))
    def run(name, junk, args):
        check(variant, {**args, name: junk})
    run()


@pytest.mark.parametrize('variant', FORMS)
def test_each_argument_alone(variant):
    """Every plausible value of every argument, most of which build."""
    built = []

    @settings(max_examples=80, **SETTINGS)
    @given(st.sampled_from(sorted(FORMS[variant][1])).flatmap(
        lambda name: st.fixed_dictionaries({name: FORMS[variant][1][name]})))
    def run(args):
        built.append(build(variant, {**args, 'device': 'meta'}) is not None)
    run()
    assert sum(built) > len(built) / 3


@pytest.mark.parametrize('variant', FORMS)
@settings(max_examples=20, **SETTINGS)
@given(name=st.from_regex('[a-z]{4,12}_x', fullmatch=True), value=JUNK.filter(lambda value: value is not None))
def test_unknown_arguments_are_named_with_what_is_allowed(variant, name, value):
    with pytest.raises(TypeError, match=rf'\b{name}=.*\bscale\b.*\bbase_width\b'):
        timm.create_model(variant, **{name: value})


IMPOSSIBLE = [
    (dict(scale=0), ValueError, 'scale=0'),
    (dict(scale=-4), ValueError, 'scale=-4'),
    (dict(scale='4'), TypeError, "scale='4'"),
    (dict(scale=4.), TypeError, r'scale=4\.0'),
    (dict(scale=True), TypeError, 'scale=True'),
    (dict(base_width=0), ValueError, 'base_width=0'),
    (dict(base_width=0.5), ValueError, r'base_width=0\.5'),
    (dict(base_width=float('nan')), ValueError, 'base_width=nan'),
    (dict(base_width='26'), TypeError, "base_width='26'"),
    (dict(cardinality=0), ValueError, 'cardinality=0'),
    (dict(bogus=1), TypeError, 'bogus=1'),
    (dict(block_args=dict(scale=4)), TypeError, 'block_args'),
    (dict(stride_position='conv1', first_block='other'), ValueError, 'first_block'),
    (dict(first_block='hierarchical'), ValueError, "first_block='hierarchical' needs stride_position='conv1'"),
    (dict(first_block=''), ValueError, "first_block=''"),
    (dict(rd_ratio=0.25), ValueError, r"rd_ratio=0\.25.*attn_layer='se'"),
    (dict(rd_ratio=0.25, attn_layer='eca'), ValueError, r'rd_ratio=0\.25.*attn_layer'),
    (dict(rd_ratio=-1, attn_layer='se'), ValueError, 'rd_ratio=-1'),
    (dict(attn_layer='nonsense'), ValueError, "attn_layer='nonsense'"),
    (dict(attn_layer='bottleneck'), ValueError, 'attn_layer'),
    (dict(attn_position='both', attn_layer='se'), ValueError, 'attn_position'),
    (dict(num_classes=-1), ValueError, 'num_classes=-1'),
    (dict(attn_layer='halo'), ValueError, "attn_layer=.*size"),
    (dict(drop_rate=2.), ValueError, r'drop_rate=2\.0'),
    (dict(output_stride=8.), TypeError, r'output_stride=8\.0'),
]
IMPOSSIBLE_STAGES = [
    (dict(norm_layer='groupnorm'), ValueError, 'norm_layer'),
    (dict(norm_layer='layernorm'), ValueError, 'norm_layer'),
    (dict(norm_layer='batchnorm1d'), ValueError, 'norm_layer'),
    (dict(act_layer=nn.ReLU()), TypeError, 'act_layer'),
    (dict(act_layer=''), ValueError, 'act_layer'),
    (dict(aa_layer='other'), ValueError, "aa_layer='other'"),
    (dict(aa_layer=True), TypeError, 'aa_layer=True'),
    (dict(layers=(1, 1)), ValueError, 'layers'),
    (dict(layers='1111'), TypeError, "layers='1111'"),
    (dict(layers=(1, 0, 1, 1)[:3]), ValueError, 'layers'),
    (dict(down_kernel_size=2), ValueError, 'down_kernel_size=2'),
    (dict(down_kernel_size=3, avg_down=True), ValueError, 'down_kernel_size=3'),
    (dict(drop_path_rate=1.), ValueError, r'drop_path_rate=1\.0'),
    (dict(output_stride=5), ValueError, 'output_stride=5'),
    (dict(global_pool='', num_classes=2), ValueError, "global_pool=''"),
    (dict(zero_init_last='no'), TypeError, "zero_init_last='no'"),
    (dict(exact_dilation='yes'), TypeError, "exact_dilation='yes'"),
]


@pytest.mark.parametrize('args, error, message', IMPOSSIBLE, ids=str)
@pytest.mark.parametrize('variant', FORMS)
def test_impossible_arguments(variant, args, error, message):
    with pytest.raises(error, match=message):
        timm.create_model(variant, **{**FORMS[variant][0], **args})


@pytest.mark.parametrize('args, error, message', IMPOSSIBLE_STAGES, ids=str)
@pytest.mark.parametrize('variant', [v for v in FORMS if 'dla' not in v])
def test_impossible_arguments_of_stages(variant, args, error, message):
    with pytest.raises(error, match=message):
        timm.create_model(variant, **{**FORMS[variant][0], **args})


@pytest.mark.parametrize('args, message', [
    (dict(depth=50, layers=(1, 1, 1, 1)), 'depth=50 and layers'),
    (dict(depth=34), 'depth=34'),
    (dict(stem_width=32), r"stem_width=32 .*stem_type='deep'"),
    (dict(stem_type='deep', stem_width=0), 'stem_width=0'),
    (dict(stem_type='deep_tiered', stem_width=3), 'stem_width=3'),
    (dict(stem_type='wide'), "stem_type='wide'"),
    (dict(channels=(64, 128)), 'channels'),
    (dict(aa_layer=partial(BlurPool2d, filt_size=5)), 'aa_layer=.* is not a class'),
    (dict(output_stride=4), 'output_stride=4'),
])
def test_impossible_arguments_of_res2net(args, message):
    with pytest.raises(ValueError, match=message):
        timm.create_model('res2net_custom', device='meta', **args)


@pytest.mark.parametrize('value', [1.5, [1], torch.tensor([1., 2.]), np.array([1, 2]), b'x', object()])
@pytest.mark.parametrize('name', ['features_only', 'feature_cfg', 'pretrained_cfg', 'pretrained_cfg_overlay'])
def test_impossible_arguments_of_timms_builder(name, value):
    with pytest.raises(TypeError, match=rf'^{name}='):
        timm.create_model('test_res2net_custom', **{name: value})


def test_a_cardinality_that_does_not_divide_the_width():
    with pytest.raises(ValueError, match=r'base_width=9 with cardinality=3 .* multiple of the cardinality'):
        timm.create_model('dla60_res2net_custom', base_width=9, cardinality=3, channels=(8, 8, 64, 64, 64, 64))
    with pytest.raises(ValueError, match=r'cardinality=3 must divide the group width, which is 8'):
        timm_res2net.HierarchicalSplit(8, cardinality=3)


@pytest.mark.parametrize('attn_layer', ['eca', 'ese', False, 'gc', 'se', True])
def test_the_attention_of_a_variant_is_exchanged_whole(attn_layer):
    """Its ratio is that of its own attention, and not of the one that takes its place."""
    ours, plain = (
        timm.create_model(name, attn_layer=attn_layer, layers=(1, 1, 1, 1)).state_dict()
        for name in ('seres2net50_26w_4s_custom', 'res2net50_26w_4s_custom'))
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in plain.items()}


def test_the_stem_of_a_variant_is_exchanged_whole():
    model = timm.create_model('res2net50d_custom', stem_type='', layers=(1, 1, 1, 1))
    assert model.conv1.weight.shape == (64, 3, 7, 7)
