"""Files changed at random and malicious programs, by every entry, in processes of their own: see `corruption_child`.

A file either is refused by one line that names it, with nothing executed, opened, written or taken that it needs not,
and the model as it was; or its weights are loaded, all of them. With CORRUPTION_SEED a run is repeated.
"""
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import good_files
import malicious
import pytest
import torch
from corruption import CONTAINERS, KINDS, contained, named, run
from misbehaviour import MISBEHAVIOUR

from timm_res2net import CheckpointError, inspect_checkpoint, load_checkpoint

HELPERS = Path(__file__).parent.parent / 'helpers'
NUMBER = 3000
KEPT = (  # files that something was wrong with once
    ('archives', 1, 81),  # a record of two gigabytes by one of its two sizes
    ('training', 1, 54),  # a list in itself
    ('training', 1, 70),  # a message of 100,000 characters
    ('training', 1, 158),  # half a megabyte of YAML
    ('training', 1, 182),  # lists in lists, 200 deep
    ('programs', 102, 18),  # an offset that overflows, in torch 2.6
    ('programs', 102, 978),  # an array alone
    ('config', 102, 37),  # a number of 400 digits
    ('programs', 312, 2474),  # a byte array of protocol 5 that says it is enormous
    ('bytes', 312, 2784),  # the same
    ('mindspore', 311, 1188),  # a classifier of a bias alone
    ('safetensors', 7, 1715),  # a classifier whose weight is turned by its shape alone
    ('training', 379096, 2654),  # classes that are None, in words for an error
)


def judge(cases, folder):
    """Fail with every fault, the file that has it and how to have it again; else give the outcomes."""
    results = run(cases, folder)
    faults = [f'{case} in {folder / named(*case)}: {fault}' for case, found, _ in results for fault in found]
    assert not faults, (
        f'{len(faults)} faults; keep each file by its line in KEPT, or have all again with '
        f'CORRUPTION_SEED={cases[-1][1]} python -m pytest -m slow {__file__} -k thousand:\n' + '\n'.join(faults))
    assert [case for case, _, _ in results] == cases
    return Counter(outcome for _, _, outcomes in results for outcome in outcomes.values())


def drawn(seed, number):
    kinds = list(KINDS)
    return [(kinds[i % len(kinds)], seed, i) for i in range(number)]


def test_files_that_were_wrong_once_and_a_few_others(tmp_path):
    """What the first showed are cases of `test_files_that_lie` too: another torch writes other bytes."""
    outcomes = judge([*KEPT, *drawn(0, 16)], tmp_path)
    assert outcomes['refused'] > 50 and outcomes['loaded'] > 5


@pytest.mark.slow
def test_three_thousand_files(tmp_path):
    seed = int(os.environ.get('CORRUPTION_SEED', random.SystemRandom().randrange(10 ** 6)))
    outcomes = judge(drawn(seed, NUMBER), tmp_path)
    assert outcomes['refused'] > 3 * NUMBER and outcomes['loaded'] > NUMBER // 4


@pytest.mark.slow
def test_every_fault_is_seen(tmp_path):
    said = {function.__name__: words for function, words in MISBEHAVIOUR.items()}
    for (name, *_), faults, _ in run([(name, 0, 0) for name in said], tmp_path):
        assert any(said[name] in fault for fault in faults), (name, faults)


@pytest.fixture(scope='module')
def ran(tmp_path_factory):
    """Style -> whether its program, read by pickle itself, does what it is meant to do."""
    root = tmp_path_factory.mktemp('ran')
    folders = {style: root / str(i) for i, style in enumerate(malicious.STYLES)}
    for style, folder in folders.items():
        folder.mkdir()
        (folder / 'program').write_bytes(malicious.program(style, folder / 'executed'))
        assert not (folder / 'executed').exists()
    subprocess.run(
        [sys.executable, str(HELPERS / 'plain_pickle.py'), *map(str, folders.values())], check=True,
        capture_output=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)})
    end = time.monotonic() + 60  # some leave a command running
    while time.monotonic() < end and not all((f / 'executed').exists() for f in folders.values()):
        time.sleep(0.05)
    return {style: (folder / 'executed').exists() for style, folder in folders.items()}


@pytest.mark.parametrize('style', malicious.STYLES)
def test_programs_are_refused_and_never_run(style, ran, tmp_path):
    assert ran[style]  # it is the reader that keeps it from running
    model = good_files.network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for protocol in (0, 2, 4):
        program = malicious.program(style, tmp_path / 'executed', protocol)
        for container in CONTAINERS:
            files, target = contained(program, container)
            path = tmp_path / target
            path.write_bytes(files[target])
            for attempt in (lambda path=path: load_checkpoint(path, model), lambda path=path: inspect_checkpoint(path)):
                with pytest.raises(CheckpointError) as caught:
                    attempt()
                assert any(reason in str(caught.value) for reason in (
                    'nothing in it was executed', 'truncated or damaged', 'neither safetensors'))
    assert not (tmp_path / 'executed').exists()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
