"""Shared by all tests: the same seed and one thread for each, and a Hub with its clients."""
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import long_tests
import pytest
import torch
import wheel as wheels
from loopback_hub import LoopbackHub

HELPERS = Path(__file__).parent / 'helpers'
torch.set_num_threads(1)  # the networks are small: more threads than that cost more than they bring
os.environ.setdefault('OMP_NUM_THREADS', '1')  # in the processes that tests start too


def pytest_configure(config):
    if hasattr(config.option, 'loadscopereorder'):  # xdist would take files of few tests last, however long they are
        config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is marked slow
def pytest_collection_modifyitems(items):
    for item in items:
        long_tests.mark(item)
    items.sort(key=long_tests.place)


def pytest_collection_finish():
    gc.freeze()  # what is imported by now stays: to look through it for garbage takes most of a second, every time


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    """The package installed from its wheel, without the checkout."""
    folder = tmp_path_factory.mktemp('wheel')
    return wheels.install(folder / 'env', wheels.build(folder / 'dist', wheels.source(folder / 'source')))


@pytest.fixture
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope='module')
def hub():
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope='module')
def hub_env(hub, tmp_path_factory):
    """Environment of a process whose huggingface_hub talks to `hub`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(('HF_', 'HUGGING'))}
    return {
        **kept, 'HF_ENDPOINT': hub.url, 'HF_HOME': str(tmp_path_factory.mktemp('home')), 'HF_HUB_DISABLE_XET': '1',
        'HF_HUB_DISABLE_TELEMETRY': '1', 'HF_HUB_DISABLE_PROGRESS_BARS': '1', 'HF_HUB_DOWNLOAD_TIMEOUT': '3',
        'HF_HUB_ETAG_TIMEOUT': '3'}


@pytest.fixture(scope='module')
def client(hub_env):
    """Run scenarios of a file of tests/helpers, 'A+B' or {'A': its arguments, ..}, in a process; their results."""
    def run(scenarios, file='hub_scenarios.py', **env):
        chosen = dict.fromkeys(scenarios.split('+'), ()) if isinstance(scenarios, str) else scenarios
        done = subprocess.run(
            [sys.executable, str(HELPERS / file), json.dumps(chosen)], env={**hub_env, **env}, capture_output=True,
            text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])
    return run
