"""`timm.create_model('hf-hub:..', pretrained=True)` and other ways to the Hub through plain timm, into our networks."""
import re

import pytest

PLACE = r'CheckpointError: alice/{}: '
REFUSALS = {
    'evil': PLACE.format('evil') + '.*pytorch_model.bin: refused, and nothing in it was executed',
    'damaged': PLACE.format('damaged') + '.*model.safetensors: truncated or damaged, it cannot be read',
    'other': PLACE.format('other') + r'.*weights do not fit Res2Net, nothing was loaded.*layer2\.0\.bn1\.bias',
    'empty': PLACE.format('empty') + r'model.safetensors or pytorch_model.bin cannot be had \(.*EntryNotFoundError: ',
    'rotten': PLACE.format('good') + 'the weights in .* are damaged: delete that file and try again',
    'none': PLACE.format('none') + r'model.safetensors cannot be had \(RepositoryNotFoundError: 404',
    'no name': r'CheckpointError: alice/a b/c: .* cannot be had \(HFValidationError: ',
    'number': 'CheckpointError: hf_hub_id=7 must be text',
    'two revisions': 'CheckpointError: alice/good@a@b: .* cannot be had',
    'no revision': r'CheckpointError: alice/good@v9: .* cannot be had \(RevisionNotFoundError',
    'no file': r'CheckpointError: alice/good: no.safetensors or no.bin cannot be had',
    'outside': r"CheckpointError: alice/good: hf_hub_filename='../../x.bin' must be the name of a file in",
    'no text': r"CheckpointError: alice/good: hf_hub_filename=\['x'\] must be the name of a file in",
}
CFG = dict(num_classes=1000, input_size=[3, 64, 64])
LIES = {
    'scale': dict(model_args=dict(scale=10 ** 6)),
    'layers': dict(model_args=dict(layers=[10 ** 6] * 4)),
    'channels': dict(model_args=dict(channels=[10 ** 9] * 4)),
    'base_width': dict(model_args=dict(base_width=1e9)),
    'stem_width': dict(model_args=dict(stem_type='deep', stem_width=10 ** 6)),
    'rd_ratio': dict(model_args=dict(attn_layer='se', rd_ratio=1e6)),
    'kernel': dict(model_args=dict(avg_down=False, down_kernel_size=10 ** 5 + 1)),
    'classes': dict(model_args=dict(num_classes=10 ** 9)),
    'classes of the cfg': dict(num_classes=10 ** 9),
    'channels of the cfg': dict(pretrained_cfg=dict(CFG, input_size=[10 ** 9, 64, 64])),
    'weights of the cfg': dict(
        model_args=dict(scale=10 ** 6), pretrained_cfg=dict(CFG, state_dict={'a': 1}, file='/etc/passwd')),
    'machine': dict(model_args=dict(device='meta')),
    'size of the cfg': dict(pretrained_cfg=dict(CFG, input_size='abc')),
    'unknown entry': dict(pretrained_cfg=dict(CFG, bogus=1)),
    'unknown argument': dict(model_args=dict(bogus=1)),
    'checkpoint': dict(model_args=dict(pretrained_filter_fn=1)),
    'pruned': dict(model_args=dict(pruned=True)),
    'activation': dict(model_args=dict(act_layer='\x1b[31m')),
}
LOADED = {'classes of the cfg', 'channels of the cfg'}  # the weights tell
REPLACED = {'classes, new head'}  # by what the caller says
SOME = ['scale', 'classes', 'classes of the cfg', 'weights of the cfg', 'unknown argument']  # of a kind each


@pytest.fixture(scope='module')
def results(client):
    """Lies come first: the memory that they take is seen where nothing larger was before."""
    scenarios = {'lies': [LIES, SOME], 'files': [], 'heads': [], 'refusals': [], 'commands': []}
    return client(scenarios, file='hub_by_timm.py', HF_TOKEN='hf_alice')


def result(results, scenario):
    assert 'error' not in results[scenario], results[scenario]['error']
    return results[scenario]['result']


def test_safetensors_first_and_the_file_that_is_named(results):
    result(results, 'files')


def test_heads_and_channels_as_ever(results):
    result(results, 'heads')


def test_what_cannot_be_had_or_does_not_fit_is_one_line(results):
    said = result(results, 'refusals')
    assert said.keys() == REFUSALS.keys()
    for name, pattern in REFUSALS.items():
        assert re.match(pattern, said[name]) and said[name].isprintable(), (name, said[name])


def check_lies(found, every_way):
    for name, message in found['said'].items():
        assert message.isprintable() and len(message) < 2500
        assert re.match('no error|CheckpointError: alice/lie: ', message), (name, message)
    for name in LIES:
        for way in ('', ', new head', ', features') if name in every_way else ('',):
            comes = name in LOADED or name + way in REPLACED
            assert (found['said'][name + way] == 'no error') == comes, (name, way, found['said'][name + way])
    assert found['megabytes'] < 400


def test_configs_that_lie(results):
    """A network is built that the weights fit, or none; a line says what is wrong."""
    check_lies(result(results, 'lies'), SOME)


@pytest.mark.slow
def test_configs_that_lie_in_every_way(client):
    found = client({'lies': [LIES, list(LIES)]}, file='hub_by_timm.py', HF_TOKEN='hf_alice')
    check_lies(result(found, 'lies'), LIES)


def test_commands_end_in_one_line(results):
    for name, (code, out, err) in result(results, 'commands').items():
        assert code == 2 and out == '' and err.count('\n') == 1 and err[:-1].isprintable(), (name, out, err)
        expected = 'alice/none' if 'none' in name else 'alice/big: nothing was built' if 'field' in name else \
            'alice/big: its weights do not fit, nothing was built'
        assert expected in err, (name, err)
