"""Processes that a service may be: without stderr, without a home, with few open files."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
from deploying import need

SERVES = '''
import sys, torch
from timm_res2net import deploy
with deploy.load(sys.argv[1], workers=int(sys.argv[2])) as file:
    print(tuple(file(torch.zeros(1, 3, 64, 64)).shape))
'''
NOBODY = '''
import pwd
def getpwuid(uid):
    raise KeyError(f'getpwuid(): uid not found: {uid}')
pwd.getpwuid = getpwuid
import sys
from deploying import SIZE, images, make
from timm_res2net import deploy
print(deploy.export(make(), sys.argv[1], image_size=SIZE, images=images(4)).error <= 1e-4)
'''

WITHOUT_MEMORY = '''
import resource, sys, torch
from pathlib import Path
from timm_res2net import deploy
file, x = deploy.load(sys.argv[1]), torch.zeros(512, 3, 64, 64)
pages = int(Path('/proc/self/statm').read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))
file(x)
'''


def python(code, *args, shell='', without=()):
    """What a new process prints and says, started by a shell after some of its own commands."""
    folders = [str(Path(__file__).parent.parent / 'helpers'), *filter(None, sys.path)]
    env = {**{k: v for k, v in os.environ.items() if k not in without}, 'PYTHONPATH': os.pathsep.join(folders)}
    return subprocess.run(
        ['bash', '-c', f'{shell} exec "$@"', 'bash', sys.executable, '-c', code, *map(str, args)], env=env,
        capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize('closed', ['exec 2>&-;', 'exec 0<&-;', 'exec 0<&- 2>&-;'])
def test_workers_of_a_process_with_closed_streams(closed, exported):
    assert python(SERVES, exported('torch').path, 2, shell=closed).stdout == '(1, 8)\n'


@pytest.mark.slow
def test_more_workers_than_open_files(exported):
    """Those that were started end, and the file is not called damaged."""
    done = python(SERVES, exported('torch').path, 40, shell='ulimit -n 30;')
    assert done.returncode and 'Too many open files' in done.stderr.splitlines()[-1]
    assert 'damaged' not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('format, suffix', [('openvino', '.xml'), ('aotinductor', '.pt2')])
def test_export_by_a_user_without_home_and_name(format, suffix, tmp_path):
    """As in a container that runs under any number."""
    need(format)
    names = 'HOME', 'USER', 'LOGNAME', 'LNAME', 'USERNAME'
    done = python(NOBODY, tmp_path / f'm{suffix}', without=names)
    assert (done.stdout, done.stderr) == ('True\n', '')


@pytest.mark.parametrize('format', ['openvino', *(pytest.param(f, marks=pytest.mark.slow) for f in ('onnx', 'torch'))])
def test_no_memory_for_an_answer(format, exported):
    """OpenVINO gives one of no rows, and says nothing; or cannot allocate its input, as it says itself."""
    done = python(WITHOUT_MEMORY, exported(format).path)
    assert done.returncode and any(word in done.stderr.lower() for word in ('memory', 'bad_alloc'))
