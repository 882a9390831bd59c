"""The Hub breaks at any step of a push or a pull: done, or one line that says where, and the next try works."""
import itertools
import re

import pytest

PUSH_STEPS = (
    'create', 'info', 'branch', 'names', 'names get', 'card', 'card get', 'validate', 'preupload', 'batch', 'upload',
    'verify', 'commit')
PULL_STEPS = ('config head', 'config get', 'weights head', 'weights get')
KINDS = (401, 403, 404, 429, 503, 'drop', 'drop_after', 'truncate', 'slow')
SILENCES = ('silent', 'trickle', 'drip')
WORDS = {  # of the error, where the server is silent at a step
    'create': 'creating the repository', 'info': 'looking up the repository', 'branch': 'creating the branch',
    'names': 'looking up config.json', 'names get': 'downloading config.json',
    'card': 'looking up README.md', 'card get': 'downloading README.md', 'validate': 'having the model card checked',
    'preupload': 'announcing the files', 'batch': 'asking where to upload the weights',
    'upload': 'uploading the weights', 'verify': 'having the upload verified', 'commit': 'committing',
    'config head': 'looking up config.json', 'config get': 'downloading config.json',
    'weights head': 'looking up model.safetensors', 'weights get': 'downloading the weights'}


ALWAYS = [(step, kind, 1) for step in ('preupload', 'batch', 'upload', 'verify') for kind in (503, 'drop')]
ALWAYS += [('weights get', kind, 1) for kind in ('drop', 'truncate')]  # what the client or timm tries again
ONCE = [*ALWAYS, *((step, kind, 1) for step, kind in zip(
    PUSH_STEPS + PULL_STEPS, itertools.cycle((403, 'truncate', 503, 'drop_after', 'drop'))))]
WHOSE = (403, 'drop', 'silent')


def silent(steps):
    return [(step, 'silent', None) for step in steps] + [
        (step, kind, None) for step in ('upload', 'commit', 'weights get') for kind in ('trickle', 'drip')]


SILENT = silent(('create', 'names', 'upload', 'commit', 'weights get'))


@pytest.fixture(scope='module')
def ask(client):
    """Scenarios and their arguments -> results; repositories of a prefix are its own."""
    def run(scenarios):
        found = client(scenarios, file='hub_faults.py', HF_TOKEN='hf_alice')
        for done in found.values():
            assert 'error' not in done, done['error']
        return {name: done['result'] for name, done in found.items()}
    return run


@pytest.fixture(scope='module')
def results(ask):
    """Of what the default tests ask."""
    return ask({'faults': (ONCE, 'once', None), 'silences': (SILENT, 'silent', 5), 'who_am_i': (WHOSE,)})


def outcomes_of(chosen, said):
    for fault, outcome in zip(chosen, said, strict=True):
        assert re.fullmatch('no error|Hub(Error|Timeout): .*', outcome), (fault, outcome)
    return dict(zip(chosen, said, strict=True))


def test_faults(results):
    """One at each step; what the client or timm tries again ends well."""
    outcomes = outcomes_of(ONCE, results['faults'])
    assert {outcomes[fault] for fault in ALWAYS} == {'no error'}


def check_silences(hub, chosen, said):
    for (step, kind, _), outcome in outcomes_of(chosen, said).items():
        pattern = (f'Hub.*: {hub.url} kept silent for 5 s while {WORDS[step]} .alice/[a-z]+[0-9]+.*: try again, '
                   '.*timeout= or TIMM_')
        assert re.match(pattern, outcome), (step, kind, outcome)


def test_silence_ends(hub, results):
    """In one line that names the step, the repository and the setting; the next try works."""
    check_silences(hub, SILENT, results['silences'])


def check_who_am_i(hub, kinds, said):
    for kind in kinds:
        for outcome in said[str(kind)]:
            assert outcome.startswith(('HubError: ', 'HubTimeout: ')) and outcome.isprintable(), (kind, outcome)
            silent = f'{hub.url} kept silent for 2 s while asking who is logged in'
            assert kind not in SILENCES or silent in outcome


def test_whose_it_is(hub, results):
    check_who_am_i(hub, WHOSE, results['who_am_i'])


@pytest.mark.slow
def test_what_flows_is_not_cut(ask):
    ask({'large_and_slow': ()})


@pytest.mark.slow
def test_silence_ends_at_every_step(hub, ask):
    chosen = silent(WORDS)
    check_silences(hub, chosen, ask({'silences': (chosen, 'every', 5)})['silences'])


@pytest.mark.slow
def test_whose_it_is_with_all_faults(hub, ask):
    kinds = (401, 404, 429, 503, 'drop_after', 'truncate', 'trickle', 'drip')
    check_who_am_i(hub, kinds, ask({'who_am_i': (kinds,)})['who_am_i'])


@pytest.mark.slow
def test_all_faults(ask):
    chosen = [(step, kind, times) for step in PUSH_STEPS + PULL_STEPS for kind in (*KINDS, *SILENCES)
              for times in (1, None)]
    outcomes = outcomes_of(chosen, ask({'faults': (chosen, 'all', 20)})['faults'])
    for step in PUSH_STEPS + PULL_STEPS:
        for kind in (401, 403, 404, 429, 503, 'drop'):  # what never ends is an error
            assert outcomes[step, kind, None] != 'no error', (step, kind)
