"""What a model's cfg says of the weights that it started from: true of them, and gone with them."""
import copy
import json

import pytest
import timm
import torch

from timm_res2net import load_checkpoint, save_folder
from timm_res2net.deploy import fold
from timm_res2net.model.data_cfg import class_names, own_cfg

NAME = 'res2net23_32w_4s_cifar_custom'


def said(model):
    """What a model's cfg says of published weights."""
    cfg = own_cfg(model)
    return cfg.get('tag'), cfg.get('license'), len(class_names(model) or ())


def written(model, folder):
    """What a saved folder says of them."""
    config = json.loads((save_folder(model, folder) / 'config.json').read_text())
    cfg = config['pretrained_cfg']
    return cfg.get('tag'), cfg['license'], len(config.get('label_names', ()))


@pytest.fixture
def published():
    return timm.create_model(NAME, pretrained=True)


def test_published_weights_are_described_as_published(published, tmp_path):
    for model in (published, copy.deepcopy(published), fold(copy.deepcopy(published).eval()), published.half()):
        assert said(model) == ('cifar100', 'apache-2.0', 100)
    assert written(published, tmp_path / 'half') == ('cifar100', 'apache-2.0', 100)


@pytest.mark.parametrize('arguments', [dict(), dict(pretrained=True, num_classes=5)], ids=['random', 'new head'])
def test_other_weights_are_not(arguments, tmp_path):
    model = timm.create_model(NAME, **arguments)
    for cfg in (model.pretrained_cfg, own_cfg(model)):
        assert not any(cfg.get(k) for k in ('tag', 'license', 'label_names', 'label_descriptions'))
    assert written(model, tmp_path / 'out') == (None, 'unknown', 0)


def one_step(model):
    model.train()
    torch.optim.SGD(model.parameters(), 1e-6).zero_grad()
    model(torch.rand(2, 3, 32, 32))


def new_head(model):
    model.reset_classifier(5)


def same_head(model):
    torch.manual_seed(3)
    model.reset_classifier(100)


def only_the_bias(model):
    with torch.no_grad():
        model.fc.bias += 1e-6


@pytest.mark.parametrize('change', [one_step, new_head, same_head, only_the_bias])
def test_what_is_trained_or_has_a_new_head_is_ones_own(change, published, tmp_path):
    change(published)
    assert said(published) == (None, None, 0)
    assert written(published, tmp_path / 'out') == (None, 'unknown', 0)


def test_a_backbone_alone_keeps_its_license(tmp_path):
    model = timm.create_model(NAME, pretrained=True, num_classes=0)
    assert written(model, tmp_path / 'out')[:2] == ('cifar100', 'apache-2.0')


def test_names_given_after_the_change_count(published, tmp_path):
    published.reset_classifier(2)
    published.pretrained_cfg.update(label_names=['a', 'b'], license='mit')
    assert written(published, tmp_path / 'out') == (None, 'mit', 2)


def test_a_folder_of_ones_own_keeps_its_names_through_training_but_not_through_a_new_head(tmp_path):
    model = timm.create_model('test_res2net_custom', num_classes=2)
    model.pretrained_cfg['license'] = 'mit'
    save_folder(model, tmp_path / 'own', label_names=['a', 'b'])
    by_timm = timm.create_model(f'local-dir:{tmp_path / "own"}', pretrained=True)
    for again in (load_checkpoint(tmp_path / 'own'), by_timm):
        one_step(again)
        assert said(again) == (None, 'mit', 2)
        again.reset_classifier(3)
        assert said(again) == (None, None, 0)


def test_a_file_in_place_of_the_published_weights_is_not_under_their_license(published, tmp_path):
    torch.save(published.state_dict(), tmp_path / 'x.pth')
    file = dict(file=str(tmp_path / 'x.pth'))
    model = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=file)
    assert said(model) == (None, None, 0)
    named = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay={**file, 'license': 'mit'})
    assert said(named) == (None, 'mit', 0)
