"""What clients of the tests' Hub share: they run in processes of their own, `python FILE {SCENARIO: ARGUMENTS, ..}`.

huggingface_hub reads its settings when it is imported, so they are in the environment of the process. To import torch
and timm takes seconds, so a process answers as many scenarios as it can. The last line printed is
{scenario: {"result": ...} or {"error": traceback}} in JSON.
"""
import json
import os
import shutil
import sys
import tempfile
import traceback
import urllib.request
from contextlib import contextmanager

import timm
import torch

ENDPOINT = os.environ['HF_ENDPOINT']
TINY = 'test_res2net_custom'
FILES = {'README.md', 'config.json', 'model.safetensors'}


def make(seed=0, **kwargs):
    torch.manual_seed(seed)
    model = timm.create_model(TINY, **kwargs)
    for buffer in model.buffers():  # as after training, to see that they travel too
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model.eval()


def assert_equal(actual, expected):
    """Bit-equal weights and buffers, and equal outputs."""
    a, b = actual.state_dict(), expected.state_dict()
    assert list(a) == list(b)
    assert not [k for k in a if not torch.equal(a[k], b[k])]
    x = torch.rand(2, expected.in_chans, 64, 64)
    with torch.inference_mode():
        assert torch.equal(actual.eval()(x), expected.eval()(x))


def message(function, *args, **kwargs):
    """Type and text of the error that a call ends in."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return 'no error'


@contextmanager
def empty_cache():
    folder = tempfile.mkdtemp()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def set_faults(*faults):
    """Each fault as (args, kwargs) of `LoopbackHub.fault`; none for no faults from now on."""
    urllib.request.urlopen(ENDPOINT + '/_faults', json.dumps(faults).encode()).read()


def pull(repo_id, **kwargs):
    """Plain timm, into a cache of its own."""
    with empty_cache() as cache:
        return timm.create_model(f'hf-hub:{repo_id}', pretrained=True, cache_dir=cache, **kwargs)


def main(scenarios):
    """Run the scenarios of the command line, one after another, and print their results."""
    chosen, results = json.loads(sys.argv[1]), {}
    if 'without_package' not in chosen:
        import timm_res2net  # noqa: F401
    for name, arguments in chosen.items():
        try:
            results[name] = {'result': scenarios[name](*arguments)}
        except Exception:
            results[name] = {'error': traceback.format_exc()}
    print(json.dumps(results))
