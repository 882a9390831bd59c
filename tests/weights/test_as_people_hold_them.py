"""Files as people have them: what holds the network is read, what holds none is told by its kind, with what to do."""
import bz2
import collections
import datetime
import gzip
import io
import json
import lzma
import pathlib
import pickle
import tarfile
import types
import zipfile

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from random_state import NAME, state_of

from timm_res2net import CheckpointError, inspect_checkpoint, load_checkpoint
from timm_res2net.weights.comparing import randomize


def same(model, state):
    own = model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[k], state[k]) for k in own)


def trunk_of(state):
    return {k: v for k, v in state.items() if not k.startswith('fc.')}


def under(prefix, state):
    return {prefix + k: v for k, v in state.items()}


def bytes_of(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def packed(kind, content):
    buffer = io.BytesIO()
    if kind == 'tar':
        with tarfile.open(fileobj=buffer, mode='w') as archive:
            info = tarfile.TarInfo('file.safetensors')
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    elif kind == 'npz':
        np.savez(buffer, weight=np.zeros(3))
    elif kind == 'jit':
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    elif kind == 'export':
        torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), buffer)
    else:
        with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED if kind == 'zip' else zipfile.ZIP_STORED) as archive:
            archive.writestr('file.pth', content)
    return buffer.getvalue()


class TestBesideTheWeights:
    """What trainers keep in their checkpoints is no reason to refuse them, and nothing of it is made."""

    @pytest.mark.parametrize('protocol', [2, 4, 5])
    def test_numbers_paths_and_dates(self, protocol, state, tmp_path):
        beside = {
            'best': np.float64(76.5), 'epoch': np.int64(3), 'losses': np.arange(4.), 'empty': np.zeros((0, 2)),
            'output': pathlib.Path('/x/y'), 'windows': pathlib.PureWindowsPath('c:/x'), 'when': datetime.datetime.now(),
            'log': collections.defaultdict(list, a=[1]), 'last': collections.deque([1, 2], maxlen=2),
            'torch': torch.__version__, 'args': types.SimpleNamespace(lr=0.1, data=pathlib.Path('/data')),
            'times': [datetime.date.today(), datetime.timedelta(1)], 'metric': np.float32(0.5), 'arch': NAME}
        torch.save({'state_dict': state, **beside}, tmp_path / 'file.pth', pickle_protocol=protocol)
        model = load_checkpoint(tmp_path / 'file.pth')
        assert same(model, state) and model.checkpoint_info.wrapper == 'state_dict'

    def test_the_metric_is_a_number(self, state, saved):
        from timm_res2net.weights.reading import read_checkpoint
        training = read_checkpoint(saved({'state_dict': state, 'metric': np.float64(76.5), 'epoch': 3})).training
        assert training['metric'] == 76.5 and type(training['metric']) is float

    @pytest.mark.parametrize('protocol', [2, 4])
    def test_histories_of_losses(self, protocol, state, tmp_path, monkeypatch):
        """mmengine's, whose methods are named in every one of them."""
        import sys

        class HistoryBuffer:
            def __init__(self):
                self._log_history, self._statistics_methods = np.zeros(3), {'min': HistoryBuffer.min}

            def min(self):
                raise AssertionError

        module = types.ModuleType('mmengine.logging.history_buffer')
        HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, 'HistoryBuffer'
        HistoryBuffer.min.__module__, HistoryBuffer.min.__qualname__ = module.__name__, 'HistoryBuffer.min'
        module.HistoryBuffer = HistoryBuffer
        for name in ('mmengine', 'mmengine.logging', module.__name__):
            monkeypatch.setitem(sys.modules, name, module)
        content = {'state_dict': under('backbone.', state), 'message_hub': {'loss': HistoryBuffer()}}
        torch.save(content, tmp_path / 'file.pth', pickle_protocol=protocol)
        monkeypatch.delitem(sys.modules, module.__name__)
        assert same(load_checkpoint(tmp_path / 'file.pth'), state)

    @pytest.mark.parametrize('program', [
        b'cbuiltins\ngetattr\n(cbuiltins\nlist\nX\x06\x00\x00\x00appendtR', b'cbuiltins\nlist\n)R',
        b'cmmengine.logging.history_buffer\nHistoryBuffer.min\n)R', b'cpathlib\nPosixPath\n(K\x01tR',
        b'cargparse\nNamespace.__init__\n', b'ccollections\nabc.Mapping\n', b'cpathlib\nPath\n)R'])
    def test_what_is_called_is_refused(self, program, tmp_path):
        with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
            archive.writestr('x/data.pkl', b'\x80\x02' + program + b'.')
            archive.writestr('x/version', '3')
        with pytest.raises(CheckpointError, match='nothing in it was executed'):
            load_checkpoint(tmp_path / 'x.pth')

    @pytest.mark.parametrize('protocol', [2, 3, 4, 5])
    def test_arrays(self, protocol, state, saved, tmp_path):
        arrays = {k: v.numpy() for k, v in state.items()}
        torch.save({'state_dict': arrays}, tmp_path / 'arrays.pth', pickle_protocol=protocol)
        assert same(load_checkpoint(tmp_path / 'arrays.pth'), state)
        assert same(load_checkpoint(saved(pickle.dumps({'model': arrays}, protocol), 'arrays.pkl')), state)

    def test_a_byte_array_longer_than_the_file(self, saved):
        for length in (100, 2 ** 40, 2 ** 63):
            program = b'\x80\x05}\x8c\x01a\x96' + length.to_bytes(8, 'little') + b'xs.'
            with pytest.raises(CheckpointError, match='truncated or damaged'):
                load_checkpoint(saved(program, 'file.pdparams'))


class TestOneNetworkUnderTwoNames:

    def test_parts_that_the_code_names_twice(self, state, saved):
        alias = {**under('resnet.', state), **under('encoder1.', {k: v for k, v in state.items() if 'layer2' in k})}
        assert same(load_checkpoint(saved(alias)), state)

    def test_the_whole_of_it(self, state, saved):
        model = load_checkpoint(saved({**under('encoder.', state), **state, **under('a.b.', state)}))
        assert same(model, state) and model.checkpoint_info.prefix == 'encoder.'
        other = state_of(num_classes=5)
        with pytest.raises(CheckpointError, match=r"2 networks.*prefix='student.'"):
            load_checkpoint(saved({**under('student.', state), **under('copy.', state), **under('teacher.', other)}))

    def test_weights_of_one_network_have_their_own(self, state, saved):
        with pytest.raises(CheckpointError, match=r'bn1\.running_mean and bn1\.weight share the same memory'):
            load_checkpoint(saved({**state, 'bn1.running_mean': state['bn1.weight']}))


class TestInSeveralFiles:

    @staticmethod
    def write(state, folder, suffix='safetensors', **changes):
        names = list(state)
        parts = [{k: state[k] for k in names[i::2]} for i in range(2)]
        start = 'model' if suffix == 'safetensors' else 'pytorch_model'
        files = [f'{start}-0000{i}-of-00002.{suffix}' for i in (1, 2)]
        for file, part in zip(files, parts, strict=True):
            (folder / file).write_bytes(
                safetensors.torch.save(part) if suffix == 'safetensors' else bytes_of(part))
        index = {k: file for file, part in zip(files, parts, strict=True) for k in part}
        (folder / f'{start}.{suffix}.index.json').write_text(json.dumps({'weight_map': {**index, **changes}}))
        return folder / files[0]

    @pytest.mark.parametrize('suffix', ['safetensors', 'bin'])
    def test_by_their_index(self, suffix, state, tmp_path):
        part = self.write(state, tmp_path, suffix)
        (tmp_path / 'config.json').write_text(json.dumps({'architecture': NAME, 'model_args': {'num_classes': 5}}))
        index, = tmp_path.glob('*.index.json')
        for path in (tmp_path, index):
            model = load_checkpoint(path)
            assert same(model, state) and not model.checkpoint_info.assumed
        with pytest.raises(CheckpointError, match=r'-00001-of-00002\..*a part of the weights alone'):
            load_checkpoint(part)

    def test_an_index_that_lies(self, state, tmp_path):
        (tmp_path / 'secret.bin').write_bytes(b'x')
        (tmp_path / 'folder').mkdir()
        for file, error in (
            ('../secret.bin', "names '../secret.bin', which is no file beside it"), (3, 'names 3'), ('', "names ''"),
            ('model.safetensors.index.json', 'no file beside it'),
            ('model-00002-of-00002.safetensors', 'has no conv1.0.weight'),
            ('gone.safetensors', r'gone\.safetensors: no such file'),
        ):
            self.write(state, tmp_path / 'folder', **{list(state)[0]: file})
            with pytest.raises((CheckpointError, FileNotFoundError), match=error):
                load_checkpoint(tmp_path / 'folder')
        index = tmp_path / 'folder' / 'model.safetensors.index.json'
        self.write(state, tmp_path / 'folder')
        less = {k: v for k, v in json.loads(index.read_text())['weight_map'].items() if not k.startswith('fc.')}
        index.write_text(json.dumps({'weight_map': less}))
        with pytest.raises(CheckpointError, match=r'it has fc\.\w+, which .*json does not say'):
            load_checkpoint(tmp_path / 'folder')
        for words in ('{}', '{"weight_map": {}}', '{"weight_map": [1]}'):
            index.write_text(words)
            with pytest.raises(CheckpointError, match='index.json: it has no weight_map'):
                load_checkpoint(index)


class TestNames:

    @pytest.mark.parametrize('prefix', ['', 'backbone.', 'model.encoder.0.'])
    def test_children_in_a_sequence(self, prefix, saved):
        """... as people cut networks, under torch's own numbers."""
        for kwargs in ({}, dict(scale=1, base_width=64), dict(stem_type='', stem_width=64)):
            model = timm.create_model(NAME, num_classes=5, **kwargs)
            sequence = torch.nn.Sequential(*list(model.children())[:-2])
            trunk = trunk_of(model.state_dict())
            loaded = load_checkpoint(saved({'state_dict': under(prefix, sequence.state_dict())}))
            assert same(loaded, trunk) and loaded.checkpoint_info.prefix == prefix
            assert 'first block, strides' in loaded.checkpoint_info.assumed[1]
            assert loaded.checkpoint_info.assumed[0].startswith('numbers to be those of the children')

    @pytest.mark.parametrize('kind', ['', 'deep'])
    @pytest.mark.parametrize('conv, norm', [('conv1', 'bn1'), ('0', '1')])
    def test_a_stem_around_the_first_layers(self, conv, norm, kind, saved):
        model = timm.create_model(NAME, num_classes=5, **(
            dict(stem_type='', stem_width=64) if not kind else {}))
        state = {
            k.replace('conv1', f'stem.{conv}', 1) if k.startswith('conv1.') else
            k.replace('bn1', f'stem.{norm}', 1) if k.startswith('bn1.') else k: v
            for k, v in model.state_dict().items()}
        for prefix in ('', 'encoder.'):
            loaded = load_checkpoint(saved(under(prefix, state)))
            assert same(loaded, model.state_dict()) and loaded.arguments == model.arguments
            assert 'first block, strides' in loaded.checkpoint_info.assumed[0]

    def test_numbers_of_something_else(self, state, saved):
        beside = {'decoder.4.0.conv1.weight': torch.zeros(4, 4, 3, 3)}
        assert same(load_checkpoint(saved({**under('encoder.', state), **beside})), state)
        with pytest.raises(CheckpointError, match=r'not a Res2Net.* 1 entries \(4\.0\.conv1\.weight'):
            load_checkpoint(saved({'4.0.conv1.weight': torch.zeros(4, 4, 3, 3)}))

    @pytest.mark.parametrize('name', ['classifier', 'head', 'last_linear', 'linear', 'head.fc', 'classifier.1'])
    @pytest.mark.parametrize('prefix', ['', 'backbone.', 'model.encoder.'])
    def test_a_classifier_of_another_name(self, name, prefix, state, saved):
        where = prefix.partition('.')[0] + '.' if prefix.count('.') > 1 else ''
        head = {f'{where}{name}.{k}': state[f'fc.{k}'] for k in ('weight', 'bias')}
        model = load_checkpoint(saved({**under(prefix, trunk_of(state)), **head}))
        assert same(model, state) or prefix and name == 'head.fc'  # mmpretrain's, which is no assumption
        assert name == 'head.fc' or model.checkpoint_info.assumed[0] == f'the classifier to be {where}{name}'
        assert name == 'head.fc' or 'strides' in model.checkpoint_info.assumed[1]
        assert not model.checkpoint_info.left_out

    @pytest.mark.parametrize('head', [
        {'classifier.weight': torch.zeros(5, 7), 'classifier.bias': torch.zeros(5)},
        {'classifier.weight': torch.zeros(5, 192)},
        {'classifier.weight': torch.zeros(5, 192), 'classifier.bias': torch.zeros(4)},
        {'classifier.0.weight': torch.zeros(192, 192), 'classifier.0.bias': torch.zeros(192),
         'classifier.2.weight': torch.zeros(5, 192), 'classifier.2.bias': torch.zeros(5)},
        {'classifier.weight': torch.zeros(5, 192), 'classifier.bias': torch.zeros(5),
         'head.weight': torch.zeros(5, 192), 'head.bias': torch.zeros(5)},
        {'fc1.weight': torch.zeros(8, 192), 'fc1.bias': torch.zeros(8), 'fc2.weight': torch.zeros(5, 8)},
        {'decoder.classifier.weight': torch.zeros(5, 192), 'decoder.classifier.bias': torch.zeros(5)},
    ], ids=lambda head: ' '.join(head))
    def test_what_may_be_none_is_left_out(self, head, state, saved):
        model = load_checkpoint(saved({**trunk_of(state), **head}))
        parts = ', '.join(sorted({k.partition('.')[0] for k in head}))
        assert same(model, trunk_of(state)) and model.num_classes == 0
        assert model.checkpoint_info.left_out == [f'parts beside the network: {parts}']

    @pytest.mark.parametrize(('change', 'message'), [
        (lambda s: {f'tower:{k}': v for k, v in s.items()}, r'not a Res2Net.* 164 entries \(tower:'),
        (lambda s: {k: v for k, v in s.items() if 'layer4' not in k}, 'stages end with layer3: it is a part'),
        (lambda s: {k: v for k, v in s.items() if 'layer3' not in k and 'layer4' not in k}, 'stages end with layer2'),
        (lambda s: {k: v for k, v in s.items() if 'running' not in k and 'num_' not in k},
         'no running_mean and running_var, and .* save state_dict'),
        (lambda s: {k: v for k, v in s.items() if k != 'fc.bias'}, 'its classifier has none, num_classes=0 leaves it'),
        (lambda s: {('fc.weight_v' if k == 'fc.weight' else k): v for k, v in s.items()}, 'fc.weight_v, no plain'),
        (lambda s: {k: v.to(torch.float8_e5m2) if v.is_floating_point() else v for k, v in s.items()},
         'float32 and float64 are taken.*float8'),
    ])
    def test_what_is_wrong_is_said(self, change, message, state, saved):
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(saved(change(state)))

    def test_a_norm_that_is_named_is_not_guessed_at(self, saved):
        state = state_of(norm_layer='groupnorm1', num_classes=5)
        assert same(load_checkpoint(saved(state), norm_layer='groupnorm1'), state)
        with pytest.raises(CheckpointError, match='or give norm_layer='):
            inspect_checkpoint(saved(state))


KINDS = {
    'gzip': lambda blob: gzip.compress(blob), 'xz': lzma.compress, 'bzip2': bz2.compress,
    'tar archive': lambda blob: packed('tar', safetensors.torch.save({'a': torch.zeros(1)})),
    r'zip archive \(file\.pth\): unpack it': lambda blob: packed('zip', blob),
    r'zip archive \(file.pth\)': lambda blob: packed('stored', blob),
    'web page': lambda blob: b'\n<!DOCTYPE html><html><head><title>Virus scan warning</title>',
    'download the file itself': lambda blob: b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
    'Git LFS': lambda blob: b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
    'text in JSON': lambda blob: b'{"error": "Repository not found"}',
    'HDF5': lambda blob: b'\x89HDF\r\n\x1a\n' + bytes(99), 'array of numpy': lambda blob: b'\x93NUMPY\1\0',
    r'torch\.from_numpy\(v\)': lambda blob: packed('npz', blob),
    r'torch\.jit\.load\(FILE\)\.state_dict': lambda blob: packed('jit', blob),
    r'deploy\.load runs': lambda blob: packed('export', blob),
    'a picture': lambda blob: b'\x89PNG\r\n\x1a\n' + bytes(99),
}


@pytest.mark.parametrize('words', KINDS)
@pytest.mark.parametrize('name', ['file.pth', 'model.safetensors'])
def test_what_is_no_file_of_weights_is_told(words, name, saved):
    with pytest.raises(CheckpointError, match=f'neither safetensors, nor .*: it is .*{words}') as caught:
        load_checkpoint(saved(KINDS[words](bytes_of({'a': torch.zeros(1)})), name))
    assert '\n' not in str(caught.value)


def test_tensors_by_pickle_alone(state, saved):
    with pytest.raises(CheckpointError, match=r'as pickle\.dump writes tensors.*by torch\.save'):
        load_checkpoint(saved(pickle.dumps(state), 'file.pkl'))


@pytest.mark.parametrize(('place', 'words'), [
    ('https://example.org/x.pth', r'https://example.org/x.pth: no such file; this is an address: download it'),
    ('s3://bucket/x.pth', 's3://bucket/x.pth: no such file; this is an address, and only files of this machine'),
    ('file:///x.pth', 'only files of this machine'), ('hf-hub:timm/x', r'from_hub\(USER/NAME\)'),
    ('hf://x/y', 'from_hub'),
    ('local-dir:x', 'give the folder alone'), ('~/x.pth', 'give the whole path'), (NAME, f"create_model\\('{NAME}'"),
    ('c:/x.pth', r'c:/x\.pth: no such file\.$'), ('nowhere.pth', r'nowhere\.pth: no such file\.$'),
])
def test_places_that_are_no_files(place, words):
    with pytest.raises(FileNotFoundError, match=words):
        load_checkpoint(place)


def test_a_folder_of_other_names_says_what_is_there(tmp_path):
    (tmp_path / 'checkpoints').mkdir()
    for name in ('checkpoints/epoch=3.ckpt', 'res2net.pth', 'notes.txt'):
        (tmp_path / name).write_bytes(b'x')
    with pytest.raises(CheckpointError, match=r'; there is checkpoints/epoch=3\.ckpt, res2net\.pth: give the file'):
        load_checkpoint(tmp_path)


class Wrapped(torch.nn.Module):
    """What many people make of a backbone; its names are those of mmpretrain's classifiers."""

    def __init__(self, name, **kwargs):
        super().__init__()
        self.backbone = timm.create_model(name, num_classes=0, **kwargs)
        self.head = timm.layers.ClassifierHead(self.backbone.num_features, 10)

    def forward(self, x):
        return self.head(self.backbone.forward_features(x))


@pytest.mark.parametrize('first_block', ['parallel', 'paddle'])
@pytest.mark.parametrize('stem_type', ['', 'deep'])
def test_a_backbone_and_a_head_of_ones_own_are_not_mmpretrains(stem_type, first_block, tmp_path):
    form = dict(stem_type=stem_type, first_block=first_block, layers=(1, 1, 1, 1))
    model = randomize(Wrapped('res2net_custom', **form))
    torch.save(model.state_dict(), tmp_path / 'mine.pth')
    info = inspect_checkpoint(tmp_path / 'mine.pth')
    assert info.num_classes == 10 and any('no weight tells' in what for what in info.assumed)
    loaded = load_checkpoint(tmp_path / 'mine.pth', variant='res2net_custom', **form)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(x), model(x), rtol=1e-5, atol=1e-6)


def test_a_slice_of_a_weight_is_no_damage(tmp_path):
    """As code makes it that turns a network to grey images; one that overlaps itself is."""
    state = timm.create_model('res2net50_26w_4s_custom').state_dict()
    grey = {**state, 'conv1.weight': state['conv1.weight'][:, 1:2]}
    torch.save(grey, tmp_path / 'grey.pth')
    assert torch.equal(load_checkpoint(tmp_path / 'grey.pth').conv1.weight, grey['conv1.weight'])
    odd = state['conv1.weight'].flatten().as_strided((64, 3, 7, 7), (146, 49, 7, 1))
    torch.save({**state, 'conv1.weight': odd}, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=r'conv1.weight has strides \(146, 49, 7, 1\)'):
        load_checkpoint(tmp_path / 'odd.pth')


def test_heads_that_are_left_out_may_share_their_memory(tmp_path):
    state, tied = state_of(), torch.ones(5, 8)
    torch.save({**state, 'head1.weight': tied, 'head2.weight': tied}, tmp_path / 'tied.pth')
    loaded = load_checkpoint(tmp_path / 'tied.pth')
    assert same(loaded, state) and any('head1, head2' in what for what in loaded.checkpoint_info.left_out)
    torch.save({**state, 'bn1.bias': state['bn1.weight']}, tmp_path / 'damaged.pth')
    with pytest.raises(CheckpointError, match='share the same memory'):
        load_checkpoint(tmp_path / 'damaged.pth')


def test_two_files_in_one_are_taken_as_neither(state, saved):
    first, second = bytes_of(state), bytes_of(state_of(num_classes=7))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name, content in (('a.pth', first), ('b.pth', second)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    for content, words in ((buffer.getvalue(), 'a tar archive: unpack it'), (first + second, 'two files in one')):
        path = saved(state)
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(path)


def test_folded_norms_are_told(saved):
    model = timm.create_model(NAME).eval()
    model.reparameterize()
    for look in (load_checkpoint, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r'norms are folded into its convolutions \(layer1\.0\.conv1\.bias'):
            look(saved(model.state_dict()))


class Tensor:
    """What paddle.save writes of a tensor in a dictionary within another."""

    def __init__(self, name, array):
        self.name, self.array = name, array

    def __reduce__(self):
        return tuple, ((self.name, self.array),)


def test_weights_that_paddle_saved_within_a_dictionary(state, tmp_path):
    path = tmp_path / 'nested.pdparams'
    tensors = {k: Tensor(f'linear_0.{i}', v.numpy()) for i, (k, v) in enumerate(state.items())}
    path.write_bytes(pickle.dumps({'model': tensors, 'epoch': 3}, protocol=4))
    assert same(load_checkpoint(path), state)
    for items in (('a', 1), [1, 2], 3):
        path.write_bytes(pickle.dumps({'model': Tensor('a', 1), 'b': Tensor(*items) if isinstance(items, tuple) else
                                       Tensor(items, items)}, protocol=4))
        with pytest.raises(CheckpointError, match=r'asks for builtins\.tuple'):
            load_checkpoint(path)
