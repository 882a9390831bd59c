"""Out to timm and back: exact, in folders that plain timm loads, complete or not at all."""
import copy
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import nn
from training_checkpoint import trained

import timm_res2net  # noqa: F401
from timm_res2net import load_checkpoint, save_as, save_as_timm, save_folder, timm_architecture, to_timm
from timm_res2net.commands.command_line import write_whole
from timm_res2net.deploy import export
from timm_res2net.deploy.preprocessing import data_config
from timm_res2net.weights import saving
from timm_res2net.weights.checkpoint import Checkpoint
from timm_res2net.weights.comparing import randomize
from timm_res2net.weights.layouts import rename

TINY = dict(layers=(1, 1, 1, 1), channels=(12, 16, 20, 24), base_width=32)
# timm < 1.0.23 reads the safetensors of a local folder by torch.load, which fails; our variants read them themselves
LOCAL_DIR = tuple(int(n) for n in timm.__version__.split(".")[:3] if n.isdigit()) >= (1, 0, 23)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize('name', [
    'res2net50_26w_4s', 'dla60_res2next', 'resnet50',
    *(pytest.param(name, marks=pytest.mark.slow) for name in ('res2net50d', 'res2next50', 'dla60_res2net'))])
def test_round_trip_with_timms_own_networks(name):
    ours = timm.create_model(f'{name}_custom', num_classes=10)
    theirs = timm.create_model(name, num_classes=10)
    theirs.load_state_dict(to_timm(ours))
    assert to_timm(ours).keys() == theirs.state_dict().keys()
    assert equal(rename(Checkpoint('', theirs.state_dict())).state, ours.state_dict())
    assert timm_architecture(ours) == name


@pytest.mark.parametrize(('name', 'arguments'), [
    ('res2net50_vd_26w_4s_custom', {}),  # the weights of res2net50d in another form
    ('seres2net50_26w_4s_custom', {}),
    ('res2net50_26w_4s_custom', dict(act_layer='silu')),
    ('res2net50_26w_4s_custom', dict(stride_position='conv1')),
    pytest.param('res2net50_26w_4s_custom', dict(output_stride=8), marks=pytest.mark.slow),
    pytest.param('res2net50_26w_4s_custom', dict(aa_layer='avg'), marks=pytest.mark.slow),
    ('res2net_custom', TINY),
    ('res2net23_32w_4s_cifar_custom', {}),
])
def test_networks_that_timm_has_not(name, arguments, tmp_path):
    model = timm.create_model(name, **arguments)
    assert timm_architecture(model) is None
    with pytest.raises(ValueError, match='save_folder'):
        save_as_timm(model, tmp_path / 'out')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('arguments', 'name'), [
    (dict(depth=26, scale=1, base_width=64), 'resnet26'),
    pytest.param(dict(depth=50, scale=1, base_width=4, cardinality=32), 'resnext50_32x4d', marks=pytest.mark.slow),
    pytest.param(dict(depth=50, scale=1, base_width=64, attn_layer='se'), 'seresnet50', marks=pytest.mark.slow),
    (dict(depth=26, scale=1, base_width=64, stem_type='deep', avg_down=True), 'resnet26d'),
])
def test_scale_1_is_timms_resnet(arguments, name):
    assert timm_architecture(timm.create_model('res2net_custom', num_classes=2, **arguments)) == name


@pytest.mark.parametrize('arguments', [
    dict(num_classes=0, global_pool=''),  # impossible with the variant's 1000 classes
    dict(num_classes=0, global_pool='catavgmax'),
    dict(attn_layer='se', rd_ratio=0.1, act_layer='gelu'),  # 8 channels at least, as 1/16 gives
    dict(norm_layer='layernorm2d'), dict(norm_layer='groupnorm1'),  # of widths that 32 groups do not divide
], ids=str)
def test_a_folder_tells_what_its_weights_do_not(arguments, tmp_path):
    model = timm.create_model('res2net_custom', **TINY, **arguments).eval()
    again = load_checkpoint(save_folder(model, tmp_path / 'saved')).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


def test_the_model_is_left_as_it_was():
    model = timm.create_model('res2net50_26w_4s_custom').train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert timm_architecture(torch.compile(model)) == 'res2net50_26w_4s'
    assert model.training and equal(before, model.state_dict())


@pytest.mark.skipif(not LOCAL_DIR, reason='this timm cannot read safetensors from a local folder')
def test_people_without_this_package_load_it(tmp_path):
    torch.manual_seed(1)
    model = timm.create_model('res2net50_26w_4s_custom', num_classes=3, in_chans=1).eval()
    model.pretrained_cfg.update(mean=(0.5,), std=(0.25,), input_size=(1, 96, 96))
    save_as_timm(model.to(memory_format=torch.channels_last), tmp_path / 'out')
    x = torch.randn(1, 1, 64, 64)
    torch.save((x, model(x)), tmp_path / 'xy.pt')
    code = f'''
import sys, timm, torch
model = timm.create_model('local-dir:{tmp_path}/out', pretrained=True).eval()
x, y = torch.load('{tmp_path}/xy.pt')
assert 'timm_res2net' not in sys.modules
assert model.pretrained_cfg['architecture'] == 'res2net50_26w_4s', model.pretrained_cfg
assert model.pretrained_cfg['input_size'] == (1, 96, 96) or list(model.pretrained_cfg['input_size']) == [1, 96, 96]
assert (model(x) - y).abs().max() <= 1e-5 * y.abs().max()
'''
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('arguments', [
    dict(scale=8, num_classes=7, in_chans=4, act_layer='silu', **TINY),
    dict(attn_layer='se', attn_position='split', first_block='paddle', num_classes=0, **TINY),
])
def test_folders_come_back_as_they_were(arguments, tmp_path):
    model = timm.create_model('res2net_custom', **arguments).eval()
    folder = save_folder(model, tmp_path / 'deep' / 'out')
    assert sorted(p.name for p in folder.iterdir()) == ['config.json', 'model.safetensors']
    x = torch.randn(1, model.in_chans, 64, 64)
    for again in (timm.create_model(f'local-dir:{folder}', pretrained=True).eval(), load_checkpoint(folder).eval()):
        assert equal(again.state_dict(), model.state_dict())
        assert torch.equal(again(x), model(x))
        assert again.num_classes == model.num_classes


ATTENTION = ('ecam', 'ceca', 'gc', 'gca', 'cbam', 'lcbam', 'nl', 'sk', 'splat', 'lambda', 'SE')


@pytest.mark.parametrize('arguments', [
    *(dict(attn_layer=name) for name in ATTENTION), *(dict(attn_layer=n, attn_position='split') for n in ('gc', 'SE')),
    dict(act_layer='prelu'), dict(norm_layer='batchnorm'), dict(norm_layer='BatchNorm2d'),
    dict(global_pool='fastcatavgmax'), dict(global_pool='catavgmax'), dict(aa_layer='blur_pool')], ids=str)
@pytest.mark.parametrize('name', ['test_res2net_custom', 'res2net23_32w_4s_cifar_custom'])
def test_every_layer_that_is_built_is_loaded_again(name, arguments, tmp_path):
    """... from a folder, from a training and into the same network, though the weights alone do not tell them."""
    model = timm.create_model(name, num_classes=3, **arguments).eval()
    last = trained(tmp_path / 'run', model, name, num_classes=3, model_kwargs=arguments)
    folder = save_folder(model, tmp_path / 'out')
    for again in (
            timm.create_model(f'local-dir:{folder}', pretrained=True), load_checkpoint(folder), load_checkpoint(last),
            load_checkpoint(last, timm.create_model(name, num_classes=3, **arguments)),
            timm.create_model(name, num_classes=3, checkpoint_path=str(last), **arguments)):
        assert equal(again.state_dict(), model.state_dict())
        assert repr(again.eval()) == repr(model)


def test_a_blur_has_its_filter_where_memory_was_given_to_a_model_without_any(tmp_path):
    model = timm.create_model('test_res2net_custom', aa_layer='blur', num_classes=3).eval()
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    with torch.device('meta'):
        empty = timm.create_model('test_res2net_custom', aa_layer='blur', num_classes=3)
    empty = empty.to_empty(device='cpu').eval()
    for buffer in empty.buffers():
        buffer.fill_(7)
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(load_checkpoint(tmp_path / 'x.pth', empty)(x), model(x))


@pytest.mark.parametrize('zero_init_last', [True, False])
def test_a_change_behind_a_norm_of_zeros_is_seen(zero_init_last, tmp_path):
    model = timm.create_model('res2net_custom', **TINY, zero_init_last=zero_init_last)
    model.layer1[0].pool = nn.Identity()
    with pytest.raises(ValueError, match='its outputs are others'):
        save_folder(model, tmp_path / 'out')


def test_half_precision_stays_half(tmp_path):
    model = timm.create_model('res2net_custom', **TINY).half()
    save_folder(model, tmp_path / 'out')
    assert load_file(tmp_path / 'out' / 'model.safetensors')['conv1.weight'].dtype is torch.float16


def test_existing_folders(tmp_path):
    model = timm.create_model('res2net_custom', **TINY)
    save_folder(model, tmp_path / 'out')
    with pytest.raises(FileExistsError, match='out exists'):
        save_folder(model, tmp_path / 'out')
    torch.nn.init.ones_(model.fc.bias)
    save_folder(model, tmp_path / 'out', overwrite=True)
    assert torch.equal(load_checkpoint(tmp_path / 'out').fc.bias, model.fc.bias)
    (tmp_path / 'out' / 'thesis.tex').write_text('precious')
    with pytest.raises(FileExistsError, match='thesis.tex'):
        save_folder(model, tmp_path / 'out', overwrite=True)
    assert (tmp_path / 'out' / 'thesis.tex').read_text() == 'precious'
    assert [p.name for p in tmp_path.iterdir()] == ['out']


def test_nothing_half_done_is_left(tmp_path):
    model = timm.create_model('res2net_custom', norm_layer=lambda n, **dd: torch.nn.BatchNorm2d(n, **dd), **TINY)
    with pytest.raises(ValueError, match='norm_layer.*config.json'):
        save_folder(model, tmp_path / 'out')  # a lambda cannot be recorded
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match='timm.create_model'):
        save_folder(timm_res2net.Res2Net(**TINY), tmp_path / 'out')


def test_names_as_long_as_file_systems_take(tmp_path):
    save_folder(timm.create_model('test_res2net_custom'), tmp_path / ('\u7db2' * 85))  # 255 bytes
    write_whole(tmp_path / ('x' * 255), 'text')
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('key, value', [
    ('mean', 'x'), ('mean', 0.5), ('mean', (float('nan'),) * 3), ('std', (0, 0, 0)), ('crop_pct', 'big'),
    ('crop_pct', -1), ('interpolation', 'nope'), ('interpolation', 3), ('crop_mode', 'fold'), ('input_size', (3, 64))])
def test_preprocessing_changed_by_hand_to_what_cannot_be(key, value, tmp_path):
    """... is refused where it would be recorded, not by whoever loads the folder or the exported file."""
    model = timm.create_model('test_res2net_custom', num_classes=8).eval()
    model.pretrained_cfg[key] = value
    for write in (lambda: save_folder(model, tmp_path / 'out'), lambda: export(model, tmp_path / 'm.pt2', 'torch')):
        with pytest.raises((TypeError, ValueError), match=rf"^pretrained_cfg\['{key}'\]"):
            write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', [np.array, torch.tensor, lambda values: [np.float64(v) for v in values]])
def test_preprocessing_in_arrays_is_recorded_as_numbers(kind, tmp_path):
    model = timm.create_model('test_res2net_custom', num_classes=2)
    model.pretrained_cfg.update(mean=kind([0.25, 0.5, 0.75]), label_names=np.array(['cat', 'dog']))
    cfg = json.loads((save_folder(model, tmp_path / 'out') / 'config.json').read_text())
    assert cfg['pretrained_cfg']['mean'] == data_config(model)['mean'] == [0.25, 0.5, 0.75]
    assert cfg['label_names'] == ['cat', 'dog']


def test_what_json_does_not_hold_is_refused(tmp_path):
    model = timm.create_model('test_res2net_custom')
    model.pretrained_cfg['history'] = torch.ones(2)
    with pytest.raises(ValueError, match=r"pretrained_cfg\['history'\]=tensor.* cannot be written to config.json"):
        save_folder(model, tmp_path / 'out')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('as_timm', [False, True])
def test_a_model_without_values(as_timm, tmp_path):
    model = timm.create_model('res2net50_26w_4s_custom', device='meta')
    with pytest.raises(ValueError, match=r'no values on the meta device \(conv1.weight\)'):
        save_folder(model, tmp_path / 'out', as_timm=as_timm)
    assert not list(tmp_path.iterdir())


def _without_last_stride(model):
    for module in model.layer4[0].modules():
        if getattr(module, 'stride', None) in (2, (2, 2)):
            module.stride = 1 if module.stride == 2 else (1, 1)


def _other_epsilon(model):
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 1e-3


@pytest.mark.parametrize('change', [
    _without_last_stride, _other_epsilon, lambda model: setattr(model, 'act1', torch.nn.SiLU()),
    lambda model: setattr(model.layer2[0], 'forward', model.layer2[0].downsample.forward)])
def test_a_network_changed_by_hand_is_not_written_as_what_it_was(change, tmp_path):
    """No name and no shape of its weights tells."""
    model = randomize(timm.create_model('test_res2net_custom'))
    save_folder(model, tmp_path / 'before')
    change(model)
    with pytest.raises(ValueError, match='changed after it was built .its outputs are others'):
        save_folder(model, tmp_path / 'out')
    with pytest.raises(ValueError, match='changed after it was built .its outputs are others'):
        save_as(model, tmp_path / 'out.pth', 'official')
    assert [p.name for p in tmp_path.iterdir()] == ['before']


def test_another_pool_has_no_name(tmp_path):
    model = timm.create_model('test_res2net_custom')
    model.global_pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with pytest.raises(ValueError, match=r'a Sequential as its global_pool.* reset_classifier'):
        save_folder(model, tmp_path / 'out')
    assert not list(tmp_path.iterdir())


def test_weights_that_have_diverged_are_kept_as_they_are(tmp_path):
    model = timm.create_model('test_res2net_custom')
    torch.nn.init.constant_(model.fc.bias, float('nan'))
    assert load_file(save_folder(model, tmp_path / 'out') / 'model.safetensors')['fc.bias'].isnan().all()


def test_frozen_norms(tmp_path):
    """As timm's freeze() makes them, and as norm_layer=; they have no counter."""
    model = randomize(timm.create_model('test_res2net_custom'))
    folder, x = save_folder(model, tmp_path / 'plain'), torch.randn(1, 3, 64, 64)
    torch.save(model.state_dict(), tmp_path / 'plain.pth')
    frozen = timm.utils.model.freeze_batch_norm_2d(timm.create_model('test_res2net_custom'))
    built = timm.create_model('test_res2net_custom', norm_layer='frozenbatchnorm2d')
    for i, other in enumerate((frozen, built)):
        for path in (folder, tmp_path / 'plain.pth'):
            load_checkpoint(path, other)
        again = load_checkpoint(save_folder(other, tmp_path / str(i)))
        with torch.no_grad():
            for one in (other, again):
                torch.testing.assert_close(one.eval()(x), model(x), rtol=1e-5, atol=1e-6)
    assert again.model_args['norm_layer'] == 'frozenbatchnorm2d'
    plain = timm.create_model('res2net50_48w_2s_custom', num_classes=2)
    frozen = timm.utils.model.freeze_batch_norm_2d(copy.deepcopy(plain))
    for layout in ('official', 'timm', 'mmpretrain'):
        saved = save_as(frozen, tmp_path / f'{layout}.pth', layout)
        assert equal(load_checkpoint(saved).state_dict(), plain.state_dict())


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_whatever_the_process_is_set_to(dtype, tmp_path):
    """What is written is compared with a network built anew, and nobody notices."""
    model, calls = randomize(timm.create_model('test_res2net_custom')).train(), []
    lock = threading.Lock()  # cannot be copied
    model.register_forward_hook(lambda *_: calls.append(lock))
    state = torch.random.get_rng_state()
    torch.set_default_dtype(dtype)
    try:
        with torch.device('meta'):
            folder = save_folder(model, tmp_path / 'out')
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert equal(load_file(folder / 'model.safetensors'), model.state_dict())
    assert model.training and not calls and torch.equal(torch.random.get_rng_state(), state)


def test_a_model_that_cannot_be_copied_is_saved(tmp_path):
    model = timm.create_model('test_res2net_custom')
    model.kept = model(torch.randn(2, 3, 64, 64))  # a map with its graph
    assert equal(load_file(save_folder(model, tmp_path / 'out') / 'model.safetensors'), model.state_dict())


@pytest.mark.parametrize('how', ['at once', 'reset'])
@pytest.mark.parametrize('kind', ['folder', 'file'])
def test_without_classifier_and_pool_it_loads_as_it_was(how, kind, tmp_path):
    head = dict(num_classes=0, global_pool='')
    model = timm.create_model('test_res2net_custom', **head if how == 'at once' else {})
    if how == 'reset':
        model.reset_classifier(**head)
    folder = save_folder(randomize(model), tmp_path / 'folder')
    if kind == 'folder':
        given = dict(global_pool='') if how == 'reset' else {}
        again = timm.create_model(f'local-dir:{folder}', pretrained=True, **given)
    else:
        again = timm.create_model('test_res2net_custom', pretrained=True, global_pool='', pretrained_cfg_overlay=dict(
            file=str(folder / 'model.safetensors')))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again.eval()(x), model(x)) and again(x).ndim == 4


@pytest.mark.parametrize('word, meant', [(True, 'se'), (False, None)])
def test_timms_words_for_se_and_none(word, meant, tmp_path):
    model = randomize(timm.create_model('test_res2net_custom', attn_layer=word))
    assert model.model_args == {'attn_layer': meant}
    folder = save_folder(model, tmp_path / 'folder')
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for again in (load_checkpoint(folder), timm.create_model(f'local-dir:{folder}', pretrained=True),
                      timm.create_model('test_res2net_custom', attn_layer=meant, pretrained=True,
                                        pretrained_cfg_overlay=dict(file=str(folder / 'model.safetensors')))):
            assert torch.equal(again.eval()(x), model(x))


def test_an_interrupt_between_two_renames_keeps_the_old(tmp_path, monkeypatch):
    folder = save_folder(randomize(timm.create_model('test_res2net_custom')), tmp_path / 'folder')
    before = (folder / 'model.safetensors').read_bytes()
    rename_ = type(folder).rename

    def interrupted(self, target):
        if self.name == 'new':
            raise KeyboardInterrupt
        return rename_(self, target)

    monkeypatch.setattr(type(folder), 'rename', interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_folder(timm.create_model('test_res2net_custom'), folder, overwrite=True)
    assert (folder / 'model.safetensors').read_bytes() == before and list(tmp_path.iterdir()) == [folder]


def test_who_comes_second_is_told_so(tmp_path, monkeypatch):
    """Both found nothing there, and the other was faster."""
    model = timm.create_model('test_res2net_custom')
    write = saving.write_config

    def slowly(*args):
        monkeypatch.setattr(saving, 'write_config', write)
        save_folder(model, tmp_path / 'folder')
        write(*args)

    monkeypatch.setattr(saving, 'write_config', slowly)
    with pytest.raises(FileExistsError, match='folder cannot be put in place .*another has written it meanwhile'):
        save_folder(model, tmp_path / 'folder')
    assert sorted(p.name for p in tmp_path.rglob('*')) == ['config.json', 'folder', 'model.safetensors']


def test_where_nothing_is_written_no_parents_are_made(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(saving, 'write_weights', full)
    with pytest.raises(OSError, match='No space'):
        save_folder(timm.create_model('test_res2net_custom'), tmp_path / 'a/b/c')
    (tmp_path / 'link').symlink_to('nowhere')
    with pytest.raises(FileExistsError, match='link exists already'):
        save_folder(timm.create_model('test_res2net_custom'), tmp_path / 'link')
    assert [p.name for p in tmp_path.iterdir()] == ['link']


def test_what_has_no_effect_in_a_folder_is_left_aside(tmp_path):
    """Where attention acts, of a network without any."""
    model = randomize(timm.create_model('test_res2net_custom', attn_position='split'))
    again = load_checkpoint(save_folder(model, tmp_path / 'folder'))
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())
