"""The registered variants and their pretrained cfgs."""
import os
import re

import pytest
import timm
import torch
from timm.models import get_pretrained_cfg, list_pretrained

import timm_res2net

VARIANTS = timm.list_models(module='res2net_custom')
PUBLISHED = {
    f'{name}_custom': f'timm/{name}.in1k' for name in (
        'res2net50_48w_2s', 'res2net50_26w_4s', 'res2net50_14w_8s', 'res2net50_26w_6s', 'res2net50_26w_8s',
        'res2net101_26w_4s', 'res2net50d', 'res2net101d', 'res2next50', 'dla60_res2net', 'dla60_res2next')}
ASKED_FOR = [
    'res2net50_48w_2s', 'res2net50_26w_4s', 'res2net50_14w_8s', 'res2net50_26w_6s', 'res2net50_26w_8s',
    'res2net50_18w_4s', 'res2net101_26w_4s', 'res2net152_26w_4s', 'res2net50d', 'res2net101d', 'res2net152d',
    'res2net200d', 'res2next50', 'res2next101', 'seres2net50_26w_4s', 'seres2net101_26w_4s', 'seres2next50',
    'dla60_res2net', 'dla60_res2next', 'res2net50_vd_26w_4s', 'res2net101_vd_26w_4s', 'res2net200_vd_26w_4s',
    'res2next29_6c_24w_4s_cifar', 'res2next29_8c_25w_4s_cifar', 'res2next29_6c_24w_6s_cifar',
    'seres2next29_6c_24w_4s_cifar', 'seres2next29_8c_25w_4s_cifar', 'seres2next29_6c_24w_6s_cifar',
    'resnext29_8c_64w_cifar', 'resnet50', 'test_res2net', 'res2net',
]
EVERY_VARIANT = pytest.mark.parametrize('name', [  # the deep ones differ from others in depth alone
    pytest.param(n, marks=[pytest.mark.slow] if re.search('101|152|200', n) else []) for n in VARIANTS])
FORMS = (timm_res2net.Res2Net, timm_res2net.Res2NetCifar, timm_res2net.Res2NetDla)


def test_the_module_lists_exactly_ours():
    assert VARIANTS
    assert [name for name in VARIANTS if not name.endswith('_custom')] == [], 'names are NAME_custom'
    assert sorted(timm.list_models('*_custom')) == sorted(VARIANTS)
    assert set(timm_res2net.res2net_custom.default_cfgs) == set(VARIANTS)
    assert set(timm_res2net.res2net_custom.__all__) == set(VARIANTS)
    assert {f'{name}_custom' for name in ASKED_FOR} <= set(VARIANTS)


@EVERY_VARIANT
def test_pretrained_cfg_describes_the_model(name):
    cfg = get_pretrained_cfg(name)
    model = timm.create_model(name, device='meta').eval()
    assert isinstance(model, FORMS)
    modules = dict(model.named_modules())
    first_conv, classifier = modules[cfg.first_conv], modules[cfg.classifier]
    assert isinstance(first_conv, torch.nn.Conv2d) and first_conv.in_channels == cfg.input_size[0] == 3
    assert model.get_classifier() is classifier
    assert cfg.num_classes == model.num_classes
    assert cfg.license and cfg.paper_ids and cfg.paper_name
    assert len(cfg.mean) == len(cfg.std) == 3 and 0 < cfg.crop_pct <= 1

    features = model.forward_features(torch.empty(2, *cfg.input_size, device='meta'))
    assert tuple(features.shape[-2:]) == tuple(cfg.pool_size)
    assert model.forward_head(features).shape == (2, cfg.num_classes)


@EVERY_VARIANT
def test_every_variant_takes_arguments_of_its_users(name):
    model = timm.create_model(name, num_classes=3, in_chans=1, scale=2, base_width=16, cardinality=2, device='meta')
    assert model(torch.empty(2, 1, 64, 64, device='meta')).shape == (2, 3)
    with pytest.raises(TypeError, match='bogus=1'):
        timm.create_model(name, bogus=1, device='meta')


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_weights_of_timm_fit(name):
    cfg = get_pretrained_cfg(name)
    assert cfg.hf_hub_id == PUBLISHED[name]
    theirs = timm.create_model(name.removesuffix('_custom'), device='meta')
    ours = timm.create_model(name, device='meta')
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}
    their_cfg = theirs.pretrained_cfg
    for key in ('input_size', 'mean', 'std', 'crop_pct', 'interpolation', 'first_conv', 'classifier', 'num_classes'):
        assert getattr(cfg, key) == their_cfg[key], key
    assert f'{name}.in1k' in list_pretrained('*_custom*')


def test_every_row_of_the_catalogue_is_of_a_variant_and_has_a_tag():
    names = [row.name for row in timm_res2net.list_pretrained()]
    assert [name for name in names if name.partition('.')[0] not in VARIANTS or not name.partition('.')[2]] == []
    assert {name for name in names if name in list_pretrained('*_custom.*')} == set(names)


def test_only_published_weights_are_claimed():
    claimed = {name for name in VARIANTS if get_pretrained_cfg(name).has_weights}
    assert set(PUBLISHED) <= claimed
    for name in claimed - set(PUBLISHED):
        cfg = get_pretrained_cfg(name)
        if cfg.file:  # ships with the package
            assert os.path.isfile(cfg.file)
        if not (cfg.hf_hub_id or '').startswith('timm/'):
            continue
        theirs = timm.create_model(cfg.hf_hub_id.removeprefix('timm/'), device='meta')
        ours = timm.create_model(name, device='meta')
        assert sorted(tuple(p.shape) for p in theirs.parameters()) == sorted(tuple(p.shape) for p in ours.parameters())


def test_docstrings_and_parameters_of_the_small_ones():
    for name in VARIANTS:
        assert timm.models.model_entrypoint(name).__doc__
    count = sum(p.numel() for p in timm.create_model('test_res2net_custom', device='meta').parameters())
    assert count < 1e6
