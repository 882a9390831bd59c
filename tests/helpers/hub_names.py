"""Class names, licenses and variants of one's own on the tests' Hub: scenarios of hub_scenarios.py."""
import contextlib
import io
import json
import logging
import sys
import tempfile
from pathlib import Path

import timm
import torch
from hub_client import assert_equal, make, pull
from huggingface_hub import hf_hub_download

NAMES = ['ant', 'bee', 'cat']
WRITTEN = []  # files of weights, by this process
sys.addaudithook(lambda event, args: WRITTEN.append(args[0]) if event == 'open' and args[1] == 'w' and str(
    args[0]).endswith('model.safetensors') else None)


def pushed(model, repo, **content):
    """Push; the config.json that is there then, its card's license, what was said, how often weights were written."""
    from timm_res2net import push_to_hub
    WRITTEN.clear()
    log, handler = io.StringIO(), None
    with contextlib.ExitStack() as stack:
        handler = logging.StreamHandler(log)
        logging.getLogger('timm_res2net').addHandler(handler)
        stack.callback(logging.getLogger('timm_res2net').removeHandler, handler)
        push_to_hub(model, repo, **content)
    config = json.loads(Path(hf_hub_download(repo, 'config.json')).read_text(encoding='utf-8'))
    card = Path(hf_hub_download(repo, 'README.md')).read_text(encoding='utf-8')
    license = next(line for line in card.splitlines() if line.startswith('license: '))
    return {'names': config.get('label_names'), 'cfg': config['pretrained_cfg'], 'license': license[9:],
            'said': log.getvalue(), 'written': len(WRITTEN), 'architecture': config['architecture']}


def names():
    """Pushed with names, again without, with other classes, from what was pulled."""
    first = pushed(make(1, num_classes=3), 'alice/names', label_names=NAMES, label_descriptions={'ant': 'small'})
    again = pushed(make(2, num_classes=3), 'alice/names')
    pulled = pull('alice/names')
    assert_equal(pulled, make(2, num_classes=3))
    other = pushed(make(3, num_classes=3), 'alice/names', label_names=['x', 'y', 'z'])
    five = pushed(make(4, num_classes=5), 'alice/names')
    copied = pushed(pulled, 'alice/copied')
    pulled.reset_classifier(5)
    return {'first': first, 'again': again, 'other': other, 'five': five, 'copied': copied,
            'reset': pushed(pulled, 'alice/reset')}


def licenses():
    """The shipped weights as they are, and what becomes of them."""
    name = 'res2net23_32w_4s_cifar_custom'
    published = timm.create_model(name, pretrained=True)
    results = {'published': pushed(published, 'alice/published')}
    results['five'] = pushed(timm.create_model(name, pretrained=True, num_classes=5), 'alice/five')
    with torch.no_grad():
        published.train()(torch.rand(2, 3, 32, 32))
    results['trained'] = pushed(published, 'alice/trained')
    results['named'] = pushed(published, 'alice/published')
    results['given'] = pushed(published, 'alice/given', license='mit')
    return results


def own_variant():
    """Pushed where it is registered."""
    from timm_res2net import Res2Net, Variant, register_variant
    register_variant('hub_mine', Variant(
        Res2Net, dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), scale=3, base_width=32), 'Mine',
        dict(input_size=(3, 96, 96))))
    torch.manual_seed(0)
    return pushed(timm.create_model('hub_mine', num_classes=2, act_layer='silu'), 'alice/mine')


def own_variant_elsewhere():
    """... and pulled where it is not."""
    assert not timm.is_model('hub_mine')
    model = pull('alice/mine')
    return {'act': type(model.act1).__name__, 'scale': model.layer1[0].scale, 'classes': model.num_classes,
            'size': list(model.pretrained_cfg['input_size'])}


def pushes():
    """`timm-res2net push` of a training: class names from where they are, the license of what it started from."""
    from run_command import here
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        model = timm.create_model('res2net23_32w_4s_cifar_custom', num_classes=3)
        for name in NAMES:
            (Path(folder) / 'data/train' / name).mkdir(parents=True)
            (Path(folder) / 'data/train' / name / '0.png').touch()
        args = dict(model='res2net23_32w_4s_cifar_custom', pretrained=True, data_dir=f'{folder}/data', num_classes=3)
        torch.save(dict(state_dict=model.state_dict(), arch=args['model'], epoch=4, metric=50., args=args),
                   f'{folder}/model_best.pth.tar')
        for repo, options in (('found', ()), ('moved', ()), ('found', ('--license', 'mit'))):
            if repo == 'moved' or options:
                args['data_dir'] = f'{folder}/gone'
                torch.save(dict(state_dict=model.state_dict(), arch=args['model'], args=args),
                           f'{folder}/model_best.pth.tar')
            done = here('push', folder, f'alice/{repo}', *options)
            assert done.returncode == 0, done.stderr
            config = json.loads(Path(hf_hub_download(f'alice/{repo}', 'config.json')).read_text(encoding='utf-8'))
            results[repo + ''.join(options)] = {
                'names': config.get('label_names'), 'said': done.stderr, 'out': done.stdout,
                'cfg': config['pretrained_cfg']}
    return results

