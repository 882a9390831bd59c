"""Pushes and pulls on which the loopback Hub breaks, as scenarios: see hub_client.py."""
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hub_client import FILES, assert_equal, empty_cache, main, make, message, set_faults
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError

STEPS = {  # of a push, of one with `KWARGS` or onto what is `THERE`, and of a pull, as the server sees them
    'create': 'POST /api/repos/create alice/{0}$',
    'card': 'HEAD /alice/{0}/resolve/main/README.md',
    'validate': 'POST /api/validate-yaml alice/{0}$',
    'preupload': 'POST /api/models/alice/{0}/preupload',
    'batch': r'POST /alice/{0}\.git/info/lfs/objects/batch',
    'upload': 'PUT /lfs/alice/{0}/',
    'verify': r'POST /alice/{0}\.git/info/lfs/objects/verify',
    'commit': 'POST /api/models/alice/{0}/commit',
    'info': 'GET /api/models/alice/{0}$',
    'branch': 'POST /api/models/alice/{0}/branch/',
    'names': 'HEAD /alice/{0}/resolve/main/config.json',
    'names get': 'GET /alice/{0}/resolve/main/config.json',
    'card get': 'GET /alice/{0}/resolve/main/README.md',
    'config head': 'HEAD /alice/{0}/resolve/[^/]*/config.json',
    'config get': 'GET /alice/{0}/resolve/[^/]*/config.json',
    'weights head': 'HEAD /alice/{0}/resolve/[^/]*/model.safetensors',
    'weights get': 'GET /cdn/alice/{0}/',
}
KWARGS = {'info': {'private': True}, 'branch': {'revision': 'next'}}
THERE = ('names', 'names get', 'card get')
PULL_STEPS = ('config head', 'config get', 'weights head', 'weights get')


def commit_of(name, branch):
    """What a branch is at, None where there is none."""
    try:
        branches = HfApi().list_repo_refs(f'alice/{name}').branches
    except RepositoryNotFoundError:
        return None
    return next((b.target_commit for b in branches if b.name == branch), None)


def break_push(name, model, timeout, old=None, **kwargs):
    """A push with a fault on it: done, or an error and what was there before; the next one works."""
    from timm_res2net import from_hub, push_to_hub
    outcome = message(push_to_hub, model, f'alice/{name}', timeout=timeout, **kwargs)
    commit = commit_of(name, kwargs.get('revision', 'main'))  # not by its name, on which there may be a fault
    files = set(HfApi().list_repo_files(f'alice/{name}', revision=commit)) & FILES if commit else set()
    assert files in (set(), FILES), files
    with empty_cache() as cache:
        if files:
            done = outcome == 'no error' or old is None
            assert_equal(from_hub(f'alice/{name}', cache_dir=cache, revision=commit), model if done else old)
        else:
            assert outcome != 'no error' and old is None
            assert message(from_hub, f'alice/{name}', cache_dir=cache, revision=commit).startswith('HubError: ')
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
    model, old = make(), make(1)
    names = [f'{prefix}{i}' for i in range(len(chosen))]
    steps = [step for step, *_ in chosen]

    def prepare(i):
        if steps[i] in THERE:
            push_to_hub(old, f'alice/{names[i]}')
        elif steps[i] in PULL_STEPS:
            push_to_hub(model, f'alice/{names[i]}')
            hf_hub_download(f'alice/{names[i]}', 'config.json')
            hf_hub_download(f'alice/{names[i]}', 'model.safetensors')

    def one(i):
        try:
            if steps[i] not in PULL_STEPS:
                return break_push(
                    names[i], model, timeout, old if steps[i] in THERE else None, **KWARGS.get(steps[i], {}))
            with empty_cache() as cache:
                caches[i] = shutil.copytree(cache, tempfile.mkdtemp(), dirs_exist_ok=True)
                return break_pull(names[i], model, caches[i], timeout)
        except AssertionError as error:
            return f'AssertionError in {chosen[i]}: {error!r}'

    def again(i):
        kwargs = KWARGS.get(steps[i], {})
        if steps[i] not in PULL_STEPS:
            push_to_hub(model, f'alice/{names[i]}', **kwargs)
        assert_equal(
            from_hub(f'alice/{names[i]}', cache_dir=caches.get(i), revision=kwargs.get('revision')), model)
        shutil.rmtree(caches.get(i, ''), ignore_errors=True)

    caches = {}
    with ThreadPoolExecutor(48) as pool:
        list(pool.map(prepare, range(len(chosen))))
        set_faults(*[
            [[STEPS[step].format(names[i]), kind], {'times': times, 'seconds': 6 if step in PULL_STEPS else 1}]
            for i, (step, kind, times) in enumerate(chosen)])
        outcomes = list(pool.map(one, range(len(chosen))))
        set_faults()
        list(pool.map(again, range(len(chosen))))
    return outcomes


def silences(chosen, prefix, timeout):
    """The same, of steps at which the server is silent for longer than `timeout`."""
    return faults(chosen, prefix, timeout)


def who_am_i(kinds):
    """A push and a pull by NAME alone, with each fault on the request that tells whose it is; the next ones work."""
    from timm_res2net import from_hub, push_to_hub
    said = {}
    push_to_hub(make(), 'nameless')
    for kind in kinds:
        set_faults([['GET /api/whoami', kind], {'seconds': 1}])
        said[kind] = [message(push_to_hub, make(1), 'nameless', timeout=2), message(from_hub, 'nameless', timeout=2)]
        set_faults()
        assert_equal(from_hub('nameless'), make())
    push_to_hub(make(1), 'nameless')
    assert_equal(from_hub('nameless'), make(1))
    return said


def large_and_slow():
    """Twenty megabytes there and back, each way for longer than the limit."""
    from timm_res2net import from_hub, push_to_hub
    model = make(num_classes=30000)
    set_faults([['(PUT /lfs|GET /cdn)/alice/large/', 'sluggish'], {'seconds': 0.2}])
    push_to_hub(model, 'alice/large', timeout=3)
    assert_equal(from_hub('alice/large', timeout=3), model)
    set_faults()


if __name__ == '__main__':
    main(globals())
