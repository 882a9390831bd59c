"""One small model of every family, for the tests of what a model can do."""
import timm
from torch import nn

import timm_res2net  # noqa: F401  registers the variants

_SMALL = dict(layers=(2, 1, 2, 1), channels=(16, 24, 32, 48), base_width=32, num_classes=7)
_DLA = dict(levels=(1, 1, 1, 2, 2, 1), channels=(8, 16, 32, 32, 64, 64), base_width=32, num_classes=7)
_CIFAR = dict(layers=(2, 2, 1), channels=(16, 24, 32), num_classes=7)
FAMILIES = {
    'plain': ('res2net_custom', _SMALL),
    'next': ('res2net_custom', dict(_SMALL, base_width=12, cardinality=4)),
    'd': ('res2net50d_custom', dict(_SMALL, stem_width=8)),
    'se': ('seres2net50_26w_4s_custom', dict(_SMALL, rd_ratio=1 / 4)),
    'se_split': ('seres2net50_26w_4s_custom', dict(_SMALL, rd_ratio=1 / 4, attn_position='split')),
    'paddle': ('res2net50_vd_26w_4s_custom', dict(_SMALL, stem_width=8)),
    'scale1': ('resnet50_custom', _SMALL),
    'conv1': ('res2net_custom', dict(_SMALL, stride_position='conv1')),
    'blur': ('res2net_custom', dict(_SMALL, aa_layer='blur')),
    'dla': ('dla60_res2net_custom', _DLA),
    'dla_next': ('dla60_res2next_custom', dict(_DLA, base_width=8, cardinality=4)),
    'cifar': ('res2net23_32w_4s_cifar_custom', _CIFAR),
    'cifar_next': ('res2next29_6c_24w_4s_cifar_custom', dict(_CIFAR, base_width=8, cardinality=4)),
}
RESNETS = [name for name in FAMILIES if not name.startswith(('dla', 'cifar'))]
CIFARS = [name for name in FAMILIES if name.startswith('cifar')]
DLAS = [name for name in FAMILIES if name.startswith('dla')]


def make(family, **kwargs):
    variant, args = FAMILIES[family]
    return timm.create_model(variant, **{**args, **kwargs})


def calls_of_activations(model, x):
    """Name of each ReLU of a model, or of a block -> how often it is called in one pass."""
    calls = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.ReLU):
            calls[name] = 0
            module.register_forward_hook(lambda *_, name=name: calls.update({name: calls[name] + 1}))
    model(x)
    return calls
