"""Receptive fields against brute force: which pixels have a gradient when every weight is one."""
import pytest
import timm
import torch
from own_layer import OwnAntiAliasing
from timm.layers import BlurPool2d
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from timm_res2net import Res2Net
from timm_res2net.insight import Field, cost, effective_receptive_field, receptive_fields, side_of_share, table

TINY = dict(layers=(2, 1, 2, 1), channels=(16, 16, 16, 16), base_width=4, num_classes=0)
FORMS = {
    'plain': ('res2net_custom', TINY),
    'scale1': ('res2net_custom', {**TINY, 'scale': 1}),
    'scale8': ('res2net_custom', {**TINY, 'scale': 8}),
    'deep avg_down': ('res2net_custom', {**TINY, 'stem_type': 'deep', 'stem_width': 4, 'avg_down': True}),
    'stem conv': ('res2net_custom', {**TINY, 'replace_stem_pool': True, 'down_kernel_size': 3}),
    'conv1': ('res2net_custom', {**TINY, 'stride_position': 'conv1'}),
    'paddle': ('res2net_custom', {**TINY, 'first_block': 'paddle'}),
    'dilated': ('res2net_custom', {**TINY, 'output_stride': 8}),
    'dilated exactly': ('res2net_custom', {**TINY, 'output_stride': 8, 'exact_dilation': True}),
    'dilated exactly, avg_down': (
        'res2net_custom', {**TINY, 'output_stride': 8, 'exact_dilation': True, 'avg_down': True}),
    'dilated exactly, conv1': (
        'res2net_custom',
        {**TINY, 'output_stride': 8, 'exact_dilation': True, 'aa_layer': 'blur', 'stride_position': 'conv1'}),
    'blur': ('res2net_custom', {**TINY, 'aa_layer': 'blur'}),
    'cifar': ('res2net23_32w_4s_cifar_custom', dict(num_classes=0, base_width=4, stem_width=4)),
    'cifar conv': ('res2next29_6c_24w_4s_cifar_custom', dict(num_classes=0, layers=(1, 1, 1), channels=(16, 16, 16))),
    'dla': ('dla60_res2net_custom', dict(num_classes=0, channels=(4, 4, 16, 16, 16, 16), base_width=16)),
    'dla dilated': ('dla60_res2net_custom', dict(
        num_classes=0, levels=(1, 1, 1, 1, 1, 1), channels=(4, 4, 16, 16, 16, 16), base_width=16, output_stride=8)),
}


def ones(name, kwargs):
    """A model in double precision in which nothing cancels and nothing is cut off."""
    model = timm.create_model(name, **kwargs).double().eval()
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.Conv2d):
            module.weight.data /= module.weight[0].numel()
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):  # has a gradient to one pixel only
                setattr(module, child_name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    return model


def seen_from(unit, image):
    """Side of the window of the image along the width that a unit has a gradient to."""
    gradient, = torch.autograd.grad(unit, image, retain_graph=True)
    columns = gradient[0].abs().sum((0, 1)).nonzero()
    return columns.max().item() - columns.min().item() + 1


@pytest.mark.parametrize('form', [pytest.param(f, marks=pytest.mark.slow) if f == 'dla' else f for f in FORMS])
def test_largest_fields_are_those_of_brute_force(form):
    name, kwargs = FORMS[form]
    model = ones(name, kwargs)
    layers = receptive_fields(model)
    maps = {}
    for layer in layers:
        module = model.get_submodule(layer.name)
        module.register_forward_hook(lambda _, args, y, key=layer.name: maps.__setitem__(key, y))
        if layer.groups and isinstance(module.aa, nn.Identity):
            assert sum(g.channels for g in layer.groups) == module.conv3.in_channels
            for i, act in enumerate(module.acts):
                act.register_forward_hook(lambda _, args, y, key=(layer.name, i): maps.__setitem__(key, y))
    width = 256
    while width < 2 * layers[-1].field.largest:
        width *= 2
    image = torch.rand(1, 3, 64, width, dtype=torch.float64).add(0.5).requires_grad_()
    model.forward_features(image)
    fields = {layer.name: layer.field for layer in layers}
    fields.update({(la.name, i): group.field for la in layers for i, group in enumerate(la.groups)})
    assert set(maps) <= set(fields) and len(maps) > len(layers)
    for key, y in maps.items():
        assert fields[key].jump == width // y.shape[3]
        assert seen_from(y[0, 0, y.shape[2] // 2, y.shape[3] // 2], image) == fields[key].largest, key


def test_resnet50_has_its_known_receptive_field():
    """483 pixels for ResNet-50 v1, whose stride is in the 1x1 convolution (https://distill.pub/2019/computing-receptive-
    fields), and 427 with the stride in the 3x3 one."""
    model = timm.create_model('resnet50_custom', stride_position='conv1')
    assert receptive_fields(model)[-1].field.largest == 483
    model = timm.create_model('resnet50_custom')
    assert receptive_fields(model)[-1].field.largest == 427


def test_one_block_sees_what_the_paper_says():
    """A split of scale 4 gives 1x1, 3x3, 5x5 and 7x7 (paper, section 3.1), y_i through 1 to i - 1 convolutions."""
    model = timm.create_model('res2net_custom', layers=(2, 1, 1, 1))
    layers = {layer.name: layer for layer in receptive_fields(model)}
    start, block = layers['layer1.0'].field, layers['layer1.1']
    jump = start.jump
    sides = [(g.field.largest - start.largest) // jump for g in block.groups]
    assert sides == [2, 4, 6, 0]
    one = Field(1, {(0, 0): 1})
    y2 = one.through(3, padding=1)
    y3 = (y2 + one).through(3, padding=1)
    y4 = (y3 + one).through(3, padding=1)
    assert y4.shares() == {3: 1 / 3, 5: 1 / 3, 7: 1 / 3}


def test_scale_widens_the_range_of_one_network():
    fields = {s: receptive_fields(timm.create_model('res2net_custom', scale=s))[-1].field for s in (1, 2, 4, 8)}
    assert [fields[s].largest for s in (1, 2)] == [427, 427]  # one convolution a block
    assert fields[2].largest < fields[4].largest < fields[8].largest
    assert all(f.smallest == fields[1].smallest for f in fields.values())
    assert all(abs(sum(f.shares().values()) - 1) < 1e-9 for f in fields.values())


def test_table_and_errors():
    model = timm.create_model('test_res2net_custom')
    lines = table(receptive_fields(model)).splitlines()
    assert lines[0].startswith('layer') and len(lines) == 1 + 2 + 4 and lines[-1].startswith('layer4.0')
    with pytest.raises(TypeError, match='Linear'):
        receptive_fields(nn.Linear(1, 1))


class Wide(BlurPool2d):
    def __init__(self, channels=None, stride=2, **kwargs):
        super().__init__(channels, filt_size=5, stride=stride, **kwargs)


def test_anti_aliasing_is_counted_or_refused():
    with pytest.raises(TypeError, match=r'aa_layer=<class.*OwnAntiAliasing.> sees is not known'):
        receptive_fields(timm.create_model('test_res2net_custom', aa_layer=OwnAntiAliasing))
    sides = {}
    for aa_layer in ('blur', 'blurpc', Wide):
        model = timm.create_model('test_res2net_custom', aa_layer=aa_layer, zero_init_last=False).eval()
        layers = receptive_fields(model)
        assert layers[-1].field.jump == model.feature_info[-1]['reduction'] == 32
        seen = effective_receptive_field(model, torch.randn(1, 3, 224, 224), 'layer2').sum(0).nonzero()
        theory = {layer.name: layer.field for layer in layers}['layer2.0']
        sides[aa_layer] = int(seen.max() - seen.min()) + 1
        assert sides[aa_layer] == theory.largest
    assert sides['blur'] == sides['blurpc'] < sides[Wide]


@pytest.mark.parametrize('name, arguments', [
    ('test_res2net_custom', {}), ('test_res2net_custom', dict(in_chans=1)), ('resnet26', dict(in_chans=5)),
    ('tresnet_m', {})])
def test_the_cost_is_what_torch_counts(name, arguments):
    model = timm.create_model(name, **arguments).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, arguments.get('in_chans', 3), 64, 64))
    parameters = sum(p.numel() for p in model.parameters())
    assert cost(name, 64, **arguments) == cost(model, 64) == (parameters, counter.get_total_flops() / 2)


def test_the_cost_is_that_of_a_size():
    bare = Res2Net(layers=(1, 1, 1, 1), channels=(8, 8, 8, 8), base_width=32)
    assert cost(bare, 64)[1] * 4 == pytest.approx(cost(bare, 128)[1], rel=0.01)
    for size, error in ((None, TypeError), (0, ValueError), (-3, ValueError), ('x', TypeError), ((64, 96), TypeError)):
        with pytest.raises(error, match='size='):
            cost(bare, size)


def test_effective_field_is_where_the_gradient_is():
    model = timm.create_model('test_res2net_custom').eval()
    images = torch.randn(2, 3, 128, 128)
    field = effective_receptive_field(model, images, 'layer2')
    assert field.shape == (128, 128) and field.sum().item() == pytest.approx(1, abs=1e-5)
    theory = {layer.name: layer.field for layer in receptive_fields(model)}['layer2.0']
    seen = field.sum(0).nonzero()
    assert seen.max() - seen.min() + 1 <= theory.largest
    assert 1 < side_of_share(field, 0.5) < side_of_share(field, 0.95) <= theory.largest + 16
    assert effective_receptive_field(model, images).shape == (128, 128)
    for layer, match in (('nowhere', 'not in the model'), ('fc', 'no map')):
        with pytest.raises(ValueError, match=match):
            effective_receptive_field(model, images, layer)


def test_side_of_share_on_a_known_field():
    field = torch.zeros(9, 9)
    field[4, 4] = 0.4
    field[3:6, 3:6] += 0.4 / 9
    field[1, 1] = 0.2
    assert [side_of_share(field, s) for s in (0.3, 0.7, 0.9)] == [1, 3, 7]
    with pytest.raises(ValueError, match='share=1'):
        side_of_share(field, 1)
