"""What a process has set changes no file, stays set, and hears nothing of the engines; the network hears nothing."""
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from deploying import CASES, SIZE, images, make, need

from timm_res2net import deploy
from timm_res2net.deploy import guest


def settings():
    return {
        'dtype': torch.get_default_dtype(), 'device': torch.get_default_device(), 'gradients': torch.is_grad_enabled(),
        'inference': torch.is_inference_mode_enabled(), 'autocast': torch.is_autocast_enabled('cpu'),
        'deterministic': torch.are_deterministic_algorithms_enabled(), 'threads': torch.get_num_threads(),
        'onednn': torch.backends.mkldnn.enabled, 'recursion': sys.getrecursionlimit()}


@contextmanager
def odd_settings():
    """Everything that a caller may have set, at once."""
    threads = torch.get_num_threads()
    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.float32)
        stack.callback(torch.use_deterministic_algorithms, False)
        stack.callback(torch.set_num_threads, threads)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(threads + 1)
        stack.callback(torch._C._set_mkldnn_enabled, True)
        torch._C._set_mkldnn_enabled(False)
        stack.enter_context(torch.autocast('cpu', torch.bfloat16))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.device('meta'))
        yield


@pytest.mark.parametrize('under', ['gradients', 'odd'])
def test_a_file_does_not_depend_on_the_settings_of_the_process(under, network, exported, tmp_path):
    """The same operators in the same order and the same weights as where only gradients are on."""
    path, pixels = tmp_path / 'model.pt2', images()
    with odd_settings() if under == 'odd' else torch.enable_grad():
        before = settings()
        deploy.export(network, path, 'torch', image_size=SIZE, images=pixels)
        assert settings() == before
    one, other = (torch.export.load(p) for p in (path, exported('torch').path))
    assert one.graph_module.code == other.graph_module.code
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict.values(), other.state_dict.values(), strict=True))
    assert not any(p.requires_grad for p in one.parameters())


def packed_operators(code):
    """All calls of torch's operators in C++ that inductor has written."""
    calls = re.findall(r'= *aoti_torch_cpu_(\w+)\(|(?<!int64_t )aoti_torch_cpu_(\w+)\(', code)
    return sorted(a or b for a, b in calls)


@pytest.mark.slow
def test_compiled_code_is_frozen_whatever_is_set(network, sources, tmp_path):
    """Every convolution prepacked and its weights constant, also after a torch.compile of the same model."""
    torch.compile(network)(images(1) / 255)
    sizes, operators, pixels = {}, {}, images(4)
    for name, setting in (('gradients', torch.enable_grad), ('none', torch.inference_mode), ('odd', odd_settings)):
        path = tmp_path / f'{name}.pt2'
        with setting():
            sizes[name] = deploy.export(network, path, image_size=SIZE, images=pixels).bytes
        operators[name] = packed_operators(sources.pop())
    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in network.modules())
    for name in operators:
        assert operators[name] == operators['none'], name
        assert abs(sizes[name] - sizes['none']) < 0.01 * sizes['none'], name
    packed = [o for o in operators['none'] if 'mkldnn__convolution_pointwise' in o]
    assert len(packed) == convolutions and not any(o == 'convolution' for o in operators['none'])


LIMITED = '''
import torch
from deploying import images, make, relative
from timm_res2net import deploy
from timm_res2net.deploy.packing import PackedConv2d
torch.manual_seed(0)
model, x = make(), images(2) / 127.5 - 1
for dtype, most in ((torch.float32, 1e-5), (torch.bfloat16, 3e-2)):
    fast = deploy.prepack(model, dtype)
    with torch.inference_mode():
        for _ in range(2):
            assert relative(fast(x), model(x)) <= most, dtype
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert not any(w is not None for m in fast.modules() if isinstance(m, PackedConv2d) for w in m.packed.values())
'''


@pytest.mark.parametrize('isa', ['SSE41', pytest.param('AVX2', marks=pytest.mark.slow)])
def test_prepacked_on_a_lesser_cpu_computes_the_same(isa, tmp_path, monkeypatch):
    """Where oneDNN has no kernels, as in bfloat16 below AVX-512, by the plain path."""
    monkeypatch.setenv('ONEDNN_MAX_CPU_ISA', isa)
    monkeypatch.setenv('ATEN_CPU_CAPABILITY', 'default' if isa == 'SSE41' else 'avx2')
    done = python(LIMITED, home=tmp_path)
    assert done.returncode == 0, done.stderr


QUIET = '''
import logging, socket, sys
asked = []
socket.getaddrinfo = lambda *args, **kwargs: asked.append(args) or []
socket.socket.connect = lambda *args: asked.append(args)
from deploying import SIZE, images, make
from timm_res2net import deploy
model, root = make(), logging.getLogger()
before = list(root.handlers), list(root.filters), root.level
for case in sys.argv[2:]:
    format, precision = case.split('-')
    path = sys.argv[1] + '/' + case + deploy.FORMATS[format]
    deploy.export(model, path, format, precision, image_size=SIZE, images=images(8))
    deploy.load(path)(images(1) / 127.5 - 1)
assert (list(root.handlers), list(root.filters), root.level) == before, root.handlers
assert not asked, asked
'''


def python(code, *args, home, path=None):
    """A new process, which finds the helpers of the tests and has a home of its own."""
    folders = [str(Path(__file__).parent.parent / 'helpers'), *filter(None, sys.path)]
    env = {k: v for k, v in os.environ.items() if k != 'CI'}
    env = {**env, 'HOME': str(home), 'PYTHONPATH': os.pathsep.join(folders), 'PATH': path or os.environ['PATH']}
    return subprocess.run([sys.executable, '-c', code, *map(str, args)], env=env, capture_output=True, text=True)


@pytest.mark.parametrize('cases', [
    ['openvino-fp32'],
    pytest.param(['-'.join(case) for case in CASES], marks=pytest.mark.slow)], ids=['one', 'all'])
def test_silent(cases, tmp_path):
    """Nothing on stdout and stderr, no handlers, no network, nothing in the home."""
    for case in cases:
        need(*case.split('-'))
    (tmp_path / 'home').mkdir()
    done = python(QUIET, tmp_path, *cases, home=tmp_path / 'home')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    assert not list((tmp_path / 'home').iterdir())


REPORTING = '''
import os, socket
socket.getaddrinfo = lambda *args, **kwargs: []
before = dict(os.environ)
from timm_res2net.deploy.engines import engine
engine("onnxruntime")
assert dict(os.environ) == before
engine("openvino")
from openvino_telemetry import Telemetry
print(Telemetry().consent)
'''


@pytest.mark.parametrize('consent', [None, '0', '1'])
def test_engines_report_only_where_the_user_said_yes(consent, tmp_path, monkeypatch):
    """What ONNX Runtime reports gives this machine a number, in a file; the environment stays what it was."""
    pytest.importorskip('openvino_telemetry')
    pytest.importorskip('onnxruntime')
    (tmp_path / 'intel').mkdir()
    (tmp_path / 'temporary').mkdir()
    if consent:
        (tmp_path / 'intel/openvino_telemetry').write_text(consent)
        monkeypatch.setenv('ORT_DISABLE_TELEMETRY', str(int(consent == '0')))
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'temporary'))
    done = python(REPORTING, home=tmp_path)
    assert done.returncode == 0 and done.stdout == f'{consent == "1"}\n', done.stderr
    if consent != '1':
        assert not list((tmp_path / 'temporary').iterdir())


@pytest.mark.slow
def test_loading_compiled_code_without_a_compiler_is_silent(exported, tmp_path):
    path = exported('aotinductor').path
    code = f'from timm_res2net import deploy; print(deploy.load({path!r}))'
    done = python(code, home=tmp_path, path='/nonexistent')
    assert done.stderr == '' and 'aotinductor fp32: float32 (B, 3, 64, 64) -> 8 classes' in done.stdout


def test_models_made_in_inference_mode_are_exported(tmp_path):
    with torch.inference_mode():
        model = make()
        deploy.export(model, tmp_path / 'a.pt2', 'torch', image_size=SIZE, images=images(4))
    deploy.export(model, tmp_path / 'b.pt2', 'torch', image_size=SIZE, images=images(4))


@pytest.mark.parametrize('format, name', [
    ('torch', 'm.pt2'), ('aotinductor', 'm.pt2'), ('onnx', 'm.onnx'), ('openvino', 'm.xml')])
def test_a_failing_export_says_one_thing(format, name, tmp_path, capfd):
    """torch prints the graph, and logs what it cannot find in the code of the user's."""
    need(format)
    model = make()
    whole = model.forward
    model.forward = lambda x: whole(x) if x.mean() > 0 else -whole(x)
    with pytest.raises(deploy.ExportError, match='take out the branch'):
        deploy.export(model, tmp_path / name, image_size=SIZE, images=images(4), format=format)
    assert capfd.readouterr() == ('', '')


def test_other_threads_print_meanwhile(capsys):
    with ThreadPoolExecutor(1) as thread, guest.unprinted():
        print('graph', file=sys.stderr)
        thread.submit(lambda: print('theirs', file=sys.stderr, flush=True)).result()
    print('later', file=sys.stderr)
    assert capsys.readouterr().err == 'theirs\nlater\n'


def of_the_process():
    root = logging.getLogger()
    return {
        **settings(), 'filters of warnings': list(warnings.filters), 'log': (list(root.handlers), list(root.filters)),
        'levels': [logging.getLogger(name).level for name in guest._LOGGERS], 'environment': dict(os.environ),
        'path': list(sys.path), 'folder': os.getcwd(), 'interrupt': signal.getsignal(signal.SIGINT)}


def test_exports_of_several_threads(network, exported, tmp_path):
    """And loads meanwhile: the files are the same, and the process is what it was, whoever ends last."""
    torch.set_default_dtype(torch.float64)
    try:
        before, pixels = of_the_process(), images(4)

        def export(i):
            path = tmp_path / f'{i}.pt2'
            deploy.export(network, path, 'torch', image_size=SIZE, images=pixels)
            return path
        with ThreadPoolExecutor(4) as threads:
            made = [threads.submit(export, i) for i in range(2)]
            loaded = list(threads.map(deploy.load, [exported('torch').path] * 2))
        assert of_the_process() == before
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(file(pixels[:1] / 255), loaded[0](pixels[:1] / 255)) for file in loaded)
    one = torch.export.load(exported('torch').path)
    for other in [torch.export.load(m.result()) for m in made]:
        assert one.graph_module.code == other.graph_module.code
        assert all(torch.equal(a, b) for a, b in zip(one.state_dict.values(), other.state_dict.values(), strict=True))


def test_the_last_thread_ends_the_silence():
    before = of_the_process()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter('always')
        guest.quiet.__enter__()
        guest.quiet.__enter__()
        guest.quiet.__exit__()
        warnings.warn('of an engine', stacklevel=1)
        guest.quiet.__exit__()
        assert not heard
        warnings.warn('of others', stacklevel=1)
        assert len(heard) == 1
    assert of_the_process() == before


GONE_IN_TURN = """
import gc, os, signal, sys
import torch
from timm_res2net import deploy
first, second = deploy.load(sys.argv[1]), deploy.load(sys.argv[1])
x = torch.zeros(1, 3, int(sys.argv[2]), int(sys.argv[2]))
first(x), second(x)
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print('still here'))
os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs signals')
def test_a_signal_is_survived_after_models_that_came_and_went(exported):
    """OpenVINO's models change the stack for signals; the process was killed by the next one."""
    need('openvino')
    done = subprocess.run(
        [sys.executable, '-c', GONE_IN_TURN, exported('openvino', 'fp32').path, str(SIZE)], capture_output=True,
        text=True)
    assert (done.returncode, done.stdout) == (0, 'still here\n'), done.stderr
