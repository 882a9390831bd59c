"""Networks drawn from the whole space of arguments, against `literal_model` and, where it has the arguments, timm.

And what people do with a network: fold, prepack, script, export, save, take features, train.
"""
import copy
import re

import literal
import literal_model
import pytest
import timm
import torch
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from timm.layers import AvgPool2dSame
from timm.models.dla import DLA, DlaBottle2neck
from timm.models.res2net import Bottle2neck
from timm.models.resnet import ResNet
from torch import nn

import timm_res2net
from timm_res2net import deploy

NAMES = {
    'imagenet': 'res2net_custom', 'cifar': 'res2next29_6c_24w_4s_cifar_custom', 'dla': 'dla60_res2net_custom'}
SETTINGS = dict(  # without the phase that simplifies a failure, which takes minutes
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


def ints(low, high, count):
    return st.tuples(*[st.integers(low, high)] * count)


def one(*choices):
    return st.sampled_from(choices)


HEADS = st.one_of(  # what goes together, drawn together
    st.fixed_dictionaries(dict(num_classes=st.integers(0, 5), global_pool=one('avg', 'max', 'avgmax', 'catavgmax'))),
    st.just(dict(num_classes=0, global_pool='')))
FORMS = one(
    ('parallel', 'split'), ('parallel', 'split'), ('parallel_conv', 'split'), ('paddle', 'split'),
    ('strided_pool', 'split'), ('strided_pool', 'conv1'), ('parallel', 'conv1'), ('parallel_conv', 'conv1'),
    ('paddle', 'conv1'), ('hierarchical', 'conv1'),
).map(lambda names: dict(zip(('first_block', 'stride_position'), names, strict=True)))
ATTENTION = st.just(dict(attn_layer=None)) | st.fixed_dictionaries(dict(
    attn_layer=one('se', 'ese', 'eca'), attn_position=one('output', 'split'))) | st.fixed_dictionaries(dict(
        attn_layer=st.just('se'), attn_position=one('output', 'split'), rd_ratio=one(0.25, 0.5)))
SHORTCUT = one(*(dict(avg_down=a, down_kernel_size=k) for a, k in ((False, 1), (False, 3), (True, 1))))
COMMON = dict(
    scale=st.integers(1, 5), base_width=one(16, 20.5, 32, 40), cardinality=one(1, 1, 2), in_chans=one(3, 1, 4))
STAGES = dict(
    COMMON,
    exact_dilation=st.booleans(),
    act_layer=one('relu', 'relu', *literal_model.ACTS),
    norm_layer=one('batchnorm2d', 'batchnorm2d', 'layernorm2d', 'groupnorm1'),
    aa_layer=one(None, None, 'blur', 'blurpc', 'avg'),
    zero_init_last=st.booleans(),
    drop_rate=one(0., 0.3),
    drop_path_rate=one(0., 0.2),
    drop_block_rate=one(0., 0.1),
)
STEMS = st.just(dict(stem_type='', stem_width=None)) | st.fixed_dictionaries(dict(
    stem_type=one('deep', 'deep_tiered'), stem_width=one(4, 6)))
KINDS = {
    'imagenet': ((HEADS, FORMS, ATTENTION, SHORTCUT, STEMS), dict(
        STAGES,
        layers=ints(1, 2, 4),
        channels=st.tuples(*[one(8, 12, 16)] * 4),
        output_stride=one(32, 16, 8),
        replace_stem_pool=st.booleans(),
    )),
    'cifar': ((HEADS, FORMS, ATTENTION, SHORTCUT), dict(
        STAGES,
        layers=ints(1, 2, 3),
        channels=st.tuples(*[one(8, 12, 16)] * 3),
        stem_width=one(4, 32),
        stem_stride=st.integers(1, 2),
        output_stride=one(4, 2, 1),  # times stem_stride
    )),
    'dla': ((HEADS, FORMS, ATTENTION), dict(
        COMMON,
        levels=st.tuples(*[one(1, 1, 2)] * 5, one(1, 1, 2, 3)),
        channels=st.tuples(one(4, 8), one(4, 8), *[one(16, 32)] * 4),
        output_stride=one(32, 16, 8),
        shortcut_root=st.booleans(),
    )),
}


@st.composite
def networks(draw, kind):
    """Arguments that make a network, and the size of an image for it."""
    groups, own = KINDS[kind]
    args = draw(st.fixed_dictionaries(own))
    for group in groups:
        args.update(draw(group))
    if kind == 'cifar':
        args['output_stride'] *= args['stem_stride']
    if args.get('exact_dilation', True) and args['output_stride'] < (4 * args.get('stem_stride', 8)):
        # what looks at the whole map looks at a larger one
        args['attn_layer'] = None
        assume(args.get('norm_layer') != 'groupnorm1')
    if not args['attn_layer']:
        args.pop('rd_ratio', None), args.pop('attn_position', None)
    even = kind == 'dla' or args['aa_layer'] == 'avg'  # 2x2 pools without padding
    sizes = one(32, 32, 64) if even else one(32, 40, 48)
    if kind == 'cifar':
        sizes = one(8, 16) if even else one(12, 16, 20)
    return args, draw(sizes), draw(sizes)


def built(kind, args, **more):
    """The model in double precision, with weights that hide nothing."""
    try:
        model = timm.create_model(NAMES[kind], **args, **more).double().eval()
    except ValueError as error:
        assert 'cardinality' in str(error), error  # the one thing that is drawn without a look at the others
        assume(False)
    generator = torch.Generator().manual_seed(0)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        if value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(('weight', 'var')):
            value.uniform_(0.5, 1.5, generator=generator)
        else:
            value.normal_(0, 0.2, generator=generator)
    return model


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9 * max(1., want.abs().max().item()))


# what people do with a network, each against the literal maps and output

def folds(kind, args, model, x, maps, output):
    if args.get('norm_layer', 'batchnorm2d') != 'batchnorm2d':
        with pytest.raises(ValueError, match='cannot be folded'):
            deploy.fold(model)
        return
    folded = deploy.fold(model)
    norms = [n for n, m in folded.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == (['maxpool.2'] if args.get('replace_stem_pool') and args['aa_layer'] else [])
    torch.testing.assert_close(folded(x), output, rtol=1e-6, atol=1e-6 * output.abs().max().item())


def prepacks(kind, args, model, x, maps, output):
    if args.get('norm_layer', 'batchnorm2d') == 'batchnorm2d':
        got = deploy.prepack(copy.deepcopy(model).float())(x.float())
        torch.testing.assert_close(got, output.float(), rtol=1e-4, atol=1e-4 * output.abs().max().item())


def scripts(kind, args, model, x, maps, output):
    if args.get('drop_block_rate') and not hasattr(timm.models.DLA, 'forward_intermediates'):
        return  # older timm's DropBlock scripts once a process
    if args['global_pool'] in ('avgmax', 'catavgmax'):  # timm's, which cannot be scripted
        model = copy.deepcopy(model)
        model.reset_classifier(0, '')
        output = maps[-1]
    close(torch.jit.script(model)(x), output)


def exports(kind, args, model, x, maps, output):
    close(torch.export.export(model, (x,)).module()(x), output)


def traces(kind, args, model, x, maps, output):
    if any(isinstance(m, AvgPool2dSame) for m in model.modules()):  # timm's dilated shortcut, whose padding has an if
        with pytest.raises(torch.fx.proxy.TraceError):
            torch.fx.symbolic_trace(model)
        return
    close(torch.fx.symbolic_trace(model)(x), output)


def gives_features(kind, args, model, x, maps, output):
    extractor = timm.create_model(NAMES[kind], **args, features_only=True, out_indices=range(len(maps))).double().eval()
    extractor.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith('fc.')})
    assert extractor.feature_info.channels() == [m.shape[1] for m in maps]
    for got, want, reduction in zip(extractor(x), maps, extractor.feature_info.reduction(), strict=True):
        close(got, want)
        assert want.shape[2:] == tuple(-(-n // reduction) for n in x.shape[2:])


def saves(kind, args, model, x, maps, output, folder):
    model = copy.deepcopy(model).float()
    timm_res2net.save_folder(model, folder / 'saved')
    if kind != 'dla' and not any(re.match(r'layer[234]\.0\.downsample', k) for k in model.state_dict()):
        with pytest.raises(timm_res2net.CheckpointError, match='downsample.* the architecture cannot be told'):
            timm_res2net.load_checkpoint(folder / 'saved')  # equally wide stages that timm's form has dilated
        return
    again = timm_res2net.load_checkpoint(folder / 'saved').eval()
    assert torch.equal(again(x.float()), model(x.float()))


def has_the_gradients(kind, args, model, x, maps, output):
    weights = {k: v.detach().clone().requires_grad_(v.is_floating_point()) for k, v in model.state_dict().items()}
    with torch.enable_grad():
        direction = torch.randn_like(output)
        (literal_model.Literal(args, weights)(x)[1] * direction).sum().backward()
        (model(x) * direction).sum().backward()
    for name, parameter in model.named_parameters():
        close(parameter.grad, weights[name].grad)


def is_timms(kind, args, model, x, maps, output):
    """timm's own class, where it has the arguments."""
    blocks = args['first_block'], args['stride_position'], args.get('attn_position', 'output')
    if blocks != ('parallel', 'split', 'output') or kind == 'cifar' or args.get('rd_ratio'):
        return
    shared = dict(
        num_classes=args['num_classes'], in_chans=args['in_chans'], global_pool=args['global_pool'],
        base_width=args['base_width'], cardinality=args['cardinality'], channels=args['channels'])
    if kind == 'dla' and args['output_stride'] == 32 and not args['attn_layer']:
        theirs = DLA(
            levels=args['levels'], shortcut_root=args['shortcut_root'], **shared,
            block=lambda *a, **k: DlaBottle2neck(*a, scale=args['scale'], **k))
    elif kind == 'imagenet' and args['aa_layer'] is None and not (
            args['exact_dilation'] and args['output_stride'] < 32):
        layers = [timm.layers.get_norm_layer(args['norm_layer']), timm.layers.get_act_layer(args['act_layer'])]
        theirs = ResNet(
            Bottle2neck, layers=args['layers'], output_stride=args['output_stride'], stem_type=args['stem_type'],
            stem_width=args['stem_width'] or 64, replace_stem_pool=args['replace_stem_pool'],
            avg_down=args['avg_down'], down_kernel_size=args['down_kernel_size'], norm_layer=layers[0],
            act_layer=layers[1], **shared,
            block_args=dict(scale=args['scale'], attn_layer=timm.layers.get_attn(args['attn_layer'])))
    else:
        return
    event('compared with timm')
    theirs.double().eval().load_state_dict(model.state_dict())
    assert torch.equal(theirs(x), model(x))


USES = [folds, prepacks, scripts, exports, traces, gives_features, saves, has_the_gradients]


@torch.no_grad()
def check(kind, drawn, uses, tmp_path_factory):
    args, height, width = drawn
    model = built(kind, args)
    x = torch.randn(2, args['in_chans'], height, width, dtype=torch.float64)
    maps, output = literal_model.Literal(args, model.state_dict())(x)
    final, between = literal.intermediates(model, x)
    for got, want in zip(between, maps, strict=True):
        close(got, want)
    close(final, maps[-1])
    close(model(x), output)
    assert output.std() > 1e-6 and output.isfinite().all()
    is_timms(kind, args, model, x, maps, output)
    for use in uses:
        more = [tmp_path_factory.mktemp('saved')] if use is saves else []
        use(kind, args, model, x, maps, output, *more)


@pytest.mark.parametrize('use', USES, ids=lambda use: use.__name__)
@pytest.mark.parametrize('kind', KINDS)
def test_drawn_networks(kind, use, tmp_path_factory):
    @settings(max_examples=3, **SETTINGS)
    @given(networks(kind))
    def run(drawn):
        check(kind, drawn, [use], tmp_path_factory)
    run()


@pytest.mark.parametrize('kind', KINDS)
def test_more_drawn_networks(kind, tmp_path_factory):
    @settings(max_examples=15, **SETTINGS)
    @given(networks(kind))
    def run(drawn):
        check(kind, drawn, [], tmp_path_factory)
    run()


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_many_drawn_networks_in_every_use(kind, tmp_path_factory):
    @settings(max_examples=40, **SETTINGS)
    @given(networks(kind))
    def run(drawn):
        check(kind, drawn, USES, tmp_path_factory)
    run()
