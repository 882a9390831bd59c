"""The Hub, against a real HTTP server that speaks its API, driven by the real client and by plain timm."""
import copy
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
import yaml
from loopback_hub import LoopbackHub

import timm_res2net
from timm_res2net.hub import save_for_hub

CARD = 'Ein schöner Text.\n'.encode('latin-1')


@pytest.fixture(scope='module')
def alice(hub, client):
    """What Alice does while she is logged in, and repositories that are not good made from her alice/good."""
    hub.put_repo('alice/latin', {'README.md': CARD})
    results = client(
        'good+round_trip+repositories+script+push_as_timm+push_beside_card+names+licenses+own_variant+pushes',
        HF_TOKEN='hf_alice')
    assert 'error' not in results['good'], results['good']['error']
    files = {path: data for path, (data, _) in hub.repos['alice/good'].files().items()}
    for name in ('gated', 'limited', 'other'):
        hub.put_repo(f'alice/{name}', files)
    hub.repos['alice/gated'].gated = True
    hub.put_repo('alice/dataset', {'data.csv': b'1,2'})
    hub.put_repo('alice/broken', {'config.json': b'{"architecture": '})
    hub.put_repo('alice/foreign', {'config.json': b'{"architecture": "my_model", "pretrained_cfg": {}}'})
    hub.put_repo('alice/pickle', {'config.json': files['config.json'], 'pytorch_model.bin': b''})
    with LoopbackHub() as gone:
        url = gone.url
    with ThreadPoolExecutor() as pool:  # the client tries for half a minute, meanwhile other tests run
        results['offline'] = pool.submit(client, 'away', HF_HUB_OFFLINE='1', HF_TOKEN='hf_alice')
        results['unreachable'] = pool.submit(client, 'away', HF_ENDPOINT=url, HF_TOKEN='hf_alice')
        results['unreachable url'] = url
        yield results


def result(results, scenario):
    assert 'error' not in results[scenario], results[scenario]['error']
    return results[scenario]['result']


def front_matter(card):
    return yaml.safe_load(re.match(r'---\n(.*?)\n---\n', card, re.S)[1])


def test_push_and_pull(hub, alice):
    card = result(alice, 'round_trip')['card']
    front = front_matter(card)
    assert front['library_name'] == 'timm' and front['pipeline_tag'] == 'image-classification'
    assert {'image-classification', 'timm', 'timm-res2net', 'birds'} <= set(front['tags'])
    assert front['license'] == 'mit' and front['datasets'] == ['cifar100'] and front['metrics'] == ['accuracy']
    measured = front['model-index'][0]['results'][0]
    assert measured['dataset']['type'] == 'cifar100'
    assert {m['name']: m['value'] for m in measured['metrics']} == {'top-1 accuracy': 81.25, 'top-5 accuracy': 95.5}
    assert 'Tells birds apart.' in card
    for line in re.search(r'```python\n(.*?)```', card, re.S)[1].splitlines():
        compile(line, 'card', 'exec')
    assert 'import timm_res2net' in card and "'hf-hub:alice/labelled'" in card
    files = hub.repos['alice/scale8'].files()
    assert set(files) == {'.gitattributes', 'README.md', 'config.json', 'model.safetensors'}  # and no pickle
    config = json.loads(files['config.json'][0])
    assert config['architecture'] == 'test_res2net_custom' and config['num_classes'] == 7
    assert config['model_args'] == {
        'scale': 8, 'base_width': 14, 'act_layer': 'silu', 'norm_layer': 'groupnorm1', 'in_chans': 3,
        'global_pool': 'avg'}
    assert not {'hf_hub_id', 'file', 'source', 'tag'} & set(config['pretrained_cfg'])
    assert len(hub.repos['alice/scale8'].commits) == 2  # the empty repository, and all of the model
    assert not [r for r, token in hub.requests if r.startswith('GET /cdn') and token]  # tokens stay with the Hub


def test_repositories(hub, alice):
    messages = result(alice, 'repositories')
    assert hub.repos['alice/private'].private
    assert messages['public'] == (
        'HubError: alice/open exists and is public: make it private in its settings, or push to another name.')
    assert messages['private'].startswith('HubError: No repository alice/private on the Hub that this token may see')
    assert messages['rights'].startswith('HubError: No right to do this with alice/open')
    assert 'create_pr=True' in messages['rights']


LOCAL = {
    'class': "ValueError: norm_layer=.*Norm.* cannot be written to config.json",
    'timm': 'TypeError: ResNet is not a model of timm_res2net',
    'features': r'TypeError: .* is not a model of timm_res2net\. A feature extractor \(features_only=True\)',
    'scripted': 'TypeError: A scripted model',
    'direct': r'TypeError: This Res2Net was not built by timm\.create_model',
    'fused': r'ValueError: The model was changed after it was built \(bn1\.bias: missing, built as \(16,\)\)',
    'labels': 'ValueError: label_names has 1 names for 1000 classes',
    'metrics': 'ValueError: metrics without dataset=',
    'nan': r"ValueError: metrics\['top1'\]=nan must be a finite number",
    'data': r"ValueError: data_config\['bogus'\] is not a setting of timm",
    'name': 'TypeError: licence= is unknown, a push takes label_names, .* license, ',
    'pr': "ValueError: revision='next': a pull request is opened against main",
    'meta': r'ValueError: the model has no values on the meta device \(conv1\.0\.weight\): build it outside',
    'set': 'TypeError: label_names must be a list, or a dictionary by index, not a set',
    'tags': r"TypeError: tags=\{'a'\} must be text or a list of texts",
    'tag': 'TypeError: tags=7 must be text',
    'mean': r"ValueError: data_config\['mean'\]=\(0\.5,\) must be a number for each input channel: it has 1 entries",
    'std': r"ValueError: data_config\['std'\]\[2\]=0 must be",
    'crop': r"TypeError: data_config\['crop_pct'\]='x' must be a number",
    'crop_mode': r"ValueError: data_config\['crop_mode'\]='x' is not supported, choose one of 'center'",
    'interpolation': r"ValueError: data_config\['interpolation'\]='x' is not supported, choose one of",
    'size': r"TypeError: data_config\['input_size'\]\[1\]=2\.5 must be an integer",
    'license': 'TypeError: license=7 must be text',
    'descriptions': r"TypeError: label_descriptions=\['a'\] must be a dictionary",
    'timeout': 'ValueError: timeout=0 must be',
    'no name': 'TypeError: repo_id=None must be text: USER/NAME, or NAME',
    'revision': 'TypeError: revision=7 must be text: a branch',
    'as_timm': 'ValueError: timm has no architecture like this test_res2net_custom',
}
ARGUMENTS = {  # of `from_hub`
    'argument': 'TypeError: .* unknown argument bogus=1',
    'classes': "TypeError: num_classes='7' must be an integer",
    'no classes': 'ValueError: num_classes=-1 must be at least 0',
    'half a class': 'TypeError: num_classes=2.5 must be an integer',
    'true': 'TypeError: num_classes=True must be an integer',
    'channels': 'ValueError: in_chans=0 must be at least 1',
    'untrained': 'TypeError: from_hub takes no pretrained=: the weights are always loaded',
    'cfg': 'TypeError: from_hub takes no pretrained_cfg=',
    'overlay': r"ValueError: pretrained_cfg_overlay\['bogus'\] is not a setting of timm, choose from url, ",
    'other weights': r"ValueError: pretrained_cfg_overlay\['url'\] says where weights are, and these are those of",
    'meta': "ValueError: device='meta' has no values, nothing can be loaded there: give another device=",
    'inside meta': r"ValueError: device='meta' has no values, .*, or leave the block of torch\.device\('meta'\)",
    'device': "ValueError: device='bogus' is none that torch knows",
    'no name': 'TypeError: repo_id=None must be text: USER/NAME, USER/NAME@REVISION, or NAME',
    'number': 'TypeError: repo_id=7 must be text',
    'revision': 'TypeError: revision=7 must be text: a branch, tag or commit',
    'activation': "ValueError: act_layer='bogus' is not a layer that timm knows by name",
}
LIES = {  # model_args -> what `from_hub` says of them
    'scale': (dict(scale=10**6), 'HubError: The weights of .* do not fit the model'),
    'layers': (dict(layers=[10**6] * 4), 'HubError: The weights of .* do not fit the model'),
    'channels': (dict(channels=[32768] * 4), 'HubError: The weights of .* do not fit the model'),
    'base_width': (dict(base_width=1e9), 'HubError: The weights of .* do not fit the model'),
    'stem_width': (dict(stem_width=10**6), 'HubError: The weights of .* do not fit the model'),
    'classes': (dict(num_classes=10**9), 'no error'),  # the weights tell
    'machine': (dict(device='meta', dtype='float16', checkpoint_path='x', features_only=True), 'no error'),
}
LOGIN = 'log in with `hf auth login` or pass token='
MESSAGES = {
    'anonymous push': f'Not logged in to the Hub: {LOGIN}.',
    'anonymous name': f"repo_id='res2net' names no user: write USER/res2net, or {LOGIN}.",
    'bad token push': 'The Hub refuses the token, .*`hf auth login --force`',
    'bad token pull': 'The Hub refuses the token, .*`hf auth login --force`',
    'read token': 'No right to do this with bob/no .*: use a token with write access',
    'not mine': 'No right to do this with carol/no .*: use a token with write access',
    'anonymous pull': f'No repository alice/none on the Hub, or it is private: check the name, or {LOGIN}.',
    'no repository': 'No repository alice/none on the Hub that this token may see: check the name',
    'no revision': "alice/good has no revision 'v9': give a branch, tag or commit",
    'gated anonymous': f'Access to alice/gated is gated: ask for it at http.*/alice/gated, then {LOGIN}.',
    'gated': 'Access to alice/gated is gated: ask for it at http.*/alice/gated, then try again.',
    'no config': 'alice/dataset has no config.json: it is not a model of timm',
    'unknown architecture': "alice/foreign holds no model that .* know .*'my_model'.*: check the name, or install",
    'no json': 'alice/broken holds no model that',
    'pickle': 'alice/pickle has no model.safetensors: its weights are not in safetensors form',
    'bad name': "repo_id='alice/a b/c' is not a name on the Hub",
    'bad name push': "repo_id='alice/a b' is not a name on the Hub",
    'license': 'The Hub refuses the model card: .*"license" must be .*Correct license=',
    'shape': r'The weights of alice/good do not fit the model .*: leave out arguments .* \(scale, base_width\)',
    '429 pull': 'The Hub limits the rate of requests: wait 0 seconds and try again',
    '429 push': 'The Hub limits the rate of requests: wait 0 seconds and try again',
    '500 pull': r'The Hub has a problem of its own \(500 Internal Server Error\): try again in a few minutes',
    '500 push': r'The Hub has a problem of its own \(500 Internal Server Error\): try again in a few minutes',
    '503 pull': r'The Hub has a problem of its own \(503 Service Unavailable\): try again in a few minutes',
    '503 push': r'The Hub has a problem of its own \(503 Service Unavailable\): try again in a few minutes',
    'damaged': 'The weights in .* are damaged: delete that file and try again.',
}


@pytest.fixture(scope='module')
def odd(hub, alice):
    """Each config.json in a repository of its own, beside the weights of alice/good."""
    files = {path: data for path, (data, _) in hub.repos['alice/good'].files().items()}
    good = json.loads(files['config.json'])
    rng = random.Random(0)
    odd = [None, True, 0, -1, 7, 2.5, '', 'text', [], [1], {}, {'a': 1}, [None], 'res2net50_26w_4s_custom']
    configs = [good, *odd]
    for _ in range(60):
        config = copy.deepcopy(good)
        for _ in range(rng.randint(1, 2)):
            place = config if rng.random() < 0.4 else config[rng.choice(['pretrained_cfg', 'model_args'])]
            if isinstance(place, dict):
                place[rng.choice([*place, 'extra'])] = rng.choice(odd)
        configs.append(config)
    for i, config in enumerate(configs):
        hub.put_repo(f'alice/odd{i}', {**files, 'config.json': json.dumps(config).encode()})
    for name, (arguments, _) in LIES.items():
        config = {**good, 'model_args': {**good['model_args'], **arguments}}
        hub.put_repo(f'alice/lie_{name}', {**files, 'config.json': json.dumps(config).encode()})
    hub.put_repo('alice/lie_deep', {**files, 'config.json': b'[' * 10**6})
    hub.put_repo('alice/lie_long', {**files, 'config.json': b' ' * (1 << 25)})
    return configs


@pytest.fixture(scope='module')
def alone(hub, client, alice, tmp_path_factory):
    """What people have who know only timm, and what timm publishes."""
    folder = tmp_path_factory.mktemp('published')
    found = result(client({'without_package': [str(folder)]}), 'without_package')
    hub.put_repo('timm/res2net50_26w_4s.in1k', {p.name: p.read_bytes() for p in folder.iterdir()})
    return found


@pytest.fixture(scope='module')
def anybody(client, alice, odd, alone):
    """What happens where nobody is logged in; what is measured comes first."""
    return client({'odd_configs': [len(odd), [*LIES, 'deep', 'long']], 'refusals': [], 'published': []})


def test_refusals(hub, anybody):
    refusals = result(anybody, 'refusals')
    assert set(refusals['local']) == set(LOCAL)
    for name, pattern in LOCAL.items():
        assert re.match(pattern, refusals['local'][name]), refusals['local'][name]
    assert set(refusals['arguments']) == set(ARGUMENTS)
    for name, pattern in ARGUMENTS.items():
        assert re.match(pattern, refusals['arguments'][name]), refusals['arguments'][name]
    assert set(refusals['hub']) == set(MESSAGES)
    for name, pattern in MESSAGES.items():
        actual = refusals['hub'][name]
        assert re.match(f'HubError: {pattern}', actual) and '\n' not in actual, (name, actual)
    assert 'alice/no' not in hub.repos


def test_timm(hub, alice, alone, anybody):
    """Both ways between this package and people, or weights, that know only timm."""
    pushed = result(alice, 'push_as_timm')
    config = json.loads(hub.repos['alice/as_timm'].files()['config.json'][0])
    assert config['architecture'] == 'res2net50_14w_8s'
    assert 'import timm_res2net' not in hub.repos['alice/as_timm'].files()['README.md'][0].decode()
    assert pushed['other'].startswith('ValueError: timm has no architecture like this res2net50_14w_8s_custom (')
    assert alone['class'] == alone['free_form'] == 'timm.models.resnet'
    assert alone['output'][0] == pytest.approx(pushed['output'][0], rel=1e-4, abs=1e-5)
    assert 'Unknown model' in alone['plain']
    pulled = result(anybody, 'published')
    assert pulled['output'][0] == pytest.approx(alone['published'][0], rel=1e-5, abs=1e-6)
    assert len([r for r, _ in hub.requests if r.startswith('GET /cdn/timm/')]) == 2  # resumed after the truncation


def test_script(alice):
    script = result(alice, 'script')
    front = front_matter(script['card'])
    assert front['model-index'][0]['results'][0]['metrics'][0]['value'] == 62.5
    assert script['bare'] == 'error: the checkpoint does not tell its architecture, add --model'
    assert re.match('error: .*code.pth is not a checkpoint that can be read safely', script['code'])
    assert script['misfit'].startswith('error: the checkpoint does not fit test_res2net_custom')
    assert re.match('error: there is no .*none.pth', script['missing'])


def test_without_hub(alice):
    """Offline by choice, or because nothing answers: the cache does, or a message."""
    offline, unreachable = (result(alice[name].result(), 'away') for name in ('offline', 'unreachable'))
    assert re.match('HubError: Offline mode is on .* and alice/other is not in the cache .*: unset', offline['pull'])
    assert re.match('HubError: Offline mode is on .* nothing can be pushed to alice/good: unset', offline['push'])
    failed = f'HubError: The connection to {alice["unreachable url"]} failed .*'
    assert re.match(f'{failed} and alice/other is not in the cache: check the network', unreachable['pull'])
    assert re.match(f'{failed}: check the network and try again.', unreachable['push'])


@pytest.mark.parametrize('given, expected', [(None, 'unknown'), ('mit', 'mit')])
def test_weights_of_others_keep_their_license(given, expected, tmp_path):
    torch.save(timm.create_model('test_res2net_custom').state_dict(), tmp_path / 'theirs.pth')
    model = timm_res2net.load_checkpoint(tmp_path / 'theirs.pth')
    save_for_hub(model, tmp_path / 'folder', 'alice/theirs', license=given)
    assert front_matter((tmp_path / 'folder/README.md').read_text(encoding='utf-8'))['license'] == expected
    assert json.loads((tmp_path / 'folder/config.json').read_text())['pretrained_cfg']['license'] == expected


def test_a_card_in_another_encoding_is_kept(hub, alice):
    result(alice, 'push_beside_card')
    files = hub.repos['alice/latin'].files()
    assert files['README.md'][0] == CARD and 'model.safetensors' in files


def test_two_revisions_are_one_too_many():
    with pytest.raises(ValueError, match="revision='b'.*@a"):
        timm_res2net.from_hub('alice/good@a', revision='b')


def test_odd_configs(odd, anybody):
    """Anything may be in a config.json: the model of the weights comes, or an error; nothing large is built."""
    said = result(anybody, 'odd_configs')
    messages = said['odd']
    assert messages[0] == 'no error'
    assert sum(m != 'no error' for m in messages) > len(odd) / 3
    for config, message in zip(odd, messages, strict=True):
        assert re.fullmatch('no error|HubError: .*', message), (config, message)
    for name, (_, pattern) in LIES.items():
        assert re.match(pattern, said['lies'][name]), said['lies'][name]
    assert re.match('HubError: alice/lie_deep holds no model', said['lies']['deep'])
    assert re.match('HubError: alice/lie_long has a config.json of 33554432 bytes', said['lies']['long'])
    assert "lie_machine: ignored 'device', 'dtype', 'checkpoint_path', 'features_only' in model_args" in said['log']
    assert said['megabytes'] < 200


# what a push says of class names, licenses and variants of one's own

def test_names_that_the_repository_has_are_kept(alice):
    names = result(alice, 'names')
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


def test_weights_of_ones_own_have_no_license_of_others(alice):
    licenses = result(alice, 'licenses')
    assert licenses['published']['license'] == licenses['published']['cfg']['license'] == 'apache-2.0'
    assert licenses['published']['cfg']['tag'] == 'cifar100' and len(licenses['published']['names']) == 100
    for kind in ('five', 'trained'):
        assert licenses[kind]['license'] == licenses[kind]['cfg']['license'] == 'unknown'
        assert 'tag' not in licenses[kind]['cfg'] and licenses[kind]['names'] is None
        said = licenses[kind]['said']
        assert 'started from res2net23_32w_4s_cifar_custom.cifar100, which is under apache-2.0' in said
    assert len(licenses['named']['names']) == 100 and licenses['named']['said'].count('started from') == 1
    assert licenses['given']['license'] == 'mit' and licenses['given']['said'] == ''


def test_a_variant_of_ones_own_is_pulled_by_those_who_lack_it(alice, client):
    assert result(alice, 'own_variant')['architecture'] == 'res2net_custom'
    elsewhere = result(client('own_variant_elsewhere'), 'own_variant_elsewhere')
    assert elsewhere == {'act': 'SiLU', 'scale': 3, 'classes': 2, 'size': [3, 96, 96]}


def test_the_command_finds_names_and_says_where(alice):
    pushes = result(alice, 'pushes')
    assert pushes['found']['names'] == ['ant', 'bee', 'cat']
    assert pushes['found']['out'].startswith('http') and pushes['found']['out'].count('\n') == 1
    assert 'class names are the folders of ' in pushes['found']['said']
    assert 'trained from res2net23_32w_4s_cifar_custom.cifar100, which is under apache-2.0' in pushes['found']['said']
    assert pushes['found']['cfg']['license'] == 'unknown' and 'tag' not in pushes['found']['cfg']
    assert pushes['moved']['names'] is None and 'is not here, so there are no class names' in pushes['moved']['said']
    again = pushes['found--licensemit']
    assert again['names'] == ['ant', 'bee', 'cat'] and 'those that the repository has are kept' in again['said']
    assert again['cfg']['license'] == 'mit' and 'trained from' not in again['said']
