"""Downloads from a server on which everything goes wrong: whole or not at all, and the next try works."""
import hashlib
import io
import logging
import multiprocessing
import os
import resource
import signal
import socket
import stat
import tempfile
import time
import traceback
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from literal_networks import Foreign
from loopback_files import LoopbackFiles
from paddle_files import paddle_bytes

from timm_res2net.weights import download as downloading
from timm_res2net.weights.cache import MIRROR, cached_file, sha256_of
from timm_res2net.weights.checkpoint import CheckpointError

NAME = 'x.pth'
TAG = dict(ETag='"one"')


def weights(seed=0, size=50_000):
    file = io.BytesIO()
    torch.save({'conv1.weight': torch.randn(size, generator=torch.Generator().manual_seed(seed))}, file)
    return file.getvalue()


DATA = weights()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of downloads, of this test alone; between two tries there is no wait."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(constants, 'HF_HUB_DOWNLOAD_TIMEOUT', 60)
    monkeypatch.setattr(downloading, '_WAIT', 0.01)
    return tmp_path / 'hub/checkpoints'


@pytest.fixture
def server():
    with LoopbackFiles({NAME: DATA}, **TAG) as server:
        yield server


def files(cache):
    return sorted(p.name for p in cache.iterdir()) if cache.exists() else []


def is_whole(cache, data=DATA, name=NAME):
    """There is the file, its record, and nothing else."""
    digest = hashlib.sha256(data).hexdigest()
    return (cache / name).read_bytes() == data and files(cache) == [name, f'{name}.sha256'] and \
        (cache / f'{name}.sha256').read_text().endswith(f'\n{digest}  {name}\n')


FAULTS = {
    'forbidden': (403, 'the server refuses it (403 Forbidden)'),
    'not authorized': (401, 'the server refuses it (401'),
    'not found': (404, 'there is no such file (404'),
    'too many requests': (429, 'limits the rate of requests and asks to wait 0 seconds (429'),
    'unavailable': (503, 'a problem of its own (503 Service Unavailable)'),
    'internal error': (500, 'a problem of its own (500'),
    'dropped': ('drop', 'the connection broke'),
    'truncated': ('truncate', 'the transfer broke off after '),
    'slow': ('slow', 'the server was silent for 0.4 seconds'),
    'silent': ('silent', 'the server was silent for 0.4 seconds'),
    'headers of a few bytes a second': ('trickle', 'the server was silent for 0.4 seconds'),
    'a few bytes a second': ('drip', 'the server was silent for 0.4 seconds'),
    'a web page': ('page', "what comes is text and no file of weights, it begins '<!DOCTYPE html> <html><body>"),
    'an empty file': ('empty', 'what comes is no file of weights, the file is empty'),
    'nothing': ('nothing', 'the server answers 204 No Content instead of a file'),
    'half a file that is said to be all': ('half', 'what comes is no file of weights, truncated or damaged'),
    'half a file in chunks': ('half in chunks', 'the connection broke (IncompleteRead'),
    'redirected in a circle': ('loop', 'the server redirects to no file (302'),
    'redirected to nowhere': ('nowhere', 'the server redirects to no file (302'),
    'redirected to FTP': ('ftp', 'the server redirects from http to ftp://127.0.0.1/file'),
    'compressed': ('compressed', 'the server sends it compressed (gzip)'),
    'of unknown size': ('unsized', 'the server does not say how long it is'),
    'another part': ('other part', 'the server gives another part than the one asked for'),
}


@pytest.mark.parametrize('name', FAULTS)
def test_a_fault_is_told_in_a_line_and_the_next_try_works(name, server, cache, monkeypatch):
    kind, words = FAULTS[name]
    server.fault(kind, seconds=1)
    with pytest.raises(CheckpointError) as caught, monkeypatch.context() as patch:
        if kind in ('slow', 'silent', 'trickle', 'drip'):
            patch.setattr(constants, 'HF_HUB_DOWNLOAD_TIMEOUT', 0.4)
        cached_file(f'{server.url}/{NAME}')
    message = str(caught.value)
    assert message.startswith(f'{server.url}/{NAME}: ') and words in message and '\n' not in message
    assert f'Put the file at {cache / NAME} by hand' in message and MIRROR in message
    assert caught.value.__cause__ is None  # or `hub_errors` would take it for one of the Hub's
    assert files(cache) == []
    server.fault(None)
    assert cached_file(f'{server.url}/{NAME}') == cache / NAME and is_whole(cache)


@pytest.mark.parametrize('name', FAULTS)
def test_a_network_gets_all_of_its_weights_or_none(name, cache, monkeypatch):
    """Weights in PaddleClas's layout, through timm."""
    kind, words = FAULTS[name]
    network = Foreign('paddle', layers=(1, 1, 1, 1), planes=(16, 24, 32, 48), base_width=32, stem='deep', stem_width=8,
                      avg_down=True)
    arguments = dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), base_width=32, stem_type='deep', stem_width=8,
                     avg_down=True, first_block='paddle')
    with LoopbackFiles({'x.pdparams': paddle_bytes(network)}, **TAG) as server:
        def create():
            overlay = dict(url=f'{server.url}/x.pdparams')
            return timm.create_model('res2net_custom', **arguments, pretrained=True, pretrained_cfg_overlay=overlay)
        server.fault(kind, seconds=1)
        with pytest.raises(CheckpointError) as caught, monkeypatch.context() as patch:
            if kind in ('slow', 'silent', 'trickle', 'drip'):
                patch.setattr(constants, 'HF_HUB_DOWNLOAD_TIMEOUT', 0.4)
            create()
        assert str(caught.value).startswith(f'{server.url}/x.pdparams: ') and str(caught.value).isprintable()
        server.fault(None)
        x = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(create().eval()(x), network(x), rtol=1e-5, atol=1e-5)


def test_what_comes_slowly_comes(cache, monkeypatch):
    """For longer than the limit, which is on silence."""
    monkeypatch.setattr(constants, 'HF_HUB_DOWNLOAD_TIMEOUT', 2)
    data = weights(size=3_000_000)
    with LoopbackFiles({NAME: data}, **TAG) as server:
        server.fault('sluggish', seconds=0.25)
        cached_file(f'{server.url}/{NAME}')
        assert is_whole(cache, data) and len(server.requests) == 1


@pytest.mark.parametrize('kind', [429, 503, 'drop', 'truncate', 'slow', 'silent', 'half in chunks', 'other part'])
def test_a_fault_that_passes_is_got_over_within_the_call(kind, server, cache, monkeypatch):
    if kind in ('slow', 'silent'):
        monkeypatch.setattr(constants, 'HF_HUB_DOWNLOAD_TIMEOUT', 1)
    server.fault(kind, times=1, seconds=5)
    cached_file(f'{server.url}/{NAME}')
    assert is_whole(cache)


def test_chunks_without_a_fault(server, cache):
    server.fault('chunks')
    cached_file(f'{server.url}/{NAME}')
    assert is_whole(cache)


class TestResuming:
    """A transfer that broke off in the middle."""
    HALF = f'bytes={len(DATA) // 2}-'

    def fetch(self, cache, data=DATA, change=None, **headers):
        with LoopbackFiles({NAME: DATA}, **headers) as server:
            server.fault('truncate', times=1)
            if change:
                server.on_request = change
            cached_file(f'{server.url}/{NAME}')
            assert is_whole(cache, data)
            return server.asked

    @pytest.mark.parametrize('headers, known', [
        (TAG, '"one"'), (dict(Last_Modified='Mon, 01 Nov 2021 00:00:00 GMT'), 'Mon, 01 Nov 2021 00:00:00 GMT'),
        (dict(ETag='W/"weak"', Last_Modified='Mon, 01 Nov 2021 00:00:00 GMT'), 'Mon, 01 Nov 2021 00:00:00 GMT')])
    def test_goes_on_where_it_stopped(self, headers, known, cache):
        assert self.fetch(cache, **headers) == [(None, None), (self.HALF, known)]

    @pytest.mark.parametrize('headers', [{}, dict(ETag='W/"weak"')])
    def test_starts_again_where_the_server_could_not_know_the_file_again(self, headers, cache):
        assert self.fetch(cache, **headers) == [(None, None), (None, None)]

    def test_starts_again_where_the_file_has_changed(self, cache):
        other = weights(1)

        def change(server):
            if len(server.asked) == 2:
                server.files[NAME], server.headers = other, dict(ETag='"two"')
        assert self.fetch(cache, other, change, **TAG) == [(None, None), (self.HALF, '"one"')]

    def test_starts_again_where_the_server_mixes_files_up(self, cache):
        """It gives the part that was asked for, of another file and without looking at If-Range."""
        other = weights(1, 60_000)

        def change(server):
            if len(server.asked) == 2:
                server.files[NAME] = other  # under the same ETag
        assert self.fetch(cache, other, change, **TAG)[1:] == [(self.HALF, '"one"'), (None, None)]

    def test_does_so_as_long_as_each_try_brings_a_megabyte(self, cache):
        data = weights(size=6_000_000)  # 24 MB, of which each try brings half of what is left
        with LoopbackFiles({NAME: data}, **TAG) as server:
            server.fault('truncate', times=4)
            cached_file(f'{server.url}/{NAME}')
            assert is_whole(cache, data) and len(server.asked) == 5


def test_what_is_in_the_cache_is_not_asked_for_again(server, cache, monkeypatch):
    cached_file(f'{server.url}/{NAME}')
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    assert cached_file(f'{server.url}/{NAME}') == cache / NAME
    assert len(server.requests) == 1


def test_others_may_read_what_was_downloaded(server, cache):
    before = os.umask(0o022)
    try:
        path = cached_file(f'{server.url}/{NAME}')
    finally:
        os.umask(before)
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, cache / f'{NAME}.sha256')] == [0o644, 0o644]


def test_the_sha256_is_shown_and_recorded_as_other_programs_read_it(server, cache, caplog):
    cached_file(f'{server.url}/{NAME}')
    digest = hashlib.sha256(DATA).hexdigest()
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert digest in line and f'{server.url}/{NAME}' in line and 'recorded in x.pth.sha256' in line
    assert (cache / f'{NAME}.sha256').read_text() == f'# {server.url}/{NAME}\n{digest}  {NAME}\n'
    assert sha256_of(cache / NAME) == digest


class TestTheRecord:
    def test_a_file_that_has_changed_is_refused_until_it_is_deleted(self, server, cache):
        url = f'{server.url}/{NAME}'
        path = cached_file(url)
        path.write_bytes(weights(1))
        with pytest.raises(CheckpointError, match='another file than the one that was recorded.* Delete it') as caught:
            cached_file(url)
        assert str(path) in str(caught.value) and '\n' not in str(caught.value)
        path.unlink()
        cached_file(url)
        assert is_whole(cache)

    def test_a_replacement_that_is_meant_is_taken_without_the_record(self, server, cache, caplog):
        url = f'{server.url}/{NAME}'
        path = cached_file(url)
        path.write_bytes(weights(1))
        (cache / f'{NAME}.sha256').unlink()
        caplog.clear()
        cached_file(url)
        assert is_whole(cache, weights(1)) and 'was there without a record' in caplog.text

    def test_another_file_under_the_same_address_is_refused(self, server, cache):
        url = f'{server.url}/{NAME}'
        cached_file(url).unlink()
        server.files[NAME] = weights(1)
        with pytest.raises(CheckpointError, match=f'another file than the first time .* delete {cache}/{NAME}.sha256'):
            cached_file(url)
        assert files(cache) == [f'{NAME}.sha256']
        (cache / f'{NAME}.sha256').unlink()
        cached_file(url)
        assert is_whole(cache, weights(1))

    def test_a_file_put_there_by_hand_is_recorded_at_first_use(self, cache, caplog):
        url = f'https://nowhere.invalid/{NAME}'
        cache.mkdir(parents=True)
        (cache / NAME).write_bytes(DATA)
        assert cached_file(url) == cache / NAME and is_whole(cache)
        assert 'was there without a record' in caplog.text and hashlib.sha256(DATA).hexdigest() in caplog.text
        caplog.clear()
        cached_file(url)
        assert caplog.text == ''

    def test_a_damaged_file_put_there_by_hand_is_not_recorded(self, cache):
        cache.mkdir(parents=True)
        (cache / NAME).write_bytes(DATA[:-1000])
        with pytest.raises(CheckpointError, match='truncated or damaged'):
            cached_file(f'https://nowhere.invalid/{NAME}')
        assert files(cache) == [NAME]

    def test_two_addresses_with_one_file_name(self, server, cache):
        cached_file(f'{server.url}/{NAME}')
        other = server.url.replace('folder', 'other')
        with pytest.raises(CheckpointError, match='has the same file name'):
            cached_file(f'{other}/{NAME}')
        assert cached_file(f'{other}/{NAME}', cache.parent / 'mine') == cache.parent / 'mine' / NAME

    @pytest.mark.parametrize('content', [b'', b'nonsense', b'\xff\xfe', b'# u\nabc  x.pth\n'])
    def test_one_that_cannot_be_read(self, content, server, cache):
        cached_file(f'{server.url}/{NAME}')
        (cache / f'{NAME}.sha256').write_bytes(content)
        with pytest.raises(CheckpointError, match=f'{NAME}.sha256 is no record of a sha256: delete it'):
            cached_file(f'{server.url}/{NAME}')

    @pytest.mark.parametrize('way', ['argument', 'name'])
    def test_a_published_sha256_is_checked(self, way, server, cache):
        wrong = hashlib.sha256(b'other').hexdigest()
        name, sha256 = (NAME, wrong) if way == 'argument' else (f'x-{wrong[:8]}.pth', '')
        server.files[name] = DATA
        with pytest.raises(CheckpointError, match='is not the published file'):
            cached_file(f'{server.url}/{name}', sha256=sha256)
        assert files(cache) == []
        (cache / name).write_bytes(DATA)
        with pytest.raises(CheckpointError, match='is not the published file'):
            cached_file(f'{server.url}/{name}', sha256=sha256)
        (cache / name).unlink()
        right = hashlib.sha256(DATA).hexdigest()
        name, sha256 = (NAME, right.upper()) if way == 'argument' else (f'x-{right[:8]}.pth', '')
        server.files[name] = DATA
        assert cached_file(f'{server.url}/{name}', sha256=sha256).name == name and is_whole(cache, name=name)

    def test_a_date_in_a_name_is_no_sha256(self, server, cache):
        server.files['x-20210927.pth'] = DATA
        cached_file(f'{server.url}/x-20210927.pth')
        assert is_whole(cache, name='x-20210927.pth')


class TestAddresses:
    def test_a_mirror_has_the_same_file_names(self, server, cache, monkeypatch):
        published = f'https://nowhere.invalid/dygraph/{NAME}'
        monkeypatch.setenv(MIRROR, f'{server.url}/deep/')
        cached_file(published)
        assert is_whole(cache) and server.requests[0][0] == f'GET /folder/deep/{NAME}'
        assert (cache / f'{NAME}.sha256').read_text().startswith(f'# {published}\n')
        monkeypatch.delenv(MIRROR)
        assert cached_file(published) == cache / NAME

    @pytest.mark.parametrize('mirror, words', [
        ('somewhere', "TIMM_RES2NET_MIRROR='somewhere' must be the URL of a folder"),
        ('{url}/other', 'there is no such file (404 Not Found). Put .* or correct TIMM_RES2NET_MIRROR')])
    def test_a_mirror_that_is_none(self, mirror, words, server, cache, monkeypatch):
        server.files.clear()
        monkeypatch.setenv(MIRROR, mirror.format(url=server.url))
        with pytest.raises(CheckpointError, match=words.replace('(404 Not Found)', r'\(404 Not Found\)')):
            cached_file(f'https://nowhere.invalid/{NAME}')

    def test_offline(self, server, cache, monkeypatch):
        monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
        with pytest.raises(CheckpointError) as caught:
            cached_file(f'{server.url}/{NAME}')
        for part in (f'{server.url}/{NAME}', 'HF_HUB_OFFLINE', str(cache / NAME), MIRROR):
            assert part in str(caught.value)
        assert server.requests == [] and files(cache) == []

    def test_nobody_listens(self, cache):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            url = f'http://127.0.0.1:{taken.getsockname()[1]}/{NAME}'
            with pytest.raises(CheckpointError, match=r'no connection \(.*refused\)\. Put the file at'):
                cached_file(url)

    @pytest.mark.parametrize('url, words', [
        ('file:///etc/passwd', 'is no address that can be asked for a file'), ('/etc/passwd', 'is no address'),
        ('ftp://127.0.0.1/x.pth', 'is no address'), ('http://u:p@127.0.0.1/x.pth', 'is no address'),
        ('http://127.0.0.1:99999/x.pth', 'is no address'), ('http://[bad/x.pth', 'is no address'),
        ('https://127.0.0.1/', 'is no name of a file'), ('https://127.0.0.1/a/..', 'is no name of a file'),
        (('https://127.0.0.1/x.pth', '../x.pth'), 'is no name of a file'),
        ('http://127.0.0.1:1/a b.pth', 'is no address'), ('http://127.0.0.1:1/\xe4.pth', 'is no address')])
    def test_that_are_none(self, url, words, cache):
        with pytest.raises(CheckpointError, match=words):
            cached_file(url)
        assert files(cache) == []

    def test_a_query_makes_another_file(self, server, cache):
        names = {cached_file(f'{server.url}/{NAME}{query}').name for query in ('', '?id=1', '?id=2')}
        assert len(names) == 3 and NAME in names and all(n.startswith('x.') and n.endswith('.pth') for n in names)
        assert not any('id=' in (cache / f).read_text(errors='ignore') for f in files(cache) if f.endswith('sha256'))

    def test_a_file_name_of_ones_own_as_in_timms_cfgs(self, server, cache):
        assert cached_file((f'{server.url}/{NAME}', 'y.pth')).name == 'y.pth'
        assert is_whole(cache, name='y.pth')

    def test_redirects_are_followed(self, server, cache):
        server.redirects = {'moved.pth': f'/elsewhere/{NAME}'}
        cached_file(f'{server.url}/moved.pth')
        assert is_whole(cache, name='moved.pth')


# processes

def started(target, *args):
    """A process that forks off this one: nothing has to be imported again. It ends with the exit code of `target`."""
    def run():
        code = 9
        try:
            code = target(*args) or 0
        except CheckpointError as error:
            print(error)
            code = 3
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    return process


def wait_for(condition):
    deadline = time.time() + 120
    while not condition() and time.time() < deadline:
        time.sleep(0.01)
    assert condition()


def fetch(url):
    cached_file(url)


def test_two_processes_at_once_do_not_mix(server, cache):
    """Each is asked to wait in the middle of its transfer."""
    server.fault('slow', seconds=0.3)
    processes = [started(fetch, f'{server.url}/{NAME}') for _ in range(2)]
    for process in processes:
        process.join(120)
    assert [p.exitcode for p in processes] == [0, 0] and len(server.requests) == 2
    assert is_whole(cache)


@pytest.mark.parametrize('stop, code', [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_stopped_in_the_middle(stop, code, server, cache):
    """Ctrl-C leaves nothing; what a killed process leaves is never taken for the file, and goes later."""
    server.fault('slow', seconds=20)
    process = started(fetch, f'{server.url}/{NAME}')
    wait_for(lambda: len(files(cache)) == 1 and server.requests)
    os.kill(process.pid, stop)
    process.join(120)
    assert process.exitcode == code
    left = files(cache)
    assert len(left) == (stop == signal.SIGKILL) and NAME not in left
    server.fault(None)
    cached_file(f'{server.url}/{NAME}')
    assert (cache / NAME).read_bytes() == DATA and set(files(cache)) == {NAME, f'{NAME}.sha256', *left}
    for name in left:
        os.utime(cache / name, (0, 0))
    (cache / NAME).unlink()
    cached_file(f'{server.url}/{NAME}')
    assert is_whole(cache)


def fetch_on_a_full_disk(url, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        cached_file(url)
    except CheckpointError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        right = 'make room or give another folder for downloads, by TORCH_HOME or cache_dir=' in str(error)
        return 0 if right and '\n' not in str(error) else 4
    return 5


@pytest.mark.parametrize('limit', [0, len(DATA) // 2, len(DATA) - 1])
def test_a_disk_that_is_full(limit, server, cache):
    """Before the first byte, in the middle, at the last one."""
    process = started(fetch_on_a_full_disk, f'{server.url}/{NAME}', limit)
    process.join(120)
    assert process.exitcode == 0 and files(cache) == []
    cached_file(f'{server.url}/{NAME}')
    assert is_whole(cache)


def fetch_as_nobody(url):
    if os.getuid() == 0:
        os.setuid(65534)
    cached_file(url)


@pytest.mark.skipif(not hasattr(os, 'getuid'), reason='needs users')
def test_a_cache_that_cannot_be_written_to(server, cache):
    """It gives what it has, with or without a record, and says that it cannot take more."""
    url = f'{server.url}/{NAME}'
    folder = cache
    folder.mkdir(parents=True)
    for parent in [folder, *folder.parents]:  # pytest's are closed to others
        if Path(tempfile.gettempdir()) in parent.parents:
            parent.chmod(0o755)
    folder.chmod(0o555)
    codes = []
    for content in (None, DATA):
        if content:
            folder.chmod(0o755)
            (folder / NAME).write_bytes(content)
            folder.chmod(0o555)
        process = started(fetch_as_nobody, url)
        process.join(120)
        codes.append(process.exitcode)
    folder.chmod(0o755)
    assert codes == [3, 0] and files(cache) == [NAME] and len(server.requests) == 0


def test_a_cache_that_is_a_file(server, tmp_path, monkeypatch):
    (tmp_path / 'taken').touch()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'taken'))
    with pytest.raises(CheckpointError, match='taken.*Not a directory; make room or give another folder'):
        cached_file(f'{server.url}/{NAME}')
    assert server.requests == []
