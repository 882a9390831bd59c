"""Folding norms: the same outputs without a single norm left, through timm's own `reparameterize_model` too."""
import copy
import pickle

import pytest
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from timm.utils.model import reparameterize_model
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

import timm_res2net  # noqa: F401  registers the variants
from timm_res2net.fold import FoldHook, fold, fold_norms

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


def assert_close(a, b):
    assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize('form', FORMS)
def test_same_outputs_without_norms(form):
    model = make(form)
    before = copy.deepcopy(model.state_dict())
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        y = model(x)
        for folded in (fold(model), reparameterize_model(model)):
            assert norms(folded) == []
            assert_close(folded(x), y)
            fold_norms(folded)  # nothing more to do
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
        for folded in (fold(model), reparameterize_model(model)):
            assert norms(folded) == []
            for a, b in zip(folded(x), ys, strict=True):
                assert_close(a, b)


def test_timm_folds_a_new_model_which_is_then_in_eval_mode():
    """timm's scripts call reparameterize_model before eval()."""
    model = make('plain').train()
    folded = reparameterize_model(model)
    assert model.training and norms(model)
    assert not any(m.training for m in folded.modules()) and not norms(folded)


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


def test_the_hook_is_invisible_elsewhere():
    model = make('deep')
    assert not [k for k in model.state_dict() if 'fold_hook' in k]
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        y = model(x)
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), y)
        assert torch.equal(torch.jit.script(model)(x), y)
        assert_close(torch.export.export(model, (x,)).module()(x), y)
        headless = nn.Sequential(*list(model.children())[:-2])  # what people write to drop the head
        assert torch.equal(headless(x), model.forward_features(x))
    other = copy.deepcopy(model)
    assert other.fold_hook.network[0] is other and isinstance(other.fold_hook, FoldHook)
