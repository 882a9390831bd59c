"""What a file says of its own architecture: honoured, refused where it contradicts, and said where it is missing."""
import copy
import json

import pytest
import safetensors.torch
import timm
import torch
from training_checkpoint import trained

import timm_res2net
from timm_res2net import CheckpointError, inspect_checkpoint, load_checkpoint
from timm_res2net.model.variants import VARIANTS
from timm_res2net.weights.comparing import randomize
from timm_res2net.weights.matching import complete, with_arguments

TINY = dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 40), num_classes=3)
FAMILY = timm.list_models(module='resnet') + timm.list_models(module='res2net')


def files(model, name, folder, **arguments):
    """The same network as a folder of timm's, as a training checkpoint of timm's, and as weights alone."""
    timm.models.save_for_hf(model, folder / 'folder', model_args=arguments)
    torch.save(model.state_dict(), folder / 'bare.pth')
    return {'folder': folder / 'folder', 'training': trained(folder, model, name, model_kwargs=arguments),
            'bare': folder / 'bare.pth'}


@torch.no_grad()
def relative_error(a, b, size=64):
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    a, b = a.eval()(x), b.eval()(x)
    return float((a - b).abs().max() / b.abs().max())


def follow(name, folder, **arguments):
    """What comes of each kind of file: 'equal', 'refused' or what was assumed."""
    theirs = randomize(timm.create_model(name, num_classes=3, **arguments))
    ends, infos = {}, {}
    for kind, path in files(theirs, name, folder, **arguments).items():
        try:
            infos[kind] = inspect_checkpoint(path)
            if kind == 'training' and 'folder' in infos:  # the same network, by the same words
                said = [
                    complete(VARIANTS[i.architecture].cls, with_arguments(i.architecture, i.model_args))
                    for i in infos.values()]
                ends[kind] = ends['folder'] if said[0] == said[1] else 'another'
                continue
            equal = relative_error(load_checkpoint(path), theirs) < 1e-5
            ends[kind] = 'equal' if equal else '; '.join(infos[kind].assumed)
        except CheckpointError as error:
            assert str(path) in str(error)
            ends[kind] = 'refused'
    return ends


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILY)
def test_every_resnet_of_timms_is_itself_or_refused(name, tmp_path):
    ends = follow(name, tmp_path)
    assert ends['folder'] in ('equal', 'refused') and ends['training'] == ends['folder']
    assert ends['bare'] in ('equal', 'refused') or 'no weight tells' in ends['bare']


@pytest.mark.parametrize('name, arguments, end', [
    ('resnet26d', {}, 'equal'),
    ('resnetaa50', {}, 'equal'),
    ('resnetblur50d', {}, 'equal'),
    ('resnet26', dict(output_stride=8), 'equal'),
    ('seresnext26d_32x4d', dict(global_pool='max'), 'equal'),
    ('resnet26', dict(block_reduce_first=2), 'refused'),
    ('resnet18', {}, 'refused'),
])
def test_a_network_of_timms_is_what_its_file_says(name, arguments, end, tmp_path):
    ends = follow(name, tmp_path, **arguments)
    assert ends['folder'] == ends['training'] == end
    assert ends['bare'] in ('equal', 'refused') or 'no weight tells' in ends['bare']


@pytest.mark.parametrize('arguments', [
    dict(first_block='paddle'), dict(stride_position='conv1'), dict(act_layer='silu'), dict(aa_layer='blur'),
    dict(output_stride=8), dict(output_stride=16, exact_dilation=True), dict(global_pool='max')])
def test_what_a_file_says_is_taken_and_never_put_into_another_network(arguments, tmp_path):
    model = randomize(timm.create_model('res2net_custom', **TINY, **arguments))
    ours = timm_res2net.save_folder(model, tmp_path / 'ours')
    others = dict(trained=trained(tmp_path, model, 'res2net_custom', model_kwargs={**TINY, **arguments}), ours=ours)
    plain = timm.create_model('res2net_custom', **TINY)
    before = {k: v.clone() for k, v in plain.state_dict().items()}
    for file in others.values():
        loaded = load_checkpoint(file)
        assert relative_error(loaded, model) == 0 and not loaded.checkpoint_info.assumed
        name, value = next(iter(arguments.items()))
        for way in (
                lambda file=file: load_checkpoint(file, plain),
                lambda file=file: timm.create_model('res2net_custom', **TINY, checkpoint_path=str(file)),
                lambda file=file: timm.create_model(
                    'res2net_custom', **TINY, pretrained=True, pretrained_cfg_overlay=dict(file=str(file)))):
            with pytest.raises(CheckpointError) as caught:
                way()
            assert f'it says {name}={value!r}, the model has {name}=' in str(caught.value)
            assert str(file) in str(caught.value)
        same = timm.create_model('res2net_custom', **TINY, **arguments, checkpoint_path=str(file))
        assert relative_error(same, model) == 0
    assert all(torch.equal(v, before[k]) for k, v in plain.state_dict().items())


def test_strided_weights_may_be_used_dilated(tmp_path):
    model = randomize(timm.create_model('res2net_custom', **TINY))
    folder = timm_res2net.save_folder(model, tmp_path / 'ours')
    dilated = load_checkpoint(folder, timm.create_model('res2net_custom', **TINY, output_stride=8, exact_dilation=True))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        strided, dense = model.forward_features(x), dilated.eval().forward_features(x)[:, :, ::4, ::4]
    torch.testing.assert_close(dense, strided, rtol=1e-4, atol=1e-5)


def test_a_pool_is_the_weights_only_where_their_classifier_is_used(tmp_path):
    model = timm.create_model('res2net_custom', **TINY, global_pool='max')
    folder = timm_res2net.save_folder(model, tmp_path / 'ours')
    timm.create_model(
        'res2net_custom', **{**TINY, 'num_classes': 7}, pretrained=True,
        pretrained_cfg_overlay=dict(file=str(folder)))
    headless = timm.create_model('res2net_custom', **{**TINY, 'num_classes': 0}, global_pool='catavgmax')
    headless = timm_res2net.save_folder(headless, tmp_path / 'no_head')
    assert load_checkpoint(headless).global_pool.pool_type == 'catavgmax'


@pytest.mark.parametrize('said, match', [
    (dict(architecture='res2net50_26w_4s_custom', model_args={}), 'it says it is res2net50_26w_4s_custom, .*variant='),
    (dict(architecture='res2net_custom', model_args=dict(scale=8)), r'res2net_custom\(scale=8\).*scale=4'),
    (dict(architecture='res2net_custom', model_args={**TINY, 'depth': 51, 'layers': None}), 'depth=51'),
    (dict(architecture='res2net_custom', model_args=dict(bogus=1)), "no argument 'bogus'"),
    (dict(architecture='res2net_custom', model_args={**TINY, 'scale': 8, 'num_classes': None}), 'scale=4'),
    (dict(architecture='resnet26'), "timm's resnet26.*another network"),
    (dict(architecture='resnet26', model_args=dict(bogus=1)), 'bogus'),
    (dict(architecture='vit_tiny_patch16_224'), "timm's vit_tiny_patch16_224"),
])
def test_a_file_that_contradicts_itself_is_refused(said, match, tmp_path):
    folder = timm_res2net.save_folder(timm.create_model('res2net_custom', **TINY), tmp_path / 'folder')
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps({**config, **said}))
    with pytest.raises(CheckpointError, match=match) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value) and '\n' not in str(caught.value)
    variant = load_checkpoint(folder, variant='res2net_custom', **{k: v for k, v in TINY.items() if k != 'num_classes'})
    assert variant.num_classes == 3


@pytest.mark.parametrize('arch', ['res2net50_v1b', 'res2net50_v1b_26w_4s'])
def test_the_authors_names_are_known(arch, tmp_path):
    torch.save({'arch': arch, 'epoch': 3, 'state_dict': timm.create_model('res2net50d_custom').state_dict()},
               tmp_path / 'x.pth')
    info = load_checkpoint(tmp_path / 'x.pth').checkpoint_info
    assert info.architecture == 'res2net50d_custom' and not info.assumed
    torch.save({'arch': arch, 'state_dict': timm.create_model('res2net50_26w_4s_custom').state_dict()},
               tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='it says it is res2net50d_custom, and its weights are of another'):
        load_checkpoint(tmp_path / 'x.pth')


def test_what_nothing_tells_is_said_in_one_line(tmp_path):
    for name, said in (('test_res2net_custom', 'first block'), ('res2net23_32w_4s_cifar_custom', 'stem_stride=2')):
        torch.save(timm.create_model(name).state_dict(), tmp_path / 'bare.pth')
        assumed, = load_checkpoint(tmp_path / 'bare.pth').checkpoint_info.assumed
        assert said in assumed and name in assumed and 'no weight tells' in assumed
    folder = timm_res2net.save_folder(timm.create_model('test_res2net_custom'), tmp_path / 'folder')
    assert not load_checkpoint(folder).checkpoint_info.assumed


@pytest.mark.parametrize('name, arguments, stride', [
    ('res2net_custom', TINY, 32), ('res2net23_32w_4s_cifar_custom', {}, 8)])
def test_undilated_is_whatever_the_network_is_by_itself(name, arguments, stride, tmp_path):
    model = randomize(timm.create_model(name, **arguments))
    folder = timm_res2net.save_folder(model, tmp_path / 'ours')
    dilated = dict(output_stride=stride // 2, exact_dilation=True)
    assert model.arguments.output_stride == stride
    ways = [timm.create_model(f'local-dir:{folder}', pretrained=True, **dilated),
            load_checkpoint(folder, timm.create_model(name, **arguments, **dilated)),
            load_checkpoint(folder, **dilated)]
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        strided = model.forward_features(x)
        for way in ways:
            torch.testing.assert_close(way.eval().forward_features(x)[:, :, ::2, ::2], strided, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name, arguments', [
    ('res2net50_26w_4s', dict(aa_layer='blur', replace_stem_pool=True)),  # its blocks drop it, its stem does not
    ('res2net50d', dict(aa_layer='avg', replace_stem_pool=True)),
    ('res2net50_26w_4s', dict(stem_type='deep')),  # of another width than ours by default
    ('resnet26', dict(stem_type='deep')),
    ('resnet26', dict(aa_layer='blur', replace_stem_pool=True)),
    ('resnet26', dict(aa_layer='blurpc', replace_stem_pool=True)),
    ('res2net50_26w_4s', dict(act_layer='silu', output_stride=16)),
    ('dla60_res2net', dict(shortcut_root=True)),
    ('dla60_res2net', dict(output_stride=32, cardinality=1, base_width=28)),
])
def test_arguments_of_timms_networks_mean_what_timm_makes_of_them(name, arguments, tmp_path):
    model = randomize(timm.create_model(name, num_classes=3, **arguments))
    path = trained(tmp_path, model, name, model_kwargs=arguments)
    if 'aa_layer' in arguments and name.startswith('res2net'):
        with pytest.raises(CheckpointError, match=f"timm's {name}.* no network of this package does"):
            load_checkpoint(path)
    else:
        assert relative_error(load_checkpoint(path), model) < 1e-5


@pytest.mark.parametrize('ours, arguments, theirs', [
    ('res2net50_vd_26w_4s_custom', {}, 'res2net50d'), ('res2net50_26w_4s_custom', dict(act_layer='silu'),
                                                       'res2net50_26w_4s')])
def test_a_network_of_timms_is_no_place_for_weights_of_another(ours, arguments, theirs, tmp_path):
    """Names and shapes are the same."""
    right = timm_res2net.save_folder(randomize(timm.create_model(f'{theirs}_custom')), tmp_path / 'right')
    wrong = timm_res2net.save_folder(randomize(timm.create_model(ours, **arguments)), tmp_path / 'wrong')
    model = load_checkpoint(right, timm.create_model(theirs))
    assert relative_error(model, load_checkpoint(right)) < 1e-5
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f'its weights are of .*{ours}.* this ResNet computes something else'):
        load_checkpoint(wrong, model)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('arguments', [{}, dict(output_stride=16), dict(num_classes=0, global_pool='max')])
def test_a_network_of_timms_may_be_used_as_one_of_ours(arguments, dtype, tmp_path):
    """Dilated, without classifier and pool, in any precision."""
    classes = arguments.get('num_classes', 3)
    model = randomize(timm.create_model('res2net50_26w_4s_custom', num_classes=classes))
    folder = timm_res2net.save_folder(model, tmp_path / 'folder')
    theirs, ours = (timm.create_model(name, **{'num_classes': 3, **arguments}).to(dtype)
                    for name in ('res2net50_26w_4s', 'res2net50_26w_4s_custom'))
    state = torch.random.get_rng_state()
    for model in (theirs, ours):
        load_checkpoint(folder, model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, ours.state_dict()[k]) for k, v in theirs.state_dict().items())
    assert {p.dtype for p in theirs.parameters()} == {dtype}


@pytest.mark.parametrize('config', [
    dict(backbone_config=dict(backbone='res2net50_vd_26w_4s_custom', model_type='timm_backbone', output_stride={})),
    dict(backbone='res2net50_vd_26w_4s_custom', model_type='timm_backbone', output_stride={}),
    dict(encoder_name='tu-res2net50_vd_26w_4s_custom', encoder_output_stride={})], ids=['model', 'backbone', 'smp'])
@pytest.mark.parametrize('stride', [None, 32, 8])
def test_configs_of_libraries_name_the_network_in_them(config, stride, tmp_path):
    """transformers and segmentation_models_pytorch: names and shapes are those of the authors' network."""
    inside = config.get('backbone_config', config)
    inside = {k: stride if v == {} else v for k, v in inside.items()}
    config = {'backbone_config': inside} if 'backbone_config' in config else inside
    model = timm.create_model('res2net50_vd_26w_4s_custom', num_classes=0, layers=(1, 1, 1, 1))
    safetensors.torch.save_file(
        {f'backbone._backbone.{k}': v for k, v in model.state_dict().items()}, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_text(json.dumps(config))
    whole = timm.create_model('res2net50_vd_26w_4s_custom', num_classes=0)
    with pytest.raises(CheckpointError, match='its weights are of another network'):  # of other layers than it says
        load_checkpoint(tmp_path)
    safetensors.torch.save_file(
        {f'backbone._backbone.{k}': v for k, v in whole.state_dict().items()}, tmp_path / 'model.safetensors')
    again = load_checkpoint(tmp_path)
    assert again.arguments.first_block == 'paddle' and again.arguments.output_stride == (stride or 32)
    assert not again.checkpoint_info.assumed
    with pytest.raises(CheckpointError, match="it says first_block='paddle'"):
        timm.create_model(
            'res2net50d_custom', num_classes=0, pretrained=True, pretrained_cfg_overlay=dict(file=str(tmp_path)))


def test_a_training_from_a_folder_is_no_other_folder_of_that_name(tmp_path, monkeypatch):
    """A relative one is where train.py ran, as the place of its checkpoint tells, not where one is now."""
    there, elsewhere = tmp_path / 'there', tmp_path / 'elsewhere'
    arguments = dict(act_layer='silu', first_block='paddle')
    model = timm.create_model('test_res2net_custom', num_classes=3, **arguments)
    timm_res2net.save_folder(timm.create_model('test_res2net_custom', **arguments), there / 'base')
    timm_res2net.save_folder(timm.create_model('test_res2net_custom'), elsewhere / 'base')
    last = trained(there / 'output/train/run', model, 'local-dir:base', num_classes=3, output='', experiment='run')
    for folder in (there, elsewhere):
        monkeypatch.chdir(folder)
        again = load_checkpoint(last)
        assert again.arguments.first_block == 'paddle' and again.arguments.act_layer == 'silu'
        assert not again.checkpoint_info.assumed
    moved = trained(elsewhere / 'moved', model, 'local-dir:base', num_classes=3, output='', experiment='run')
    assert f'local-dir:base to be {elsewhere}/base' in load_checkpoint(moved).checkpoint_info.assumed
    monkeypatch.chdir(tmp_path)
    assert 'it was trained as local-dir:base, which is not here' in str(load_checkpoint(moved).checkpoint_info)


def test_auxiliary_norms_of_a_training_are_left_out(tmp_path):
    """timm's --split-bn has norms for augmented images, which evaluation has not."""
    model = timm.create_model('test_res2net_custom', num_classes=3)
    split = timm.layers.convert_splitbn_model(copy.deepcopy(model), 2)
    again = load_checkpoint(trained(tmp_path / 'run', split, 'test_res2net_custom', num_classes=3))
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    assert any('aux_bn' in what for what in again.checkpoint_info.left_out)


def test_an_overlay_wins_over_what_a_file_says(tmp_path):
    model = timm.create_model('test_res2net_custom', num_classes=2)
    model.pretrained_cfg.update(label_names=['a', 'b'], mean=(0.1, 0.2, 0.3))
    folder = timm_res2net.save_folder(model, tmp_path / 'folder')
    given = dict(mean=(0., 0., 0.), crop_pct=0.5, label_names=['c', 'd'], license='mit')
    cfg = load_checkpoint(folder, pretrained_cfg_overlay=given).pretrained_cfg
    assert {k: cfg[k] for k in given} == given
