"""What a config.json or a training asks for, by every way in: the network of the weights or one line, and no more."""
import argparse
import dataclasses
import json
import re

import pytest
import timm
import torch
from limits import bounded

import timm_res2net
from timm_res2net import CheckpointError, inspect_checkpoint, load_checkpoint
from timm_res2net.model.variants import VARIANTS

SMALL = {
    'res2net_custom': dict(layers=(1, 1, 1, 1), channels=(8, 8, 16, 16), scale=2, base_width=32, num_classes=3),
    'res2net23_32w_4s_cifar_custom': dict(layers=(1, 1, 1), channels=(8, 8, 16), num_classes=3),
    'dla60_res2net_custom': dict(levels=(1, 1, 1, 1, 1, 1), channels=(4, 4, 32, 32, 32, 32), num_classes=3),
}
HUGE = (10 ** 6, 10 ** 9, 10 ** 400, 1e300)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """A saved model of each class."""
    return {name: timm_res2net.save_folder(
        timm.create_model(name, **arguments), tmp_path_factory.mktemp('small') / name)
        for name, arguments in SMALL.items()}


def lying(folder, target, change):
    """A copy of a folder whose config.json `change` has changed."""
    target.mkdir()
    config = json.loads((folder / 'config.json').read_text())
    change(config)
    (target / 'config.json').write_text(json.dumps(config))
    (target / 'model.safetensors').symlink_to(folder / 'model.safetensors')
    return target


def numbers(name):
    """(argument, value) with one number made huge, for every argument of a variant that is a number or several."""
    cls, own = VARIANTS[name].cls, SMALL[name]
    for field in dataclasses.fields(cls.Arguments):
        value = own.get(field.name, field.default)
        if isinstance(value, tuple):
            for i in range(len(value)):
                yield field.name, [*value[:i], 10 ** 9, *value[i + 1:]]
            yield from ((field.name, [huge] * len(value)) for huge in HUGE)
        elif not isinstance(value, (str, bool)) and not field.name.endswith('_layer'):
            yield from ((field.name, huge) for huge in HUGE)
    for huge in HUGE:
        yield 'rd_ratio', huge


def refused(call, place, megabytes=200):
    """Whether a call ends in one line that names the place, within the limits."""
    with bounded(megabytes=megabytes):
        try:
            call()
        except CheckpointError as error:
            text = str(error)
            assert re.match(f'{re.escape(str(place))}(/[a-z.]+)?: ', text), text
            assert text.isprintable() and len(text) < 2500, text
            return True
    return False


def through_timm(folder, **kwargs):
    return lambda: timm.create_model(f'local-dir:{folder}', **{'pretrained': True, **kwargs})


@pytest.mark.parametrize('name', SMALL)
def test_huge_numbers(name, folders, tmp_path):
    """Each argument in turn; one without weights (strides, rates) may have any value that the class takes."""
    count = 0
    for i, (argument, value) in enumerate(numbers(name)):
        def change(config, argument=argument, value=value):
            if argument == 'rd_ratio':
                config['model_args']['attn_layer'] = 'se'
            if argument == 'stem_width' and 'cifar' not in name:
                config['model_args']['stem_type'] = 'deep'
            config['model_args'][argument] = value
        folder = lying(folders[name], tmp_path / str(i), change)
        calls = [lambda folder=folder: load_checkpoint(folder), through_timm(folder),
                 through_timm(folder, num_classes=2), through_timm(folder, features_only=True)]
        count += sum(refused(call, folder) for call in calls)
        count += refused(through_timm(folder, pretrained=False), folder, megabytes=1300)  # of the largest variants
    assert count > 100


@pytest.mark.parametrize('name', [
    pytest.param(n, marks=[] if 'cifar' in n else pytest.mark.slow) for n in SMALL])
def test_huge_numbers_in_a_training(name, folders, tmp_path):
    """As train.py keeps its arguments in a checkpoint."""
    model = load_checkpoint(folders[name])
    state, arguments, count = model.state_dict(), SMALL[name], 0
    file = tmp_path / 'x.pth.tar'
    overlay = dict(file=str(file))
    for argument, value in numbers(name):
        kwargs = {**arguments, argument: value, **(dict(attn_layer='se') if argument == 'rd_ratio' else {})}
        torch.save(dict(state_dict=state, arch=name, args=argparse.Namespace(model=name, model_kwargs=kwargs)), file)
        calls = [lambda: load_checkpoint(file), lambda: inspect_checkpoint(file), lambda: load_checkpoint(file, model),
                 lambda: timm.create_model(name, **arguments, checkpoint_path=file),
                 lambda: timm.create_model(name, **arguments, pretrained=True, pretrained_cfg_overlay=overlay)]
        count += sum(refused(call, file) for call in calls)
    assert count > 50
    assert all(torch.equal(v, state[k]) for k, v in load_checkpoint(folders[name]).state_dict().items())


CFGS = {  # entries of pretrained_cfg -> whether the model comes all the same
    'state_dict': ({'a': 1}, True), 'file': ('/etc/passwd', True), 'url': ('http://127.0.0.1:1/x.pth', True),
    'hf_hub_id': ('a/b', True), 'hf_hub_filename': ('../x', True), 'source': ('hf-hub', True),
    'custom_load': (True, True), 'label_offset': (2, True), 'classifier': ('layer1', True), 'first_conv': ('x', True),
    'num_classes': (10 ** 9, True), 'bogus': (1, False), 'input_size': ('abc', False), 'global_pool': (7, False),
    'pool_size': ('x', True), 'architecture': ('x', True)}


@pytest.mark.parametrize('entry', CFGS)
def test_entries_of_the_cfg(entry, folders, tmp_path):
    """timm takes them from a folder for its own: where weights are, how they are to be cut."""
    name, (value, comes) = 'res2net_custom', CFGS[entry]
    folder = lying(folders[name], tmp_path / 'x', lambda config: config['pretrained_cfg'].update({entry: value}))
    if not comes:
        assert refused(through_timm(folder), folder)
        return
    expected = load_checkpoint(folders[name])
    model = timm.create_model(f'local-dir:{folder}', pretrained=True)
    assert all(torch.equal(v, expected.state_dict()[k]) for k, v in model.state_dict().items())
    tuned = timm.create_model(f'local-dir:{folder}', pretrained=True, num_classes=2)
    assert tuned.fc.weight.shape[0] == 2 and torch.equal(tuned.conv1.weight, expected.conv1.weight)


@pytest.mark.parametrize('arguments', [
    dict(features_only=True, out_indices=[99]), dict(pretrained_filter_fn=1), dict(kwargs_filter=['scale']),
    dict(model_cfg={}), dict(features_only=True, feature_cfg={'out_indices': [99]}), dict(pruned=True),
    dict(device='meta'), dict(device='bogus'), dict(dtype='float99'), dict(drop_rate='x'),
    dict(pretrained_strict='x', scale='x')], ids=str)
def test_arguments_of_timms_builder(arguments, folders, tmp_path):
    """A config.json may name those too."""
    folder = lying(folders['res2net_custom'], tmp_path / 'x', lambda config: config['model_args'].update(arguments))
    assert refused(through_timm(folder), folder)


def test_without_weights_no_more_than_a_few_of_the_largest_variant(folders, tmp_path):
    """There is nothing to compare with: whoever wants more gives the arguments himself."""
    name = 'res2net_custom'
    folder = lying(folders[name], tmp_path / 'wide', lambda c: c['model_args'].update(channels=[256, 512, 1024, 4096]))
    with pytest.raises(CheckpointError, match='nothing was built: it asks for about .* and there are no weights'):
        timm.create_model(f'local-dir:{folder}')
    for i, variant in enumerate(('res2net200_vd_26w_4s_custom', 'dla60_res2net_custom')):
        def change(config, variant=variant):
            config.update(architecture=variant, model_args={'device': 'meta'})
        assert timm.create_model(f'local-dir:{lying(folders[name], tmp_path / str(i), change)}')
