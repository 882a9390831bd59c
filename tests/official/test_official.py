"""The authors' interface: names, children and uses as of their files, timm's outputs to the last bit."""
import copy
import functools
import io
import subprocess
import sys

import pytest
import timm
import torch
from literal import conv_norm_relu, from_paper_order, randomize_norms, split, to_paper_order
from literal_networks import Foreign
from timm.models._features import FeatureListNet
from timm.models.res2net import Bottle2neck as TimmsBlock
from timm.models.resnet import ResNet
from torch import nn

import timm_res2net
from timm_res2net import deploy, official
from timm_res2net.model.fold import fold
from timm_res2net.official import res2net, res2net_v1b, res2next

TIMMS = {  # function -> timm's name of the same network; timm has no 152
    'res2net50_v1b': 'res2net50d',
    'res2net101_v1b': 'res2net101d',
    'res2net50_v1b_26w_4s': 'res2net50d',
    'res2net101_v1b_26w_4s': 'res2net101d',
    'res2net152_v1b_26w_4s': 'res2net152d_custom',
    'res2net50': 'res2net50_26w_4s',
    **{name: name for name in (
        'res2net50_26w_4s', 'res2net101_26w_4s', 'res2net50_26w_6s', 'res2net50_26w_8s', 'res2net50_48w_2s',
        'res2net50_14w_8s', 'res2next50')}}
CHILDREN = ['conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4', 'avgpool', 'fc']
LAYERS = [1, 2, 1, 1]
V1B = dict(stem_type='deep', stem_width=32, avg_down=True)
SMALL = {  # name -> the authors' class, what makes timm's ResNet the same, what makes `Foreign` the same
    'v1b': (lambda: res2net_v1b.Res2Net(res2net_v1b.Bottle2neck, LAYERS, baseWidth=8, scale=4, num_classes=5),
            dict(V1B, base_width=8, block_args=dict(scale=4)),
            dict(base_width=8, stem='deep', stem_width=32, avg_down=True)),
    'v1': (lambda: res2net.Res2Net(res2net.Bottle2neck, LAYERS, 6, 3, num_classes=5),
           dict(base_width=6, block_args=dict(scale=3)), dict(base_width=6, scale=3)),
    'next': (lambda: res2next.Res2NeXt(res2next.Bottle2neckX, 4, 3, LAYERS, 5),
             dict(base_width=4, cardinality=3, block_args=dict(scale=4)), dict(base_width=4, groups=3)),
}
EACH = pytest.mark.parametrize('name', SMALL)


def small(name='v1b'):
    torch.manual_seed(0)
    return SMALL[name][0]()


def timms(name):
    torch.manual_seed(0)
    return ResNet(TimmsBlock, LAYERS, num_classes=5, zero_init_last=False, **SMALL[name][1])


def trained(model):
    return randomize_norms(model).eval()


def stages(model, x):
    """What a decoder takes, stage by stage."""
    maps = []
    for name in CHILDREN[:-2]:
        x = getattr(model, name)(x)  # `maxpool` too, which Res2NeXt lists as maxpool1
        maps.append(x)
    return maps


@functools.cache
def on_meta(name):
    return timm.create_model(name, device='meta')


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[pytest.mark.slow] * ('50' not in name)) for name in TIMMS])
def test_names_order_and_shapes_are_those_of_the_published_files(name):
    with torch.device('meta'):
        model = getattr(official, name)()
    other = on_meta(TIMMS[name])
    assert [(k, v.shape) for k, v in model.state_dict().items()] == [
        (k, v.shape) for k, v in other.state_dict().items()]
    assert [k for k, _ in model.named_parameters()] == [k for k, _ in other.named_parameters()]
    pool = 'maxpool1' if name == 'res2next50' else 'maxpool'
    assert [k for k, _ in model.named_children()] == [pool if k == 'maxpool' else k for k in CHILDREN]
    assert model.inplanes == model.fc.in_features == 2048
    assert getattr(official, name).__module__ == type(model).__module__


@pytest.mark.parametrize('name', ['res2net50_v1b_26w_4s', 'res2net50'])
def test_whole_networks_are_timms_to_the_last_bit(name):
    model, other = trained(getattr(official, name)()), timm.create_model(TIMMS[name]).eval()
    other.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(x), other(x))


@EACH
def test_outputs_gradients_and_start_are_timms_to_the_last_bit(name):
    model, other = small(name), timms(name)
    start = other.state_dict()
    assert all(torch.equal(v, start[k]) for k, v in model.state_dict().items())
    other.load_state_dict(randomize_norms(model).state_dict())
    x = torch.randn(2, 3, 75, 64)
    for training in (False, True):
        y, expected = model.train(training)(x), other.train(training)(x)
        assert torch.equal(y, expected)
        y.square().mean().backward()
        expected.square().mean().backward()
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(p.grad, q.grad)
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), other.buffers(), strict=True))
    maps = other.eval().forward_intermediates(x, intermediates_only=True)
    ours = stages(model.eval(), x)
    for i, j in enumerate((2, 4, 5, 6, 7)):
        assert torch.equal(ours[j], maps[i])


@EACH
def test_files_load_strictly_and_compute_what_they_say(name):
    literal = Foreign('official', layers=LAYERS, planes=(64, 128, 256, 512), **SMALL[name][2])
    model = small(name).eval()
    model.load_state_dict(literal.weights, strict=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(x), literal(x), rtol=1e-4, atol=1e-5 * float(literal(x).abs().max()))


@pytest.mark.parametrize('stype', ['normal', 'stage'])
@pytest.mark.parametrize('projects', [False, True])
def test_a_block_alone_does_what_its_stype_says(stype, projects):
    """Nothing is concluded from a projection, as it is not in the authors' file."""
    down = nn.Sequential(nn.Conv2d(32, 32, 1, bias=False), nn.BatchNorm2d(32)) if projects else None
    block = trained(res2net.Bottle2neck(32, 8, downsample=down, baseWidth=48, scale=4, stype=stype))
    assert (block.nums, block.width, block.stype, block.expansion) == (3, 6, stype, 4)
    x = torch.randn(2, 32, 9, 9)
    y = conv_norm_relu(x, block.conv1, block.bn1, False)
    form = {'normal': 'hierarchical', 'stage': 'parallel'}[stype]
    y = from_paper_order(split(to_paper_order(y, 4), 4, block.convs, block.bns, False, form), 4)
    y = block.bn3(block.conv3(y)) + (block.downsample(x) if projects else x)
    torch.testing.assert_close(block(x), y.relu())


def test_a_block_refuses_what_cannot_be_computed():
    with pytest.raises(ValueError, match="stype='normal' needs stride=1, not 2.*stype='stage'"):
        res2net.Bottle2neck(32, 8, stride=2)
    with pytest.raises(ValueError, match="stype='other' is not supported"):
        res2net.Bottle2neck(32, 8, stype='other')


def test_one_word_for_all_activations_of_a_block():
    block = res2net.Bottle2neck(32, 8, baseWidth=48)
    block.relu = nn.PReLU()
    used = [block.act1, *block.acts, block.act3]
    assert all(isinstance(act, nn.PReLU) for act in used) and len(set(used)) == 5
    assert block.relu is block.act3


# what projects do


class Decoder(nn.Module):
    """As PraNet and its kind: a decoder over the children, by name."""

    def __init__(self, backbone):
        super().__init__()
        self.resnet = backbone
        self.head = nn.Conv2d(512 + 1024, 1, 1)

    def forward(self, x):
        x = self.resnet.conv1(x)
        x = self.resnet.bn1(x)
        x = self.resnet.relu(x)
        x = self.resnet.maxpool(x)
        x = self.resnet.layer1(x)
        x2 = self.resnet.layer2(x)
        x3 = self.resnet.layer3(x2)
        return self.head(torch.cat([x2, nn.functional.interpolate(x3, size=x2.shape[2:])], 1))


def test_a_snapshot_of_a_whole_network_goes_on():
    """One that was made with another implementation of the backbone, here timm's."""
    old = Decoder(timms('v1b'))
    old.resnet.relu = old.resnet.act1
    del old.resnet.act1
    trained(old)
    snapshot = io.BytesIO()
    torch.save(old.state_dict(), snapshot)
    snapshot.seek(0)
    new = Decoder(small('v1b')).eval()
    new.load_state_dict(torch.load(snapshot), strict=True)
    x = torch.randn(1, 3, 64, 64)
    assert list(new.state_dict()) == list(old.state_dict())
    assert torch.equal(new(x), old(x))


def test_v1b_leaves_what_its_relu_is_given():
    """... so that both can be used; the 7x7 networks overwrite it, as theirs do."""
    for name, left in (('v1b', True), ('v1', False)):
        model = trained(small(name))
        with torch.no_grad():
            before = model.bn1(model.conv1(torch.randn(1, 3, 32, 32)))
            kept = before.clone()
            model.relu(before)
        assert torch.equal(before, kept) is left


@EACH
def test_children_are_cut_looped_over_and_filtered(name):
    model = trained(small(name))
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        y = model(x)
        maps = nn.Sequential(*list(model.children())[:-2])(x)
        assert torch.equal(maps, model.forward_features(x))
        assert nn.Sequential(*list(model.children())[:-1])(x).shape == (2, 2048, 1, 1)
        z = x
        for child, module in model._modules.items():
            z = module(z.flatten(1) if child == 'fc' else z)
        assert torch.equal(z, y)
    wanted = {k: v for k, v in model.state_dict().items() if not k.startswith('fc')}
    missing, unexpected = SMALL[name][0]().load_state_dict(wanted, strict=False)
    assert (missing, unexpected) == (['fc.weight', 'fc.bias'], [])


@EACH
def test_what_is_replaced_is_used(name):
    x = torch.randn(2, 3, 64, 64)
    model = trained(small(name))
    with torch.no_grad():
        maps = model.forward_features(x)
        model.fc = nn.Linear(2048, 3)
        assert model.num_classes == 3
        assert torch.equal(model(x), model.fc(maps.mean((2, 3))))
        model.fc = nn.Identity()
        model.avgpool = nn.AdaptiveMaxPool2d(1)
        assert model.num_classes == 0
        assert torch.equal(model(x), maps.amax((2, 3)))
        model.relu = nn.Hardtanh()
        changed = model.forward_features(x)
        assert torch.equal(changed, stages(model, x)[-1]) and not torch.equal(changed, maps)


def test_subclasses_and_blocks_of_ones_own():
    class Maps(res2net.Res2Net):
        def __init__(self, block, layers, baseWidth=26, scale=4, **kwargs):
            super().__init__(block, layers, baseWidth=baseWidth, scale=scale, **kwargs)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    class Plain(nn.Module):
        expansion = 4
        made = []

        def __init__(self, inplanes, planes, stride=1, downsample=None, baseWidth=26, scale=4, stype='normal'):
            super().__init__()
            self.made.append((inplanes, planes, stride, downsample is not None, baseWidth, scale, stype))
            self.conv = nn.Conv2d(inplanes, planes * 4, 1, stride)

        def forward(self, x):
            return self.conv(x)

    x = torch.randn(1, 3, 64, 64)
    maps = Maps(res2net.Bottle2neck, LAYERS, baseWidth=6, scale=3, num_classes=5)
    assert maps(x).shape == (1, 2048, 2, 2)
    with pytest.raises(ValueError, match='changed after it was built.*outputs are others'):
        maps.as_variant()
    model = res2net_v1b.Res2Net(Plain, LAYERS, 10, 2, num_classes=5)
    assert model(x).shape == (1, 5)
    assert Plain.made == [
        (64, 64, 1, True, 10, 2, 'stage'), (256, 128, 2, True, 10, 2, 'stage'), (512, 128, 1, False, 10, 2, 'normal'),
        (512, 256, 2, True, 10, 2, 'stage'), (1024, 512, 2, True, 10, 2, 'stage')]
    with pytest.raises(ValueError, match='changed after it was built'):
        model.as_variant()


class Half(nn.Module):
    def forward(self, x):
        return x * 0.5


@pytest.mark.parametrize('name', [
    'gate', 'se', 'drop_path', 'drop_block', 'split_attn', 'residual', 'branch', 'split', 'aa', 'aa1', 'parallel'])
def test_a_layer_of_ones_own_in_a_block_has_any_name(name):
    """Also those of our own block, which the authors' has not: it is used where the subclass uses it, and once."""
    class Mine(res2net.Bottle2neck):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            setattr(self, name, Half())

        def forward(self, x):
            return getattr(self, name)(super().forward(x))

    x = torch.randn(2, 64, 16, 16)
    for stype in ('normal', 'stage'):
        mine, plain = Mine(64, 16, stype=stype), res2net.Bottle2neck(64, 16, stype=stype)
        plain.load_state_dict(mine.state_dict())
        for block in (mine, copy.deepcopy(mine)):
            assert torch.equal(block(x), plain(x) / 2)


def test_the_pool_is_used_in_stages_alone():
    block, plain = (res2net.Bottle2neck(64, 16).eval() for _ in range(2))
    plain.load_state_dict(block.state_dict())
    block.pool = nn.AvgPool2d(3, 1, 1)
    x = torch.randn(1, 64, 8, 8)
    assert torch.equal(block(x), plain(x))


def test_layers_of_ones_own_beside_the_authors_children():
    model = small()
    model.global_pool, model.act1, model.block = nn.AdaptiveMaxPool2d(1), nn.Tanh(), nn.Conv2d(3, 3, 1)
    assert [n for n, _ in model.named_children()] == [*CHILDREN, 'global_pool', 'act1', 'block']
    assert isinstance(model.global_pool, nn.AdaptiveMaxPool2d) and isinstance(model.avgpool, nn.AdaptiveAvgPool2d)
    assert isinstance(model.act1, nn.Tanh) and isinstance(model.relu, nn.ReLU) and isinstance(model.block, nn.Conv2d)


def test_a_new_classifier_leaves_the_pool():
    model, x = trained(small()), torch.randn(2, 3, 64, 64)
    maps = model.forward_features(x)
    for pool, reduce in ((None, lambda m: m.mean((2, 3))), ('max', lambda m: m.amax((2, 3)))):
        model.reset_classifier(4, pool)
        assert model.num_classes == 4 and torch.equal(model(x), model.fc(reduce(maps)))
    model.reset_classifier(0)
    assert torch.equal(model(x), maps.amax((2, 3)))
    with pytest.raises(TypeError, match='num_classes='):
        model.reset_classifier('4')
    assert torch.equal(model(x), maps.amax((2, 3)))


def test_timms_extractors_of_features():
    model = trained(small())
    maps = FeatureListNet(model, out_indices=(0, 1, 2, 3, 4))(torch.randn(1, 3, 64, 64))
    assert [m.shape[1] for m in maps] == [64, 256, 512, 1024, 2048]


@pytest.mark.parametrize('layout', ['official', 'timm', 'mmpretrain'])
def test_saved_for_other_projects(layout, tmp_path):
    model = official.res2net50_v1b(num_classes=3)
    path = timm_res2net.save_as(model, tmp_path / 'x.pth', layout=layout)
    again = timm_res2net.load_checkpoint(path)
    assert again.pretrained_cfg['architecture'] == 'res2net50d_custom'
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize('how', ['copied', 'pickled', 'exported', pytest.param('compiled', marks=pytest.mark.slow)])
def test_what_torch_makes_of_a_network_computes_the_same(how, fresh_dynamo):
    model, x = trained(small('next')), torch.randn(2, 3, 64, 64)
    if how == 'pickled':
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    elif how == 'copied':
        other = copy.deepcopy(model)
    elif how == 'compiled':
        other = torch.compile(model, fullgraph=True, backend='eager')
    else:
        other = torch.export.export(model, (x,)).module()
    with torch.no_grad():
        assert torch.equal(other(x), model(x))


@EACH
def test_gradient_checkpointing_changes_no_gradient(name):
    model, x = trained(small(name)), torch.randn(2, 3, 64, 64)
    model.train().set_grad_checkpointing()
    again = small(name)
    again.load_state_dict(model.state_dict())
    for m in (model, again.train()):
        m(x).square().mean().backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(model.parameters(), again.parameters(), strict=True))


# with the rest of the package


@EACH
def test_saved_as_the_variant_that_it_is(name, tmp_path):
    model, x = trained(small(name)), torch.randn(1, 3, 64, 64)
    model.fc = nn.Linear(2048, 7)
    model.to(memory_format=torch.channels_last)
    timm_res2net.save_folder(model, tmp_path / 'folder', label_names=list('abcdefg'))
    again = timm.create_model(f'local-dir:{tmp_path / "folder"}', pretrained=True).eval()
    model.to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
    assert again.num_classes == 7


def test_loaded_into_by_the_package(tmp_path):
    literal = Foreign('mmpretrain', layers=LAYERS, planes=(64, 128, 256, 512), **SMALL['v1b'][2])
    torch.save({'state_dict': literal.weights}, tmp_path / 'mm.pth')
    model, x = small(), torch.randn(1, 3, 64, 64)
    timm_res2net.load_checkpoint(tmp_path / 'mm.pth', model)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), literal(x), rtol=1e-4, atol=1e-5 * float(literal(x).abs().max()))


def test_names_of_variants():
    model = official.res2net50_v1b(num_classes=3)
    assert timm_res2net.timm_architecture(model) == 'res2net50d'
    variant = model.as_variant()
    assert variant.pretrained_cfg['architecture'] == 'res2net50d_custom'
    assert variant.model_args == dict(num_classes=3)


@pytest.mark.parametrize('change', ['relu', 'avgpool', 'fixed', 'fc', 'norms'])
def test_what_has_been_changed_is_not_saved_as_what_it_was(change, tmp_path):
    model = trained(small())
    if change == 'norms':
        model = fold(model)
    else:
        name, new = dict(
            relu=('relu', nn.Hardtanh()), avgpool=('avgpool', nn.AdaptiveMaxPool2d(1)),
            fixed=('avgpool', nn.AvgPool2d(7)), fc=('fc', nn.Sequential(nn.ReLU(), nn.Linear(2048, 5))))[change]
        setattr(model, name, new)
    with pytest.raises(ValueError, match='changed after it was built and is no res2net_custom any more'):
        timm_res2net.save_folder(model, tmp_path / 'folder')
    assert not list(tmp_path.iterdir())


@EACH
def test_folds_and_packs(name):
    model, x = trained(small(name)), torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        y = model(x)
        for other in (fold(model), deploy.prepack(model)):
            assert not [n for n, m in other.named_modules() if isinstance(m, nn.BatchNorm2d)]
            assert (other(x) - y).abs().max() <= 1e-5 * y.abs().max()


def test_classes_are_asked_for_where_they_are():
    for name in ('Res2Net', 'Bottle2neck', 'model_urls'):
        with pytest.raises(ImportError, match=f'import {name} from .*res2net_v1b, .res2net or'):
            getattr(official, name)
    with pytest.raises(AttributeError, match='no attribute'):
        official.res2net34  # noqa: B018
    for module in (res2net, res2net_v1b, res2next):
        assert all(hasattr(module, name) for name in module.__all__)
        assert set(module.model_urls) <= set(official.__all__)
        assert {n for n in module.__all__ if n.startswith('res2ne')} <= set(official.__all__)


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(TypeError, match="res2net50_v1b got an unknown argument dilation=2.*'res2net50d_custom'"):
        official.res2net50_v1b(dilation=2)
    with pytest.raises(TypeError, match='layers=5 must be a sequence'):
        res2net.Res2Net(res2net.Bottle2neck, 5)
    with pytest.raises(ValueError, match='layers=.* must have 4 entries'):
        res2net.Res2Net(res2net.Bottle2neck, [3, 4])
    with pytest.raises(TypeError, match='block=.* has no expansion'):
        res2net.Res2Net(nn.Conv2d, LAYERS)
    with pytest.raises(ValueError, match=r"no values on the meta device \(conv1\.weight\): .* model\.to_empty\("):
        timm_res2net.save_folder(official.res2net50().to('meta'), tmp_path / 'folder')
    with pytest.raises(TypeError, match='num_classes'):
        official.res2net50(num_classes='7')


def test_nobody_pays_who_does_not_ask():
    code = 'import sys, timm_res2net; assert not [n for n in sys.modules if n.startswith("timm_res2net.official")]'
    subprocess.run([sys.executable, '-c', code], check=True)
