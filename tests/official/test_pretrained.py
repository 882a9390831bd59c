"""`pretrained=` of the authors' functions: by file, by name, and what is refused."""
import json
import logging

import pytest
import timm
import torch
from literal import randomize_norms
from literal_networks import Foreign
from safetensors.torch import save_file

from timm_res2net import CheckpointError, Res2Net, Variant, official, register_variant, save_folder
from timm_res2net.hub.files import save_for_hub
from timm_res2net.model.variants import VARIANTS
from timm_res2net.official import res2net_v1b
from timm_res2net.official.functions import function
from timm_res2net.weights.catalogue import CATALOGUE, Weights

SMALL = dict(depth=26, scale=4, base_width=8)
V1B = dict(stem_type='deep', stem_width=32, avg_down=True)
LITERAL = dict(layers=(2, 2, 2, 2), planes=(64, 128, 256, 512), base_width=8, stem='deep', stem_width=32,
               avg_down=True, classes=5)
WORD = 'cc-by-nc-sa-4.0'


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """A network of v1b's kind in the tables, small and of 5 classes, and its weights."""
    weights = Foreign('official', **LITERAL).weights
    file = tmp_path_factory.mktemp('published') / 'small.safetensors'
    save_file(weights, file)
    row = Weights('own_small_d.mine', file=str(file), license=WORD, num_classes=5, label_names=list('abcde'))
    register_variant('own_small_d', Variant(Res2Net, {**SMALL, **V1B}, 'Mine'), [row])
    yield weights
    del VARIANTS['own_small_d'], CATALOGUE[row.name]


@pytest.fixture
def small(published):
    """A function as the authors' are, of that network."""
    return function('small', res2net_v1b.Res2Net, res2net_v1b.Bottle2neck, 'own_small_d.mine')


def holds(model, weights):
    state = model.state_dict()
    return all(torch.equal(state[k], v) for k, v in weights.items())


def test_by_name(small, published, caplog):
    x = torch.randn(1, 3, 64, 64)
    for name in (True, 1, 'own_small_d.mine', 'own_small_d'):
        model = small(pretrained=name, num_classes=5).eval()
        assert type(model) is res2net_v1b.Res2Net
        assert holds(model, published)
    assert not caplog.records
    with torch.no_grad():
        assert torch.equal(model(x), timm.create_model('own_small_d', pretrained=True).eval()(x))


def test_what_is_said_of_weights_stays_true_of_them(small, tmp_path, caplog):
    """Their license and classes travel with them, until they are no more what they were."""
    model = small(pretrained=True, num_classes=5)
    save_for_hub(model, tmp_path / 'as published', 'USER/NAME')
    torch.nn.init.normal_(model.bn1.bias)
    save_for_hub(model, tmp_path / 'trained on', 'USER/NAME')
    found = [json.loads((tmp_path / name / 'config.json').read_text()) for name in ('as published', 'trained on')]
    assert [config.get('label_names') for config in found] == [list('abcde'), None]
    assert [config['pretrained_cfg']['license'] for config in found] == [WORD, 'unknown']
    assert f'started from own_small_d.mine, which is under {WORD}' in caplog.text


@pytest.mark.parametrize('pretrained', [False, None, 0])
def test_without(small, pretrained, published):
    assert not holds(small(pretrained=pretrained, num_classes=5), published)


@pytest.mark.parametrize('kind', ['pth', 'safetensors', 'folder', 'snapshot'])
def test_by_path(small, published, kind, tmp_path):
    path = tmp_path / f'res2net50_v1b_26w_4s-3cf99910.{kind}'
    if kind == 'pth':
        torch.save(published, path)
    elif kind == 'snapshot':
        torch.save({'epoch': 3, 'state_dict': {f'module.{k}': v for k, v in published.items()}}, path)
    elif kind == 'safetensors':
        save_file(published, path)
    else:
        save_folder(small(pretrained=True, num_classes=5), path)
    for given in (path, str(path)):
        assert holds(small(pretrained=given, num_classes=5), published)


@pytest.mark.parametrize('num_classes', [7, 0])
def test_another_number_of_classes_starts_anew_with_a_word(small, published, num_classes, caplog):
    model = small(pretrained=True, num_classes=num_classes)
    assert 'own_small_d.mine: its classifier of 5 classes is left out' in caplog.text
    assert holds(model, {k: v for k, v in published.items() if not k.startswith('fc.')})
    assert model.num_classes == num_classes
    assert model.pretrained_cfg['license'] == (None if num_classes else WORD)  # a new classifier is nobody's yet


def test_weights_without_a_classifier(small, published, tmp_path, caplog):
    torch.save({k: v for k, v in published.items() if not k.startswith('fc.')}, tmp_path / 'backbone.pth')
    assert small(pretrained=tmp_path / 'backbone.pth').num_classes == 1000
    assert 'has no classifier' in caplog.text


@pytest.mark.parametrize(('other', 'reason'), [
    (dict(style='paddle'), "first_block='paddle', not 'parallel'"),
    (dict(base_width=10), r'widths=\(10, 20, 40, 80\), not \(8, 16, 32, 64\)'),
    (dict(scale=3), 'scale=3, not 4'),
    (dict(layers=(1, 2, 2, 2)), r'layers=\(1, 2, 2, 2\), not \(2, 2, 2, 2\)'),
    (dict(stem='7x7', stem_width=64), "stem_type='', not 'deep'"),
    (dict(in_chans=1), 'in_chans=1, not 3'),
])
def test_weights_of_another_function_are_refused(small, other, reason, tmp_path):
    """Those of PaddleClas have the very shapes."""
    style = other.get('style', 'official')
    other = Foreign(style, **{**LITERAL, **{k: v for k, v in other.items() if k != 'style'}})
    file = tmp_path / 'other.pth'
    torch.save(other.weights, file)
    with pytest.raises(CheckpointError, match=f'other.pth: weights of .*another network than small .*{reason}'):
        small(pretrained=file, num_classes=5)


def test_a_file_says_what_it_was_trained_as(small, tmp_path):
    """An activation has no weights, a folder says it."""
    model = timm.create_model('res2net_custom', act_layer='silu', num_classes=5, **SMALL, **V1B)
    save_folder(randomize_norms(model), tmp_path / 'silu')
    with pytest.raises(CheckpointError, match="act_layer='silu', not 'relu'"):
        small(pretrained=tmp_path / 'silu')


def test_names_of_other_networks_are_refused(small):
    with pytest.raises(CheckpointError, match=r'cifar100: weights of res2net23_32w_4s_cifar_custom, which is another'):
        small(pretrained='res2net23_32w_4s_cifar_custom.cifar100')


def test_what_is_no_weights_is_named(small, tmp_path):
    with pytest.raises(FileNotFoundError, match="pretrained='missing.pth' of small: no such file.*own_small_d.mine"):
        small(pretrained='missing.pth')
    with pytest.raises(FileNotFoundError, match="pretrained='own_small_d.other'.*which are: own_small_d.mine"):
        small(pretrained='own_small_d.other')
    with pytest.raises(TypeError, match=r'pretrained=3.5 must be True, False, a file or the name of weights'):
        small(pretrained=3.5)
    with pytest.raises(ValueError, match='no weights of res2net152_v1b_26w_4s were published'):
        official.res2net152_v1b_26w_4s(pretrained=True)
    (tmp_path / 'damaged.pth').write_bytes(b'not weights')
    with pytest.raises(CheckpointError, match='damaged.pth'):
        small(pretrained=tmp_path / 'damaged.pth')


def test_every_function_has_the_authors_weights():
    """... by way of timm, those that were published."""
    for name in official.__all__:
        text = getattr(official, name).__doc__
        if name == 'res2net152_v1b_26w_4s':
            assert 'none were published' in text
        else:
            (row,) = [row for row in CATALOGUE.values() if f'`{row.name}`' in text]
            assert row.hf_hub_id.startswith('timm/res2ne') and row.license == WORD


def test_the_warning_is_of_the_package(small, caplog):
    with caplog.at_level(logging.WARNING, logger='timm_res2net'):
        small(pretrained=True)
    assert [record.name for record in caplog.records] == ['timm_res2net.official.pretrained']
