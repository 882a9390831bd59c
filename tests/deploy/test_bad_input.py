"""Bad input to fast paths: NaN or an empty batch as in eager, or an error that names it; never a confident class."""
import copy
import functools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from deploying import CASES, SIZE, images, make, need, relative
from PIL import Image

from timm_res2net import deploy
from timm_res2net.deploy.packing import PackedConv2d

QUICK = {('torch', 'fp32'), ('onnx', 'fp32'), ('openvino', 'fp32')}
FILES = [
    pytest.param(' '.join(case), marks=() if case in QUICK else pytest.mark.slow) for case in CASES]
PATHS = ['prepack', 'prepack bf16', *FILES]
PREPACKED = {'prepack': torch.float32, 'prepack bf16': torch.bfloat16}


@pytest.fixture(scope='module')
def fast_of(network, exported):
    """A fast path by its name, warm."""
    made = {}

    def make_fast(name):
        if name not in made:
            fast = deploy.prepack(network, PREPACKED[name]) if name in PREPACKED else deploy.load(
                exported(*name.split()).path)
            with torch.inference_mode():
                for batch in (1, 3):
                    fast(torch.zeros(batch, 3, SIZE, SIZE))
            made[name] = fast
        return made[name]
    return make_fast


def batch(count=3):
    return images(count, seed=1) / 127.5 - 1


def broken(value, where):
    """Three images, the second with a bad number in one place, or all over."""
    x = batch()
    if where == 'pixel':
        x[1, 1, 10, 10] = value
    else:
        x[1] = value
    return x


@pytest.mark.parametrize('where', ['pixel', 'image'])
@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize('path', PATHS)
def test_a_broken_image_gives_nan_and_its_neighbours_their_answers(path, value, where, fast_of, network):
    fast, x = fast_of(path), broken(value, where)
    with torch.inference_mode():
        y, whole, alone = fast(x), fast(batch()), fast(x[1:2])
        assert network(x)[1].isnan().all()
    assert y[1].isnan().all() and alone.isnan().all()
    assert relative(y[::2], whole[::2]) <= (1e-4 if 'fp32' in path or path == 'prepack' else 3e-2)


@pytest.mark.parametrize('path', FILES)
def test_enormous_numbers_give_nan_and_nothing_is_said(path, fast_of):
    """As the model they overflow, and then some engines' ReLU makes 0 of NaN; numpy has warnings for such sums."""
    fast, whole = fast_of(path), fast_of(path)(batch())
    for worst in ((3e38, 3e38), (3e38, 1.), (torch.inf, -torch.inf)):
        x = batch()
        x[1, 1, 10, 10:12] = torch.tensor(worst)
        y = fast(x)
        assert y[1].isnan().all() and relative(y[::2], whole[::2]) <= (1e-4 if 'fp32' in path else 3e-2)


@pytest.mark.parametrize('format', ['torch', 'onnx', 'openvino'])
def test_a_file_computes_what_was_measured_under_autocast_too(format, fast_of):
    fast, x = fast_of(f'{format} fp32'), batch()
    expected = fast(x)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(fast(x), expected)


def test_maps_of_broken_images_are_nan(tmp_path):
    """A network without classifier and pooling gives (B, C, H, W)."""
    model = make(num_classes=0, global_pool='')
    deploy.export(model, tmp_path / 'maps.pt2', 'torch', image_size=SIZE, images=images(4))
    y = deploy.load(tmp_path / 'maps.pt2')(broken(torch.nan, 'pixel'))
    assert y.shape == model(batch()).shape and y[1].isnan().all() and y[::2].isfinite().all()


@pytest.mark.parametrize('copied', [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_loaded_file_is_not_copied(copied, fast_of):
    with pytest.raises(TypeError, match='send its path, and deploy.load it there'):
        copied(fast_of('torch fp32'))


@pytest.mark.parametrize('path', PATHS)
def test_an_empty_batch_gives_an_empty_answer(path, fast_of, network):
    x = torch.zeros(0, 3, SIZE, SIZE)
    with torch.inference_mode():
        assert fast_of(path)(x).shape == network(x).shape == (0, 8)


REFUSED = {  # what comes in -> the error, what it says
    'array': (np.zeros((1, 3, SIZE, SIZE), np.float32), TypeError, 'numpy.ndarray'),
    'list': ([[[[0.]]]], TypeError, 'builtins.list'),
    'picture': (Image.new('RGB', (SIZE, SIZE)), TypeError, 'PIL.Image.Image'),
    'nothing': (None, TypeError, 'NoneType'),
    'path': ('cat.jpg', TypeError, 'builtins.str'),
    'sparse': (torch.zeros(1, 3, SIZE, SIZE).to_sparse(), TypeError, 'must be dense'),
    'nested': (torch.nested.nested_tensor([torch.zeros(3, SIZE, SIZE)]), TypeError, 'must be dense'),
    'float64': (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64), ValueError, 'torch.float64'),
    'float16': (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float16), ValueError, 'torch.float16'),
    'uint8': (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8), ValueError, 'torch.uint8'),
    'int64': (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.int64), ValueError, 'torch.int64'),
    'bool': (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.bool), ValueError, 'torch.bool'),
    'complex': (torch.zeros(1, 3, SIZE, SIZE, dtype=torch.complex64), ValueError, 'torch.complex64'),
    'one image': (torch.zeros(3, SIZE, SIZE), ValueError, 'shape (3, 64, 64)'),
    'five dimensions': (torch.zeros(1, 1, 3, SIZE, SIZE), ValueError, 'shape (1, 1, 3, 64, 64)'),
    'nothing in it': (torch.zeros(0), ValueError, 'shape (0,)'),
    'channels': (torch.zeros(1, 4, SIZE, SIZE), (ValueError, RuntimeError), '4'),
    'channels last in the shape': (torch.zeros(1, SIZE, SIZE, 3), (ValueError, RuntimeError), '64'),
}


@pytest.mark.parametrize('what', REFUSED)
@pytest.mark.parametrize('path', PATHS)
def test_refused_by_name(path, what, fast_of):
    x, error, words = REFUSED[what]
    with pytest.raises(error) as caught, torch.inference_mode():
        fast_of(path)(x)
    assert words in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('path', PATHS)
def test_taken_as_they_are(path, fast_of, network):
    """Inputs that require gradients, lie otherwise in memory, are parts of others, parameters or lazily negated."""
    fast, x = fast_of(path), batch()
    tolerance = 1e-4 if 'fp32' in path or path == 'prepack' else 3e-2
    wide = torch.cat([x, x], 3)[..., :SIZE]
    with torch.inference_mode():
        expected = fast(x)
    for other in (x.clone().requires_grad_(), x.to(memory_format=torch.channels_last), wide, torch.nn.Parameter(x),
                  torch._neg_view(-x)):
        y = fast(other)
        assert relative(y.detach(), expected) <= tolerance
        if path not in PREPACKED:
            assert not y.requires_grad
    x = batch(1)
    with torch.no_grad():
        assert relative(fast(x.expand(3, -1, -1, -1)), fast(x).expand(3, -1)) <= tolerance


@pytest.mark.parametrize('make', [
    deploy.fold, deploy.prepack, functools.partial(deploy.prepack, dtype=torch.bfloat16)])
def test_made_in_inference_mode_it_has_gradients(make, network):
    with torch.inference_mode():
        fast = make(network)
    x = batch(1).requires_grad_()
    fast(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all() and x.grad.any()


@pytest.mark.parametrize('path', ['torch fp32', 'onnx fp32', 'openvino fp32'])
def test_another_size_is_refused_by_a_file_for_one(path, fast_of):
    with pytest.raises(ValueError, match=r'of \(B, 3, 64, 64\)'):
        fast_of(path)(torch.zeros(1, 3, 32, 32))


def fast_convolutions(fast):
    return sum(w is not None for m in fast.modules() if isinstance(m, PackedConv2d) for w in m.packed.values())


@pytest.mark.parametrize('first', ['NaN', 'inf', 'enormous', 'empty', 'autocast', 'gradients'])
def test_what_comes_first_does_not_turn_the_fast_path_off(first, network):
    fast, same, x = deploy.prepack(network), deploy.prepack(network), batch()
    with torch.inference_mode(first != 'gradients'), torch.autocast('cpu', enabled=first == 'autocast'):
        fast({
            'NaN': broken(torch.nan, 'pixel'), 'inf': broken(torch.inf, 'image'), 'enormous': 1e30 * x, 'empty': x[:0],
            'autocast': x, 'gradients': x.clone().requires_grad_()}[first])
    with torch.inference_mode():
        for _ in range(2):
            assert relative(fast(x), same(x)) <= 1e-5
    assert fast_convolutions(fast) == fast_convolutions(same)


def test_enormous_numbers_overflow_as_in_the_model(network):
    fast, x = deploy.prepack(network), batch()
    with torch.inference_mode():
        fast(x)
        for scale in (1e20, 1e30, 3e38):
            torch.testing.assert_close(fast(scale * x), network(scale * x), rtol=1e-3, atol=0, equal_nan=True)


def test_broken_weights_give_nan(network):
    model = copy.deepcopy(network)
    model.layer1[0].conv1.weight.data[0] = torch.nan
    fast = deploy.prepack(model)
    with torch.inference_mode():
        for _ in range(2):
            assert fast(batch()).isnan().all() and model(batch()).isnan().all()


def test_prepacked_threads_do_not_see_each_others_batches(network):
    """One computes broken images while the others do not."""
    fast = deploy.prepack(network)

    def right(i):
        with torch.inference_mode():
            x = broken(torch.nan, 'pixel') if i % 2 else batch()
            y = fast(x)
            return bool(y[1].isnan().all()) == bool(i % 2) and not y[::2].isnan().any()
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(32)))


def test_prepacked_under_autocast_follows_the_model(network):
    fast = deploy.prepack(network)
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        for _ in range(2):
            assert relative(fast(batch()).float(), network(batch()).float()) <= 3e-2


@pytest.mark.parametrize('format', ['torch', pytest.param('onnx', marks=pytest.mark.slow), 'openvino'])
def test_pixels_in(format, tmp_path):
    """Pixels cannot be broken, and an empty batch of them is one too."""
    need(format)
    model = make(num_classes=0)
    path = tmp_path / f'pixels{deploy.FORMATS[format]}'
    deploy.export(model, path, format, image_size=SIZE, images=images(4), pixels_in=True)
    fast = deploy.load(path)
    x = images(2).permute(0, 2, 3, 1)
    assert fast(x).shape[1:] == fast(x[:0]).shape[1:] == (model.num_features,) and len(fast(x[:0])) == 0
    with pytest.raises(ValueError, match=r'torch.float32 .* must be torch.uint8 of \(B, 64, 64, 3\)'):
        fast(x.float())
