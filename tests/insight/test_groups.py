"""The groups of a split, and what moves one unit of them: by the equations, and by the windows that may."""
import pytest
import timm
import torch

from timm_res2net.insight import (
    effective_receptive_field,
    gradient_field,
    group_activations,
    receptive_fields,
    side_of_share,
    split_blocks,
)

NAMES = ['test_res2net_custom', 'res2net23_32w_4s_cifar_custom', 'seres2net50_26w_4s_custom', 'dla60_res2net_custom']


@pytest.fixture
def model():
    return timm.create_model('res2net23_32w_4s_cifar_custom', pretrained=True).eval()


def test_groups_are_those_of_equation_1(model):
    """y_1 = x_1, y_2 = K_2(x_2), y_i = K_i(x_i + y_{i-1}), with x_1 last in the weights."""
    x, inputs = torch.rand(2, 3, 32, 32), []
    block = model.layer2[1]
    block.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad():
        found = group_activations(model, x, ['layer2.1'])['layer2.1']
        x2, x3, x4, x1 = block.act1(block.bn1(block.conv1(inputs[0]))).split(block.width, 1)

        def convolved(i, y):
            return block.bns[i](block.convs[i](y)).relu()
        y2 = convolved(0, x2)
        y3 = convolved(1, x3 + y2)
        expected = [x1, y2, y3, convolved(2, x4 + y3)]
    for y, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(y, wanted)


@pytest.mark.parametrize('position', ['output', 'split'])
def test_attention_does_not_change_the_groups(position):
    """Before it and not behind it: the same with an attention that multiplies by 0."""
    model = timm.create_model('test_res2net_custom', attn_layer='se', attn_position=position).eval()
    x = torch.rand(1, 3, 64, 64)
    first = next(iter(split_blocks(model)))
    with torch.no_grad():
        before = group_activations(model, x, [first])[first]
        for module in model.modules():
            if type(module).__name__ == 'SEModule':
                module.register_forward_hook(lambda _, args, out: 0 * out)
        after = group_activations(model, x, [first])[first]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)) and any(y.any() for y in before)


@pytest.mark.parametrize('name', NAMES)
def test_every_block_has_the_groups_that_its_fields_say(name):
    model = timm.create_model(name).eval()
    with torch.no_grad():
        found = group_activations(model, torch.rand(1, 3, 64, 64))
    layers = [layer for layer in receptive_fields(model) if layer.groups]
    assert list(found) == [layer.name for layer in layers]
    for layer in layers:
        assert [y.shape[1] for y in found[layer.name]] == [g.channels for g in layer.groups]


def test_what_is_no_block(model):
    for name, says in (('layer1', r"'layer1' is a Sequential, choose from layer1\.0, layer1\.1"), ('x', "layer='x'")):
        with pytest.raises(ValueError, match=says):
            group_activations(model, torch.rand(1, 3, 32, 32), [name])
    with pytest.raises(TypeError, match=r"blocks='layer1.0' must be a list of names: \['layer1.0'\]"):
        group_activations(model, torch.rand(1, 3, 32, 32), 'layer1.0')
    with pytest.raises(ValueError, match='choose from nothing, the model has none'):
        group_activations(timm.create_model('resnet18'), torch.rand(1, 3, 32, 32), ['layer1.0'])


def test_a_pass_that_fails_leaves_no_hooks(model):
    with pytest.raises(RuntimeError):
        group_activations(model, torch.rand(1, 7, 32, 32))
    with pytest.raises(ValueError, match='is a Sequential'):
        group_activations(model, torch.rand(1, 3, 32, 32), ['layer1.0', 'layer1'])
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_the_gradient_of_a_group_is_the_effective_field_of_its_activation(model):
    images = torch.rand(2, 3, 64, 64)
    leaf = images.clone().requires_grad_()
    groups = group_activations(model, leaf, ['layer2.1'])['layer2.1']
    for i, y in enumerate(groups[1:]):
        field = gradient_field(y, leaf, (y.shape[2] // 2, y.shape[3] // 2), keep=True)
        torch.testing.assert_close(field, effective_receptive_field(model, images, f'layer2.1.acts.{i}'))


@pytest.mark.parametrize('unit', [(0, 0), (3, 9), (15, 15)])
def test_nothing_outside_its_window_moves_a_unit(model, unit):
    """... and the window is as small as can be: some pixel of its border does."""
    leaf = torch.rand(1, 3, 64, 64).requires_grad_()
    for module in model.modules():  # linear, so that no unit is off
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(lambda _, args, out: args[0])
    for layer in receptive_fields(model):
        if layer.groups and layer.field.jump == 4:
            ys = group_activations(model, leaf, [layer.name])[layer.name]
            for group, y in zip((layer.groups[-1], *layer.groups[:-1]), ys, strict=True):
                before, after = group.field.window
                moved = gradient_field(y, leaf, unit, keep=True).nonzero() - 4 * torch.tensor(unit)
                room = 63 - 4 * torch.tensor(unit)
                assert (moved.amin(0) == -torch.tensor(unit).mul(4).clamp_max(before)).all(), layer.name
                assert (moved.amax(0) == room.clamp_max(after)).all(), layer.name


def test_a_unit_that_nothing_moves_has_no_field(model):
    leaf = torch.rand(1, 3, 32, 32).requires_grad_()
    assert not gradient_field((leaf * 0).abs(), leaf, (3, 3)).any()


def test_squares_around_another_centre():
    field = torch.zeros(9, 9)
    field[2, 6] = 0.6
    field[2, 8] = 0.4
    assert side_of_share(field, 0.5, (2, 6)) == 1 and side_of_share(field, 0.9, (2, 6)) == 5
    assert side_of_share(field, 0.5) == side_of_share(field, 0.5, (4, 4)) == 5
