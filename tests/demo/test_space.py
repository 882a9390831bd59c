"""The page as a folder for Spaces: complete or not there, with its own package and model, and it starts."""
import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
import timm
import yaml
from packaging.requirements import Requirement
from run_command import here

from timm_res2net import save_folder
from timm_res2net.demo import space as spaces

CHECK = '''
import app, json, timm_res2net
shelf = app.open_shelf()
print(json.dumps([timm_res2net.__file__, [shelf[name].classes for name in app.MODELS]]))
'''


@pytest.fixture(scope='module')
def space(tmp_path_factory):
    """With the weights that ship, and a model of one's own."""
    folder = tmp_path_factory.mktemp('spaces')
    model = timm.create_model('test_res2net_custom', num_classes=2)
    model.pretrained_cfg.update(label_names=['cat', 'dog'])
    save_folder(model, folder / 'mine')
    done = here('demo', '--space', folder / 'new/space', '--model', 'res2net23_32w_4s_cifar_custom', '--model',
                folder / 'mine')
    assert done.returncode == 0, done.stderr
    return folder / 'new/space'


def test_it_holds_what_a_space_needs(space):
    assert {p.name for p in space.iterdir()} == {'README.md', 'app.py', 'requirements.txt', 'timm_res2net', 'models'}
    assert {p.name for p in (space / 'models/mine').iterdir()} == {'config.json', 'model.safetensors'}
    assert not list(space.rglob('__pycache__'))
    front = yaml.safe_load((space / 'README.md').read_text().split('---')[1])
    assert (front['sdk'], front['app_file'], front['license']) == ('gradio', 'app.py', 'apache-2.0')
    assert f'{sys.version_info.major}.{sys.version_info.minor}' == front['python_version']
    assert len(front['short_description']) <= 60  # as the Hub takes it
    required = {r.name: r for r in map(Requirement, (space / 'requirements.txt').read_text().splitlines())}
    assert {'torch', 'timm', 'gradio', 'grad-cam', 'scikit-image'} <= set(required) and 'pytest' not in required
    assert required['gradio'].specifier.contains(front['sdk_version'])


def test_it_starts_from_anywhere_with_its_own_package_and_models(space):
    environ = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, '-c', CHECK], cwd=space, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, classes = json.loads(done.stdout.splitlines()[-1])
    assert where == str(space / 'timm_res2net/__init__.py')
    assert len(classes[0]) == 100 and classes[1] == ['cat', 'dog']


def test_models_on_the_hub_are_named_and_not_fetched(tmp_path):
    assert here('demo', '--space', tmp_path / 'space', '--model', 'hf-hub:USER/NAME').returncode == 0
    front = yaml.safe_load((tmp_path / 'space/README.md').read_text().split('---')[1])
    assert front['models'] == ['USER/NAME'] and "['hf-hub:USER/NAME']" in (tmp_path / 'space/app.py').read_text()


def test_what_fails_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def missing():
        raise metadata.PackageNotFoundError('timm-res2net')
    monkeypatch.setattr(spaces, 'requirements', missing)
    assert here('demo', '--space', tmp_path / 'space').returncode == 2
    assert list(tmp_path.iterdir()) == []
