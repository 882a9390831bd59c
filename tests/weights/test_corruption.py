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
from corruption import CONTAINERS, KINDS, contained, run
from misbehaviour import MISBEHAVIOUR

from timm_res2net import CheckpointError, inspect_checkpoint, load_checkpoint

HELPERS = Path(__file__).parent.parent / 'helpers'
NUMBER = 3000
KEPT = (  # (seed, kind, number) of files that something was wrong with once
    (1, 'archives', 81),  # a record of two gigabytes by one of its two sizes
    (1, 'training', 54),  # a list in itself
    (1, 'training', 70),  # a message of 100,000 characters
    (1, 'training', 158),  # half a megabyte of YAML
    (1, 'training', 182),  # lists in lists, 200 deep
)


def judge(cases, seed, folder):
    """Fail with every fault, the file that has it and the command that makes it again; else give the outcomes."""
    results = run(cases, seed, folder)
    faults = [f'{kind} {number}, {folder}/{kind}-{number}: {fault}' for (kind, number), found, _ in results
              for fault in found]
    assert not faults, (
        f'{len(faults)} faults, again with CORRUPTION_SEED={seed} pytest -m slow {__file__}; keep a file by a line '
        f'({seed}, KIND, NUMBER) in KEPT:\n' + '\n'.join(faults))
    assert len(results) == len(cases)
    return Counter(outcome for _, _, outcomes in results for outcome in outcomes.values())


def drawn(number):
    kinds = list(KINDS)
    return [(kinds[i % len(kinds)], i) for i in range(number)]


def test_a_few_files(tmp_path):
    outcomes = judge(drawn(24), 0, tmp_path)
    assert outcomes['refused'] > 60 and outcomes['loaded'] > 5


@pytest.mark.slow
def test_three_thousand_files(tmp_path):
    seed = int(os.environ.get('CORRUPTION_SEED', random.SystemRandom().randrange(10 ** 6)))
    outcomes = judge(drawn(NUMBER), seed, tmp_path)
    assert outcomes['refused'] > 3 * NUMBER and outcomes['loaded'] > NUMBER // 4


@pytest.mark.slow
@pytest.mark.parametrize('seed', sorted({seed for seed, _, _ in KEPT}))
def test_kept_files(seed, tmp_path):
    """The kinds of fault that they showed are cases of `test_files_that_lie`, which are run by default."""
    judge([(kind, number) for its_seed, kind, number in KEPT if its_seed == seed], seed, tmp_path)


@pytest.mark.slow
def test_every_fault_is_seen(tmp_path):
    results = run([(function.__name__, 0) for function in MISBEHAVIOUR], 0, tmp_path)
    for (name, _), faults, _ in results:
        said = next(words for function, words in MISBEHAVIOUR.items() if function.__name__ == name)
        assert any(said in fault for fault in faults), (name, said, faults)




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
