"""Registration: the registry lists exactly ours, reloads are silent, a model remembers its arguments."""
import json
import subprocess
import sys
import textwrap
from functools import partial

import families
import numpy
import pytest
import timm
import torch
from timm.layers import GroupNorm, SEModule
from torch import nn

import timm_res2net
from timm_res2net import Res2Net
from timm_res2net.model.variants import VARIANTS, Variant
from timm_res2net.weights.catalogue import CATALOGUE, Weights


def shapes(model):
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def rebuild(variant, model):
    args = json.loads(json.dumps(model.model_args))
    return timm.create_model(variant, **args)


def run(code):
    """Run with every warning an error, after timm's own import: timm of one age warns on torch of another."""
    code = f'import warnings, timm; warnings.simplefilter("error"); {code}'
    command = [sys.executable, '-W', 'ignore', '-c', code]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize('code', [
    'import timm_res2net; import timm_res2net',
    'import timm_res2net, importlib; importlib.reload(timm_res2net.res2net_custom); '
    'importlib.reload(timm_res2net); timm.create_model("test_res2net_custom", device="meta")',
], ids=['twice', 'reload'])
def test_importing_again_is_silent(code):
    result = run(f'before = set(timm.list_models()); {code}; '
                 'added = set(timm.list_models()) - before; assert added == set(timm.list_models("*_custom")), added')
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')


def test_a_taken_name_still_warns():
    code = ('import timm_res2net as t\n'
            't.register_variant("res2net_custom", t.Variant(t.Res2Net, dict(scale=8), "Mine"))')
    result = run(code)
    assert result.returncode != 0 and 'res2net_custom' in result.stderr and 'Warning' in result.stderr


MINE = dict(layers=(1, 2, 1, 1), channels=(16, 24, 32, 48), base_width=32, stem_type='deep', stem_width=8)


class Broken(nn.Module):
    pass


@pytest.mark.parametrize('name, variant, rows, error', [
    ('mine', Variant(Res2Net, dict(scal=8), ''), [], "TypeError: mine: Res2Net got an unknown argument scal=8"),
    ('mine', Variant(Res2Net, dict(scale='8'), ''), [], "TypeError: mine: scale='8' must be an integer"),
    ('mine', Variant(Res2Net, dict(depth=51), ''), [], 'ValueError: mine: depth=51 is not supported'),
    ('mine', Variant(Res2Net, dict(base_width=0.5), ''), [], 'ValueError: mine: base_width=0.5 gives groups of 0'),
    ('mine', Variant(Res2Net, dict(norm_layer='groupnorm'), ''), [], 'ValueError: mine: norm_layer='),
    ('mine', Variant(Res2Net, None, ''), [], 'TypeError: mine: arguments=None must be a dictionary'),
    ('mine', Variant(Res2Net, 5, ''), [], 'TypeError: mine: arguments=5 must be a dictionary'),
    ('mine', Variant(Broken, {}, ''), [], 'TypeError: mine: Variant(cls=<class'),
    ('mine', (Res2Net, MINE, ''), [], 'TypeError: mine: ('),
    ('mine', Variant(Res2Net, MINE, '', dict(crop_pc=.9)), [], "ValueError: mine: data['crop_pc'] is not a setting"),
    ('mine', Variant(Res2Net, MINE, '', dict(input_size=7)), [], "TypeError: mine: data['input_size']=7 must be (3, "),
    ('mine', Variant(Res2Net, MINE, '', dict(input_size=(1, 64, 64))), [], "ValueError: mine: data['input_size']=(1"),
    ('mine', Variant(Res2Net, MINE, ''), [5], "ValueError: mine: weights hold 5, these must be Weights('mine.TAG'"),
    ('mine', Variant(Res2Net, MINE, ''), [Weights('other.tag')], "ValueError: mine: weights hold Weights(name='other"),
    ('mine', Variant(Res2Net, MINE, ''), [Weights('mine.a', data=dict(mean=(1, 2)))],
     "ValueError: mine: data of 'mine.a'['mean']=(1, 2) must be"),
    ('my.own', Variant(Res2Net, MINE, ''), [], "ValueError: name='my.own' must be letters"),
    ('my/own', Variant(Res2Net, MINE, ''), [], "ValueError: name='my/own' must be letters"),
    ('mine', Variant(Res2Net, MINE, '', dict(license='cc-by-nc-4.0')), [],
     "ValueError: mine: data['license'] is no preprocessing: url, file, hf_hub_id, license, num_"),
    ('mine', Variant(Res2Net, MINE, ''), [Weights('mine.a', data=dict(label_names=('a',)))],
     "ValueError: mine: data of 'mine.a'['label_names'] is no preprocessing"),
    (7, Variant(Res2Net, MINE, ''), [], 'ValueError: name=7 must be letters'),
], ids=str)
def test_a_row_that_makes_no_network_is_named_and_not_kept(name, variant, rows, error, tmp_path):
    """As it would be in the table of the package; whatever was wrong with it, others load as before."""
    tables = [dict(VARIANTS), dict(CATALOGUE)]
    with pytest.raises((TypeError, ValueError)) as caught:
        timm_res2net.register_variant(name, variant, rows)
    assert f'{caught.type.__name__}: {caught.value}'.startswith(error)
    assert tables == [VARIANTS, CATALOGUE] and not (isinstance(name, str) and timm.is_model(name))
    model = timm.create_model('res2net_custom', num_classes=5, **MINE)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    assert timm_res2net.load_checkpoint(tmp_path / 'weights.pth').checkpoint_info.architecture == 'res2net_custom'


def test_a_row_of_another_number_of_channels_says_so_in_its_cfg():
    timm_res2net.register_variant('grey', Variant(Res2Net, dict(MINE, in_chans=1), 'Mine'), [Weights('grey.mine')])
    try:
        cfg = timm.create_model('grey').pretrained_cfg
        assert cfg['input_size'] == (1, 224, 224) and len(cfg['mean']) == len(cfg['std']) == 1
        assert timm_res2net.insight.cost('grey') == timm_res2net.insight.cost('res2net_custom', in_chans=1, **MINE)
    finally:
        del VARIANTS['grey'], CATALOGUE['grey.mine']


@pytest.mark.parametrize('family', families.FAMILIES)
def test_model_args_rebuild_the_model(family):
    variant, args = families.FAMILIES[family]
    model = families.make(family)
    assert model.model_args == {k: list(v) if isinstance(v, tuple) else v for k, v in args.items()}
    again = rebuild(variant, model)
    assert shapes(again) == shapes(model)
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again.eval()(x), model.eval()(x))


def test_a_variant_without_arguments_has_none():
    assert timm.create_model('test_res2net_custom').model_args == {}
    assert timm.create_model('test_res2net_custom', num_classes=3, in_chans=1).model_args == {
        'num_classes': 3, 'in_chans': 1}


@pytest.mark.parametrize('args', [
    dict(act_layer=nn.SiLU), dict(act_layer=nn.GELU), dict(act_layer=nn.PReLU), dict(act_layer=nn.Tanh),
    dict(act_layer=nn.Identity), dict(act_layer='hard_swish'),
    dict(norm_layer=nn.BatchNorm2d), dict(norm_layer='groupnorm1'),
    dict(norm_layer=GroupNorm, channels=(32, 32, 64, 64), base_width=64, stem_width=32),
    dict(attn_layer=SEModule), dict(attn_layer='eca'), dict(attn_layer=SEModule, rd_ratio=0.25),
    dict(aa_layer='blur'), dict(aa_layer=nn.AvgPool2d),
    dict(channels=numpy.array([16, 24, 32, 40]).tolist(), scale=numpy.int64(3), drop_rate=numpy.float32(0.5)),
    dict(layers=(1, 2, 1, 1)), dict(depth=26),
], ids=str)
def test_layers_given_as_classes_are_remembered_by_name(args):
    model = timm.create_model('test_res2net_custom', **args)
    again = rebuild('test_res2net_custom', model)
    assert shapes(again) == shapes(model)
    kinds = [type(m) for m in model.modules()]
    if args.get('act_layer') not in (nn.GELU, nn.Tanh, nn.PReLU):  # timm's own classes by the same name
        assert kinds == [type(m) for m in again.modules()]
    else:
        assert [k.__name__ for k in kinds] == [type(m).__name__ for m in again.modules()]


def test_a_layer_without_a_name_is_kept_as_it_is():
    norm = partial(GroupNorm, num_groups=4)
    model = timm.create_model('test_res2net_custom', norm_layer=norm)
    assert model.model_args == {'norm_layer': norm}
    assert shapes(timm.create_model('test_res2net_custom', **model.model_args)) == shapes(model)


def test_arguments_of_the_loader_are_not_remembered():
    model = timm.create_model(
        'test_res2net_custom', pretrained=False, features_only=True, out_indices=(1, 2), device='cpu', scale=3)
    assert model.model_args == {'scale': 3}


def test_layers_win_over_the_depth_of_a_variant():
    model = timm.create_model('res2net101d_custom', layers=(1, 1, 2, 1), device='meta')
    assert len(model.layer3) == 2
    model = timm.create_model('res2net101d_custom', depth=26, device='meta')
    assert len(model.layer3) == 2
    with pytest.raises(ValueError, match='depth.*layers'):
        timm.create_model('res2net101d_custom', depth=26, layers=(1, 1, 2, 1))


def test_public_names():
    assert all(hasattr(timm_res2net, name) for name in timm_res2net.__all__)


def test_a_row_of_weights_with_classes_of_its_own(tmp_path):
    """Weights of ten classes for a variant of 1000: their head is loaded, unless another number is asked for."""
    trained = timm.create_model('test_res2net_custom', num_classes=10).eval()
    timm_res2net.save_folder(trained, tmp_path / 'folder')
    code = f'''
        import timm, timm_res2net as t, torch
        from timm_res2net.model.variants import VARIANTS
        row = t.Weights('ten.digits', file={str(tmp_path / "folder" / "model.safetensors")!r}, num_classes=10)
        t.register_variant('ten', VARIANTS['test_res2net_custom'], [row])
        trained = t.load_checkpoint({str(tmp_path / "folder")!r}).eval()
        x = torch.rand(1, 3, 64, 64)
        for kwargs in ({{}}, dict(num_classes=10)):
            assert torch.equal(timm.create_model('ten.digits', pretrained=True, **kwargs).eval()(x), trained(x))
        assert timm.create_model('ten', pretrained=True, num_classes=7)(x).shape == (1, 7)
        assert timm.create_model('ten')(x).shape == (1, 10)  # as timm does it: the cfg's, with or without weights
        assert 'ten.digits' in timm.list_pretrained() and [w.name for w in t.list_pretrained('ten.*')] == ['ten.digits']
        assert timm.list_models(module='res2net_custom') and 'ten' not in timm.list_models(module='res2net_custom')
    '''
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_settings_of_timms_feature_extractor():
    """As timm's own networks take them, beside what this package says of its networks."""
    x = torch.zeros(1, 3, 64, 64)
    for given, count in (({}, 5), (dict(feature_cfg=dict(out_indices=(1, 2))), 2), (dict(feature_cfg={}), 5)):
        assert len(timm.create_model('test_res2net_custom', features_only=True, **given)(x)) == count
