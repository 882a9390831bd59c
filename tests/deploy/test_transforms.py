"""torch's own machinery around a fast model: transforms, tracers and derivatives get the model's answer or an error."""
import warnings

import pytest
import torch
from deploying import images, make, relative
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from timm_res2net import deploy


@pytest.fixture
def x():
    return images(3, seed=1) / 127.5 - 1


@pytest.fixture(params=['torch', 'openvino'])
def file(request, exported):
    return deploy.load(exported(request.param).path)


@pytest.fixture
def prepacked(network, x):
    """Warm, so that its convolutions take the fast path wherever they may."""
    fast = deploy.prepack(network)
    with torch.no_grad():
        for batch in (1, 3):
            for _ in range(2):
                fast(x[:batch])
    return fast


class Computing(torch.Tensor):
    """A tensor of a class that computes for itself, around another one."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        raise NotImplementedError


def fake(x):
    with FakeTensorMode() as mode:
        return mode.from_tensor(x)


def freed(x):
    x = x.clone()
    x.untyped_storage().resize_(0)
    return x


HOLLOW = {
    'fake': fake, 'functional': torch._to_functional_tensor, 'of a class of its own': Computing, 'freed': freed,
    'not initialised': lambda x: nn.UninitializedParameter()}


@pytest.mark.parametrize('kind', HOLLOW)
def test_tensors_without_numbers_are_refused(kind, file, x):
    """An engine would read memory that is not there, which ends the process."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        hollow = HOLLOW[kind](x)
        with pytest.raises(TypeError, match='that holds no numbers itself .*call the file with a plain torch.Tensor'):
            file(hollow)


def test_a_tensor_on_meta_is_told_what_it_lacks(file, x):
    with pytest.raises(ValueError, match='is on meta, exported files run on the CPU: tensors on meta hold no numbers'):
        file(x.to('meta'))


@pytest.mark.parametrize('transform', [
    torch.vmap, lambda f: torch.func.grad(lambda x: f(x).sum()), lambda f: lambda x: torch.func.jvp(f, (x,), (x,))])
def test_files_are_not_transformed(transform, file, x):
    with pytest.raises(TypeError, match='or of vmap or another transform'):
        transform(file)(x[:, None] if transform is torch.vmap else x)


def test_files_are_not_traced(file, x):
    """The answer to the example would be that to everything."""
    with pytest.raises(RuntimeError, match='cannot be traced: trace the model'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.trace(lambda x: file(x), x)


def test_files_are_called_by_compiled_code(file, x, fresh_dynamo):
    y = torch.compile(lambda x: file(2 * x) + 1, backend='eager')(x)
    assert relative(y, file(2 * x) + 1) <= 1e-5


def test_prepacked_is_mapped(prepacked, network, x):
    with torch.no_grad():
        y = torch.vmap(prepacked)(x[:, None])
        assert relative(y[:, 0], network(x)) <= 1e-5


@pytest.mark.parametrize('grad', [True, False])
def test_prepacked_gives_derivatives_forward(grad, prepacked, network, x):
    """They were 0 where no gradients are asked for: the fused operators drop them."""
    with torch.set_grad_enabled(grad):
        expected = torch.func.jvp(network, (x,), (x,))[1]
        assert relative(torch.func.jvp(prepacked, (x,), (x,))[1], expected) <= 1e-4
        with forward_ad.dual_level():
            y = forward_ad.unpack_dual(prepacked(forward_ad.make_dual(x, x)))
        assert relative(y.tangent, expected) <= 1e-4


def test_prepacked_computes_with_the_weights_it_is_called_with(prepacked, x):
    torch.manual_seed(1)
    other = deploy.fold(make())
    with torch.no_grad():
        before = prepacked(x)
        y = torch.func.functional_call(prepacked, dict(other.named_parameters()), x)
        assert relative(y, other(x)) <= 1e-5 and relative(y, before) > 1e-3
        assert torch.equal(prepacked(x), before)


def test_prepacked_gives_gradients_of_weights(prepacked, network, x):
    """Where one asks for them; the fused operators have none."""
    folded = deploy.fold(network)
    for model in (prepacked, folded):
        model.requires_grad_()
        model(x).square().sum().backward()
    for (name, one), other in zip(prepacked.named_parameters(), folded.parameters(), strict=True):
        assert relative(one.grad, other.grad) <= 1e-3, name


def test_enormous_numbers_that_cancel_are_seen(file, x):
    x[1] = 5e30
    x[1, :, :, ::2] = -5e30
    y = file(x)
    assert y[1].isnan().all() and y[::2].isfinite().all()
