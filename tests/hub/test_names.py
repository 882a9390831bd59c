"""What a push says of class names, licenses and variants of one's own, against the tests' Hub."""
import pytest


@pytest.fixture(scope='module')
def results(client):
    found = client('names+licenses+own_variant+pushes', file='hub_names.py', HF_TOKEN='hf_alice')
    assert [name for name, done in found.items() if 'error' in done] == [], found
    return {name: done['result'] for name, done in found.items()}


def test_names_that_the_repository_has_are_kept(results):
    names = results['names']
    assert names['first']['names'] == names['again']['names'] == ['ant', 'bee', 'cat']
    assert names['first']['said'] == ''
    assert names['again']['said'] == (
        'alice/names: the model has no class names, those that the repository has are kept.\n')
    assert names['other']['names'] == ['x', 'y', 'z'] and names['other']['said'] == ''
    assert names['five']['names'] is None
    assert names['five']['said'] == 'alice/names: its class names are not those of 5 classes, they go.\n'
    assert names['copied']['names'] == ['ant', 'bee', 'cat']
    assert names['reset']['names'] is None
    assert {push['written'] for push in names.values()} == {1}


def test_weights_of_ones_own_have_no_license_of_others(results):
    licenses = results['licenses']
    assert licenses['published']['license'] == licenses['published']['cfg']['license'] == 'apache-2.0'
    assert licenses['published']['cfg']['tag'] == 'cifar100' and len(licenses['published']['names']) == 100
    for kind in ('five', 'trained'):
        assert licenses[kind]['license'] == licenses[kind]['cfg']['license'] == 'unknown'
        assert 'tag' not in licenses[kind]['cfg'] and licenses[kind]['names'] is None
        said = licenses[kind]['said']
        assert 'started from res2net23_32w_4s_cifar_custom.cifar100, which is under apache-2.0' in said
    assert len(licenses['named']['names']) == 100 and licenses['named']['said'].count('started from') == 1
    assert licenses['given']['license'] == 'mit' and licenses['given']['said'] == ''


def test_a_variant_of_ones_own_is_pulled_by_those_who_lack_it(results, client):
    assert results['own_variant']['architecture'] == 'res2net_custom'
    elsewhere = client('own_variant_elsewhere', file='hub_names.py')['own_variant_elsewhere']
    assert elsewhere['result'] == {'act': 'SiLU', 'scale': 3, 'classes': 2, 'size': [3, 96, 96]}


def test_the_command_finds_names_and_says_where(results):
    pushes = results['pushes']
    assert pushes['found']['names'] == ['ant', 'bee', 'cat']
    assert pushes['found']['out'].startswith('http') and pushes['found']['out'].count('\n') == 1
    assert 'class names are the folders of ' in pushes['found']['said']
    assert 'trained from res2net23_32w_4s_cifar_custom.cifar100, which is under apache-2.0' in pushes['found']['said']
    assert pushes['found']['cfg']['license'] == 'unknown' and 'tag' not in pushes['found']['cfg']
    assert pushes['moved']['names'] is None and 'is not here, so there are no class names' in pushes['moved']['said']
    again = pushes['found--licensemit']
    assert again['names'] == ['ant', 'bee', 'cat'] and 'those that the repository has are kept' in again['said']
    assert again['cfg']['license'] == 'mit' and 'trained from' not in again['said']
