"""Pushes and pulls on which the loopback Hub breaks, or has what it should not, as scenarios: see hub_client.py."""
import io
import logging
import resource
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hub_client import FILES, assert_equal, empty_cache, main, make, message, set_faults
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError

STEPS = {  # of a push and of a pull, as the requests that the server sees
    'create': 'POST /api/repos/create alice/{0}$',
    'card': 'HEAD /alice/{0}/resolve/main/README.md',
    'validate': 'POST /api/validate-yaml alice/{0}$',
    'preupload': 'POST /api/models/alice/{0}/preupload',
    'batch': r'POST /alice/{0}\.git/info/lfs/objects/batch',
    'upload': 'PUT /lfs/alice/{0}/',
    'verify': r'POST /alice/{0}\.git/info/lfs/objects/verify',
    'commit': 'POST /api/models/alice/{0}/commit',
    'config head': 'HEAD /alice/{0}/resolve/[^/]*/config.json',
    'config get': 'GET /alice/{0}/resolve/[^/]*/config.json',
    'weights head': 'HEAD /alice/{0}/resolve/[^/]*/model.safetensors',
    'weights get': 'GET /cdn/alice/{0}/',
}
PULL_STEPS = ('config head', 'config get', 'weights head', 'weights get')


def break_push(name, model, timeout):
    """A push with a fault on it: done, or an error and nothing of it in the repository; the next one works."""
    from timm_res2net import from_hub, push_to_hub
    outcome = message(push_to_hub, model, f'alice/{name}', timeout=timeout)
    try:
        files = set(HfApi().list_repo_files(f'alice/{name}')) & FILES
    except RepositoryNotFoundError:
        files = set()
    assert files in (set(), FILES), files
    with empty_cache() as cache:
        if files:
            assert_equal(from_hub(f'alice/{name}', cache_dir=cache), model)
        else:
            assert outcome != 'no error'
            assert message(from_hub, f'alice/{name}', cache_dir=cache).startswith('HubError: ')
    return outcome


def break_pull(name, model, cache, timeout):
    """A pull with a fault on it: the model, or an error and nothing in the cache that is not whole."""
    from timm_res2net import from_hub
    try:
        assert_equal(from_hub(f'alice/{name}', cache_dir=cache, timeout=timeout), model)
        outcome = 'no error'
    except RuntimeError as error:
        outcome = f'{type(error).__name__}: {error}'
    for path in Path(cache).glob('*/snapshots/*/*'):
        assert path.read_bytes() == Path(hf_hub_download(f'alice/{name}', path.name)).read_bytes()
    return outcome


def faults(chosen, prefix, timeout):
    """Each chosen [step, kind, times] on a new repository of its own, all at the same time; returns the outcomes."""
    from timm_res2net import from_hub, push_to_hub
    model = make()
    names = [f'{prefix}{i}' for i in range(len(chosen))]

    def prepare(i):
        push_to_hub(model, f'alice/{names[i]}')
        hf_hub_download(f'alice/{names[i]}', 'config.json')
        hf_hub_download(f'alice/{names[i]}', 'model.safetensors')

    def one(i):
        try:
            if chosen[i][0] not in PULL_STEPS:
                return break_push(names[i], model, timeout)
            with empty_cache() as cache:
                caches[i] = shutil.copytree(cache, tempfile.mkdtemp(), dirs_exist_ok=True)
                return break_pull(names[i], model, caches[i], timeout)
        except AssertionError as error:
            return f'AssertionError in {chosen[i]}: {error!r}'

    def again(i):
        if chosen[i][0] not in PULL_STEPS:
            push_to_hub(model, f'alice/{names[i]}')
        assert_equal(from_hub(f'alice/{names[i]}', cache_dir=caches.get(i)), model)
        shutil.rmtree(caches.get(i, ''), ignore_errors=True)

    caches = {}
    with ThreadPoolExecutor(48) as pool:
        list(pool.map(prepare, [i for i, (step, *_) in enumerate(chosen) if step in PULL_STEPS]))
        set_faults(*[
            [[STEPS[step].format(names[i]), kind], {'times': times, 'seconds': 6 if step in PULL_STEPS else 1}]
            for i, (step, kind, times) in enumerate(chosen)])
        outcomes = list(pool.map(one, range(len(chosen))))
        set_faults()
        list(pool.map(again, range(len(chosen))))
    return outcomes


def large_and_slow():
    """Twenty megabytes there and back, each way for longer than the limit."""
    from timm_res2net import from_hub, push_to_hub
    model = make(num_classes=30000)
    set_faults([['(PUT /lfs|GET /cdn)/alice/large/', 'sluggish'], {'seconds': 0.2}])
    push_to_hub(model, 'alice/large', timeout=3)
    assert_equal(from_hub('alice/large', timeout=3), model)
    set_faults()


def odd_configs(count, lies):
    """What `from_hub` says of repositories whose config.json somebody wrote by hand, and the memory that lies took."""
    from timm_res2net import from_hub
    odd = [message(from_hub, f'alice/odd{i}', num_classes=3) for i in range(count)]
    log = io.StringIO()
    logging.getLogger('timm_res2net').addHandler(logging.StreamHandler(log))
    assert_equal(from_hub('alice/good'), make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    messages = {name: message(from_hub, f'alice/lie_{name}') for name in lies}
    assert_equal(from_hub('alice/lie_machine'), make())
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {'odd': odd, 'lies': messages, 'log': log.getvalue(), 'megabytes': megabytes}


if __name__ == '__main__':
    main(globals())
