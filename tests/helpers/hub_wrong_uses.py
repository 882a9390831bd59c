"""Wrong uses of push and pull that a client makes, each with its message: see hub_client.py."""
import timm
import torch
from hub_client import TINY, make, message


def not_pushed():
    """What cannot be pushed is refused before anything is sent."""
    from timm_res2net import Res2Net, push_to_hub

    class Norm(torch.nn.BatchNorm2d):
        pass

    fused = make()
    fused.bn1 = torch.nn.Identity()
    local = {
        'class': message(push_to_hub, make(norm_layer=Norm), 'alice/no'),
        'timm': message(push_to_hub, timm.create_model('test_resnet'), 'alice/no'),
        'features': message(push_to_hub, timm.create_model(TINY, features_only=True), 'alice/no'),
        'scripted': message(push_to_hub, torch.jit.script(make()), 'alice/no'),
        'direct': message(push_to_hub, Res2Net(layers=(1, 1, 1, 1)), 'alice/no'),
        'fused': message(push_to_hub, fused, 'alice/no'),
        'labels': message(push_to_hub, make(), 'alice/no', label_names=['one']),
        'metrics': message(push_to_hub, make(), 'alice/no', metrics={'top1': 80.}),
        'nan': message(push_to_hub, make(), 'alice/no', metrics={'top1': float('nan')}, dataset='cifar100'),
        'name': message(push_to_hub, make(), 'alice/no', licence='mit'),
        'pr': message(push_to_hub, make(), 'alice/no', create_pr=True, revision='next'),
        'as_timm': message(push_to_hub, make(), 'alice/no', as_timm=True),
        'meta': message(push_to_hub, timm.create_model(TINY, device='meta'), 'alice/no'),
        'set': message(push_to_hub, make(num_classes=2), 'alice/no', label_names={'a', 'b'}),
        'tags': message(push_to_hub, make(), 'alice/no', tags={'a'}),
        'tag': message(push_to_hub, make(), 'alice/no', tags=[7]),
        'license': message(push_to_hub, make(), 'alice/no', license=7),
        'descriptions': message(push_to_hub, make(), 'alice/no', label_descriptions=['a']),
        'timeout': message(push_to_hub, make(), 'alice/no', timeout=0),
        'no name': message(push_to_hub, make(), None),
        'revision': message(push_to_hub, make(), 'alice/no', revision=7),
    }
    settings = {
        'data': ('bogus', 1), 'mean': ('mean', (0.5,)), 'std': ('std', (1, 1, 0)), 'crop': ('crop_pct', 'x'),
        'crop_mode': ('crop_mode', 'x'), 'interpolation': ('interpolation', 'x'), 'size': ('input_size', (3, 2.5, 64))}
    return local | {k: message(push_to_hub, make(), 'alice/no', data_config=dict([s])) for k, s in settings.items()}


def refused_arguments():
    """Of `from_hub`."""
    from timm_res2net import from_hub
    arguments = {
        'argument': ('bogus', 1), 'classes': ('num_classes', '7'), 'no classes': ('num_classes', -1),
        'half a class': ('num_classes', 2.5), 'true': ('num_classes', True), 'channels': ('in_chans', 0),
        'untrained': ('pretrained', False), 'cfg': ('pretrained_cfg', {'bogus': 1}),
        'overlay': ('pretrained_cfg_overlay', {'bogus': 1}), 'other weights': ('pretrained_cfg_overlay', {'url': 'x'}),
        'meta': ('device', 'meta'), 'device': ('device', 'bogus'), 'activation': ('act_layer', 'bogus'),
        'revision': ('revision', 7)}
    said = {k: message(from_hub, 'alice/good', **dict([a])) for k, a in arguments.items()}
    with torch.device('meta'):
        said['inside meta'] = message(from_hub, 'alice/good')
    return said | {'no name': message(from_hub, None), 'number': message(from_hub, 7)}
