"""What the tests of the Hub do as a client: see hub_client.py."""
import io
import logging
import os
import resource
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import hub_names
import timm
import torch
from hub_client import ENDPOINT, FILES, TINY, assert_equal, main, make, message, pull, set_faults
from hub_wrong_uses import not_pushed, refused_arguments
from huggingface_hub import HfApi, hf_hub_download


def good():
    """A pushed model, in the cache too."""
    from timm_res2net import from_hub, push_to_hub
    push_to_hub(make(), 'alice/good')
    assert_equal(from_hub('alice/good'), make())


def round_trip():
    """Everything that can be pushed comes back the same from plain timm and from `from_hub`."""
    from timm_res2net import from_hub, push_to_hub
    models = {
        'plain': make(),
        'scale8': make(1, scale=8, base_width=14, num_classes=7, act_layer=torch.nn.SiLU, norm_layer='groupnorm1'),
        'attention': make(2, attn_layer='se', rd_ratio=0.25, drop_path_rate=0.1, layers=(1, 2, 1, 1)),
        'five_channels': make(3, in_chans=5, num_classes=3),
        'grey': make(4, in_chans=1, num_classes=10),
        'features': make(5, num_classes=0),
        'max_pool': make(6, global_pool='catavgmax', num_classes=4),
    }
    for name, model in models.items():
        push_to_hub(model, f'alice/{name}')
        for pulled in (pull(f'alice/{name}'), from_hub(f'alice/{name}')):
            assert_equal(pulled, model)
            assert pulled.num_classes == model.num_classes
            given = {k: v for k, v in model.model_args.items() if k != 'num_classes'}
            assert {**pulled.model_args, **given} == pulled.model_args

    changed = make(7)
    changed.reset_classifier(6, 'avg')
    push_to_hub(changed, 'alice/changed')
    assert_equal(pull('alice/changed'), changed)
    wrapped = torch.nn.DataParallel(torch.compile(make(8).to(memory_format=torch.channels_last)))
    push_to_hub(wrapped, 'alice/wrapped')
    assert_equal(pull('alice/wrapped'), make(8))
    push_to_hub(make(9).to(torch.bfloat16), 'alice/half')
    assert_equal(pull('alice/half'), make(9).to(torch.bfloat16).float())

    head = from_hub('alice/plain', num_classes=7, in_chans=1)  # fine-tuning
    assert head(torch.rand(1, 1, 64, 64)).shape == (1, 7)
    assert torch.equal(head.layer1[0].conv1.weight, models['plain'].layer1[0].conv1.weight)
    maps = pull('alice/plain', features_only=True)(torch.rand(1, 3, 64, 64))
    assert len(maps) == 5

    names = [f'class {i}' for i in range(7)]
    commit = push_to_hub(
        models['scale8'], 'labelled', label_names=names, label_descriptions={names[0]: 'the first'},
        metrics={'top1': 81.25, 'top5': 95.5}, dataset='cifar100', license='mit', tags='birds',
        description='Tells birds apart.', data_config={'input_size': (3, 96, 96), 'mean': (0.5, 0.5, 0.5)})
    assert commit.commit_url.startswith(f'{ENDPOINT}/alice/labelled/commit/{commit.oid}')
    pulled = from_hub('labelled')
    assert list(pulled.pretrained_cfg['label_names']) == names
    assert pulled.pretrained_cfg['label_descriptions'] == {names[0]: 'the first'}
    settings = timm.data.resolve_model_data_config(pulled)
    assert tuple(settings['input_size']) == (3, 96, 96) and tuple(settings['mean']) == (0.5, 0.5, 0.5)
    with open(hf_hub_download('alice/labelled', 'README.md'), encoding='utf-8') as file:
        return {'card': file.read()}


def repositories():
    """Private repositories, branches, pull requests, edited cards, repeated pushes."""
    from timm_res2net import from_hub, push_to_hub
    api = HfApi()
    first, second, third = make(1), make(2), make(3)
    push_to_hub(first, 'alice/private', private=True)
    assert api.model_info('alice/private').private
    assert_equal(pull('alice/private'), first)
    push_to_hub(first, 'alice/open')
    messages = {'public': message(push_to_hub, first, 'alice/open', private=True)}
    os.environ['HF_TOKEN'] = 'hf_carol'
    messages['private'] = message(from_hub, 'alice/private')
    assert_equal(from_hub('alice/private', token='hf_alice'), first)
    pr = push_to_hub(second, 'alice/open', create_pr=True, commit_message='Better weights')  # Carol may only propose
    assert pr.pr_url == f'{ENDPOINT}/alice/open/discussions/1'
    assert_equal(pull('alice/open'), first)
    assert_equal(pull('alice/open@refs/pr/1'), second)
    messages['rights'] = message(push_to_hub, second, 'alice/open')
    os.environ['HF_TOKEN'] = 'hf_alice'
    for model in (second, third):  # a new branch, then one that exists
        commit = push_to_hub(model, 'alice/open', revision='next')
    assert_equal(pull('alice/open'), first)
    assert_equal(pull('alice/open@next'), third)
    assert_equal(from_hub('alice/open', revision='next'), third)
    assert_equal(from_hub(f'hf-hub:alice/open@{commit.oid}'), third)
    assert push_to_hub(third, 'alice/open', revision='next').oid == commit.oid  # nothing new, no empty commit

    card = Path(hf_hub_download('alice/open', 'README.md')).read_text(encoding='utf-8')
    push_to_hub(first, 'alice/open', license='mit')  # ours is brought up to date
    assert 'license: mit' in Path(hf_hub_download('alice/open', 'README.md')).read_text(encoding='utf-8')
    edited = '\n'.join(line for line in card.splitlines() if not line.startswith('<!--')) + '\nEdited.\n'
    api.upload_file(path_or_fileobj=edited.encode(), path_in_repo='README.md', repo_id='alice/open')
    push_to_hub(second, 'alice/open')
    assert Path(hf_hub_download('alice/open', 'README.md')).read_text(encoding='utf-8') == edited
    assert_equal(pull('alice/open'), second)
    return messages


def refusals():
    """What is refused, and other people's errors, each with its message."""
    from timm_res2net import from_hub, push_to_hub
    alice = {'token': 'hf_alice'}
    hub = {
        'anonymous push': message(push_to_hub, make(), 'alice/no'),
        'anonymous name': message(from_hub, 'res2net'),
        'bad token push': message(push_to_hub, make(), 'alice/no', token='hf_wrong'),
        'bad token pull': message(from_hub, 'alice/other', token='hf_wrong'),
        'read token': message(push_to_hub, make(), 'bob/no', token='hf_bob'),
        'not mine': message(push_to_hub, make(), 'carol/no', **alice),
        'anonymous pull': message(from_hub, 'alice/none'),
        'no repository': message(from_hub, 'alice/none', **alice),
        'no revision': message(from_hub, 'alice/good', revision='v9'),
        'gated anonymous': message(from_hub, 'alice/gated'),
        'gated': message(from_hub, 'alice/gated', token='hf_carol'),
        'no config': message(from_hub, 'alice/dataset'),
        'unknown architecture': message(from_hub, 'alice/foreign'),
        'no json': message(from_hub, 'alice/broken'),
        'pickle': message(from_hub, 'alice/pickle'),
        'bad name': message(from_hub, 'alice/a b/c'),
        'bad name push': message(push_to_hub, make(), 'alice/a b', **alice),
        'license': message(push_to_hub, make(), 'alice/license', license='my own', **alice),
        'shape': message(from_hub, 'alice/good', scale=8, base_width=32),
    }
    for status in (429, 500, 503):
        set_faults([['(GET|POST) .*limited', status], {}])
        hub[f'{status} pull'] = message(from_hub, 'alice/limited')
        hub[f'{status} push'] = message(push_to_hub, make(), 'alice/limited', **alice)
        set_faults()
    weights = Path(hf_hub_download('alice/plain', 'model.safetensors')).resolve()  # a cache of this test alone
    weights.write_bytes(weights.read_bytes()[:-1] + b'\x00')
    hub['damaged'] = message(from_hub, 'alice/plain')
    weights.unlink()
    from_hub('alice/plain')
    return {'local': not_pushed(), 'arguments': refused_arguments(), 'hub': hub}


def odd_configs(count, lies):
    """What `from_hub` says of repositories whose config.json somebody wrote by hand, and the memory that lies took."""
    from timm_res2net import from_hub
    odd = [message(from_hub, f'alice/odd{i}', num_classes=3) for i in range(count)]
    log = io.StringIO()
    logging.getLogger('timm_res2net').addHandler(logging.StreamHandler(log))
    assert_equal(from_hub('alice/good'), make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    messages = {name: message(from_hub, f'alice/lie_{name}') for name in lies}
    assert_equal(from_hub('alice/lie_machine'), make())
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {'odd': odd, 'lies': messages, 'log': log.getvalue(), 'megabytes': megabytes}


def away():
    """The Hub cannot be asked: the cache answers, or a message."""
    from timm_res2net import from_hub, push_to_hub
    assert_equal(from_hub('alice/good'), make())
    assert_equal(timm.create_model('hf-hub:alice/good', pretrained=True), make())
    return {'pull': message(from_hub, 'alice/other'), 'push': message(push_to_hub, make(), 'alice/good')}


def push_beside_card():
    from timm_res2net import push_to_hub
    push_to_hub(make(), 'alice/latin')


def push_as_timm():
    from timm_res2net import push_to_hub
    torch.manual_seed(0)
    model = timm.create_model('res2net50_14w_8s_custom', num_classes=7, in_chans=1).eval()
    push_to_hub(model, 'alice/as_timm', as_timm=True)
    with torch.inference_mode():
        output = model(torch.full((1, 1, 64, 64), 0.5))
    same = timm.create_model('res2net_custom', scale=8, base_width=14, num_classes=7, in_chans=1)
    same.load_state_dict(model.state_dict())
    push_to_hub(same, 'alice/free_form', as_timm=True)
    other = timm.create_model('res2net50_14w_8s_custom', act_layer='silu')
    return {'output': output.tolist(), 'other': message(push_to_hub, other, 'alice/no', as_timm=True)}


def without_package(folder):
    """In a process that has only timm: pull what was pushed as timm's, write what timm publishes."""
    from timm.models import save_for_hf
    assert 'timm_res2net' not in sys.modules
    model = pull('alice/as_timm').eval()
    with torch.inference_mode():
        output = model(torch.full((1, 1, 64, 64), 0.5))
    torch.manual_seed(0)
    published = timm.create_model('res2net50_26w_4s').eval()
    save_for_hf(published, folder, safe_serialization=True)
    with torch.inference_mode():
        expected = published(torch.full((1, 3, 64, 64), 0.5))
    assert 'timm_res2net' not in sys.modules
    return {'class': type(model).__module__, 'output': output.tolist(), 'published': expected.tolist(),
            'free_form': type(pull('alice/free_form')).__module__, 'plain': message(pull, 'alice/good')}


def published():
    """timm's published weights, through the registered pretrained cfg; the download breaks on the way."""
    import timm_res2net  # noqa: F401
    set_faults([['GET /cdn/timm', 'truncate'], {'times': 1}])
    model = timm.create_model('res2net50_26w_4s_custom', pretrained=True).eval()
    with torch.inference_mode():
        output = model(torch.full((1, 3, 64, 64), 0.5))
    tuned = timm.create_model('res2net50_26w_4s_custom', pretrained=True, num_classes=7, in_chans=1).eval()
    assert tuned(torch.rand(1, 1, 64, 64)).shape == (1, 7)
    assert torch.equal(tuned.layer4[2].convs[0].weight, model.layer4[2].convs[0].weight)
    torch.testing.assert_close(tuned.conv1.weight, model.conv1.weight.sum(1, keepdim=True))
    return {'output': output.tolist()}


def from_there(folder):
    """What was trained from a repository is the network of that for every command."""
    from run_command import here
    from training_checkpoint import trained

    from timm_res2net import from_hub, push_to_hub
    base = timm.create_model(TINY, num_classes=4, act_layer='silu', first_block='paddle')
    base.pretrained_cfg.update(mean=(0.1, 0.2, 0.3))
    push_to_hub(base, 'alice/base')
    tuned = timm.create_model(TINY, num_classes=3, act_layer='silu', first_block='paddle')
    last = trained(Path(folder, 'tuned'), tuned, 'hf-hub:alice/base', num_classes=3)
    done = here('convert', last, f'{folder}/converted')
    assert not done.returncode, done.stderr
    again = timm.create_model(f'local-dir:{folder}/converted', pretrained=True)
    assert_equal(again, tuned)
    assert tuple(again.pretrained_cfg['mean']) == (0.1, 0.2, 0.3) and again.arguments.first_block == 'paddle'
    overlaid = from_hub('alice/base', pretrained_cfg_overlay=dict(mean=(0, 0, 0), crop_pct=0.5))
    assert (overlaid.pretrained_cfg['mean'], overlaid.pretrained_cfg['crop_pct']) == ((0, 0, 0), 0.5)


def script():
    """`timm-res2net push` of checkpoints as train.py leaves them."""
    from run_command import here
    from timm.utils import CheckpointSaver, ModelEmaV3
    model, averaged = make(1, scale=8, num_classes=3), make(2, scale=8, num_classes=3)
    ema = ModelEmaV3(model)
    ema.module.load_state_dict(averaged.state_dict())
    results = {}

    def run(*arguments):
        done = here('push', *arguments)
        return done.stderr.strip() if done.returncode else 0

    with tempfile.TemporaryDirectory() as folder:
        args = Namespace(
            model=TINY, num_classes=3, model_kwargs={'scale': 8}, in_chans=None, input_size=[3, 48, 48], mean=[0.4],
            std=None, gp=None, drop=0.0, drop_path=0.05, drop_block=None, eval_metric='top1', class_map='',
            train_split='train')
        saver = CheckpointSaver(
            model, torch.optim.SGD(model.parameters()), args=args, model_ema=ema, checkpoint_dir=folder,
            recovery_dir=folder)
        saver.save_checkpoint(4, metric=62.5)
        for name in ('b10', 'b9', 'a'):
            os.makedirs(f'{folder}/data/train/{name}')
            Path(f'{folder}/data/train/{name}/0.png').touch()
        assert run(folder, 'alice/run', '--data-dir', f'{folder}/data', '--dataset', 'cifar100') == 0
        pulled = pull('alice/run')
        assert_equal(pulled, averaged)
        assert list(pulled.pretrained_cfg['label_names']) == ['a', 'b9', 'b10']
        assert pulled.model_args['scale'] == 8 and pulled.model_args['drop_path_rate'] == 0.05
        assert tuple(pulled.pretrained_cfg['mean']) == (0.4,) * 3
        assert tuple(pulled.pretrained_cfg['input_size']) == (3, 48, 48)
        with open(hf_hub_download('alice/run', 'README.md'), encoding='utf-8') as file:
            results['card'] = file.read()
        assert run(f'{folder}/last.pth.tar', 'alice/x', '--no-ema', '--dry-run', f'{folder}/dry') == 0
        assert set(os.listdir(f'{folder}/dry')) == FILES
        assert_equal(timm.create_model(f'local-dir:{folder}/dry', pretrained=True), model)
        from_there(folder)
        torch.save({'state_dict': model.state_dict()}, f'{folder}/bare.pth')
        torch.save({'state_dict': model.state_dict(), 'x': set_faults}, f'{folder}/code.pth')
        results['bare'] = run(f'{folder}/bare.pth', 'alice/x')
        results['code'] = run(f'{folder}/code.pth', 'alice/x')
        results['misfit'] = run(f'{folder}/bare.pth', 'alice/x', '--model', TINY)
        results['missing'] = run(f'{folder}/none.pth', 'alice/x')
    return results


if __name__ == '__main__':
    main({**vars(hub_names), **globals()})
