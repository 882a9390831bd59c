"""What must not happen over time and under odd input: leaks, races, chance, and errors that are nobody's."""
import argparse
import gc
import json
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import families
import pytest
import timm
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from timm.utils import ParseKwargs
from torch import nn

import timm_res2net
from timm_res2net import CheckpointError, load_checkpoint, save_folder

TINY = 'test_res2net_custom'
SETTINGS = dict(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=5)


# odd input

NAMES = ['scale', 'base_width', 'cardinality', 'layers', 'attn_layer', 'rd_ratio', 'act_layer', 'norm_layer',
         'aa_layer', 'stem_type', 'first_block', 'output_stride', 'drop_path_rate', 'num_classes', 'nonsense']
VALUES = st.sampled_from(['4', '0', '-1', '2.5', '1e3', 'nan', 'inf', 'None', 'True', 'se', 'relu', 'groupnorm', 'deep',
                          '(1,1,1,1)', '[1, 1, 1]', '()', '{}', '"2"', '1,1,1,1', "''", '', ' ', '=', 'é', '0x10',
                          '__import__("os")', 'lambda: 0']) | st.text(max_size=8)


@settings(max_examples=150, **SETTINGS)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=3))
def test_model_kwargs_of_a_command_line(kwargs):
    """`--model-kwargs` of timm's scripts: a model, or an error that names one of the arguments."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--model-kwargs', nargs='*', default={}, action=ParseKwargs)
    words = [f'{k}={v}' for k, v in kwargs.items() if '=' not in v and not v.startswith('-')]
    try:
        parsed = parser.parse_args(['--model-kwargs', *words]).model_kwargs
    except SyntaxError:  # timm 1.0.21 itself on text such as '1,1,'
        reject()
    try:
        with torch.device('meta'):
            model = timm.create_model(TINY, **parsed)
    except (TypeError, ValueError) as error:
        assert any(name in str(error) for name in parsed), error
    else:
        assert isinstance(model, timm_res2net.Res2Net)


def disturb(state, rng):
    """One to three things that go wrong when people write weights by hand."""
    for _ in range(rng.randint(1, 3)):
        name = rng.choice([k for k in state if isinstance(k, str)])
        value = state.pop(name)
        kind = rng.randrange(9)
        if kind == 1:
            state[rng.choice(['module.', 'model.', 'x']) + name] = value
        elif kind == 2:
            state[name.replace('.', '_')] = value
        elif kind == 3:
            state[name] = value.flatten()[: rng.randint(0, value.numel())].clone()
        elif kind == 4:
            state[name] = value.to(rng.choice([torch.int8, torch.bool, torch.complex64]))
        elif kind == 5:
            state[name] = torch.full_like(value, float('nan')) if value.is_floating_point() else value[None]
        elif kind == 6:
            state[name] = rng.choice(['text', None, 3, {'a': value}, [value], value.to_sparse()])
        elif kind == 7:
            state[rng.choice([7, ('a', 'b'), None])] = value
        elif kind == 8:
            state[name] = value.unsqueeze(-1)
    return state


@pytest.mark.parametrize('seed', range(4))
def test_weights_that_were_tampered_with(seed, tmp_path):
    """Refused with a reason, by the reader that recognises the architecture and by the one that is told it."""
    rng, model = random.Random(seed), timm.create_model(TINY, num_classes=7)
    other = timm.create_model(TINY, num_classes=7)
    before = {k: v.clone() for k, v in other.state_dict().items()}
    refused = 0
    for i in range(30):
        state = disturb(dict(model.state_dict()), rng)
        file = tmp_path / f'{i}.pth'
        torch.save(rng.choice([state, {'state_dict': state}, {'model': state, 'epoch': 1}]), file)
        for target in ({'model': other}, {}):
            try:
                load_checkpoint(file, **target)
            except CheckpointError as error:
                refused += 1
                assert str(file) in str(error)
                assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())
            else:
                other.load_state_dict(before)
    assert refused > 40  # a prefix alone, or a dropped counter, is no fault


def test_configs_of_folders(tmp_path):
    """A folder's config.json with anything in it: loads by what the weights say, or is refused with a reason."""
    folder = save_folder(timm.create_model(TINY, num_classes=7), tmp_path / 'model')
    good = json.loads((folder / 'config.json').read_text())

    @settings(max_examples=120, **SETTINGS)
    @given(st.dictionaries(st.sampled_from(sorted(good) + ['extra']), JSON, max_size=3), JSON, st.booleans())
    def run(entries, whole, merge):
        (folder / 'config.json').write_text(json.dumps({**good, **entries} if merge else whole))
        try:
            model = load_checkpoint(folder)
        except (CheckpointError, TypeError, ValueError) as error:
            assert str(folder) in str(error) or any(k in str(error) for k in entries), error
        else:
            assert model.num_classes == 7
    run()


# time

def open_files():
    return len(os.listdir('/proc/self/fd'))


def resident():
    """Bytes of memory in use by this process."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='counts memory and files through /proc')
def test_a_thousand_models_leave_nothing_behind(tmp_path):
    """Create, load, run, fold, save and delete: no object, file or memory stays."""
    folder = save_folder(timm.create_model(TINY, num_classes=7), tmp_path / 'model')
    x = torch.randn(1, 3, 32, 32)

    def cycle():
        model = load_checkpoint(folder).eval()
        with torch.no_grad():
            model(x)
            timm_res2net.deploy.prepack(model)(x)
        timm.create_model(TINY, features_only=True)
        timm_res2net.to_timm(model)

    def measure(cycles):
        for _ in range(cycles):
            cycle()
        gc.collect()
        return len(gc.get_objects()), open_files(), resident()

    objects, files, memory = measure(300)  # allocators and caches have settled by then
    objects_after, files_after, memory_after = measure(700)
    assert objects_after - objects < 100
    assert files_after == files
    assert memory_after - memory < 16 << 20  # of 700 models of 1.3 MB


@pytest.mark.parametrize('family', ['plain', 'dla', 'cifar', 'se'])
def test_models_from_several_threads(family, tmp_path):
    """Created, filled and run at the same time, each is the one it would be alone."""
    model = families.make(family).eval()
    save_folder(model, tmp_path / 'model')
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
    barrier = threading.Barrier(4)

    def work(_):
        barrier.wait()
        for _ in range(2):
            again = load_checkpoint(tmp_path / 'model').eval()
            with torch.no_grad():
                assert torch.equal(again(x), expected)
                torch.testing.assert_close(timm_res2net.deploy.fold(again)(x), expected, rtol=1e-4, atol=1e-4)
        return again.model_args

    with ThreadPoolExecutor(4) as pool:
        args = list(pool.map(work, range(4)))
    assert all(a == args[0] for a in args)


# chance

@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize('family', families.FAMILIES)
def test_training_is_deterministic(family, deterministic):
    """Two trainings from one seed are bit-equal, no operation of ours is on torch's list of those that are not."""
    def train():
        torch.manual_seed(0)
        model = families.make(family).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x, target = torch.randn(4, 3, 64, 64), torch.arange(4)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), target).backward()
            optimizer.step()
        return model.state_dict()

    first, second = train(), train()
    assert all(torch.equal(v, second[k]) for k, v in first.items())
