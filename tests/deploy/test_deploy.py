"""Prepacked and exported models compute what the model computes, each exported file in a fresh process too."""
import copy
import io
import json
import pickle
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from deploying import CASES, SIZE, images, make, need, relative
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import nn

import timm_res2net
from timm_res2net import deploy
from timm_res2net.deploy import engines, exporting, loaders, packing, preparing, writers
from timm_res2net.deploy.packing import PackedConv2d
from timm_res2net.model.blocks import Res2NetBlock
from timm_res2net.model.fold import fold, fold_norms
from timm_res2net.weights.comparing import randomize


def packed(model):
    return [m for m in model.modules() if isinstance(m, PackedConv2d)]


# prepack ----------------------------------------------------------------------------------------------------------

FORMS = {
    'deep stem': {},
    'se': dict(attn_layer='se'),
    'split attention': dict(attn_layer='eca', attn_position='split'),
    'silu': dict(act_layer='silu'),
    'blur': dict(aa_layer='blur'),
    'conv1': dict(stride_position='conv1'),
    'groups': dict(cardinality=2, base_width=16),
    'scale 1': dict(scale=1, base_width=64),
}


@pytest.mark.parametrize('form', FORMS)
def test_prepacked_computes_the_same(form):
    model = make(**FORMS[form])
    fast = deploy.prepack(model)
    with torch.inference_mode():
        for shape in ((1, 3, 64, 64), (3, 3, 48, 80)):
            x = torch.randn(shape)
            for _ in range(3):  # the first is compared, the others are fast
                assert relative(fast(x), model(x)) <= 1e-5
    assert packed(fast) and all(len(m.packed) == 2 for m in packed(fast))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())


@pytest.mark.parametrize('name', ['dla60_res2net_custom', 'res2net23_32w_4s_cifar_custom'])
def test_prepacked_networks_of_the_other_kinds(name):
    model = make(name)
    fast = deploy.prepack(model)
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        for _ in range(2):
            assert relative(fast(x), model(x)) <= 1e-5


@pytest.mark.parametrize('kind', ['list', 'dict', 'hook', 'getter'])
def test_prepacked_feature_extractor(kind):
    model = make(features_only=True, feature_cls=kind)
    fast = deploy.prepack(model)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        ys = model(x)
        for _ in range(2):
            features = fast(x)
            assert len(features) == len(ys)
            for i in ys if kind == 'dict' else range(len(ys)):
                assert relative(features[i], ys[i]) <= 1e-5


def test_prepacked_on_a_cpu_with_onednn_uses_the_fast_path():
    if not torch.backends.mkldnn.is_available():
        pytest.skip('torch without oneDNN')
    fast = deploy.prepack(make())
    with torch.inference_mode():
        fast(torch.randn(2, 3, SIZE, SIZE))
    assert all(w is not None for m in packed(fast) for w in m.packed.values())


@pytest.mark.parametrize('fault', ['missing', 'fails', 'wrong'])
def test_prepacked_falls_back_without_a_difference(fault, monkeypatch):
    """torch's undocumented operators may go, fail or change; the results stay those of the documented path."""
    def broken(self, x, weight, shortcut):
        if fault == 'fails':
            raise RuntimeError('not today')
        return self.plain(x, shortcut) * 1.001
    if fault == 'missing':  # as in a torch without oneDNN, on some ARM64 machines
        monkeypatch.setattr(torch.ops, 'mkldnn', torch.ops.no_such_namespace)
    else:
        monkeypatch.setattr(PackedConv2d, 'fast', broken)
    model = make()
    fast, plain = deploy.prepack(model), fold(model).to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(fast(x), plain(x))
    assert all(w is None for m in packed(fast) for w in m.packed.values())


def test_prepacked_packs_for_the_first_shapes_and_stays_right_for_others():
    model = make()
    fast = deploy.prepack(model)
    with torch.inference_mode():
        for _ in range(2):
            for size in range(32, 32 + 16 * 12, 16):
                x = torch.randn(1, 3, size, size)
                assert relative(fast(x), model(x)) <= 1e-5
            # the last maps of neighbouring sizes are of one size
            kept = [list(m.packed) for m in packed(fast)]
            assert max(map(len, kept)) == 8
    assert kept == [list(m.packed) for m in packed(fast)]


def test_prepacked_takes_other_weights():
    model, other = make(), make()
    fast = deploy.prepack(model)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        fast(x)
        fast.load_state_dict(deploy.prepack(other).state_dict())
        for _ in range(2):
            assert relative(fast(x), other(x)) <= 1e-5
        fast.double()
        assert relative(fast(x.double()), other.double()(x.double())) <= 1e-6


@pytest.mark.parametrize('name', ['test_res2net_custom', 'dla60_res2net_custom'])
def test_prepacking_replaces_modules_and_rewrites_none(name, monkeypatch):
    """A module that somebody else holds stays what it is; names, parameters and hooks are those of the folded model."""
    folded = fold(make(name))
    held = list(folded.modules())
    types, hook = [type(m) for m in held], lambda m, args, out: None
    block = next(m for m in held if isinstance(m, Res2NetBlock))
    for module in (block, block.conv1, block.act1):
        module.register_forward_hook(hook)
    monkeypatch.setattr(packing, 'fold', lambda model: model)
    fast = deploy.prepack(folded)
    assert [type(m) for m in held] == types
    assert [n for n, _ in fast.named_modules()] == [n for n, _ in folded.named_modules()]
    before, after = folded.state_dict(), fast.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[k], before[k]) for k in before)
    new = next(m for m in fast.modules() if isinstance(m, Res2NetBlock))
    assert new is not block and type(new.act1) is nn.Identity
    assert all(hook in m._forward_hooks.values() for m in (new, new.conv1, new.act1))


def test_a_block_is_prepacked_alone():
    block = make().layer2[0]
    fast = deploy.prepack(block)
    x = torch.randn(2, block.conv1.in_channels, 16, 16)
    with torch.inference_mode():
        for _ in range(2):
            assert relative(fast(x), block(x)) <= 1e-5


def test_prepacked_is_called_by_several_threads():
    model = make()
    fast = deploy.prepack(model)
    xs = [torch.randn(1 + i % 3, 3, SIZE, SIZE) for i in range(24)]

    def same(x):
        with torch.inference_mode():
            return relative(fast(x), model(x)) <= 1e-5
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(same, xs))


def test_prepacked_is_compiled_by_the_plain_path(fresh_dynamo):
    model = make()
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        assert relative(torch.compile(deploy.prepack(model), backend='eager', fullgraph=True)(x), model(x)) <= 1e-5


def test_prepacked_is_traced_and_exported_by_the_plain_path():
    model = make()
    fast = deploy.prepack(model)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        fast(x)
    with torch.no_grad():
        assert relative(torch.jit.trace(fast, x)(x), model(x)) <= 1e-5
        assert relative(torch.export.export(fast, (x,)).module()(x), model(x)) <= 1e-5


def test_prepacked_gives_gradients_of_inputs():
    model = make()
    x = torch.randn(1, 3, SIZE, SIZE)
    a, b = (x.clone().requires_grad_() for _ in range(2))
    deploy.prepack(model)(a).square().sum().backward()
    model(b).square().sum().backward()
    assert relative(a.grad, b.grad) <= 1e-4


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_prepacked_copies_and_pickles(dtype):
    fast = deploy.prepack(make(), dtype)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        fast(x)
        y = fast(x)
        torch.save(fast, buffer := io.BytesIO())
        buffer.seek(0)
        for other in (
                copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)), torch.load(buffer, weights_only=False)):
            other(x)
            assert torch.equal(other(x), y)


def test_prepacked_in_bfloat16():
    model = make()
    fast = deploy.prepack(model, torch.bfloat16)
    x = torch.randn(4, 3, SIZE, SIZE)
    with torch.inference_mode():
        fast(x)
        y = fast(x)
        assert y.dtype == torch.float32 and 1e-5 < relative(y, model(x)) <= 3e-2
        assert relative(fast.forward_features(x).float(), model.forward_features(x)) <= 5e-2


def test_prepack_refuses():
    with pytest.raises(ValueError, match=r'eval\(\)'):
        deploy.prepack(make().train())
    with pytest.raises(ValueError, match='dtype=torch.float16'):
        deploy.prepack(make(), torch.float16)
    with pytest.raises(ValueError, match='cannot be folded'):
        deploy.prepack(timm.create_model('test_res2net_custom', norm_layer='groupnorm1').eval())


# export -----------------------------------------------------------------------------------------------------------

TOLERANCE = {'fp32': 1e-4, 'bf16': 5e-2, 'int8': 2e-1}
NOISE = {'fp32': 1e-3, 'bf16': 0.15, 'int8': 0.5}


@pytest.fixture
def model(network):
    return network


FILES = pytest.mark.parametrize('format, precision', [
    pytest.param(f, p, marks=() if f != 'aotinductor' and p == 'fp32' else pytest.mark.slow) for f, p in CASES])


def assert_near(y, expected, precision):
    assert relative(y, expected) <= TOLERANCE[precision]
    assert (y - expected).norm() <= NOISE[precision] * (expected - expected.mean(0)).norm()


@FILES
def test_exported_computes_the_same(format, precision, network, exported):
    report = exported(format, precision)
    path = Path(report.path)
    assert report.error <= TOLERANCE[precision] and report.noise <= NOISE[precision]
    assert report.top1_agreement >= (1 if precision == 'fp32' else 0.75) and report.images == 24
    written = [p.name for p in path.parent.iterdir() if p.stem == path.stem]
    assert sorted(written) == sorted(p.name for p in writers.WRITERS[format].files(path))
    x, loaded = images(20, seed=1) / 127.5 - 1, deploy.load(path)
    with torch.inference_mode():
        y, expected = loaded(x), network(x)
    assert_near(y, expected, precision)
    with ThreadPoolExecutor(4) as pool:
        several = list(pool.map(lambda i: loaded(x[i % 20:i % 20 + 1]), range(40)))
    assert all(relative(several[i], y[i % 20:i % 20 + 1]) <= 1e-5 for i in range(40))


@FILES
def test_exported_in_a_fresh_process(format, precision, network, exported, tmp_path):
    """The processes of `test_workers` are such too."""
    path, x = Path(exported(format, precision).path), images(20, seed=1) / 127.5 - 1
    torch.save(x, tmp_path / 'x.pt')
    code = (
        'import sys, torch\nfrom timm_res2net import deploy\nfolder = sys.argv[1]\n'
        f"model = deploy.load('{path}')\n"
        "torch.save(model(torch.load(folder + '/x.pt')), folder + '/y.pt')\n")
    env = {'PATH': '/nonexistent', 'HOME': str(tmp_path)} if format == 'aotinductor' else None  # no compiler there
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with torch.inference_mode():
        assert_near(torch.load(tmp_path / 'y.pt'), network(x), precision)


@pytest.mark.parametrize('format', ['torch', 'onnx', 'openvino'])
def test_any_image_size(format, model, tmp_path):
    need(format)
    path = tmp_path / f'model{deploy.FORMATS[format]}'
    deploy.export(model, path, format, image_size=SIZE, images=images(4), dynamic_size=True)
    loaded = deploy.load(path)
    with torch.inference_mode():
        for shape in ((1, 3, 96, 80), (3, 3, 64, 64)):
            x = torch.randn(shape)
            assert relative(loaded(x), model(x)) <= 1e-4
    for shape in ((1, 3, 0, 0), (1, 3, 64, 0), (0, 3, 0, 64)):
        with pytest.raises(ValueError, match=r'it must be torch.float32 of \(B, 3, any, any\)'):
            loaded(torch.zeros(shape))
    small = ((2, 3, 1, 1), (2, 3, 16, 64), (2, 3, 17, 33), (1, 3, 97, 31))
    pooling = timm.create_model('test_res2net_custom', num_classes=4).eval()  # 2x2 pools in shortcuts
    randomize(pooling)
    deploy.export(pooling, path, format, image_size=SIZE, images=images(4), dynamic_size=True, overwrite=True)
    loaded = deploy.load(path)
    with torch.inference_mode():
        for shape in small if format != 'torch' else ():
            x = torch.randn(shape)
            assert relative(loaded(x), pooling(x)) <= 1e-4
    if format == 'torch':  # whose programs have a smallest size
        with pytest.raises(ValueError, match=r'shape \(1, 3, 1, 1\) is none that the file takes: (Guard|Expected)'):
            loaded(torch.zeros(1, 3, 1, 1))


@pytest.mark.parametrize('format', ['torch', pytest.param('onnx', marks=pytest.mark.slow), 'openvino'])
def test_pixels_in_labels_and_transform(format, tmp_path):
    need(format)
    model = make(num_classes=3)
    model.pretrained_cfg['label_names'] = ['a', 'b', 'c']
    path, pixels_path = (tmp_path / f'{n}{deploy.FORMATS[format]}' for n in ('model', 'pixels'))
    deploy.export(model, path, format, image_size=SIZE, images=images(4))
    deploy.export(model, pixels_path, format, image_size=SIZE, images=images(4), pixels_in=True)
    plain, pixels = deploy.load(path), deploy.load(pixels_path)
    assert plain.labels == pixels.labels == ['a', 'b', 'c']
    image = Image.fromarray(images(1, size=150)[0].permute(1, 2, 0).numpy())
    config = {**resolve_data_config({}, model=model), 'input_size': (3, SIZE, SIZE)}
    x = create_transform(**config)(image)[None]
    assert torch.equal(plain.transform(image)[None], x)
    image.save(tmp_path / 'a.png')
    for picture in (image.convert('RGBA'), tmp_path / 'a.png', np.asarray(image)):
        assert torch.equal(plain.transform(picture)[None], x)
        assert torch.equal(pixels.transform(picture), pixels.transform(image))
    with pytest.raises(ValueError, match='nowhere.png cannot be read: No such file'):
        plain.transform(tmp_path / 'nowhere.png')
    with torch.inference_mode():
        y = model(x)
    assert relative(plain(x), y) <= 1e-4
    assert pixels.transform(image).dtype == torch.uint8
    assert relative(pixels(pixels.transform(image)[None]), y) <= 1e-4


def test_a_fixed_batch_serves_every_batch(model, tmp_path):
    deploy.export(model, tmp_path / 'four.pt2', 'torch', batch_size=4, image_size=SIZE, images=images(4))
    loaded = deploy.load(tmp_path / 'four.pt2')
    assert loaded.metadata['shape'][0] == 4
    with torch.inference_mode():
        for batch in (1, 4, 6):
            x = torch.randn(batch, 3, SIZE, SIZE)
            assert relative(loaded(x), model(x)) <= 1e-4


def test_norms_that_do_not_fold_are_exported_as_they_are(tmp_path):
    model = timm.create_model('test_res2net_custom', norm_layer='groupnorm1', num_classes=4).eval()
    report = deploy.export(model, tmp_path / 'model.pt2', 'torch', image_size=SIZE, images=images(4))
    assert report.error <= 1e-4


@pytest.mark.parametrize('args, match', [
    (dict(format='tensorrt'), "format='tensorrt'"),
    (dict(precision='fp8'), "precision='fp8'"),
    (dict(format='onnx'), r"must end in '\.onnx'"),
    (dict(format='aotinductor', dynamic_size=True), 'dynamic_size'),
    (dict(format='torch', batch_size=0), 'batch_size=0'),
    (dict(format='torch', calibration=0), 'calibration=0'),
    (dict(format='torch', images='/nowhere'), 'not a folder'),
    (dict(format='torch', images=torch.zeros(2, 3, 8, 8)), 'uint8'),
    (dict(format='torch', images=[]), 'at least one image'),
    (dict(format='torch', images=[torch.zeros(3, 8, 8).numpy()]), 'holds ndarray'),
    (dict(format='torch', images=torch.zeros(2, 3, 8, 8).numpy()), 'images=numpy.ndarray must be a folder'),
])
def test_wrong_arguments(args, match, model, tmp_path):
    with pytest.raises(ValueError, match=match):
        deploy.export(model, tmp_path / 'model.pt2', **{'images': images(4), 'image_size': SIZE, **args})
    assert not list(tmp_path.iterdir())


def test_refused_models_and_paths(model, tmp_path):
    with pytest.raises(ValueError, match=r'eval\(\)'):
        deploy.export(copy.deepcopy(model).train(), tmp_path / 'model.pt2')
    with pytest.raises(TypeError, match='features_only'):
        deploy.export(make(features_only=True), tmp_path / 'model.pt2', images=images(4), image_size=SIZE)
    with pytest.raises(TypeError, match='Linear is no network'):
        deploy.export(nn.Linear(2, 2).eval(), tmp_path / 'model.pt2')
    for nothing in ('res2net50_26w_4s_custom', None, torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))):
        for call in (deploy.fold, deploy.prepack, lambda m: deploy.export(m, tmp_path / 'model.pt2', 'torch')):
            with pytest.raises(TypeError, match='it must be a network'):
                call(nothing)
    for path in (None, 3):
        with pytest.raises(TypeError, match=f'path={path} must be a file or a folder'):
            deploy.export(model, path)
        with pytest.raises(TypeError, match=f'path={path} must be a file or a folder'):
            deploy.load(path)
    (tmp_path / 'folder.pt2').mkdir()
    with pytest.raises(FileExistsError, match='is a folder'):
        deploy.export(model, tmp_path / 'folder.pt2', 'torch', images=images(4), overwrite=True)
    (tmp_path / 'model.pt2').write_text('mine')
    with pytest.raises(FileExistsError, match='overwrite'):
        deploy.export(model, tmp_path / 'model.pt2', 'torch', images=images(4), image_size=SIZE)
    assert (tmp_path / 'model.pt2').read_text() == 'mine'
    deploy.export(model, tmp_path / 'model.pt2', 'torch', images=images(4), image_size=SIZE, overwrite=True)
    assert deploy.load(tmp_path / 'model.pt2').metadata['precision'] == 'fp32'


def by_hand(change):
    model = make()
    change(model)
    return model


@pytest.mark.parametrize('change, match', [
    (lambda m: m.layer3[0].train(), r'The model, its layer3\.0\.bn1 is in training mode'),
    (lambda m: setattr(m, 'fc', nn.Sequential(nn.Dropout(), m.fc)), r'The model, its fc\.0 is in training mode'),
    (lambda m: m.to('meta'), 'no values on the meta device'),
    (lambda m: setattr(m, 'fc', nn.Linear(m.num_features, 5)), r'shape \(None, 5\) and has num_classes=8'),
    (lambda m: setattr(m, 'fc', nn.Identity()), r'\) and has num_classes=8: set model.num_classes to what it gives'),
    (lambda m: m.layer2[0].conv1.weight.data.fill_(torch.nan), 'model itself gives NaN or inf for 4 of 4 check images'),
])
def test_models_changed_by_hand_are_refused_as_they_are(change, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        deploy.export(by_hand(change), tmp_path / 'm.pt2', 'torch', image_size=SIZE, images=images(4))
    assert not list(tmp_path.iterdir())
    if 'training' in match or 'meta' in match:
        with pytest.raises(ValueError, match=match):
            deploy.prepack(by_hand(change))


def test_a_number_of_classes_that_is_no_integer_is_refused(tmp_path):
    model = by_hand(lambda m: m.__dict__.update(num_classes=torch.tensor(8)))
    with pytest.raises(TypeError, match=r'model\.num_classes=tensor\(8\) must be an integer'):
        deploy.export(model, tmp_path / 'm.pt2', 'torch', image_size=SIZE, images=images(4))
    assert not list(tmp_path.iterdir())


def test_a_classifier_changed_by_hand_is_exported_with_its_number_of_classes(tmp_path):
    model = by_hand(lambda m: m.__dict__.update(num_classes=5))
    model.fc = nn.Linear(model.num_features, 5)
    model.pretrained_cfg['label_names'] = list('abcdefgh')  # of what it had
    deploy.export(model, tmp_path / 'm.pt2', 'torch', image_size=SIZE, images=images(4))
    loaded = deploy.load(tmp_path / 'm.pt2')
    assert loaded.labels is None and '-> 5 classes' in str(loaded)
    assert relative(loaded(torch.ones(1, 3, SIZE, SIZE)), model(torch.ones(1, 3, SIZE, SIZE)).detach()) <= 1e-4


@pytest.mark.parametrize('channels', [1, 4])
def test_other_channels_and_compiled_models(channels, tmp_path):
    """Means of the cfg's mean and std for channels that it does not describe; pictures only where there are such."""
    model = torch.compile(make(in_chans=channels))
    pixels = images(4)[:, :1].repeat(1, channels, 1, 1)
    assert deploy.export(model, tmp_path / 'a.pt2', 'torch', image_size=SIZE, images=pixels).images == 4
    Image.new('RGB', (SIZE, SIZE), 'red').save(tmp_path / 'red.png')
    if channels == 4:
        with pytest.raises(ValueError, match='in_chans=4'):
            deploy.export(model, tmp_path / 'b.pt2', 'torch', images=[str(tmp_path / 'red.png')])
        return
    deploy.export(model, tmp_path / 'b.pt2', 'torch', images=[str(tmp_path / 'red.png')])
    config = deploy.load(tmp_path / 'b.pt2').metadata['data_config']
    assert config['input_size'][0] == len(config['mean']) == len(config['std']) == 1


@pytest.mark.parametrize('missing, call', [
    ('onnxruntime', lambda path: deploy.load(path / 'a.onnx')),
    ('openvino', lambda path: deploy.export(make(), path / 'a.xml', 'openvino', image_size=SIZE, images=images(2))),
    pytest.param('torchao', lambda path: deploy.export(
        make(), path / 'a.pt2', precision='int8', image_size=SIZE, images=images(2)),
        marks=pytest.mark.skipif(('aotinductor', 'int8') not in CASES, reason='refused before'))])
def test_an_engine_that_is_not_installed(missing, call, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split('.')[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, 'meta_path', [Absent(missing), *sys.meta_path])
    (tmp_path / 'a.onnx').touch()
    with pytest.raises(ImportError, match=r"pip install 'timm-res2net\[deploy\]'"):
        call(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ['a.onnx']


@pytest.mark.parametrize('code', ['', 'import torch\ntorch.utils._pytree.no_such_function()'])
def test_an_engine_that_does_not_go_with_this_torch(code, tmp_path, monkeypatch):
    """With torch 2.6: torchao 0.9 has no PT2E, 0.18 calls what this torch has not."""
    for file, text in (('torchao/__init__.py', code), ('torchao-0.0.9.dist-info/METADATA', 'Version: 0.0.9\n')):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(text)
    for name in [n for n in sys.modules if n.split('.')[0] == 'torchao']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=rf'torchao 0\.0\.9 does not go with torch {re.escape(torch.__version__)} \('):
        engines.engine('torchao.quantization.pt2e.quantize_pt2e')
    sys.modules.pop('torchao', None)


@pytest.mark.filterwarnings('ignore:.*found in sys.modules')  # where it is again, for the other torch
@pytest.mark.parametrize('format', ['torch', 'aotinductor'])
def test_int8_with_the_oldest_torch_is_refused(format, network, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.6.0+cu124')
    monkeypatch.setattr(exporting, 'WRITERS', runpy.run_module(writers.__name__)['WRITERS'])
    with pytest.raises(ValueError, match=r'no torchao quantizes for torch 2\.6\.0\+cu124, use a later torch, '):
        deploy.export(network, tmp_path / 'm.pt2', format, 'int8', image_size=SIZE, images=images(4))


class Absent:
    """An import hook that says of one package that it is not there."""

    def __init__(self, name):
        self.name = name

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == self.name:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)


def test_a_file_that_disagrees_is_not_left(model, tmp_path, monkeypatch):
    monkeypatch.setitem(exporting.PRECISIONS, 'bf16', 1e-7)
    with pytest.raises(deploy.ExportError, match='differs from the model'):
        deploy.export(model, tmp_path / 'model.pt2', 'torch', 'bf16', image_size=SIZE, images=images(4))
    assert not list(tmp_path.iterdir())


def test_the_check_is_against_the_model_and_not_its_folded_copy(model, tmp_path, monkeypatch):
    def wrong(model):
        fold_norms(model)
        model.fc.bias.data += 1
    monkeypatch.setattr(preparing, 'fold_norms', wrong)
    with pytest.raises(deploy.ExportError, match='differs from the model'):
        deploy.export(model, tmp_path / 'model.pt2', 'torch', image_size=SIZE, images=images(4))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize('format', ['torch', 'onnx', 'openvino'])
def test_int8_calibrates_with_fewer_images_than_a_batch(format, model, tmp_path):
    need(format, 'int8')
    report = deploy.export(
        model, tmp_path / f'model{deploy.FORMATS[format]}', format, 'int8', batch_size=16, image_size=SIZE,
        images=images(6))
    assert report.error <= TOLERANCE['int8'] and report.noise <= NOISE['int8']


@pytest.mark.parametrize('alike', [torch.zeros(4, 3, SIZE, SIZE, dtype=torch.uint8), images(1)], ids=['alike', 'one'])
def test_int8_is_not_calibrated_on_images_that_are_alike(alike, model, tmp_path):
    need('onnx', 'int8')
    with pytest.raises(ValueError, match=f'answers all {len(alike)} images alike, and int8 is calibrated on them'):
        deploy.export(model, tmp_path / 'x.onnx', precision='int8', image_size=SIZE, images=alike)
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_look_at_the_image_is_not_left(model, tmp_path, monkeypatch):
    """Its output may well be near in terms of the largest logit."""
    class Constant(nn.Module):
        def __init__(self, y):
            super().__init__()
            self.y = nn.Parameter(y, requires_grad=False)

        def forward(self, x):
            return self.y + 0 * x.mean((1, 2, 3))[:, None]
    with torch.inference_mode():
        y = model(images(24) / 127.5 - 1).mean(0)
    monkeypatch.setattr(preparing, '_inference_copy', lambda model: Constant(y.clone()))
    monkeypatch.setitem(exporting.PRECISIONS, 'fp32', 1.)
    with pytest.raises(deploy.ExportError, match=r'by 1\.\d\d of what tells the outputs'):
        deploy.export(model, tmp_path / 'model.pt2', 'torch', image_size=SIZE, images=images())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', ['half', 'bfloat16', 'built by hand'])
def test_models_of_other_kinds(kind, tmp_path):
    if kind == 'built by hand':
        model = timm_res2net.Res2Net(layers=(1, 1, 1, 1), num_classes=4).eval()
    else:
        model = getattr(make(), kind)()
    deploy.export(model, tmp_path / 'model.pt2', 'torch', image_size=SIZE, images=images(4))
    assert next(model.parameters()).dtype == getattr(torch, kind, torch.float32)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        assert relative(deploy.load(tmp_path / 'model.pt2')(x), copy.deepcopy(model).float()(x)) <= 1e-4


def test_what_is_written_can_be_loaded():
    assert set(loaders.LOADERS) == {writer.suffixes[0] for writer in writers.WRITERS.values()}


def test_load_refuses(exported, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'):
        deploy.load(tmp_path / 'nowhere.pt2')
    (tmp_path / 'model.bin').write_text('x')
    with pytest.raises(ValueError, match='none of'):
        deploy.load(tmp_path / 'model.bin')
    (tmp_path / 'text.pt2').write_text('x')
    with pytest.raises(ValueError, match='archive'):
        deploy.load(tmp_path / 'text.pt2')
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / 'other.pt2')
    with pytest.raises(ValueError, match='was not written by'):
        deploy.load(tmp_path / 'other.pt2')
    loaded = deploy.load(exported('torch').path)
    for x in (torch.zeros(1, 3, 32, 32), torch.zeros(3, SIZE, SIZE), torch.zeros(1, 3, SIZE, SIZE).byte()):
        with pytest.raises(ValueError, match='it must be'):
            loaded(x)
    with pytest.raises(ValueError, match='tensors on meta hold no numbers'):
        loaded(torch.zeros(1, 3, SIZE, SIZE, device='meta'))


def test_metadata_is_plain_json(exported):
    metadata = deploy.load(exported('torch').path).metadata
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata['data_config']['input_size'] == [3, SIZE, SIZE]
