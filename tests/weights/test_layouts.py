"""Every published layout against literal definitions: same numbers, and the right thing recognised."""
import pickle

import mindspore_file
import pytest
import timm
import torch
from literal_networks import Foreign, OfficialDla

import timm_res2net  # noqa: F401
from timm_res2net import CheckpointError, Res2NetDla, load_checkpoint
from timm_res2net.weights.checkpoint import Checkpoint
from timm_res2net.weights.comparing import randomize
from timm_res2net.weights.layouts import rename
from timm_res2net.weights.layouts.layout import STRIDED

DEEP = dict(stem='deep', stem_width=16, avg_down=True)
PADDLE = ('paddle', 'paddledetection')
CIFAR = dict(stem='3x3', layers=(2, 1, 1), planes=(8, 12, 16), stem_width=16)
NETWORKS = {
    'official v1': dict(style='official'),
    'official v1, 8 scales': dict(style='official', scale=8, planes=(24, 24, 24, 24)),
    'official v1b': dict(style='official', **DEEP),
    'official Res2NeXt': dict(style='official', groups=2, base_width=16),
    'SE': dict(style='official', se=True, planes=(32, 32, 32, 32)),
    'SE, mmpretrain': dict(style='mmpretrain', se=True, planes=(32, 32, 32, 32)),
    'one input channel': dict(style='official', in_chans=1),
    'CIFAR, pooled': dict(style='official', **CIFAR),
    'CIFAR, convolved': dict(style='official', convolved=True, groups=2, **CIFAR),
    'ResNet': dict(style='resnet', scale=1, base_width=64),
    'ResNeXt d': dict(style='resnet', scale=1, groups=4, base_width=32, **DEEP),
    'mmpretrain, plain stem': dict(style='mmpretrain'),
    'mmpretrain, deep stem': dict(style='mmpretrain', **DEEP),
    'mmpretrain, deep stem alone': dict(style='mmpretrain', stem='deep', stem_width=16),
    'mmdetection, a detector': dict(style='mmdetection', **DEEP),
    'mmdetection, ImageNet weights': dict(style='mmdetection', form='parallel', **DEEP),
    'Res2Net-detectron2': dict(style='detectron2', **DEEP),
    'Res2Net-detectron2, Res2NeXt': dict(style='detectron2', groups=2, base_width=16, **DEEP),
    'Res2Net-maskrcnn': dict(style='maskrcnn'),
    'Res2Net-maskrcnn, 8 scales': dict(style='maskrcnn', scale=8, planes=(24, 24, 24, 24)),
    'PaddleClas': dict(style='paddle'),
    'PaddleClas, 8 scales': dict(style='paddle', scale=8, planes=(24, 24, 24, 24)),
    'PaddleClas vd': dict(style='paddle', **DEEP),
    'PaddleDetection': dict(style='paddledetection'),
    'PaddleDetection vd, the deep stem alone': dict(style='paddledetection', stem='deep', stem_width=16),
    'Holocron': dict(style='holocron'),
    'Holocron, deep stem': dict(style='holocron', **DEEP),
    'Holocron, average pool in the shortcut': dict(style='holocron', avg_down=True),
    'mindcv': dict(style='mindcv'),
    'mindcv v1b': dict(style='mindcv', **DEEP),
}


def save(network: Foreign, folder):
    """As the project itself saves: Paddle a pickle of arrays, MindSpore protobuf, others a dictionary."""
    weights = network.weights
    if network.style in PADDLE:
        path = folder / 'weights.pdparams'
        arrays = {k: v.numpy() for k, v in weights.items()}
        arrays['StructuredToParameterName@@'] = {k: k.replace('.', '_') for k in arrays}
        path.write_bytes(pickle.dumps(arrays, protocol=4))
        return path
    if network.style == 'mindcv':
        path = folder / 'weights.ckpt'
        path.write_bytes(mindspore_file.dump(weights))
        return path
    if network.style == 'mmdetection' and network.form == 'strided_pool':
        weights = {**weights, 'neck.lateral_convs.0.conv.weight': torch.zeros(4, 4, 1, 1)}
    path = folder / 'weights.pth'
    wrapped = {'mmpretrain': {'meta': {'epoch': 100}, 'state_dict': weights}, 'detectron2': {'model': weights}}
    torch.save(wrapped.get(network.style.replace('mmdetection', 'mmpretrain'), weights), path)
    return path


def relative_error(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize('name', NETWORKS)
def test_outputs_are_those_of_the_literal_network(name, tmp_path):
    network = Foreign(**NETWORKS[name])
    model = load_checkpoint(save(network, tmp_path)).eval()
    size = (2, network.in_chans, 67, 64)  # odd: ceil modes and pool borders count
    x = torch.randn(size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, maps = model.forward_intermediates(x)
        for ours, theirs in zip(maps[-len(network.layers):], network.maps(x), strict=True):
            assert relative_error(ours, theirs) < 1e-5
        assert relative_error(model(x), network(x)) < 1e-5


@pytest.mark.parametrize(('style', 'options', 'variant'), [
    ('paddle', dict(stem='deep', stem_width=32, avg_down=True), 'res2net50_vd_26w_4s_custom'),
    ('mmpretrain', dict(stem='deep', stem_width=32, avg_down=True), 'res2net50d_custom'),
])
def test_full_size(style, options, variant, tmp_path):
    network = Foreign(
        style, layers=(3, 4, 6, 3), planes=(64, 128, 256, 512), base_width=26, classes=1000, **options)
    model = load_checkpoint(save(network, tmp_path)).eval()
    assert model.checkpoint_info.architecture == variant
    assert model.checkpoint_info.model_args == {}
    assert model.checkpoint_info.num_parameters == 25_718_352
    x = torch.randn(1, 3, 97, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert relative_error(model(x), network(x)) < 1e-5


def test_the_two_forms_are_really_different(tmp_path):
    """The reason to refuse PaddleClas weights elsewhere: the same weights in the other form, without any error."""
    network = Foreign('paddle')
    paddle = load_checkpoint(save(network, tmp_path)).eval()
    args = {k: v for k, v in paddle.checkpoint_info.model_args.items() if k != 'first_block'}
    official = timm.create_model(paddle.checkpoint_info.architecture, **args).eval()
    official.load_state_dict(paddle.state_dict())
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert relative_error(official(x), network(x)) > 0.02


@pytest.mark.parametrize('groups', [1, 2])
def test_official_dla(groups, tmp_path):
    model = randomize(Res2NetDla(
        channels=(4, 8, 32, 32, 64, 64), base_width=32 / groups, cardinality=groups, num_classes=5))
    state = dict(model.state_dict())
    unused = {}
    for tree, (into, out) in {'level3': (32, 32), 'level4': (32, 64), 'level4.tree1': (32, 64)}.items():
        unused[f'{tree}.project.0.weight'] = torch.randn(out, into, 1, 1)
        for entry in ('weight', 'bias', 'running_mean', 'running_var'):
            unused[f'{tree}.project.1.{entry}'] = torch.rand(out)
    torch.save({**state, **unused}, tmp_path / 'dla.pth')
    loaded = load_checkpoint(tmp_path / 'dla.pth').eval()
    assert str(len(unused)) in loaded.checkpoint_info.left_out[0]
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = OfficialDla({**state, **unused}, 4, groups)(x)
        assert relative_error(loaded(x), expected) < 1e-5

    used = next(k for k in state if '.project.' in k)  # those that are used are not dropped
    torch.save({k: v for k, v in state.items() if k != used}, tmp_path / 'less.pth')
    with pytest.raises(CheckpointError, match=used):
        load_checkpoint(tmp_path / 'less.pth')


@pytest.mark.parametrize('name', ['resnet26', 'resnet26d', 'seresnet50', 'resnext50_32x4d'])
def test_timm_resnets_at_scale_1(name, tmp_path):
    theirs = timm.create_model(name, num_classes=3).eval()
    for value in theirs.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1)
    torch.save(theirs.state_dict(), tmp_path / 'r.pth')
    ours = load_checkpoint(tmp_path / 'r.pth').eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(ours(x), theirs(x)) < 1e-5


def test_a_detector_gives_its_backbone_and_says_what_was_left_out(tmp_path):
    network = Foreign('mmdetection', **DEEP)
    weights = network.weights
    extra = {'neck.lateral_convs.0.conv.weight': torch.zeros(4, 4, 1, 1), 'rpn_head.rpn_cls.bias': torch.zeros(3)}
    torch.save({'state_dict': {**weights, **extra}, 'optimizer': {'state': {}}}, tmp_path / 'det.pth')
    model = load_checkpoint(tmp_path / 'det.pth')
    assert model.num_classes == 0
    assert model.checkpoint_info.left_out == ['parts outside backbone: neck, rpn_head']
    assert model.checkpoint_info.assumed == [STRIDED]
    assert torch.equal(model.state_dict()['conv1.6.weight'], network.weights['backbone.stem.6.weight'])


@pytest.mark.parametrize('style, beside, told', [
    ('mmpretrain', 'decode_head.conv_seg.weight', [STRIDED]), ('mmpretrain', None, []),
    ('detectron2', 'proposal_generator.rpn_head.conv.weight', [STRIDED])])
def test_what_may_have_been_dilated_is_said(style, beside, told, tmp_path):
    state = {**Foreign(style, **DEEP).weights, **({beside: torch.zeros(4, 4, 1, 1)} if beside else {})}
    torch.save({k: v for k, v in state.items() if beside is None or not k.startswith('head.')}, tmp_path / 'x.pth')
    assert load_checkpoint(tmp_path / 'x.pth').checkpoint_info.assumed == told


def test_a_stem_of_norms_that_count_is_no_maskrcnns(tmp_path):
    """Its norms are frozen ones, without an epsilon; without counters and its prefix it is assumed."""
    model = timm.create_model('test_res2net_custom', stem_type='', stem_width=64, num_classes=0)
    state = {f'stem.{k}' if k.startswith(('conv1', 'bn1')) else k: v for k, v in model.state_dict().items()}
    torch.save(state, tmp_path / 'x.pth')
    loaded = load_checkpoint(tmp_path / 'x.pth')
    assert loaded.checkpoint_info.layout == 'official or timm' and loaded.arguments.stride_position == 'split'
    state = {k: v for k, v in state.items() if 'num_batches' not in k}
    for prefix, told in (('', 'the backbone of a Res2Net-maskrcnn'), ('backbone.body.', None)):
        torch.save({prefix + k: v for k, v in state.items()}, tmp_path / 'x.pth')
        info = load_checkpoint(tmp_path / 'x.pth').checkpoint_info
        assert info.layout == 'Res2Net-maskrcnn' and info.model_args['stride_position'] == 'conv1'
        assert bool(told) == bool(info.assumed) and str(told or '') in str(info)


def test_two_classifiers_of_mmpretrain(tmp_path):
    weights = Foreign('mmpretrain', **DEEP).weights
    torch.save({**weights, 'backbone.fc.weight': weights['head.fc.weight']}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'two classifiers, backbone\.fc and head\.fc'):
        load_checkpoint(tmp_path / 'x.pth')


def test_networks_of_other_kinds_are_refused(tmp_path):
    for name, reason in (('resnet18', 'two 3x3 convolutions'), ('efficientnet_b0', 'not a Res2Net')):
        torch.save(timm.create_model(name).state_dict(), tmp_path / 'other.pth')
        with pytest.raises(CheckpointError, match=reason) as caught:
            load_checkpoint(tmp_path / 'other.pth')
        assert 'other.pth' in str(caught.value)


def test_two_names_for_one_weight_are_refused():
    with pytest.raises(CheckpointError, match='module.conv1.weight'):
        rename(Checkpoint('', {'conv1.weight': torch.zeros(1), 'module.conv1.weight': torch.ones(1)}))
