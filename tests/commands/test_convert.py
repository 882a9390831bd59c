"""`timm-res2net convert`."""
import json
import pickle
from functools import partial

import pytest
import timm
import torch
from literal_networks import Foreign
from run_command import BOTH_WAYS, command, here

import timm_res2net

DEEP = dict(stem='deep', stem_width=8, avg_down=True)
convert = partial(here, 'convert')
SHIPPED = 'res2net23_32w_4s_cifar_custom.cifar100'


@pytest.fixture(scope='module')
def paddle(tmp_path_factory):
    network = Foreign('paddle', **DEEP)
    path = tmp_path_factory.mktemp('paddle') / 'weights.pdparams'
    path.write_bytes(pickle.dumps({k: v.numpy() for k, v in network.weights.items()}, protocol=4))
    return network, path


@BOTH_WAYS
def test_converts_says_what_it_found_and_checks(run, paddle, tmp_path):
    network, path = paddle
    done = run('convert', path, tmp_path / 'out', '--check')
    assert done.returncode == 0, done.stderr
    found, checked = done.stdout.splitlines()
    assert found.startswith(f'{path}: PaddleClas layout -> res2net_custom with ')
    assert 'largest relative difference of the outputs 0.0e+00' in checked
    model = timm.create_model(f'local-dir:{tmp_path / "out"}', pretrained=True).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        assert (model(x) - expected).abs().max() <= 1e-5 * expected.abs().max()

    again = convert(path, tmp_path / 'out')
    assert again.returncode == 1 and '--overwrite' in again.stderr
    assert convert(path, tmp_path / 'out', '--overwrite').returncode == 0
    assert convert(tmp_path / 'out', tmp_path / 'out2', '--check').returncode == 0  # a folder goes in, too


def test_as_timm(tmp_path):
    source = timm.create_model('res2net50_48w_2s', num_classes=2)
    torch.save(source.state_dict(), tmp_path / 'x.pth')
    done = convert(tmp_path / 'x.pth', tmp_path / 'out', '--as-timm')
    assert done.returncode == 0, done.stderr
    assert '"architecture": "res2net50_48w_2s"' in (tmp_path / 'out' / 'config.json').read_text()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--as-timm'], 'timm has no architecture like this'),
    (['--name', 'res2net50d_custom'], "first_block='paddle'"),
    (['--name', 'res2net50_vd_26w_4s_custom'], 'do not fit'),
    (['--name', 'nonsense'], 'nonsense'),
])
def test_refusals_leave_nothing_behind(arguments, message, paddle, tmp_path):
    done = convert(paddle[1], tmp_path / 'out', *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith('error: ') and message in done.stderr
    assert 'Traceback' not in done.stderr and not done.stdout
    assert not list(tmp_path.iterdir())


def test_files_that_are_none(tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'PK\3\4nonsense')
    for name, message in (('x.pth', 'truncated or damaged'), ('nowhere.pth', 'no such file')):
        done = convert(tmp_path / name, tmp_path / 'out')
        assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
    assert convert(tmp_path / 'x.pth').returncode == 2
    assert not (tmp_path / 'out').exists()


def test_weights_by_their_name_keep_names_and_license(tmp_path):
    done = convert(SHIPPED, tmp_path / 'out', '--check')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith(f'{SHIPPED}: ships with the package, license apache-2.0\n')
    config = json.loads((tmp_path / 'out/config.json').read_text())
    assert config['label_names'][:2] == ['apple', 'aquarium_fish'] and len(config['label_names']) == 100
    assert config['pretrained_cfg']['license'] == 'apache-2.0' and config['pretrained_cfg']['tag'] == 'cifar100'
    done = convert('res2net50_18w_4s_custom', tmp_path / 'none')
    assert done.returncode == 1 and 'there are no weights res2net50_18w_4s_custom' in done.stderr


@pytest.fixture
def trained(tmp_path):
    """A checkpoint as train.py leaves it, beside the folders of its images."""
    model = timm.create_model('test_res2net_custom', scale=2, num_classes=3)
    for name in ('cat', 'ant', 'bee'):
        (tmp_path / 'data/train' / name).mkdir(parents=True)
        (tmp_path / 'data/train' / name / '0.png').touch()
    name = 'test_res2net_custom'
    args = dict(model=name, model_kwargs=dict(scale=2), data_dir=str(tmp_path / 'data'), num_classes=3)
    torch.save(dict(state_dict=model.state_dict(), arch=name, args=args), tmp_path / 'model_best.pth.tar')
    return tmp_path


def names(folder):
    return json.loads((folder / 'config.json').read_text()).get('label_names')


def test_class_names_come_from_a_file_or_from_the_training_folder(trained):
    done = convert(trained, trained / 'out')
    assert done.returncode == 0 and names(trained / 'out') == ['ant', 'bee', 'cat']
    assert done.stderr == f'class names are the folders of {trained / "data"}, where it was trained\n'
    (trained / 'names.txt').write_text('x\ny\nz\n')
    done = convert(trained, trained / 'given', '--class-names', trained / 'names.txt')
    assert (done.returncode, done.stderr, names(trained / 'given')) == (0, '', ['x', 'y', 'z'])
    done = convert(trained / 'given', trained / 'again')  # and are kept from there
    assert (done.returncode, done.stderr, names(trained / 'again')) == (0, '', ['x', 'y', 'z'])
    (trained / 'data/train/dog').mkdir()  # without images it was no class for train.py
    assert convert(trained, trained / 'empty').returncode == 0 and names(trained / 'empty') == ['ant', 'bee', 'cat']
    (trained / 'data/train/dog/0.png').touch()
    done = convert(trained, trained / 'four')
    assert done.returncode == 0 and names(trained / 'four') is None
    assert 'has folders of 4 classes and the model has 3: no class names are taken' in done.stderr
    (trained / 'data').rename(trained / 'moved')
    done = convert(trained, trained / 'away')
    assert done.returncode == 0 and 'is not here, so there are no class names' in done.stderr


@pytest.mark.parametrize('output, where, found', [
    (None, 'output/train/run', True), ('./out', 'out/run', True), ('.', 'run', False),
    ('out', 'moved/run', False), ('../out', 'out/run', False), ('/out', 'out/run', False)])
def test_a_relative_folder_is_looked_for_where_the_training_ran(output, where, found, trained, tmp_path):
    """Not where the command runs, which may have another of that name."""
    for name in 'xyz':
        (tmp_path / 'elsewhere/data/train' / name).mkdir(parents=True)
        (tmp_path / 'elsewhere/data/train' / name / '0.png').touch()
    state = torch.load(trained / 'model_best.pth.tar')
    args = {**state['args'], 'data_dir': 'data', **({} if output is None else {'output': output})}
    (tmp_path / where).mkdir(parents=True)
    torch.save({**state, 'args': args}, tmp_path / where / 'model_best.pth.tar')
    done = here('convert', f'../{where}', 'made', cwd=tmp_path / 'elsewhere')
    assert done.returncode == 0 and names(tmp_path / 'elsewhere/made') == (['ant', 'bee', 'cat'] if found else None)
    assert str(tmp_path / 'data') in done.stderr if found else 'relative to what the place of ' in done.stderr


def test_a_variant_of_ones_own(trained, tmp_path, monkeypatch):
    """Registered by --import; the folder is for everybody."""
    (tmp_path / 'mine.py').write_text(
        "from timm_res2net import Res2Net, Variant, register_variant\n"
        "stages = dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), stem_type='deep', stem_width=8)\n"
        "arguments = dict(stages, scale=2, base_width=32, act_layer='silu')\n"
        "register_variant('convert_mine', Variant(Res2Net, arguments, 'Mine'))\n")
    state = torch.load(trained / 'model_best.pth.tar')
    torch.save({**state, 'arch': 'convert_mine', 'args': {}}, tmp_path / 'mine.pth.tar')
    done = command('convert', 'mine.pth.tar', 'out', '--import', 'mine', '--check', cwd=tmp_path)
    assert done.returncode == 0 and 'convert_mine with num_classes=3' in done.stdout, done.stderr
    model = timm.create_model(f'local-dir:{tmp_path / "out"}', pretrained=True)
    assert isinstance(model, timm_res2net.Res2Net) and isinstance(model.act1, torch.nn.SiLU)
    assert all(torch.equal(v, state['state_dict'][k]) for k, v in model.state_dict().items())


def test_to_another_project(paddle, tmp_path):
    model = timm.create_model('res2net50_26w_4s_custom', scale=2, base_width=8, num_classes=3)
    torch.save(model.state_dict(), tmp_path / 'mine.pth')
    done = convert(tmp_path / 'mine.pth', tmp_path / 'theirs.pth', '--to', 'mmpretrain', '--check')
    assert done.returncode == 0 and 'outputs 0.0e+00' in done.stdout, done.stderr
    state = torch.load(tmp_path / 'theirs.pth')['state_dict']
    assert torch.equal(state['head.fc.weight'], model.fc.weight)
    again = convert(tmp_path / 'mine.pth', tmp_path / 'theirs.pth', '--to', 'mmpretrain')
    assert again.returncode == 1 and '--overwrite' in again.stderr
    assert convert(tmp_path / 'theirs.pth', tmp_path / 'folder', '--check').returncode == 0  # and from there


@pytest.mark.parametrize(('arguments', 'message'), [
    (['out.pdparams', '--to', 'PaddleClas'], "channels=(12, 16, 20, 24) must be (64, 128, 256, 512)"),
    (['out.pth', '--to', 'PaddleClas'], 'must end in .pdparams'),
    (['out.pth', '--to', 'nonsense'], "--to 'nonsense' is not known"),
    (['out.pth', '--to', 'timm'], 'nobody could load it there: leave out --to'),
    (['out.pth', '--to', 'official', '--as-timm'], 'leave out --as-timm'),
    (['out.pth', '--to', 'official', '--class-names', 'x'], 'leave out --class-names'),
])
def test_what_another_project_has_not(arguments, message, paddle, tmp_path):
    done = convert(paddle[1], tmp_path / arguments[0], *arguments[1:])
    assert done.returncode and message in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('arguments, message', [
    (['out.pth', '--to', 'nonsense'], "--to 'nonsense' is not known"),
    (['out.pth', '--to', 'PaddleClas'], 'must end in .pdparams'),
])
def test_what_cannot_be_written_is_told_before_anything_is_read(arguments, message, tmp_path):
    done = convert(tmp_path / 'not_there.pth', tmp_path / arguments[0], *arguments[1:])
    assert done.returncode and message in done.stderr, done.stderr


@pytest.mark.parametrize('given', ['', 'model.safetensors'])
def test_a_folder_and_the_file_in_it_are_the_same(given, tmp_path):
    """Class names, activation and preprocessing are in the config.json beside the weights."""
    model = timm.create_model('test_res2net_custom', num_classes=2, act_layer='silu')
    timm_res2net.save_folder(model, tmp_path / 'in', label_names=['cat', 'dog'])
    done = convert(tmp_path / 'in' / given, tmp_path / 'out')
    assert done.returncode == 0 and 'assumed' not in done.stdout + done.stderr
    config, before = (json.loads((tmp_path / folder / 'config.json').read_text()) for folder in ('out', 'in'))
    assert config['label_names'] == ['cat', 'dog'] and config['model_args'] == before['model_args']
