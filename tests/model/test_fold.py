"""Folding norms: the same outputs without a norm left, or with those alone that timm's own way does not reach."""
import copy
import pickle

import pytest
import timm
import torch
from own_layer import OwnAntiAliasing
from timm.layers import freeze_batch_norm_2d
from timm.utils.model import reparameterize_model
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

import timm_res2net  # noqa: F401  registers the variants
from timm_res2net.model.blocks import Res2NetBlock
from timm_res2net.model.fold import fold, fold_norms

NORMS = (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d, nn.GroupNorm, nn.LayerNorm)
FORMS = {
    'plain': ('res2net_custom', {}),
    'deep': ('test_res2net_custom', {}),
    'tiered': ('res2net_custom', dict(stem_type='deep_tiered', replace_stem_pool=True)),
    'se-conv1': ('res2net_custom', dict(attn_layer='se', stride_position='conv1', first_block='hierarchical')),
    'paddle': ('res2net_custom', dict(first_block='paddle', avg_down=True)),
    'blur': ('res2net_custom', dict(aa_layer='blur')),
    'scale1': ('res2net_custom', dict(scale=1, base_width=64, cardinality=2)),
    'frozen': ('res2net_custom', {}),
    'cifar': ('res2net23_32w_4s_cifar_custom', {}),
    'dla': ('dla60_res2net_custom', {}),
    'dla-shortcut': ('dla60_res2next_custom', dict(shortcut_root=True)),
}
SMALL = dict(layers=(1, 2, 1, 1), channels=(16, 16, 32, 32))


def make(form, **kwargs):
    """A small network whose norms have statistics as after training."""
    name, args = FORMS[form]
    if name == 'res2net_custom':
        args = {**SMALL, **args}
    model = timm.create_model(name, num_classes=5, **args, **kwargs)
    for module in model.modules():
        if isinstance(module, NORMS) and getattr(module, 'running_mean', None) is not None:
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.5, 0.5)
    if form == 'frozen':
        model = freeze_batch_norm_2d(model)
    return model.eval()


def norms(model):
    return [n for n, m in model.named_modules() if isinstance(m, NORMS)]


def norms_outside_blocks(model):
    """All that timm's `reparameterize_model` may leave when it is given a network or an extractor itself."""
    inside = {m for block in model.modules() if isinstance(block, Res2NetBlock) for m in block.modules()}
    return [n for n, m in model.named_modules() if isinstance(m, NORMS) and m not in inside]


def assert_close(a, b):
    assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize('form', FORMS)
def test_same_outputs_without_norms(form):
    model = make(form)
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        y = model(x)
        for folded, left in ((fold(model), []), (reparameterize_model(model), norms_outside_blocks(model))):
            assert norms(folded) == left
            assert_close(folded(x), y)
            fold_norms(folded)  # what is left, or nothing more to do
            assert norms(folded) == []
            assert_close(folded(x), y)
        assert torch.equal(model(x), y)
    after = model.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[k], before[k]) for k in before)


@pytest.mark.parametrize('form', ['plain', 'deep', 'cifar', 'dla'])
def test_feature_extractors_too(form):
    model = make(form, features_only=True)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        ys = model(x)
        for folded, left in ((fold(model), []), (reparameterize_model(model), norms_outside_blocks(model))):
            assert norms(folded) == left
            for a, b in zip(folded(x), ys, strict=True):
                assert_close(a, b)


@pytest.mark.parametrize('form, left', [
    ('plain', ['bn1']),
    ('deep', ['conv1.1', 'conv1.4', 'bn1']),
    ('tiered', ['conv1.1', 'conv1.4', 'bn1', 'maxpool.1']),
    ('cifar', ['bn1']),
    ('dla', [
        'base_layer.1', 'level0.1', 'level1.1', 'level2.project.1', 'level2.root.bn',
        'level3.tree1.project.1', 'level3.tree1.root.bn', 'level3.tree2.root.bn',
        'level4.tree1.tree1.project.1', 'level4.tree1.tree1.root.bn', 'level4.tree1.tree2.root.bn',
        'level4.tree2.tree1.root.bn', 'level4.tree2.tree2.root.bn', 'level5.project.1', 'level5.root.bn']),
])
def test_what_timm_alone_leaves(form, left):
    """It asks the children of a network to fold themselves, which blocks do; the norms of a stem are no block's."""
    assert norms(reparameterize_model(make(form))) == left


def test_timm_folds_a_new_model_whose_blocks_are_then_in_eval_mode():
    """timm's scripts call reparameterize_model before eval()."""
    model = make('plain').train()
    folded = reparameterize_model(model)
    assert model.training and norms(folded) == ['bn1'] and len(norms(model)) > 1
    assert not any(m.training for block in folded.modules() if isinstance(block, Res2NetBlock) for m in block.modules())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert_close(folded.eval()(x), model.eval()(x))


@pytest.mark.parametrize('form', ['deep', 'tiered', 'cifar', 'dla'])
def test_timm_folds_a_network_inside_a_model_whole(form):
    """Networks have `reparameterize` too, for whoever holds one."""
    model = nn.ModuleDict({'body': make(form), 'head': nn.Linear(5, 2)}).eval()
    folded = reparameterize_model(model)
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert norms(folded) == [] and norms(model)
        assert_close(folded['body'](x), model['body'](x))


def test_a_norm_held_by_two_is_replaced_in_both_and_stays_a_norm_elsewhere():
    """timm's extractors hold the modules of a stem beside the network that they came from."""
    network = make('plain')
    held = [network.bn1, *network.layer1[0].bns]
    types = [type(norm) for norm in held]
    model = nn.ModuleDict({'network': network, 'norms': nn.ModuleList(held)}).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        y = network(x)
        fold_norms(model)
        assert norms(model) == []
        assert_close(network(x), y)
    assert all(a is b for a, b in zip(model['norms'], [network.bn1, *network.layer1[0].bns], strict=True))
    assert [type(norm) for norm in held] == types and norms(nn.ModuleList(held)) == ['0', '1', '2', '3']


@pytest.mark.parametrize('way', [fold, reparameterize_model])
@pytest.mark.parametrize('first', ['stem', 'network'])
def test_a_stem_held_a_second_time(first, way):
    """As U-Nets hold their encoder; timm's way folds the network alone, which does not see the other holder."""
    network = make('plain')
    parts = {'network': network, 'stem': nn.Sequential(network.conv1, network.bn1, network.act1)}
    model = nn.ModuleDict({first: parts[first], **parts}).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        folded = way(model)
        for name in parts:
            assert_close(folded[name](x), model[name](x))


def test_a_block_folds_alone():
    model = make('plain')
    block = model.layer2[0]
    x = torch.randn(2, 64, 16, 16)
    with torch.inference_mode():
        y = block(x)
        block.reparameterize()
        assert norms(block) == [] and norms(model.layer1[0])
        assert_close(block(x), y)


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match=r'eval\(\)'):
        fold(make('plain').train())


@pytest.mark.parametrize('norm_layer', ['groupnorm1', nn.InstanceNorm2d])
def test_norms_that_cannot_fold_are_refused_and_nothing_is_changed(norm_layer):
    model = make('plain', norm_layer=norm_layer)
    before = list(model.state_dict())
    for attempt in (fold, reparameterize_model, fold_norms):
        with pytest.raises(ValueError, match='Norm.*cannot be folded'):
            attempt(model)
    assert list(model.state_dict()) == before


def test_a_graph_is_refused():
    from torchvision.models.feature_extraction import create_feature_extractor
    with pytest.raises(ValueError, match='GraphModule'):
        fold(create_feature_extractor(make('plain'), ['layer4']).eval())


def test_double_precision_stays():
    model = make('plain').double()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        a, b = fold(model)(x), model(x)
    assert (a - b).abs().max() <= 1e-12 * b.abs().max()


def test_a_network_that_can_be_folded_is_a_network_like_any_other():
    model = make('deep')
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        y = model(x)
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), y)
        assert torch.equal(torch.jit.script(model)(x), y)
        assert_close(torch.export.export(model, (x,)).module()(x), y)
        headless = nn.Sequential(*list(model.children())[:-2])  # what people write to drop the head
        assert torch.equal(headless(x), model.forward_features(x))


def test_a_folded_network_too():
    folded = fold(make('deep'))
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        y = folded(x)
        assert torch.equal(pickle.loads(pickle.dumps(folded))(x), y)
        assert torch.equal(copy.deepcopy(folded)(x), y)
        assert torch.equal(torch.jit.script(folded)(x), y)
        assert_close(torch.export.export(folded, (x,)).module()(x), y)


def test_anti_aliasing_of_ones_own_is_no_norm():
    torch.manual_seed(0)
    model = timm.create_model(
        'test_res2net_custom', aa_layer=OwnAntiAliasing, replace_stem_pool=True, zero_init_last=False).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert_close(fold(model)(x), model(x))
