"""The network is found in whatever a person's file holds, and what is left out is named."""
import argparse

import numpy as np
import pytest
import timm
import torch
from literal_networks import Foreign
from random_state import NAME, state_of

from timm_res2net import CheckpointError, inspect_checkpoint, load_checkpoint


def under(prefix, state):
    return {prefix + k: v for k, v in state.items()}


def same(model, state):
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[k], state[k]) for k in own)


@pytest.mark.parametrize('prefix', [
    'resnet.', 'model.', 'net.', 'network.', 'encoder.', 'encoder.model.', 'student.', 'backbone.body.',
    'backbone._backbone.', 'timm_model.', 'module.model.encoder.', 'a.b.c.d.', 'model._orig_mod.', 'backbone.module.'])
def test_under_any_prefix(prefix, state, saved):
    decoder = {'decoder.blocks.0.conv.weight': torch.zeros(4, 4, 3, 3), 'rfb2_1.branch0.0.bias': torch.zeros(4)}
    path = saved({'state_dict': {**under(prefix, state), **decoder}})
    model = load_checkpoint(path)
    info = model.checkpoint_info
    assert same(model, state)
    plain = ''.join(f'{part}.' for part in prefix.split('.')[:-1] if part not in ('module', '_orig_mod'))
    assert info.prefix == plain and f'under {plain[:-1]}' in str(info)
    assert info.left_out == [f'parts outside {plain[:-1]}: decoder, rfb2_1']


@pytest.mark.parametrize('style', ['paddle', 'mmpretrain', 'resnet', 'official'])
def test_every_layout_under_any_prefix(style, saved):
    options = dict(scale=1, base_width=64) if style == 'resnet' else {}
    network = Foreign(style, stem='deep', stem_width=16, avg_down=True, **options)
    model = load_checkpoint(saved(under('student.net.', network.weights))).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(x), network(x), rtol=1e-4, atol=1e-4)


def test_several_networks_are_listed_until_one_is_named(state, saved):
    other = state_of(num_classes=5)
    path = saved({**under('student.', state), **under('teacher.body.', other)})
    with pytest.raises(CheckpointError, match=r"2 networks.*prefix='student.'.*'teacher.body.'"):
        load_checkpoint(path)
    assert same(load_checkpoint(path, prefix='student'), state)
    assert same(load_checkpoint(path, prefix='teacher.body.'), other)
    assert inspect_checkpoint(path, prefix='student').prefix == 'student.'
    with pytest.raises(CheckpointError, match="prefix='nobody'.*'student.', 'teacher.body.'"):
        load_checkpoint(path, prefix='nobody')
    given = timm.create_model(NAME, num_classes=5)
    assert same(load_checkpoint(path, given, prefix='teacher.body'), other)


@pytest.mark.parametrize('entry', ['model_state_dict', 'net', 'params', 'ema', 'teacher', 'ema.module', 'a.b.c'])
def test_the_entry_is_told_by_what_it_holds(entry, state, saved):
    content = state
    for name in reversed(entry.split('.')):
        content = {name: content, 'epoch': 3}
    content['optimizer'] = {'state': {0: {'exp_avg': torch.zeros(3)}}, 'param_groups': [{'lr': 0.1, 'params': [0]}]}
    content['args'] = argparse.Namespace(lr=0.1)
    content['metrics'] = {'history': torch.zeros(3)}
    model = load_checkpoint(saved(content))
    assert same(model, state) and model.checkpoint_info.wrapper == entry


def test_several_entries_are_listed_until_one_is_named(state, saved):
    other = state_of(num_classes=5)
    path = saved({'teacher': other, 'student': {'net': state}})
    with pytest.raises(CheckpointError, match=r"2 networks.*entry='teacher'.*'teacher', 'student.net'"):
        load_checkpoint(path)
    assert same(load_checkpoint(path, entry='student.net'), state)
    assert same(load_checkpoint(path, entry='teacher'), other)
    with pytest.raises(CheckpointError, match="entry='pupil'"):
        inspect_checkpoint(path, entry='pupil')


def test_networks_that_share_their_first_stages_are_two(saved):
    both = torch.nn.ModuleDict({name: timm.create_model(NAME) for name in ('rgb', 'depth')})
    both['depth'].conv1, both['depth'].bn1, both['depth'].layer1 = (
        getattr(both['rgb'], part) for part in ('conv1', 'bn1', 'layer1'))
    path = saved(both.state_dict())
    with pytest.raises(CheckpointError, match=r"2 networks.*'rgb\.', 'depth\.'"):
        load_checkpoint(path)
    assert same(load_checkpoint(path, prefix='depth'), both['depth'].state_dict())


def test_a_prefix_as_it_is_in_the_file_or_its_beginning(state, saved):
    other = state_of(num_classes=5)
    path = saved({**under('module.student.encoder.', state), **under('module.teacher.encoder.', other)})
    for prefix in ('student', 'student.encoder', 'module.student', 'module.student.encoder.'):
        assert same(load_checkpoint(path, prefix=prefix), state)
    for prefix in ('', 'stud', 'encoder'):
        with pytest.raises(CheckpointError, match=r"no network has this.*'student\.encoder\.'"):
            load_checkpoint(path, prefix=prefix)
    with pytest.raises(CheckpointError, match=r"2 networks.*'a\.b\.', 'a\.c\.'"):
        load_checkpoint(saved({**under('a.b.', state), **under('a.c.', other)}), prefix='a')


@pytest.mark.parametrize('names', [('model', 'state_dict'), ('model', 'state_dict_ema'), ('model_ema', 'state_dict')])
def test_entries_that_are_no_pair_are_two_networks(names, state, saved):
    path = saved(dict(zip(names, (state, state_of(num_classes=5)), strict=True)))
    with pytest.raises(CheckpointError, match='2 networks'):
        load_checkpoint(path)
    assert same(load_checkpoint(path, entry=names[0]), state)


def test_mmengine_puts_the_averaged_weights_first(state, saved):
    """... and what its EMAHook calls ema_state_dict is what was not averaged: it has swapped them."""
    plain = state_of(num_classes=5)
    path = saved({'state_dict': state, 'ema_state_dict': {'steps': torch.tensor(7), **under('module.', plain)}})
    for options, weights, kind in (({}, state, 'averaged'), (dict(use_ema=False), plain, 'plain'),
                                   (dict(entry='ema_state_dict'), plain, 'plain')):
        model = load_checkpoint(path, **options)
        assert same(model, weights) and f'these to be the {kind} weights' in model.checkpoint_info.assumed[0]
    assert same(timm.create_model(NAME, checkpoint_path=str(path), num_classes=state['fc.bias'].numel()), state)
    with pytest.raises(CheckpointError, match='2 networks'):  # nothing of mmengine's
        load_checkpoint(saved({'state_dict': state, 'ema_state_dict': plain}))


@pytest.mark.parametrize('kind', [
    lambda n: n.to(torch.int32), lambda n: n.float(), lambda n: n.reshape(1), lambda n: n.repeat(3), None])
def test_counters_of_any_kind(kind, state, saved):
    changed = {k: kind(v + 7) if 'num_batches' in k else v for k, v in state.items() if kind or 'num_batches' not in k}
    loaded = load_checkpoint(saved(changed)).state_dict()
    for name, value in loaded.items():
        assert value.dtype == state[name].dtype and value.shape == state[name].shape
        whole = kind and changed[name].numel() == 1
        assert torch.equal(value, state[name] + 7 if whole and 'num_b' in name else state[name])


def test_what_is_no_weight_is_left_out_with_a_word(state, saved):
    extra = {'total_ops': torch.zeros(1), 'layer1.total_params': torch.zeros(1), 'epoch': 3, 'name': 'x',
             'n_averaged': torch.tensor(4)}
    info = load_checkpoint(saved({**state, **extra})).checkpoint_info
    assert info.left_out == ['entries that are no weights: epoch, name',
                             'entries that are no weights: total_ops, total_params']
    with pytest.raises(CheckpointError, match='fc.weight is list, not a tensor'):
        load_checkpoint(saved({**state, 'fc.weight': [1.]}))


def test_other_heads_are_left_out_and_other_trunks_are_not(state, saved):
    heads = {'aux_head.0.weight': torch.zeros(3, 3), 'classifier.bias': torch.zeros(3)}
    model = load_checkpoint(saved({**state, **heads}))
    assert same(model, state) and model.checkpoint_info.left_out == ['parts beside the network: aux_head, classifier']
    for name in ('conv2.weight', 'bn2.weight', 'layer5.0.conv1.weight', 'stem.weight', 'layer1.0.extra.weight'):
        with pytest.raises(CheckpointError, match=f'unexpected.*{name}'):
            load_checkpoint(saved({**state, name: torch.zeros(3)}))


def test_a_classifier_in_a_sequence(state, saved):
    trunk = {k: v for k, v in state.items() if not k.startswith('fc.')}
    inside = {'fc.1.weight': state['fc.weight'], 'fc.1.bias': state['fc.bias']}
    model = load_checkpoint(saved({**trunk, **inside}))
    assert same(model, state) and 'the classifier to be fc.1 alone' in model.checkpoint_info.assumed
    deep = {'fc.0.weight': torch.zeros(8, 192), 'fc.2.weight': torch.zeros(5, 8), 'fc.2.bias': torch.zeros(5)}
    model = load_checkpoint(saved({**trunk, **deep}))
    assert same(model, trunk) and model.checkpoint_info.left_out == ['a classifier of several layers: fc.0, fc.2']


def test_arrays_count_as_tensors(state, tmp_path):
    import pickle
    path = tmp_path / 'file.pdparams'
    path.write_bytes(pickle.dumps({'model': {k: np.asarray(v) for k, v in state.items()}}, protocol=4))
    assert same(load_checkpoint(path), state)


def test_one_dictionary_many_times_is_looked_at_once(saved):
    doubled = {'x': torch.zeros(1)}
    for _ in range(60):
        doubled = {'a': doubled, 'b': doubled}
    with pytest.raises(CheckpointError):
        load_checkpoint(saved(doubled))


class TestHeads:
    """`load_checkpoint` does with classes and channels what `create_model(pretrained=True)` does."""

    @pytest.mark.parametrize('kwargs', [
        dict(num_classes=7), dict(num_classes=0), dict(in_chans=1), dict(in_chans=4, num_classes=5),
        dict(features_only=True), dict(features_only=True, out_indices=(1, 3), in_chans=1)])
    def test_as_timm(self, kwargs, state, saved, tmp_path):
        from timm_res2net import save_folder
        path = saved(state)
        ours = load_checkpoint(path, **kwargs).state_dict()
        folder = save_folder(load_checkpoint(path), tmp_path / 'folder')
        timms = timm.create_model(f'local-dir:{folder}', pretrained=True, **kwargs).state_dict()
        assert ours.keys() == timms.keys()
        new = ('fc.',) if kwargs.get('num_classes') == 7 else ('none',)
        assert all(torch.equal(ours[k], timms[k]) for k in ours if not k.startswith(new))
        assert all(ours[k].shape == timms[k].shape for k in ours)

    def test_only_three_channels_are_adapted(self, saved):
        four = state_of(in_chans=4)
        assert same(load_checkpoint(saved(four)), four)
        for asked in (1, 3):
            with pytest.raises(CheckpointError, match='input channels.*conv1.0.weight is .*4, 3, 3'):
                load_checkpoint(saved(four), in_chans=asked)

    @pytest.mark.parametrize('way', [
        dict(num_classes=7), dict(num_classes=0), dict(features_only=True), dict(in_chans=1), {}])
    def test_a_missing_first_convolution_is_missing(self, way, state, saved):
        less = {k: v for k, v in state.items() if k != 'conv1.0.weight'}
        for create in (lambda path: timm.create_model(
                NAME, pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), **way),
                lambda path: load_checkpoint(path, variant=NAME, **way)):
            with pytest.raises(CheckpointError, match=r'conv1\.(0\.)?weight'):
                create(saved(less))

    @pytest.mark.parametrize('classes', [{}, dict(num_classes=5)])
    def test_a_file_brings_its_own_head(self, classes, state, saved):
        """... into a variant of 1000 classes."""
        model = timm.create_model(
            NAME, pretrained=True, pretrained_cfg_overlay=dict(file=str(saved(state))), **classes)
        assert same(model, state) and model.num_classes == model.pretrained_cfg['num_classes'] == 5

    def test_a_new_head_where_another_number_is_asked_for(self, state, saved, caplog):
        overlay = dict(file=str(saved(state)))
        model = timm.create_model(NAME, num_classes=9, pretrained=True, pretrained_cfg_overlay=overlay)
        assert model.fc.weight.shape[0] == 9 and torch.equal(model.layer1[0].bn1.weight, state['layer1.0.bn1.weight'])
        headless = {k: v for k, v in state.items() if not k.startswith('fc.')}
        overlay = dict(file=str(saved(headless)))
        assert timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=overlay).num_classes == 0
        assert not caplog.records
        timm.create_model(NAME, num_classes=9, pretrained=True, pretrained_cfg_overlay=overlay)
        assert 'random' in caplog.text

    def test_what_is_said_of_other_weights_is_not_inherited(self, tmp_path):
        shipped = 'res2net23_32w_4s_cifar_custom.cifar100'
        model = timm.create_model(shipped, pretrained=True)
        assert model.pretrained_cfg['label_names'] and model.pretrained_cfg['tag'] == 'cifar100'
        torch.save(timm.create_model('res2net23_32w_4s_cifar_custom', num_classes=100).state_dict(), tmp_path / 'x.pth')
        load_checkpoint(tmp_path / 'x.pth', model)
        overlaid = timm.create_model(
            shipped, pretrained=True, pretrained_cfg_overlay=dict(file=str(tmp_path / 'x.pth')))
        by_path = timm.create_model(shipped, checkpoint_path=str(tmp_path / 'x.pth'))
        new_head = timm.create_model(shipped, pretrained=True, num_classes=7)
        for other in (model, overlaid, by_path, new_head):
            assert not any(other.pretrained_cfg.get(k) for k in ('label_names', 'tag', 'license'))


def test_a_classifier_that_contradicts_itself_is_not_replaced(state, saved):
    """... as it would be by a new one, of as many classes as one half of it says."""
    path = saved({**state, 'fc.weight': state['fc.weight'].T.contiguous()})
    for load in (load_checkpoint, lambda p: timm.create_model(
            NAME, pretrained=True, pretrained_cfg_overlay=dict(file=str(p)), num_classes=7)):
        with pytest.raises(CheckpointError, match=r'its classifier contradicts itself: fc\.weight is \(\d+, \d+\), fc'):
            load(path)
