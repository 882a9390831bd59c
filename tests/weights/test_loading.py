"""Loading, through our own function and through timm's: what arrives, what is refused, and what is left alone."""
import copy
import json
import logging
import pickle

import pytest
import timm
import torch
from literal_networks import Foreign
from timm.utils import ModelEmaV3
from training_checkpoint import trained

import timm_res2net  # noqa: F401
from timm_res2net.weights.building import checkpoint_filter_fn
from timm_res2net.weights.loading import CheckpointError, inspect_checkpoint, load_checkpoint
from timm_res2net.weights.saving import save_folder

NAME = 'test_res2net_custom'
DEEP = dict(stem='deep', stem_width=8, avg_down=True)
SHAPE = dict(layers=(1, 1, 1, 1), planes=(16, 24, 32, 48), base_width=32)
ARGS = dict(
    layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), base_width=32, stem_type='deep', stem_width=8, avg_down=True)


def equal(a, b):
    a, b = (x if isinstance(x, dict) else x.state_dict() for x in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def randomized(name=NAME, **kwargs):
    model = timm.create_model(name, **kwargs)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.1)
    return model


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """Path of the same network in each style; 5 classes."""
    folder = tmp_path_factory.mktemp('sources')
    paths = {}
    for style in ('official', 'mmpretrain', 'holocron', 'paddle'):
        weights = Foreign(style, **SHAPE, **DEEP).weights
        if style == 'paddle':
            paths[style] = folder / 'paddle.pdparams'
            paths[style].write_bytes(pickle.dumps({k: v.numpy() for k, v in weights.items()}, protocol=4))
        else:
            paths[style] = folder / f'{style}.pth'
            torch.save({'state_dict': weights}, paths[style])
    return paths


def create(style, **kwargs):
    form = {'first_block': 'paddle'} if style == 'paddle' else {}
    return timm.create_model('res2net_custom', **{**ARGS, **form, 'num_classes': 5, **kwargs})


@pytest.mark.parametrize('style', ['official', 'mmpretrain', 'holocron', 'paddle'])
def test_every_way_into_a_model_gives_the_same(style, sources):
    path = str(sources[style])
    direct = load_checkpoint(path)
    given = create(style)
    assert load_checkpoint(path, given) is given
    through_file = create(style, pretrained=True, pretrained_cfg_overlay=dict(file=path, num_classes=5))
    through_path = create(style, checkpoint_path=path)
    for model in (given, through_file, through_path):
        assert equal(direct, model)
    assert through_file.pretrained_cfg['file'] == path
    assert 'state_dict' not in through_file.pretrained_cfg
    assert through_file.pretrained_cfg['first_conv'] == given.pretrained_cfg['first_conv']


@pytest.mark.parametrize('style', ['mmpretrain', 'paddle'])
def test_timm_adapts_classes_and_channels(style, sources):
    cfg = dict(file=str(sources[style]), num_classes=5, first_conv='conv1.0')
    direct = load_checkpoint(sources[style]).state_dict()
    tuned = create(style, num_classes=9, in_chans=1, pretrained=True, pretrained_cfg_overlay=cfg).state_dict()
    assert tuned['fc.weight'].shape[0] == 9
    torch.testing.assert_close(tuned['conv1.0.weight'], direct['conv1.0.weight'].sum(1, keepdim=True))
    assert all(torch.equal(tuned[k], direct[k]) for k in direct if not k.startswith(('fc.', 'conv1.0.')))
    features = create(style, features_only=True, pretrained=True, pretrained_cfg_overlay=cfg)
    assert torch.equal(features.state_dict()['conv1.6.weight'], direct['conv1.6.weight'])
    assert 'state_dict' not in features.pretrained_cfg


def test_four_channels_stay_four_channels(tmp_path):
    """Older timm adapts a first convolution from 3 channels whatever it has, and drops one of 4."""
    model = randomized('res2net_custom', **ARGS, in_chans=4)
    torch.save(model.state_dict(), tmp_path / 'four.pth')
    cfg = dict(file=str(tmp_path / 'four.pth'), first_conv='conv1.0', input_size=(4, 64, 64))
    again = timm.create_model('res2net_custom', **ARGS, in_chans=4, pretrained=True, pretrained_cfg_overlay=cfg)
    assert equal(model, again)
    assert equal(model, load_checkpoint(tmp_path / 'four.pth'))


@pytest.mark.parametrize('way', ['model', 'variant', 'file', 'path', 'filter'])
def test_paddle_weights_go_into_paddle_forms_only(way, sources):
    path = str(sources['paddle'])
    official = create('official')
    before = copy.deepcopy(official.state_dict())
    with pytest.raises(CheckpointError) as caught:
        if way == 'model':
            load_checkpoint(path, official)
        elif way == 'variant':
            load_checkpoint(path, variant='res2net50d_custom')
        elif way == 'file':
            create('official', pretrained=True, pretrained_cfg_overlay=dict(file=path))
        elif way == 'path':
            create('official', checkpoint_path=path)
        else:
            checkpoint_filter_fn(Foreign('paddle', **SHAPE, **DEEP).weights, official)
    message = str(caught.value)
    assert "first_block='paddle'" in message and '26%' in message and "timm.create_model('res2net_custom'" in message
    assert way == 'filter' or path in message
    assert equal(before, official)


def test_the_right_paddle_variant_is_named():
    weights = Foreign('paddle', layers=(3, 4, 6, 3), planes=(64, 128, 256, 512), base_width=26, stem='deep',
                      stem_width=32, avg_down=True, classes=1000).weights
    with pytest.raises(CheckpointError, match=r"timm.create_model\('res2net50_vd_26w_4s_custom'\)"):
        checkpoint_filter_fn(weights, timm.create_model('res2net50d_custom', device='meta'))


def test_a_detectors_backbone_needs_a_model_without_classifier(tmp_path):
    torch.save(Foreign('mmdetection', **SHAPE, **DEEP).weights, tmp_path / 'det.pth')
    with pytest.raises(CheckpointError, match='no classifier, create the model with num_classes=0'):
        load_checkpoint(tmp_path / 'det.pth', create('official'))
    load_checkpoint(tmp_path / 'det.pth', create('official', num_classes=0))


class TestTrainingCheckpoints:
    """Files as timm's own trainer writes them."""

    def save(self, folder, model, **kwargs):
        ema = ModelEmaV3(model, decay=0.5)
        with torch.no_grad():
            ema.module.fc.bias.add_(1)
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.randn(2, 3, 64, 64)).sum().backward()
        optimizer.step()
        trained(folder, model, NAME, optimizer, ema, lr=0.1, model_kwargs=kwargs)
        return folder / 'model_best.pth.tar', ema.module

    def test_averaged_weights_come_first(self, tmp_path):
        model = randomized()
        path, averaged = self.save(tmp_path, model)
        loaded = load_checkpoint(path)
        assert equal(loaded, averaged) and loaded.checkpoint_info.wrapper == 'state_dict_ema'
        assert equal(load_checkpoint(path, use_ema=False), model)
        assert equal(timm.create_model(NAME, checkpoint_path=str(path)), averaged)
        assert equal(timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=dict(file=str(path))), averaged)

    def test_what_has_no_weights_comes_from_the_training_arguments(self, tmp_path):
        model = randomized(first_block='paddle', act_layer='silu', num_classes=7)
        path, averaged = self.save(tmp_path, model, first_block='paddle', act_layer='silu')
        loaded = load_checkpoint(path).eval()
        assert loaded.checkpoint_info.architecture == NAME
        assert loaded.checkpoint_info.model_args == dict(first_block='paddle', act_layer='silu', num_classes=7)
        x = torch.randn(1, 3, 64, 64)
        assert torch.equal(loaded(x), averaged.eval()(x))

    def test_preprocessing_comes_from_the_training_arguments(self, tmp_path):
        path = trained(tmp_path, timm.create_model(NAME, in_chans=1), NAME, in_chans=1, img_size=48, mean=[0.4],
                       std=[0.2, 0.3, 0.4], crop_pct=0.5, interpolation='', crop_mode=None)
        loaded = load_checkpoint(path)
        config = timm.data.resolve_model_data_config(loaded)
        assert config['input_size'] == (1, 48, 48) and config['crop_pct'] == 0.5 and config['mean'] == (0.4,)
        assert config['std'] == pytest.approx((0.3,)) and config['interpolation'] == 'bilinear'
        base = save_folder(timm.create_model(NAME), tmp_path / 'base')
        written = json.loads((base / 'config.json').read_text())
        written['pretrained_cfg'].update(test_input_size=[3, 288, 288], pool_size=[9, 9])
        (base / 'config.json').write_text(json.dumps(written))
        for size, test in ((None, (3, 288, 288)), (48, None)):  # where it goes on from there
            onwards = trained(tmp_path / f'{size}', timm.create_model(NAME), f'local-dir:{base}', img_size=size)
            assert load_checkpoint(onwards).pretrained_cfg.get('test_input_size') == test
        given = timm.create_model(NAME, in_chans=1)
        before = timm.data.resolve_model_data_config(given)
        assert timm.data.resolve_model_data_config(load_checkpoint(path, given)) == before

    @pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
    @pytest.mark.parametrize('wrapper', ['', 'state_dict', 'model', 'model_ema'])
    def test_wrappers(self, prefix, wrapper, tmp_path):
        model = randomized()
        state = {prefix + k: v for k, v in model.state_dict().items()}
        torch.save({wrapper: state, 'epoch': 1, 'optimizer': {'lr': 0.1}} if wrapper else state, tmp_path / 'x.pth')
        assert equal(load_checkpoint(tmp_path / 'x.pth'), model)
        assert equal(timm.create_model(NAME, checkpoint_path=str(tmp_path / 'x.pth')), model)

    def test_torchs_own_averaging(self, tmp_path):
        model = randomized()
        averaged = torch.optim.swa_utils.AveragedModel(model)
        torch.save(averaged.state_dict(), tmp_path / 'swa.pth')
        assert equal(load_checkpoint(tmp_path / 'swa.pth'), model)


def test_faults_are_listed_with_reasons_and_nothing_is_loaded(tmp_path):
    model = randomized()
    before = copy.deepcopy(model.state_dict())
    state = randomized().state_dict()
    del state['layer1.0.conv3.weight'], state['layer2.0.bn1.bias']
    state['layer1.0.surprise'] = torch.zeros(1)
    state['bn1.weight'] = torch.zeros(17)
    state['bn1.bias'] = state['bn1.bias'].int()
    state['layer3.0.bn3.bias'] = torch.full_like(state['layer3.0.bn3.bias'], float('inf'))
    torch.save(state, tmp_path / 'bad.pth')
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / 'bad.pth', model)
    message = str(caught.value)
    for part in ('bad.pth', '2 missing', 'layer1.0.conv3.weight', 'layer2.0.bn1.bias', '1 unexpected',
                 'layer1.0.surprise', '1 misshapen',
                 'bn1.weight is (17,), the model has (16,)', 'bn1.bias is torch.int32',
                 'beyond their dtype: layer3.0.bn3.bias'):
        assert part in message
    assert equal(before, model)
    with pytest.raises(CheckpointError, match='and 100 more|and [0-9]+ more'):  # long lists are cut
        load_checkpoint(tmp_path / 'bad.pth', timm.create_model('res2net_custom', depth=26))


def test_missing_weights_are_noticed_when_timm_loads_loosely():
    """With another number of classes timm loads with strict=False and would keep random weights without a word."""
    state = randomized().state_dict()
    del state['layer2.0.convs.1.weight']
    with pytest.raises(CheckpointError, match='layer2.0.convs.1.weight'):
        timm.create_model(
            NAME, num_classes=3, pretrained=True, pretrained_cfg_overlay=dict(state_dict=state))


def test_what_was_recognised_is_said(sources, tmp_path, caplog):
    info = inspect_checkpoint(sources['paddle'])
    with caplog.at_level(logging.INFO, 'timm_res2net.weights.loading'):
        model = load_checkpoint(sources['paddle'])
    assert str(model.checkpoint_info) == str(info)
    assert str(info) in caplog.text and str(sources['paddle']) in caplog.text
    assert str(info).startswith('PaddleClas layout -> res2net_custom with ')
    assert info.num_parameters == sum(p.numel() for p in model.parameters())
    assert (info.num_classes, info.in_chans) == (5, 3)
    assert '\n' not in str(info)


@pytest.mark.parametrize('arch, kwargs, args', [
    ('res2net23_32w_4s_cifar_custom.cifar100', dict(act_layer='silu'), {}),
    ('res2net23_32w_4s_cifar_custom', dict(scale=8, base_width=18), {}),
    ('res2net23_32w_4s_cifar_custom.cifar100', dict(attn_layer='se'), dict(gp='max')),
    ('local-dir:{folder}', dict(act_layer='silu'), dict(gp='max')),
])
def test_a_training_checkpoint_comes_back_as_it_was_trained(arch, kwargs, args, tmp_path):
    model = timm.create_model(
        'res2net23_32w_4s_cifar_custom', num_classes=10, **kwargs, **({'global_pool': args['gp']} if args else {}))
    given = kwargs
    if arch.startswith('local-dir'):
        timm_res2net.save_folder(timm.create_model('res2net23_32w_4s_cifar_custom', **kwargs), tmp_path / 'folder')
        arch, given = arch.format(folder=tmp_path / 'folder'), {}
    file = trained(tmp_path, model, arch, model_kwargs=given, **args)
    again = load_checkpoint(file).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again(x), model.eval()(x))
    assert not again.checkpoint_info.assumed
    assert load_checkpoint(file, variant='res2net23_32w_4s_cifar_custom.cifar100', **kwargs).num_classes == 10


def test_what_nobody_tells_is_said(tmp_path, caplog):
    file = trained(tmp_path, timm.create_model(NAME), 'hf-hub:alice/far-away')
    assert 'hf-hub:alice/far-away' in str(load_checkpoint(file).checkpoint_info)
    norms = dict(norm_layer='groupnorm1', channels=(16, 16, 16, 16), layers=(1, 1, 1, 1))
    torch.save(timm.create_model('res2net_custom', **norms).state_dict(), tmp_path / 'norms.pth')
    caplog.clear()
    info = load_checkpoint(tmp_path / 'norms.pth', norm_layer='layernorm2d').checkpoint_info
    assert 'norm_layer=' in str(info) and any('norm_layer=' in r.getMessage() for r in caplog.records)
    file = trained(tmp_path, timm.create_model('res2net_custom', **norms), 'res2net_custom', model_kwargs=norms)
    info = inspect_checkpoint(file)
    assert info.model_args['norm_layer'] == 'groupnorm1' and not info.assumed


def test_the_cfg_is_that_of_the_weights(tmp_path):
    """Names, preprocessing and license of a folder; of bare weights no names, though the variant has as many."""
    model = timm.create_model('res2net23_32w_4s_cifar_custom', num_classes=100, in_chans=1)
    torch.save(model.state_dict(), tmp_path / 'bare.pth')
    bare = load_checkpoint(tmp_path / 'bare.pth').pretrained_cfg
    assert bare['license'] == 'unknown' and bare['input_size'] == (1, 32, 32) and len(bare['mean']) == 1
    assert not bare.get('label_names') and not bare.get('file')
    assert not model.pretrained_cfg['label_names']  # not trained, so not those of the weights that ship
    names = {i: f'thing {i}' for i in range(100)}
    timm_res2net.save_folder(model, tmp_path / 'folder', label_names=names)
    config = json.loads((tmp_path / 'folder/config.json').read_text())
    assert config['label_names'] == list(names.values())
    config['pretrained_cfg'].update(crop_pct=0.5, interpolation='nearest', license='mit', mean='odd')
    (tmp_path / 'folder/config.json').write_text(json.dumps(config))
    cfg = load_checkpoint(tmp_path / 'folder').pretrained_cfg
    assert (cfg['crop_pct'], cfg['interpolation'], cfg['license']) == (0.5, 'nearest', 'mit')
    assert cfg['label_names'] == list(names.values()) and cfg['mean'] == bare['mean']
    for wrong, match in (
            (['x'] * 99, '99 names'), ('x' * 100, 'text'), ({i + 1: 'x' for i in range(100)}, 'class 0')):
        with pytest.raises(ValueError, match=match):
            timm_res2net.save_folder(model, tmp_path / 'other', label_names=wrong)
    assert not (tmp_path / 'other').exists()


def test_into_a_compiled_model(tmp_path):
    model = randomized()
    torch.save(model.state_dict(), tmp_path / 'file.pth')
    other = torch.compile(timm.create_model(NAME))
    assert load_checkpoint(tmp_path / 'file.pth', other) is other
    assert equal(other._orig_mod, model)


def test_variant_and_arguments_by_the_caller(tmp_path):
    model = randomized('res2net_custom', first_block='paddle', depth=26, scale=2, base_width=8)
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    assert load_checkpoint(tmp_path / 'x.pth').first_block == 'parallel'  # the documented limit
    loaded = load_checkpoint(tmp_path / 'x.pth', first_block='paddle', drop_rate=0.2)
    assert loaded.first_block == 'paddle' and loaded.drop_rate == 0.2 and equal(loaded, model)
    with pytest.raises(CheckpointError, match='do not fit'):
        load_checkpoint(tmp_path / 'x.pth', variant='res2net50_26w_4s_custom')
    with pytest.raises(CheckpointError, match='no_such'):
        load_checkpoint(tmp_path / 'x.pth', variant='no_such')
    with pytest.raises(TypeError, match='either'):
        load_checkpoint(tmp_path / 'x.pth', model, variant=NAME)


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('suffix', ['.pth', '.pdparams'])
@pytest.mark.parametrize('way', ['checkpoint_path', 'file', 'local-dir'])
def test_nothing_is_executed_on_timms_ways_either(way, suffix, tmp_path):
    (tmp_path / 'folder').mkdir()
    path = tmp_path / 'folder' / ('pytorch_model.bin' if way == 'local-dir' else f'weights{suffix}')
    content = {'state_dict': randomized().state_dict(), 'args': Touch(tmp_path / 'executed')}
    if suffix == '.pth':
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match='nothing in it was executed'):
        if way == 'checkpoint_path':
            timm.create_model(NAME, checkpoint_path=str(path))
        elif way == 'file':
            timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=dict(file=str(path)))
        else:
            config = {'architecture': NAME, 'num_classes': 1000, 'pretrained_cfg': {'num_classes': 1000}}
            (tmp_path / 'folder' / 'config.json').write_text(json.dumps(config))
            timm.create_model(f'local-dir:{tmp_path / "folder"}', pretrained=True)
    assert not (tmp_path / 'executed').exists()


def test_a_feature_extractor_takes_a_file_but_no_checkpoint_path(tmp_path):
    model = randomized()
    torch.save({'state_dict': model.state_dict(), 'args': Touch(tmp_path / 'executed')}, tmp_path / 'evil.pth')
    with pytest.raises(CheckpointError, match='checkpoint_path=.*evil.pth.*features_only=True.*file='):
        timm.create_model(NAME, features_only=True, checkpoint_path=str(tmp_path / 'evil.pth'))
    assert not (tmp_path / 'executed').exists()
    torch.save(model.state_dict(), tmp_path / 'good.pth')
    overlay = dict(file=str(tmp_path / 'good.pth'))
    extractor = timm.create_model(NAME, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay)
    assert torch.equal(extractor.layer4[0].conv3.weight, model.layer4[0].conv3.weight)


def test_other_models_load_as_before(tmp_path):
    other = timm.create_model('resnet18')
    torch.save(other.state_dict(), tmp_path / 'r.pth')
    assert equal(timm.create_model('resnet18', checkpoint_path=str(tmp_path / 'r.pth')), other)
    with pytest.raises(RuntimeError, match='size mismatch'):
        timm.create_model('resnet18', num_classes=3, checkpoint_path=str(tmp_path / 'r.pth'))


class TestModelsThatCannotBeFilled:
    """Whatever the reason, one line says it and the model is as it was."""

    def refused(self, model, tmp_path, match, error=CheckpointError):
        torch.save(randomized().state_dict(), tmp_path / 'x.pth')
        before = copy.deepcopy(model.state_dict()) if isinstance(model, torch.nn.Module) else {}
        with pytest.raises(error, match=match) as caught:
            load_checkpoint(tmp_path / 'x.pth', model)
        assert str(caught.value).isprintable() and (error is TypeError or 'x.pth' in str(caught.value))
        assert not before or equal({k: v for k, v in before.items() if not v.is_meta}, {
            k: v for k, v in model.state_dict().items() if not v.is_meta})

    def test_in_inference_mode(self, tmp_path):
        with torch.inference_mode():
            model = timm.create_model(NAME)
        self.refused(model, tmp_path, 'cannot take its weights and is as it was .*nference tensor')

    def test_one_weight_without_memory_of_its_own(self, tmp_path):
        model = timm.create_model(NAME)
        model.fc.weight = torch.nn.Parameter(torch.zeros(1).expand(model.fc.weight.shape))
        self.refused(model, tmp_path, 'cannot take its weights and is as it was')

    def test_two_weights_in_one_place(self, tmp_path):
        """A load that leaves one of them with the other's values has not loaded every entry."""
        model = timm.create_model(NAME)
        model.layer1[0].bn1.weight = model.layer1[0].bn1.bias
        self.refused(model, tmp_path, 'layer1.0.bn1.weight has other values afterwards')

    def test_a_hook_that_fails_at_the_end(self, tmp_path):
        model = timm.create_model(NAME)

        def fail(*_):
            raise RuntimeError('no\nmore')
        model.register_load_state_dict_post_hook(fail)
        self.refused(model, tmp_path, r'cannot take its weights and is as it was \(no more\)')

    def test_one_weight_on_the_meta_device(self, tmp_path):
        model = timm.create_model(NAME)
        model.fc = torch.nn.Linear(model.fc.in_features, 1000, device='meta')
        self.refused(model, tmp_path, 'meta device')

    @pytest.mark.parametrize('model', [7, torch.nn.Identity(), 'features'])
    def test_what_is_no_network(self, model, tmp_path):
        model = timm.create_model(NAME, features_only=True) if model == 'features' else model
        self.refused(model, tmp_path, r'model is (int|Identity|FeatureListNet), it must be a network as', TypeError)

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
    def test_another_precision_is_none_of_them(self, dtype, tmp_path):
        torch.save(randomized().state_dict(), tmp_path / 'x.pth')
        model = load_checkpoint(tmp_path / 'x.pth', timm.create_model(NAME).to(dtype))
        assert equal(model, load_checkpoint(tmp_path / 'x.pth').to(dtype))


@pytest.mark.parametrize('path', [None, 7, b'x', ['x']])
def test_what_is_no_path(path):
    for call in (load_checkpoint, inspect_checkpoint):
        with pytest.raises(TypeError, match='path=.* must be a file or a folder'):
            call(path)


@pytest.mark.parametrize('entry, value, error, match', [
    ('file', 7, TypeError, r"\['file'\]=7 must be a file"), ('url', 7, CheckpointError, '7 is no address'),
    ('url', ['x'], CheckpointError, 'is no address'), ('state_dict', 7, TypeError, 'must be a dictionary of tensors'),
    ('state_dict', {'x': 7}, CheckpointError, 'instead of named weights'),
    ('hf_hub_id', 7, CheckpointError, 'hf_hub_id=7 must be text')])
def test_places_that_are_none(entry, value, error, match):
    with pytest.raises(error, match=match):
        timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay={entry: value})


@pytest.mark.parametrize('entry', ['file', 'url', 'hf_hub_id', 'state_dict', 'source'])
def test_a_file_is_not_traded_for_other_weights(entry, tmp_path):
    torch.save(randomized().state_dict(), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=rf"pretrained_cfg_overlay\['{entry}'\] says where weights are"):
        load_checkpoint(tmp_path / 'x.pth', pretrained_cfg_overlay={entry: 'x'})
    model = load_checkpoint(tmp_path / 'x.pth', pretrained_cfg_overlay=dict(crop_pct=0.5))
    assert model.num_classes == 1000


@pytest.mark.parametrize('channels', [1, 5])
def test_the_stem_of_the_arguments_is_the_one_that_is_adapted(channels, tmp_path):
    """Not that of the variant's cfg."""
    model = randomized('res2net_custom', **ARGS)
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    for overlay in (dict(file=str(tmp_path / 'x.pth')), dict(state_dict=model.state_dict())):
        tuned = timm.create_model(
            'res2net_custom', **ARGS, in_chans=channels, pretrained=True, pretrained_cfg_overlay=overlay)
        expected = timm.models.adapt_input_conv(channels, model.state_dict()['conv1.0.weight'])
        torch.testing.assert_close(tuned.conv1[0].weight.detach(), expected)
        assert torch.equal(tuned.layer4[0].conv3.weight, model.layer4[0].conv3.weight)
