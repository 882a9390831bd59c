"""What a new user does first, with the package and what it requires alone: run by .ci/run on the installed wheel."""
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import timm
import timm.data
import torch
from PIL import Image

import timm_res2net
from timm_res2net.commands import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = Path(sysconfig.get_path('scripts')) / 'timm-res2net'


def run(*arguments, code=0):
    """`timm-res2net ARGUMENTS` in the current folder; what it printed, on stdout and stderr."""
    done = subprocess.run([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == code, f'{arguments}: exit code {done.returncode}\n{done.stdout}'
    return done.stdout


def library():
    """The package from Python."""
    assert timm.create_model('res2net50_26w_4s_custom', num_classes=10)(torch.zeros(2, 3, 64, 64)).shape == (2, 10)
    model = timm.create_model('res2net23_32w_4s_cifar_custom', pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    x = transform(Image.new('RGB', (48, 48), (40, 90, 200)))[None]
    with torch.no_grad():
        y = model(x)
        timm_res2net.save_folder(model, 'saved')
        again = timm.create_model('local-dir:saved', pretrained=True).eval()
        assert torch.equal(again(x), y)
        fast = timm_res2net.deploy.prepack(model)
        torch.testing.assert_close(fast(x), y, rtol=1e-3, atol=1e-3)
    return model.pretrained_cfg['label_names'][y.argmax()]


def commands(label):
    """The same from the shell, and what wants an extra says which."""
    Image.new('RGB', (48, 48), (40, 90, 200)).save('blue.png')
    assert timm_res2net.__version__ in run('--version')
    assert [name for name in COMMANDS if f' {name} ' not in run('--help')] == []
    for name in COMMANDS:
        assert f'timm-res2net {name}' in run(name, '--help')
    assert 'training' in run('docs') and 'imagenet_res2net50_paper' in run('recipes')
    assert 'res2net50_26w_4s_custom' in run('list')
    assert label in run('classify', 'blue.png')
    assert 'res2net23_32w_4s_cifar_custom' in run('inspect', 'saved/model.safetensors')
    run('convert', 'saved', 'converted', '--check')
    assert label in run('classify', 'blue.png', '--model', 'converted')
    run('receptive-field', 'test_res2net_custom')
    assert 'timm-res2net[figures]' in run('gradcam', 'blue.png', code=2)
    assert 'timm-res2net[demo]' in run('demo', code=2)
    assert 'app.py' in run('demo', '--space', 'space')
    assert 'timm-res2net[deploy]' in run('export', 'test_res2net_custom', 'x.onnx', '--no-pretrained', code=2)


def main():
    where = Path(timm_res2net.__file__).resolve()
    assert CHECKOUT not in where.parents, f'{where} is the checkout, not the installed package'
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        label = library()
        commands(label)
        os.chdir('/')
    print(f'timm-res2net {timm_res2net.__version__}: blue is a {label}')


if __name__ == '__main__':
    sys.exit(main())
