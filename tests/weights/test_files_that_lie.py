"""Files made to hurt whoever opens them: each a clear error, in little time and memory, and the model as it was."""
import contextlib
import io
import json
import pickle
import struct
import zipfile

import corrupt_pickle
import corrupt_zip
import numpy as np
import pytest
import timm
import torch
from good_files import TINY, torch_bytes, training
from limits import bounded
from safetensors.torch import save as to_safetensors

import timm_res2net
from timm_res2net import CheckpointError, Res2Net, inspect_checkpoint, load_checkpoint

MEGABYTE = 2 ** 20


@pytest.fixture(scope='module')
def model():
    return Res2Net(**TINY)


def refused(path, model, **kwargs):
    """The one line of the refusal by every entry, into a model and out of nothing."""
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for attempt in (lambda: load_checkpoint(path, model, **kwargs), lambda: inspect_checkpoint(path, **kwargs),
                    lambda: load_checkpoint(path, **kwargs)):
        with bounded(), pytest.raises(CheckpointError) as caught:
            attempt()
        message = str(caught.value)
        assert str(path) in message and message.isprintable() and len(message) < 2500
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    return message


def rezipped(blob, change):
    """A torch.save archive with other records, checksums right; `change(name, data)` gives (name, data) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(blob)) as old, zipfile.ZipFile(buffer, 'w') as new:
        for info in old.infolist():
            for name, data in change(info.filename, old.read(info)):
                new.writestr(name, data)
    return buffer.getvalue()


def shortened(name, data):
    return [(name, data[:16] if '/data/' in name else data)]


def doubled(name, data):
    return [(name, data)] * 2


def without_program(name, data):
    return [(name, data)] if not name.endswith('data.pkl') else []


def two_programs(name, data):
    return [(name, data), (f'b/{name}', data)] if name.endswith('data.pkl') else [(name, data)]


@pytest.mark.parametrize('change', [shortened, doubled, without_program, two_programs])
def test_archives_whose_records_lie(change, model, tmp_path):
    (tmp_path / 'x.pth').write_bytes(rezipped(torch_bytes(model.state_dict()), change))
    message = refused(tmp_path / 'x.pth', model)
    assert change not in (without_program, two_programs) or 'where torch.save writes one' in message


def test_a_record_shorter_than_its_tensor_is_never_read(model, tmp_path):
    """... whatever torch does with it: before 2.7 it reads on beyond the record's end."""
    blob = rezipped(torch_bytes({'state_dict': {'fc.weight': torch.zeros(400)}}), shortened)
    (tmp_path / 'x.pth').write_bytes(blob)
    assert 'should have 1600 bytes and has 16' in refused(tmp_path / 'x.pth', model)


def test_many_names_of_one_record(model, tmp_path):
    """20,000 directory entries that point at the same bytes."""
    blob = torch_bytes({'x': torch.zeros(50_000)})
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        big = max(archive.infolist(), key=lambda i: i.file_size)
        end = blob.rindex(b'PK\x05\x06')
    entry = struct.pack('<4s6H3L5H2L', b'PK\x01\x02', 20, 20, 0, 0, 0, 0, big.CRC, big.compress_size, big.file_size,
                        0, 0, 0, 0, 0, 0, big.header_offset)
    many = b''.join(entry[:28] + struct.pack('<H', 6) + entry[30:] + f'{i:06}'.encode() for i in range(20_000))
    tail = struct.pack('<4s4H2LH', b'PK\x05\x06', 0, 0, 20_000, 20_000, len(many), end, 0)
    (tmp_path / 'x.pth').write_bytes(blob[:end] + many + tail)
    refused(tmp_path / 'x.pth', model)


def program(body):
    """A pickle by hand."""
    return b'\x80\x02' + body + b'.'


def call(module, name, arguments):
    return f'c{module}\n{name}\n'.encode() + arguments + b'R'


def from_type(function, *numbers):
    """A tensor of a class of its own is made by a function, which the file names."""
    arguments = b''.join(b'\x8a\x05' + n.to_bytes(5, 'little') for n in numbers)
    return call('torch._tensor', '_rebuild_from_type_v2',
        f'(c{function}\nctorch\nTensor\n('.encode() + arguments + b't}t')


ENCODED = b'X' + struct.pack('<I', MEGABYTE) + b'a' * MEGABYTE + b'q\x00'  # a megabyte of text, kept as number 0
PROGRAMS = {
    'bytearray of 8 GB': call('__builtin__', 'bytearray', b'(\x8a\x05' + (8 * 2 ** 30).to_bytes(5, 'little') + b't'),
    'a byte array of 8 GB': b'\x96' + (8 * 2 ** 30).to_bytes(8, 'little'),
    'a megabyte made 4,000 times': ENCODED + b'0(' + 4000 * call('_codecs', 'encode', b'(h\x00X\x06\x00\x00\x00latin1t')
                                   + b'l',
    **{f'a megabyte 4,000 times in a {name}': ENCODED + b'0' + call(module, name, b'(' + 4000 * b'h\x00' + b't')
       for module, name in (('torch', 'device'), ('pathlib', 'PurePosixPath'))},
    'a dictionary copied 20,000 times': b'}q\x00(' + b''.join(
        b'K%cN' % i for i in range(200)) + b'u0(' + 200_000 * call('collections', 'OrderedDict', b'(h\x00t') + b'l',
    'doubled dictionaries': b'}q\x00' + b''.join(b'}q%c(U\x01ah%cU\x01bh%cu' % (i, i - 1, i - 1) for i in range(1, 60)),
    'deep nesting': b'(' * 200_000 + b't' * 200_000,
    'deep dictionaries': b'}U\x01a' * 50_000 + b'}' + b's' * 50_000,
    'a tensor of a tensor type': call('torch', 'FloatTensor', b'(\x8a\x05' + (2 ** 33).to_bytes(5, 'little') + b't'),
    'a tensor of another tensor type': from_type('torch\nFloatTensor', 2 ** 33),
    'bytes for a tensor': from_type('__builtin__\nbytearray', 2 ** 33),
    'a quantized tensor': call('torch._utils', '_rebuild_qtensor', b'(NK\x00\x8a\x05' + (2 ** 33).to_bytes(5, 'little')
                               + b'\x85K\x01\x85NNNt'),
    'a size made 20,000 times': b'(' + b'K\x01' * 10_000 + b'lq\x000(' + 20_000 * call('torch', 'Size',
        b'(h\x00t') + b'l',
    'doubled tuples as a key': b'}' + b'K\x01' + b'2\x86' * 60 + b'K\x01s',
    'doubled tuples in a set': call('__builtin__', 'set', b'(](' + b'K\x01' + b'2\x86' * 60 + b'et'),
    'doubled tuples as a key of another kind': call(
        'collections', 'OrderedDict', b'(](' + b'K\x01' + b'2\x86' * 60 + b'K\x01\x86et'),
    'doubled lists': b']K\x01a' + b'q\x00](h\x00h\x00e' * 60,
    'a tensor without values': call(
        'torch._utils', '_rebuild_meta_tensor_no_storage',
        b'(ctorch\nfloat32\n(\x8a\x05' + (2 ** 33).to_bytes(5, 'little') + b'tK\x01\x85\x89t'),
}


@pytest.mark.parametrize('name', PROGRAMS)
@pytest.mark.parametrize('suffix', ['.pth', '.pdparams'])
def test_programs_that_make_much_of_little(name, suffix, model, tmp_path):
    body = program(PROGRAMS[name])
    path = tmp_path / f'x{suffix}'
    path.write_bytes(body if suffix == '.pdparams' else rezipped(
        torch_bytes({}), lambda n, data: [(n, body if n.endswith('data.pkl') else data)]))
    refused(path, model)


@pytest.mark.parametrize('change_of_it', [b'K\x00K\x00s', b'(K\x00K\x00K\x01\x85K\x01\x85tb',
    b'}X\x04\x00\x00\x00dataNsb'])
def test_nothing_is_done_to_a_tensor(change_of_it, model, tmp_path):
    """An item set writes in torch 2.6, in a tensor larger than its record, beyond its end; a state makes it larger."""
    good = torch_bytes({'fc.weight': torch.zeros(4)})

    def change(name, data):
        if not name.endswith('data.pkl'):
            return [(name, data)]
        end = data.rindex(b's')  # before the tensor goes into the dictionary
        return [(name, data[:end] + change_of_it + data[end:])]
    (tmp_path / 'x.pth').write_bytes(rezipped(good, change))
    refused(tmp_path / 'x.pth', model)


def test_a_record_of_two_gigabytes_by_one_of_its_sizes(model, tmp_path):
    """Of the two that the directory gives, zipfile reads as many bytes as the one and believes the other."""
    entries = corrupt_zip.records(torch_bytes(model.state_dict()))
    entries[0].central = dict(packed=2 ** 31)
    (tmp_path / 'x.pth').write_bytes(corrupt_zip.write(entries))
    assert 'compressed' in refused(tmp_path / 'x.pth', model)


@pytest.mark.parametrize(('offset', 'size', 'stride'), [
    (2 ** 63 - 1, 3, 1), (2 ** 63 - 3, 3, 1), (-1, 3, 1), (1, 3, 1), (0, 3, 2), (0, 3, 2 ** 62), (0, 2 ** 63 - 1, 1),
    (0, -3, 1), (2 ** 64, 3, 1)])
@pytest.mark.parametrize('how', [{}, dict(_use_new_zipfile_serialization=False)], ids=['zip', 'legacy'])
def test_a_tensor_beyond_its_storage(offset, size, stride, how, model, tmp_path):
    """In torch 2.6 the sum of an offset and a size overflows, and what lies before the storage is read."""
    right = b'K\x00K\x03\x85'
    blob = torch_bytes({'fc.bias': torch.ones(3)}, **how)
    place = corrupt_pickle.integer(offset) + corrupt_pickle.integer(size) + b'\x85'
    entries = corrupt_zip.records(blob) if not how else None
    program = next(r.data for r in entries if r.name.endswith(b'data.pkl')) if entries else \
        corrupt_pickle.legacy_parts(blob)[0][3]
    ops, _ = corrupt_pickle.opcodes(program)
    at = next(i for i, op in enumerate(ops) if op[:1] == b'Q') + 1  # offset, size, stride follow the storage
    assert b''.join(op for op in ops[at:at + 3]) == right
    tail = ops[at + 3:]
    one = tail.index(b'K\x01')
    tail[one] = corrupt_pickle.integer(stride)
    lying = b''.join([*ops[:at], place, *tail])
    (tmp_path / 'x.pth').write_bytes(blob.replace(program, lying) if how else corrupt_zip.with_program(blob, lying))
    assert 'larger than its storage' in refused(tmp_path / 'x.pth', model)


def test_a_length_in_a_legacy_file(model, tmp_path):
    """Four gigabytes of text, by a length of four bytes."""
    blob = torch_bytes(model.state_dict(), _use_new_zipfile_serialization=False)
    parts, numbers = corrupt_pickle.legacy_parts(blob)
    parts[3] = b'\x80\x02X\xff\xff\xff\xffabc.'
    (tmp_path / 'x.pth').write_bytes(b''.join(parts) + numbers)
    refused(tmp_path / 'x.pth', model)


@pytest.mark.parametrize('text', [
    'b0: &b0 [x]\n' + ''.join(f'b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n' for i in range(1, 60)),
    'b0: &b0 {x: 1}\n' + ''.join(f'b{i}: &b{i} {{<<: [*b{i - 1}, *b{i - 1}]}}\n' for i in range(1, 60)),
    'model_kwargs: &x {scale: *x}\n', 'model_kwargs: {layers: ' + '[' * 80 + ']' * 80 + '}',
    'x: [' + '1, ' * 200_000 + ']', '!!python/object/apply:os.system ["touch executed"]'],
    ids=['doubled lists', 'doubled mappings', 'in itself', 'deep', 'long', 'a call'])
def test_training_arguments_that_lie(text, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'last.pth.tar')
    (tmp_path / 'args.yaml').write_text(text)
    assert 'args.yaml' in refused(tmp_path, model)
    assert not (tmp_path / 'executed').exists()


def test_a_namespace_in_itself(model, tmp_path):
    """... as the arguments of a training, which are copied into the cfg of a model."""
    content = training(model.state_dict())
    content['args'].model_kwargs['self'] = content['args']
    (tmp_path / 'x.pth').write_bytes(torch_bytes(content))
    refused(tmp_path / 'x.pth', model)


def test_one_buffer_many_times(model, tmp_path):
    buffer = np.zeros(MEGABYTE, 'f4')
    body = pickle.dumps({f'a.{i}': buffer for i in range(400)}, protocol=4)
    (tmp_path / 'x.pdparams').write_bytes(body)
    refused(tmp_path / 'x.pdparams', model)


@pytest.mark.parametrize('names', [
    lambda i: f'layer1.{i}.x', lambda i: f'layer1.{i}.conv1.weight', lambda i: f'layer1.0.convs.{i}.weight',
    lambda i: f'level2.{"tree1." * (i % 300)}x{i}', lambda i: f'{"a." * (i % 500)}layer1.0.conv1.weight{i}'])
def test_many_names(names, model, tmp_path):
    state = {**model.state_dict(), **{names(i): torch.zeros(1, 1, 1, 1) for i in range(20_000)}}
    (tmp_path / 'x.safetensors').write_bytes(to_safetensors(state))
    for into in (model, None):  # some are parts beside the network
        with bounded(), contextlib.suppress(CheckpointError):
            load_checkpoint(tmp_path / 'x.safetensors', into)
            assert names(0).startswith('layer1.0.conv1.weight')


@pytest.mark.parametrize('changes', [
    {'layer1.0.conv1.weight': (4096, 2, 1, 1), 'layer1.0.convs.0.weight': (1, 1, 3, 3)},  # scale 4096
    {f'layer{i}.{j}.conv1.weight': (4, 2, 1, 1) for i in (1, 2, 3, 4) for j in range(3000)},
])
def test_shapes_that_ask_for_much(changes, model, tmp_path):
    state = {**model.state_dict(), **{k: torch.ones(shape) for k, shape in changes.items()}}
    (tmp_path / 'x.safetensors').write_bytes(to_safetensors(state))
    refused(tmp_path / 'x.safetensors', model)


@pytest.mark.parametrize(
    'kind', ['nested', 'long double', 'complex', 'negative variance', 'overflow', 'escape', 'long'])
def test_values_that_are_no_weights(kind, model, tmp_path):
    state = dict(model.state_dict())
    match kind:
        case 'nested':
            state['fc.bias'] = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(1)])
        case 'long double':
            state = {k: v.numpy() for k, v in state.items()}
            state['fc.bias'] = np.zeros(3, np.longdouble)
        case 'complex':
            state['fc.bias'] = torch.zeros(3, dtype=torch.complex64)
        case 'negative variance':
            state['bn1.running_var'] = -torch.ones(64)
        case 'overflow':
            state['fc.bias'] = torch.full((3,), 1e300, dtype=torch.float64)
        case 'escape':
            state['layer1.0.\x1b[31m\u202e\n'] = torch.zeros(1)
        case 'long':
            state[f'layer1.0.{"x" * 100_000}'] = torch.zeros(1)
    path = tmp_path / ('x.pdparams' if kind == 'long double' else 'x.pth')
    path.write_bytes(pickle.dumps(state, protocol=4) if kind == 'long double' else torch_bytes(state))
    for into in (model, None):
        with bounded(), pytest.raises(CheckpointError) as caught:
            load_checkpoint(path, into)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 2500 and str(path) in str(caught.value)


@pytest.mark.parametrize('config', [
    dict(model_args=dict(scale=1_000_000)), dict(model_args=dict(layers=[1_000_000] * 4)),
    dict(model_args=dict(channels=[32768] * 4)), dict(model_args=dict(base_width=1e9)), dict(num_classes=10 ** 9),
    dict(model_args=dict(depth=[50])), dict(model_args=dict(depth=51)), dict(model_args=dict(act_layer='nonsense')),
    dict(model_args=dict(act_layer=3)), dict(model_args=dict(layers='abc')), dict(model_args=dict(global_pool='x')),
    dict(model_args=dict(norm_layer=[1])), dict(model_args=dict(bogus=1)), dict(model_args=dict(cardinality=0)),
    dict(architecture='dla60_res2net_custom', model_args=dict(levels=[1, 1, 40, 40, 40, 40])),
    dict(architecture='resnet50', model_args=dict(layers=[1_000_000] * 4)),
    dict(architecture='res2net50_26w_4s', model_args=dict(block_args=dict(scale=1_000_000))),
], ids=str)
@pytest.mark.parametrize('way', ['load', 'timm'])
def test_a_config_that_lies(config, way, tmp_path):
    folder = timm_res2net.save_folder(timm.create_model('res2net_custom', **TINY), tmp_path / 'folder')
    right = json.loads((folder / 'config.json').read_text())
    config = {**right, **config, 'model_args': {**right['model_args'], **config.get('model_args', {})}}
    (folder / 'config.json').write_text(json.dumps(config))
    with bounded():
        try:
            model = load_checkpoint(folder) if way == 'load' else timm.create_model(
                f'local-dir:{folder}', pretrained=True)
        except (CheckpointError, TypeError) as error:  # timm's own networks through timm: timm's errors
            ours = way == 'load' or config['architecture'].endswith('_custom')
            assert str(error).isprintable() and (not ours or str(folder) in str(error) and isinstance(
                error, CheckpointError))
        else:
            assert model.num_classes == 3 or way == 'timm'  # only the weights say how many there are


@pytest.mark.parametrize('text', ['[' * 100_000, '{"architecture": ' * 50_000, '\xff\xfe', '"x"', '[1]', 'null', ''])
def test_a_config_that_is_none(text, model, tmp_path):
    folder = timm_res2net.save_folder(timm.create_model('res2net_custom', **TINY), tmp_path / 'folder')
    (folder / 'config.json').write_text(text, encoding='latin1')
    assert 'config.json' in refused(folder, model)


@pytest.mark.parametrize('name', ['x' * 5000, 'a\0b', '\x1b[31m'])
def test_paths_that_no_file_has(name, model):
    with pytest.raises((FileNotFoundError, CheckpointError)):
        load_checkpoint(name, model)


class TestWholeOrNotAtAll:
    def test_an_interrupt_in_the_middle(self, model, tmp_path, monkeypatch):
        torch.save({k: torch.rand_like(v) if v.is_floating_point() else v for k, v in model.state_dict().items()},
                   tmp_path / 'x.pth')
        before = {k: v.clone() for k, v in model.state_dict().items()}
        copied, original = [], model.fc._load_from_state_dict

        def interrupt(*args):
            if not copied:
                copied.append(not torch.equal(model.conv1.weight, before['conv1.weight']))
                raise KeyboardInterrupt
            original(*args)
        monkeypatch.setattr(model.fc, '_load_from_state_dict', interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_checkpoint(tmp_path / 'x.pth', model)
        assert copied == [True] and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())

    def test_nothing_is_loaded_into_nothing(self, tmp_path):
        timm_res2net.save_folder(timm.create_model('res2net_custom', **TINY), tmp_path / 'folder')
        with pytest.raises(CheckpointError, match='meta device'):
            load_checkpoint(tmp_path / 'folder', timm.create_model('res2net_custom', **TINY, device='meta'))
        with torch.device('meta'), pytest.raises(CheckpointError, match='meta device'):
            load_checkpoint(tmp_path / 'folder')
        with pytest.raises(CheckpointError, match='meta device'):
            timm.create_model(
                'res2net_custom', **TINY, device='meta', pretrained=True,
                pretrained_cfg_overlay=dict(file=str(tmp_path / 'folder')))


@pytest.mark.parametrize('into', ['nothing', 'a model', 'timm', 'another head'])
def test_half_a_classifier_is_no_network_without_one(into, tmp_path):
    """Whose head is dropped, or new, as if the file had none."""
    variant, arguments = 'test_res2net_custom', dict(num_classes=3)
    state = timm.create_model(variant, **arguments).state_dict()
    del state['fc.weight']
    path = tmp_path / 'x.pth'
    torch.save(state, path)
    with pytest.raises(CheckpointError, match='fc.bias without fc.weight') as caught:
        match into:
            case 'nothing':
                load_checkpoint(path)
            case 'a model':
                load_checkpoint(path, timm.create_model(variant, num_classes=0))
            case 'timm' | 'another head':
                more = arguments if into == 'timm' else dict(num_classes=5)
                timm.create_model(variant, pretrained=True, pretrained_cfg_overlay=dict(file=str(path)), **more)
    assert str(path) in str(caught.value)
