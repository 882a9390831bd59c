"""One network, and each file of it made once for all tests that only read it."""
import signal
import subprocess
from pathlib import Path

import pytest
import torch
import torch._inductor
from deploying import SIZE, images, make, need

from timm_res2net import deploy


@pytest.fixture(scope='session')
def network():
    torch.manual_seed(0)
    return make()


@pytest.fixture(scope='session')
def exported(network, tmp_path_factory):
    """(format, precision) -> the report of its file."""
    folder, made = tmp_path_factory.mktemp('exported'), {}

    def export(format, precision='fp32'):
        need(format, precision)
        if (format, precision) not in made:
            path = folder / f'{format}-{precision}{deploy.FORMATS[format]}'
            made[format, precision] = deploy.export(
                network, path, format, precision, image_size=SIZE, images=images())
        return made[format, precision]
    return export


@pytest.fixture
def mounted(tmp_path):
    """(name, option of `mount`) -> the folder of an empty file system in memory."""
    folders = []

    def mount(name, option):
        folder = tmp_path / name
        folder.mkdir()
        if subprocess.run(['mount', '-t', 'tmpfs', '-o', option, 'tmpfs', folder], capture_output=True).returncode:
            pytest.skip('this user may not mount a file system')
        folders.append(folder)
        return folder
    yield mount
    for folder in folders:
        subprocess.run(['umount', '--lazy', folder], check=True)


@pytest.fixture
def sources(monkeypatch):
    """A list to which the C++ is added of whatever AOTInductor compiles; its files do not hold it."""
    found, compile = [], torch._inductor.aot_compile

    def aot_compile(*args, **kwargs):
        files = compile(*args, **kwargs)
        found.append(''.join(Path(file).read_text() for file in files if file.endswith('.wrapper.cpp')))
        return files
    monkeypatch.setattr(torch._inductor, 'aot_compile', aot_compile)
    return found


@pytest.fixture
def interruptible():
    """Ctrl-C raises, also where a shell started the tests with & and had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
