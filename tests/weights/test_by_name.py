"""PaddleClas's weights by name, from a server that has files of random weights under the published names."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from literal_networks import Foreign
from loopback_files import LoopbackFiles
from paddle_files import NAME, paddle_bytes, paddle_network
from PIL import Image
from run_command import here

import timm_res2net
from timm_res2net.hub import save_for_hub
from timm_res2net.model.data_cfg import own_cfg
from timm_res2net.model.variants import VARIANTS, D
from timm_res2net.weights.cache import MIRROR
from timm_res2net.weights.checkpoint import CheckpointError

ROWS = {row.name: row for row in timm_res2net.list_pretrained() if row.url}
VARIANT = 'res2net50_vd_26w_4s_custom'
BEST, PLAIN = f'{VARIANT}.ssld_in1k', f'{VARIANT}.in1k'


def file_of(row):
    return row.url.rpartition('/')[2]


def relative_error(model, network, size=64):
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(x)
        return float((model.eval()(x) - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope='module')
def network():
    return paddle_network(file_of(ROWS[BEST]))


@pytest.fixture(scope='module')
def place(network, tmp_path_factory):
    """The server, and the environment of processes that ask it; as this process does in the tests of this file."""
    with LoopbackFiles({file_of(ROWS[BEST]): paddle_bytes(network)}, ETag='"one"') as server, \
            pytest.MonkeyPatch.context() as patch:
        patch.setenv(MIRROR, server.url)
        patch.setenv('TORCH_HOME', str(tmp_path_factory.mktemp('home')))
        yield server


@pytest.fixture(scope='module')
def model(place):
    return timm.create_model(VARIANT, pretrained=True)


def test_the_eight_as_published():
    """Top-1 and top-5 as on PaddleClas's pages; a file a row, whose name is that of the row's network."""
    assert {name: (row.top1, row.top5) for name, row in ROWS.items()} == {
        'res2net50_26w_4s_paddle_custom.in1k': (79.33, 94.57), 'res2net50_14w_8s_paddle_custom.in1k': (79.46, 94.70),
        'res2net50_vd_26w_4s_custom.ssld_in1k': (83.1, 96.6), 'res2net50_vd_26w_4s_custom.in1k': (79.75, 94.91),
        'res2net101_vd_26w_4s_custom.ssld_in1k': (83.9, 97.1), 'res2net101_vd_26w_4s_custom.in1k': (80.64, 95.22),
        'res2net200_vd_26w_4s_custom.ssld_in1k': (85.13, 97.42), 'res2net200_vd_26w_4s_custom.in1k': (81.21, 95.71)}
    assert len({row.url for row in ROWS.values()}) == 8
    for name, row in ROWS.items():
        depth, vd, width, scale, ssld = NAME.fullmatch(file_of(row)).groups()
        assert VARIANTS[row.variant].arguments == dict(
            depth=int(depth), base_width=int(width), scale=int(scale), first_block='paddle', **(D if vd else {}))
        assert bool(ssld) == name.endswith('.ssld_in1k') and row.license == 'apache-2.0'
        cfg = timm.get_pretrained_cfg(name)
        assert (cfg.url, cfg.license, cfg.crop_pct, cfg.interpolation) == (row.url, 'apache-2.0', 0.875, 'bilinear')
        assert name in timm.list_pretrained('*_custom.*')
        if ssld:
            assert timm.get_pretrained_cfg(row.variant).tag == 'ssld_in1k'


def test_outputs_are_those_of_paddleclass_network(model, network):
    assert relative_error(model, network) < 1e-5
    assert model.pretrained_cfg['tag'] == 'ssld_in1k' and model.pretrained_cfg['url'] == ROWS[BEST].url
    assert 'state_dict' not in model.pretrained_cfg and not model.pretrained_cfg.get('file')


def test_it_is_downloaded_once_and_every_way_in_gives_the_same(model, place, tmp_path):
    state = model.state_dict()
    ways = {
        'tag': timm.create_model(BEST, pretrained=True),
        'cfg': timm.create_model(VARIANT, pretrained=True, pretrained_cfg=dict(url=ROWS[BEST].url)),
        'overlay': timm.create_model(PLAIN, pretrained=True, pretrained_cfg_overlay=dict(url=ROWS[BEST].url)),
        'classes': timm.create_model(BEST, pretrained=True, num_classes=7, in_chans=1),
        'features': timm.create_model(BEST, pretrained=True, features_only=True),
    }
    assert len(place.requests) == 1
    for way, other in ways.items():
        adapted = ('fc.', 'conv1.0.') if way == 'classes' else ()
        own = {k: v for k, v in other.state_dict().items() if not k.startswith(adapted)}
        assert len(own) > 300 and all(torch.equal(v, state[k]) for k, v in own.items()), way
    assert ways['classes'].fc.out_features == 7
    assert ways['overlay'].pretrained_cfg.get('tag') is None  # another file than the row's
    in_folder = timm.create_model(BEST, pretrained=True, cache_dir=tmp_path)
    assert torch.equal(in_folder.state_dict()['fc.weight'], state['fc.weight'])
    assert sorted(p.name for p in tmp_path.iterdir()) == [file_of(ROWS[BEST]), f'{file_of(ROWS[BEST])}.sha256']


def test_a_url_comes_before_the_places_of_the_row(place):
    """Of a variant whose weights are on the Hub, and of one whose weights ship."""
    deep = dict(planes=(16, 24, 32, 48), base_width=32, stem='deep', stem_width=8, avg_down=True, layers=(1, 1, 1, 1))
    tiny = Foreign('paddle', **deep)
    place.files['tiny.pdparams'] = paddle_bytes(tiny)
    arguments = dict(
        layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), base_width=32, stem_type='deep', stem_width=8, avg_down=True,
        first_block='paddle', pretrained=True)
    overlay = dict(url='https://nowhere.invalid/tiny.pdparams', num_classes=5, first_conv='conv1.0')
    model = timm.create_model('res2net50_26w_4s_custom', pretrained_cfg_overlay=overlay, **arguments)
    assert relative_error(model, tiny) < 1e-5
    assert own_cfg(model).get('license') is None and model.origin.name.endswith('tiny.pdparams')
    with pytest.raises(CheckpointError, match=r"tiny\.pdparams: .*first_block='paddle'"):
        timm.create_model('res2net23_32w_4s_cifar_custom', pretrained=True, pretrained_cfg_overlay=overlay)


def test_license_and_source_of_a_copy(model, tmp_path):
    """License and source go along, the address does not: the copy is where it is."""
    timm_res2net.save_folder(model, tmp_path / 'folder')
    save_for_hub(model, tmp_path / 'hub', 'alice/copy')
    for folder in ('folder', 'hub'):
        text = (tmp_path / folder / 'config.json').read_text()
        cfg = json.loads(text)['pretrained_cfg']
        assert (cfg['tag'], cfg['license'], cfg['description']) == ('ssld_in1k', 'apache-2.0', ROWS[BEST].source)
        assert 'bcebos' not in text and 'pdparams' not in text
    card = (tmp_path / 'hub/README.md').read_text()
    assert '\nlicense: apache-2.0\n' in card and f'\n- **Weights from:** {ROWS[BEST].source}\n' in card
    assert timm_res2net.load_checkpoint(tmp_path / 'hub').pretrained_cfg['description'] == ROWS[BEST].source
    tuned = timm.create_model(BEST, pretrained=True, num_classes=2)
    assert not any(own_cfg(tuned).get(k) for k in ('license', 'description', 'tag'))
    assert tuned.origin.entries['license'] == 'apache-2.0'


def test_convert_by_name(place, network, tmp_path):
    done = here('convert', BEST, tmp_path / 'out', '--check')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'{BEST}: {ROWS[BEST].url}, license apache-2.0\n') and done.stderr == ''
    assert (tmp_path / 'out/model.safetensors').stat().st_size > 1e8
    assert relative_error(timm.create_model(f'local-dir:{tmp_path}/out', pretrained=True), network) < 1e-5


def test_classify_by_name(place, tmp_path):
    Image.effect_noise((80, 60), 50).convert('RGB').save(tmp_path / 'noise.png')
    done = here('classify', tmp_path / 'noise.png', '--model', BEST, '--json')
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)['results'][0]['predictions']) == 5


@pytest.mark.parametrize('arguments', [
    ['classify', '{image}', '--model', PLAIN], ['convert', PLAIN, '{image}.folder'],
    ['evaluate', '{folder}', '--model', PLAIN]], ids=lambda a: a[0])
def test_a_file_that_is_not_there_is_one_line(arguments, place, tmp_path):
    Image.new('RGB', (8, 8)).save(tmp_path / 'x.png')
    (tmp_path / 'test').mkdir()
    done = here(*[a.format(image=tmp_path / 'x.png', folder=tmp_path) for a in arguments])
    assert done.returncode in (1, 2) and done.stdout == '' and done.stderr.count('\n') == 1
    assert f'{place.url}/{file_of(ROWS[PLAIN])}: there is no such file (404 Not Found). Put the file at ' in done.stderr
    assert 'huggingface' not in done.stderr


def test_list_by_name():
    done = here('list', VARIANT, '--pretrained')
    header, best, plain = done.stdout.split('\n\n')[1].splitlines()
    assert header.split() == ['weights', 'top-1', 'top-5', 'size', 'data', 'license', 'where']
    assert best.split() == [BEST, '83.10', '96.60', '103', 'MB', 'imagenet-1k', 'apache-2.0', ROWS[BEST].url]
    assert plain.startswith(PLAIN)


@pytest.mark.slow
@pytest.mark.parametrize('name', ROWS)
def test_all_of_them(name, place):
    network = paddle_network(file_of(ROWS[name]))
    with LoopbackFiles({file_of(ROWS[name]): paddle_bytes(network)}) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(MIRROR, server.url)
        patch.setenv('TORCH_HOME', f'{os.environ["TORCH_HOME"]}/{name}')
        assert relative_error(timm.create_model(name, pretrained=True), network, 128) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get('TIMM_SCRIPTS'), reason="needs TIMM_SCRIPTS=FOLDER with timm's validate.py")
def test_timms_validate_by_name(place, network, tmp_path):
    """A picture for each of a thousand classes, and some in the folder of the class that the network gives them."""
    generator = torch.Generator().manual_seed(0)
    pictures = [Image.fromarray((torch.rand(64, 64, 3, generator=generator) * 255).byte().numpy()) for _ in range(1100)]
    cfg = timm.get_pretrained_cfg(BEST)
    transform = timm.data.create_transform((3, 64, 64), mean=cfg.mean, std=cfg.std, crop_pct=1.)
    outputs = torch.cat([network(torch.stack([*map(transform, pictures[i:i + 100])])) for i in range(0, 1100, 100)])
    labels = [*range(1000), *outputs[1000:].argmax(1).tolist()]
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        folder = tmp_path / 'val' / f'{label:04d}'
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f'{i}.png')
    right = outputs.topk(5)[1] == torch.tensor(labels)[:, None]
    subprocess.run(
        [sys.executable, '-m', 'timm_res2net', Path(os.environ['TIMM_SCRIPTS'], 'validate.py'), '--data-dir', tmp_path,
         '--split', 'val', '--model', BEST, '--pretrained', '--img-size', '64', '--crop-pct', '1.0', '--device', 'cpu',
         '--workers', '1', '--batch-size', '100', '--results-file', tmp_path / 'out.json', '--results-format', 'json'],
        check=True, capture_output=True)
    result = json.loads((tmp_path / 'out.json').read_text())
    result = result[0] if isinstance(result, list) else result
    assert result['top1'] == pytest.approx(100 * right[:, 0].float().mean().item(), abs=0.01)
    assert result['top5'] == pytest.approx(100 * right.any(1).float().mean().item(), abs=0.01)
    assert result['top1'] > 9
