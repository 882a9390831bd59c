"""Many callers at once: everybody gets his own answers and his own errors, and nothing is left running."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import torch
from deploying import SIZE, images, make, need, relative
from PIL import Image
from run_page import blocks

import timm_res2net
from timm_res2net import deploy
from timm_res2net.deploy.deployed import Deployed
from timm_res2net.deploy.workers import Pool

FORMATS = ['torch', 'openvino', *(pytest.param(f, marks=pytest.mark.slow) for f in ('onnx', 'aotinductor'))]


def inputs(count):
    """All different, and of different sizes of batch."""
    x = images(count + 3, seed=2) / 127.5 - 1
    return [x[i:i + 1 + i % 3] for i in range(count)]


@pytest.fixture(scope='module')
def two(exported):
    """format -> its file loaded for two callers, once: starting processes takes seconds."""
    made, threads = {}, torch.get_num_threads()

    def load(format):
        if format not in made:
            torch.set_num_threads(4)
            try:
                made[format] = deploy.load(exported(format).path, workers=2)
            finally:
                torch.set_num_threads(threads)
        return made[format]
    yield load
    for several in made.values():
        several.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize('format', FORMATS)
def test_four_threads_get_the_answers_of_one(format, exported, two):
    one, several, xs = deploy.load(exported(format).path), two(format), inputs(60)
    expected = [one(x) for x in xs]
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(several, xs))
    assert all(relative(y, e) <= 1e-5 for y, e in zip(answers, expected, strict=True))
    assert str(several) == str(one)
    assert len({e.numpy().tobytes() for e in expected}) == len(xs)  # mixed answers would be seen


@pytest.mark.parametrize('format', FORMATS)
def test_an_error_is_its_callers_alone(format, exported, two):
    """Wrong shapes, and broken images, among others' good ones."""
    one, several, xs = deploy.load(exported(format).path), two(format), inputs(2)
    expected = [one(x) for x in xs]

    def call(i):
        if i % 3 == 0:
            with pytest.raises(ValueError, match='it must be'):
                several(torch.zeros(1, 3, 8, 8))
        if i % 3 == 1:
            return bool(several(xs[0] * torch.nan).isnan().all())
        return relative(several(xs[i % 2]), expected[i % 2]) <= 1e-5
    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(call, range(24)))


@pytest.mark.slow
def test_a_process_that_dies_is_named_and_replaced(exported):
    path, x = exported('torch').path, inputs(1)[0]
    with deploy.load(path, workers=1) as served:
        y = served(x)
        (worker,) = served.run.members
        for _ in range(2):
            worker.process.kill()
            worker.process.wait()
            assert torch.equal(served(x), y)
        os.kill(worker.process.pid, signal.SIGSTOP)  # it takes the request and dies of it
        timer = threading.Timer(0.5, worker.process.kill)
        timer.start()
        with pytest.raises(RuntimeError, match=r'died with code -9; call again'):
            served(x)
        assert torch.equal(served(x), y)


@pytest.mark.slow
def test_many_callers_while_processes_die(exported):
    """Each gets the answer to his own question or is told, and in the end all are served."""
    path, xs = exported('torch').path, inputs(120)
    one = deploy.load(path)
    with deploy.load(path, workers=2) as served:
        def call(i):
            if i % 30 == 7:
                served.run.members[i % 2].process.kill()
            try:
                return served(xs[i])
            except RuntimeError as error:
                assert 'call again for another' in str(error)
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(call, range(len(xs))))
        assert sum(y is None for y in answers) <= 4
        assert all(relative(y, one(x)) <= 1e-5 for y, x in zip(answers, xs, strict=True) if y is not None)
        assert all(relative(served(x), one(x)) <= 1e-5 for x in xs[:8])


def kill_who_serves(served):
    """The process that answers a lone caller, the last used; the next question starts another."""
    worker = served.run.free.queue[-1]
    worker.process.kill()
    worker.process.wait()


def test_a_process_is_not_replaced_by_one_of_another_file(exported, two, tmp_path):
    """Half of the answers would be another model's."""
    path, served, x = Path(exported('torch').path), two('torch'), inputs(1)[0]
    y = served(x)
    path.rename(tmp_path / 'loaded')
    try:
        shutil.copy(tmp_path / 'loaded', path)
        assert torch.equal(served(x), y)  # it runs what it has loaded
        kill_who_serves(served)
        for change in (lambda: None, path.unlink):
            change()
            with pytest.raises(RuntimeError, match=r'pt2 is no longer the file that was loaded: load it again'):
                served(x)
    finally:
        (tmp_path / 'loaded').replace(path)


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no timers here')
def test_a_caller_who_is_interrupted_while_a_process_starts_anew_mixes_no_answers(exported, two):
    class Late(Exception):
        pass

    def late(*_):
        raise Late
    xs, one, served = inputs(4), deploy.load(exported('torch').path), two('torch')
    kill_who_serves(served)
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(Late):
            served(xs[0])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(relative(served(x), one(x)) <= 1e-5 for x in xs)


PARENT = '''
import sys, torch
from timm_res2net import deploy
served = deploy.load(sys.argv[1], workers=1)
served(torch.zeros(1, 3, 64, 64))
print(served.run.members[0].process.pid, flush=True)
sys.stdin.readline()
'''


@pytest.mark.slow
@pytest.mark.parametrize('end', ['normal', 'killed', 'interrupted'])
def test_processes_end_with_the_one_that_started_them(end, exported):
    parent = subprocess.Popen(
        [sys.executable, '-c', PARENT, exported('torch').path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))})
    worker = int(parent.stdout.readline())
    if end == 'killed':
        parent.kill()
    elif end == 'interrupted':
        os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
    _, err = parent.communicate('\n')
    end_of_wait = time.time() + 60
    while alive(worker) and time.time() < end_of_wait:
        time.sleep(0.05)
    assert not alive(worker)
    assert err.count('Traceback') == (end == 'interrupted') and 'serve' not in err


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize('format', ['torch', pytest.param('aotinductor', marks=pytest.mark.slow)])
def test_a_forked_process_without_torchs_threads_is_refused_and_does_not_hang(format, exported):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        loaded, x = deploy.load(exported(format).path), torch.zeros(4, 3, SIZE, SIZE)
        y = loaded(x)
        for threads, code in ((2, 7), (1, 0)):
            child = os.fork()
            if not child:
                signal.alarm(120)  # the end of one that hangs
                try:
                    torch.set_num_threads(threads)
                    os._exit(not torch.allclose(loaded(x), y, rtol=1e-4, atol=1e-5))
                except RuntimeError as error:
                    os._exit(7 if 'before a fork' in str(error) else 1)
                finally:
                    os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_pipe_is_not_shared_with_a_forked_process(exported):
    with deploy.load(exported('torch').path, workers=1) as served:
        y = served(inputs(1)[0])
        child = os.fork()
        if not child:
            try:
                served(inputs(1)[0])
            except RuntimeError as error:
                served.close()  # its own ends of the pipes alone
                os._exit(7 if 'before a fork' in str(error) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert torch.equal(served(inputs(1)[0]), y)


def test_what_cannot_be_loaded_is_told_by_the_caller(exported, tmp_path):
    (tmp_path / 'a.pt2').write_bytes(b'x')
    with pytest.raises(ValueError, match='not a .pt2 archive'):
        deploy.load(tmp_path / 'a.pt2', workers=2)
    torch.export.save(
        torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / 'other.pt2')
    with pytest.raises(ValueError, match='was not written by'):
        deploy.load(tmp_path / 'other.pt2', workers=1)
    for workers, error in ((0, ValueError), (-1, ValueError), (1.5, TypeError), ('2', TypeError)):
        with pytest.raises(error, match='workers='):
            deploy.load(exported('torch').path, workers=workers)


def test_a_pool_serves_as_many_as_it_has_and_the_others_wait():
    inside, most, lock = [], [], threading.Lock()

    def member(x):
        with lock:
            inside.append(x)
            most.append(len(inside))
        time.sleep(0.01)
        with lock:
            inside.remove(x)
        if x % 5 == 0:
            raise ValueError(x)
        return -x
    pool = Pool([member, lambda x: member(x)])
    with ThreadPoolExecutor(8) as callers:
        futures = [callers.submit(pool, i) for i in range(40)]
    assert max(most) == 2
    for i, future in enumerate(futures):
        assert str(future.exception()) == str(i) if i % 5 == 0 else future.result() == -i
    pool.close()
    with pytest.raises(RuntimeError, match='closed'):
        pool(1)


def test_a_call_that_has_begun_is_served_to_its_end():
    """Also where its batch is larger than the file's."""
    entered, go_on = threading.Event(), threading.Event()

    def member(x):
        entered.set()
        go_on.wait(60)
        return x + 1
    pool = Pool([member])
    file = Deployed(pool, {'shape': [1, 2], 'input': 'normalised'})
    x = torch.arange(6.).view(3, 2)
    with ThreadPoolExecutor(2) as callers:
        answer = callers.submit(file, x)
        assert entered.wait(60)
        closed = callers.submit(file.close)
        go_on.set()
        assert torch.equal(answer.result(60), x + 1)
        closed.result(60)
    with pytest.raises(RuntimeError, match='closed'):
        file(x)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_streams_of_openvino_are_refused_in_a_forked_process(exported):
    need('openvino')
    with deploy.load(exported('openvino').path, workers=2) as file:
        child = os.fork()
        if not child:
            signal.alarm(120)
            try:
                file(torch.zeros(1, 3, SIZE, SIZE))
            except RuntimeError as error:
                os._exit(7 if 'before a fork' in str(error) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_several_close_at_once_and_once_interrupted():
    class Member:
        closed = 0

        def close(self):
            time.sleep(0.1)
            self.closed += 1
    members = [Member(), Member()]
    pool = Pool(members)
    with ThreadPoolExecutor(4) as callers:
        for done in [callers.submit(pool.close) for _ in range(4)]:
            done.result(timeout=60)
    assert [m.closed for m in members] == [1, 1]

    members[0].close = members[1].close = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    pool = Pool(members)
    with pytest.raises(KeyboardInterrupt):
        pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match='closed'):
        pool(1)


def test_after_a_process_died_the_others_are_closed(two, exported):
    with pytest.raises(RuntimeError, match='died with code -9; call again'), deploy.load(
            exported('torch').path, workers=2) as served:
        pids = [member.process.pid for member in served.run.members]
        served.run.members[1].process.send_signal(signal.SIGSTOP)
        threading.Timer(0.5, served.run.members[1].process.kill).start()
        served(inputs(1)[0])
    assert not any(map(alive, pids))


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_forked_process_does_not_keep_a_closed_one_alive(exported):
    served = deploy.load(exported('torch').path, workers=1)
    (worker,) = served.run.members
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)  # until the parent is done
        os._exit(0)
    try:
        closing = threading.Thread(target=served.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive() and not alive(worker.process.pid)
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_what_cannot_be_started_again_is_a_runtime_error(exported, monkeypatch):
    with deploy.load(exported('torch').path, workers=1) as served:
        (worker,) = served.run.members
        worker.process.kill()
        worker.process.wait()
        with monkeypatch.context() as patched:
            patched.setattr(subprocess, 'Popen', lambda *a, **k: (_ for _ in ()).throw(BlockingIOError(11, 'no room')))
            with pytest.raises(RuntimeError, match='No process can be started to run .*no room'):
                served(inputs(1)[0])
        assert len(served(inputs(1)[0])) == 1


@pytest.mark.parametrize('format', FORMATS)
def test_closed_is_closed(format, two):
    """The last in this file to use what `two` has loaded."""
    several = two(format)
    x = inputs(1)[0]
    several(x)
    processes = [m.process.pid for m in several.run.members if hasattr(m, 'process')]
    assert [m.threads for m in several.run.members if hasattr(m, 'threads')] == [2] * len(processes)  # a half of four
    assert len(processes) == (2 if format in ('torch', 'aotinductor') else 0) and all(map(alive, processes))
    for _ in range(2):
        several.close()
    assert not any(map(alive, processes))
    for _ in range(2):
        with pytest.raises(RuntimeError, match='closed: load it again'):
            several(x)


@pytest.mark.parametrize('format', ['torch', 'openvino', pytest.param('onnx', marks=pytest.mark.slow)])
def test_closed_without_workers_is_closed_too(format, exported):
    with deploy.load(exported(format).path) as loaded:
        loaded(inputs(1)[0])
    with pytest.raises(RuntimeError, match='closed: load it again'):
        loaded(inputs(1)[0])


@pytest.mark.slow
def test_batches_of_all_sizes_go_through_one_pipe(exported):
    with deploy.load(exported('torch').path, workers=1) as served:
        one = deploy.load(exported('torch').path)
        for count in (1, 32, 2, 0):
            x = torch.randn(count, 3, SIZE, SIZE)
            torch.testing.assert_close(served(x), one(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_service_of_the_page(tmp_path, monkeypatch):
    """As the page has it: four clients at once, each gets the class of his own picture; no picture, no service."""
    model = make(num_classes=8)
    model.pretrained_cfg['label_names'] = list('abcdefgh')
    deploy.export(model, tmp_path / 'model.pt2', 'torch', image_size=SIZE, images=images(4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', Image.MAX_IMAGE_PIXELS)  # which the page sets
    page = Path(timm_res2net.__file__).parent / 'docs/deployment.md'
    (service,) = [text for language, text, _ in blocks(page) if 'ThreadingHTTPServer((' in text]
    namespace = {'deploy': deploy, 'torch': torch, 'model': model}
    exec(service, namespace)
    server, one = namespace['server'], deploy.load('model.pt2')

    address = f'http://127.0.0.1:{server.server_port}'

    def ask(body):
        return json.load(urlopen(body if isinstance(body, Request) else Request(address, body)))['class']
    try:
        pictures = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in images(24, seed=3)]
        bodies = []
        for picture in pictures:
            picture.save(body := BytesIO(), 'png')
            bodies.append(body.getvalue())
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(ask, bodies))
        assert answers == [one.labels[one(one.transform(p)[None]).argmax()] for p in pictures]
        Image.new('1', (7000, 7000)).save(large := BytesIO(), 'png')
        negative = Request(address, b'', {'Content-Length': '-1'})
        for nothing in (b'no picture', large.getvalue(), bodies[0][:99], b'', negative):
            with pytest.raises(HTTPError, match='400'):
                ask(nothing)
        assert ask(bodies[0]) == answers[0]
        monkeypatch.setattr(namespace['Classify'], 'timeout', 0.5)
        with socket.create_connection(server.server_address) as slow:
            slow.sendall(b'POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\nx')
            slow.settimeout(60)
            assert slow.recv(1) == b''  # hung up
        stopped = [worker.process for worker in namespace['served'].run.members]
        for process in stopped:
            os.kill(process.pid, signal.SIGSTOP)  # they take what they are asked, and die of it
            threading.Timer(1, process.kill).start()
        with pytest.raises(HTTPError, match='503'):
            ask(bodies[0])
        for process in stopped:  # one that is not dead yet would die of the next
            process.wait(60)
        with ThreadPoolExecutor(4) as clients:
            assert list(clients.map(ask, bodies[:8])) == answers[:8]
    finally:
        server.shutdown()
        server.server_close()
        namespace['served'].close()
