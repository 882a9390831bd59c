"""What plain timm pulls into this package's networks, as a client of the tests' Hub: see hub_client.py."""
import io
import json
import resource
import tempfile
from pathlib import Path

import timm
import torch
from hub_client import TINY, assert_equal, empty_cache, main, make, message, pull
from huggingface_hub import HfApi
from literal_networks import Foreign
from paddle_files import paddle_bytes
from PIL import Image
from safetensors.torch import save


def state_of(seed):
    return {k: v.contiguous() for k, v in make(seed).state_dict().items()}


def torch_bytes(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


class Touch:
    """A pickle that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def put(repo_id, revision=None, **files):
    """Commit files by the Hub's own client; names with `__` for dots."""
    api = HfApi()
    api.create_repo(repo_id, exist_ok=True)
    if revision:
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    for name, data in files.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=name.replace('__', '.'), repo_id=repo_id, revision=revision)


def config(**changes):
    cfg = dict(num_classes=1000, input_size=[3, 64, 64], first_conv='conv1.0', classifier='fc')
    return json.dumps({'architecture': TINY, 'num_classes': 1000, 'pretrained_cfg': cfg, **changes}).encode()


def files():
    """Which file of a repository is taken."""
    both = dict(
        config__json=config(), model__safetensors=save(state_of(1)), pytorch_model__bin=torch_bytes(state_of(2)))
    put('alice/both', **both)
    assert_equal(pull('alice/both'), make(1))
    put('alice/pickle', config__json=config(), pytorch_model__bin=torch_bytes(
        {'state_dict': state_of(2), 'epoch': 3}))
    assert_equal(pull('alice/pickle'), make(2))
    put('alice/both', revision='v2', **{**both, 'model__safetensors': save(state_of(3))})
    assert_equal(pull('alice/both@v2'), make(3))
    assert_equal(pull('alice/both'), make(1))
    put('alice/named', best__bin=torch_bytes(state_of(4)), best__safetensors=save(state_of(5)),
        last__bin=torch_bytes(state_of(6)), model__safetensors=save(state_of(7)))
    overlay = dict(hf_hub_id='alice/named')
    assert_equal(timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay), make(7))
    for file, seed in (('best.bin', 5), ('best.safetensors', 5), ('last.bin', 6)):
        model = timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=dict(overlay, hf_hub_filename=file))
        assert_equal(model, make(seed))
    cfg = json.loads(config())['pretrained_cfg']
    put('alice/chosen', config__json=config(pretrained_cfg=dict(cfg, hf_hub_filename='best.bin')),
        best__bin=torch_bytes(state_of(8)))
    assert_equal(pull('alice/chosen'), make(8))
    shipped = 'res2net23_32w_4s_cifar_custom'  # a row that has a file: what the caller names comes first
    ours = timm.create_model(shipped, num_classes=10)
    put('alice/cifar', model__safetensors=save({k: v.contiguous() for k, v in ours.state_dict().items()}))
    overlay = dict(hf_hub_id='alice/cifar')
    assert_equal(timm.create_model(shipped, pretrained=True, pretrained_cfg_overlay=overlay), ours)
    # the weights alone do not tell the form of the blocks
    put('alice/form', config__json=config(model_args=dict(first_block='paddle')), model__safetensors=save(state_of(9)))
    overlay = dict(hf_hub_id='alice/form')
    with empty_cache() as cache:
        told = message(
            lambda: timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay, cache_dir=cache))
        assert "it says first_block='paddle'" in told, told
        assert_equal(timm.create_model(TINY, pretrained=True, pretrained_cfg_overlay=overlay, cache_dir=cache,
                                       first_block='paddle'), make(9))
    with empty_cache() as cache:
        model = timm.create_model('hf-hub:alice/both', pretrained=True, cache_dir=cache)
        there = sorted(p.name for p in Path(cache).glob('*/snapshots/*/*'))
        assert there == ['config.json', 'model.safetensors']
    assert model.pretrained_cfg['hf_hub_id'] == 'alice/both' and model.pretrained_cfg['source'] == 'hf-hub'
    assert model.origin.name == 'alice/both' and not model.pretrained_cfg.get('state_dict')
    assert model.model_args == {}


def heads():
    """New classes, other channels, features, no classifier: as plain timm makes them of the same weights."""
    import timm.models
    put('alice/heads', config__json=config(), model__safetensors=save(state_of(1)))
    original = make(1)
    x = torch.rand(2, 3, 64, 64)
    plain = pull('alice/heads').eval()
    assert_equal(plain, original)
    tuned = pull('alice/heads', num_classes=7).eval()
    assert tuned(x).shape == (2, 7) and tuned.num_classes == 7
    assert torch.equal(tuned.forward_features(x), original.forward_features(x))
    features = pull('alice/heads', features_only=True, out_indices=(1, 3)).eval()
    expected = original.forward_intermediates(x, indices=[1, 3], intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(features(x), expected, strict=True))
    pooled = pull('alice/heads', num_classes=0).eval()
    assert torch.equal(pooled(x), original.forward_head(original.forward_features(x), pre_logits=True))
    grey = pull('alice/heads', in_chans=1)
    assert torch.equal(grey.conv1[0].weight, timm.models.adapt_input_conv(1, original.conv1[0].weight.detach()))
    assert torch.equal(grey.fc.weight, original.fc.weight)
    reset = pull('alice/heads', num_classes=7, in_chans=5, drop_rate=0.2)
    assert reset.drop_rate == 0.2 and reset.conv1[0].weight.shape[1] == 5
    assert_equal(timm.create_model(TINY, pretrained=True, cache_dir=tempfile.mkdtemp(), pretrained_cfg_overlay=dict(
        hf_hub_id='alice/heads', num_classes=1000)), original)
    paddle = Foreign('paddle', layers=(1, 1, 1, 1), planes=(16, 24, 32, 48), base_width=32, stem='deep', stem_width=8,
                     avg_down=True)
    arguments = dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), base_width=32, stem_type='deep', stem_width=8,
                     avg_down=True, first_block='paddle')
    put('alice/paddle', x__pdparams=paddle_bytes(paddle), config__json=config(
        architecture='res2net_custom', model_args=arguments, pretrained_cfg=dict(hf_hub_filename='x.pdparams')))
    torch.testing.assert_close(pull('alice/paddle').eval()(x), paddle(x), rtol=1e-5, atol=1e-5)


def refusals():
    """What cannot be had or does not fit, each in one line."""
    with tempfile.TemporaryDirectory() as folder:
        touched = Path(folder) / 'executed'
        put('alice/evil', config__json=config(), pytorch_model__bin=torch_bytes(
            {'state_dict': state_of(1), 'args': Touch(touched)}))
        said = {'evil': message(pull, 'alice/evil')}
        assert not touched.exists()
    put('alice/damaged', config__json=config(), model__safetensors=save(state_of(1))[:-8])
    put('alice/other', config__json=config(), model__safetensors=save(
        {k: v for k, v in state_of(1).items() if k != 'layer2.0.bn1.bias'}))
    put('alice/empty', config__json=config())
    for name in ('damaged', 'other', 'empty'):
        said[name] = message(pull, f'alice/{name}')
    put('alice/good', config__json=config(), model__safetensors=save(state_of(1)))
    with empty_cache() as cache:
        timm.create_model('hf-hub:alice/good', pretrained=True, cache_dir=cache)
        (weights,) = Path(cache).glob('*/snapshots/*/model.safetensors')
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.resolve().write_bytes(data)
        said['rotten'] = message(timm.create_model, 'hf-hub:alice/good', pretrained=True, cache_dir=cache)
        weights.resolve().unlink()
        assert_equal(timm.create_model('hf-hub:alice/good', pretrained=True, cache_dir=cache), make(1))
    overlays = {'none': dict(hf_hub_id='alice/none'), 'no name': dict(hf_hub_id='alice/a b/c'), 'number': dict(
        hf_hub_id=7), 'two revisions': dict(hf_hub_id='alice/good@a@b'), 'no revision': dict(
        hf_hub_id='alice/good@v9'), 'no file': dict(hf_hub_id='alice/good', hf_hub_filename='no.bin'), 'outside': dict(
        hf_hub_id='alice/good', hf_hub_filename='../../x.bin'), 'no text': dict(
        hf_hub_id='alice/good', hf_hub_filename=['x'])}
    return said | {k: message(
        timm.create_model, TINY, pretrained=True, pretrained_cfg_overlay=v) for k, v in overlays.items()}


def lies(changes, every_way):
    """What timm says of repositories whose config.json was changed, and the memory that it took.

    Args:
        changes: Name of each -> what it changes.
        every_way: Names of those that are pulled with another head and as features too.
    """
    put('alice/lie', model__safetensors=save(state_of(1)), config__json=config())
    assert_equal(pull('alice/lie'), make(1))
    before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, {}
    for name, change in changes.items():
        put('alice/lie', config__json=config(**change))
        ways = {'': {}, ', new head': dict(num_classes=2), ', features': dict(features_only=True)}
        for way, kwargs in ways.items() if name in every_way else [('', {})]:
            said[name + way] = message(pull, 'alice/lie', **kwargs)
        said[f'{name}, untrained'] = message(timm.create_model, 'hf-hub:alice/lie')
    return {'said': said, 'megabytes': (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}


def commands():
    """The commands, of a repository that does not fit and of one that is not there."""
    from run_command import here
    put('alice/big', model__safetensors=save(state_of(1)), config__json=config(model_args=dict(scale=10 ** 6)))
    said = {}
    with tempfile.TemporaryDirectory() as folder:
        Image.new('RGB', (8, 8)).save(f'{folder}/x.png')
        for repo in ('alice/big', 'alice/none'):
            name = f'hf-hub:{repo}'
            for line in (['classify', 'x.png', '--model', name], ['export', name, 'x.pt2', '--format', 'torch'],
                         ['receptive-field', name], ['gradcam', 'x.png', 'y.png', '--model', name]):
                done = here(*line, cwd=folder)
                said[f'{line[0]} {repo}'] = [done.returncode, done.stdout, done.stderr]
    return said


if __name__ == '__main__':
    main(globals())
