"""Every registered variant and its pretrained cfg: a table to read, no logic.

Papers:
* `Res2Net: A New Multi-scale Backbone Architecture` - https://arxiv.org/abs/1904.01169
* `Deep Layer Aggregation` - https://arxiv.org/abs/1707.06484
* `Squeeze-and-Excitation Networks` - https://arxiv.org/abs/1709.01507
* `Aggregated Residual Transformations for Deep Neural Networks` (ResNeXt) - https://arxiv.org/abs/1611.05431
* `Bag of Tricks for Image Classification with Convolutional Neural Networks` (d, vd) - https://arxiv.org/abs/1812.01187

Names read as in the paper: 26w is `base_width`, 4s is `scale`, 6c is `cardinality`.
"""
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import generate_default_cfgs
from torch import nn

from .cifar import Res2NetCifar
from .networks import Res2Net, Res2NetDla
from .registration import build, register_variant
from .shipped import CIFAR100_CLASSES, weights_file

__all__ = []  # filled by timm's registry

_D = dict(stem_type='deep', stem_width=32, avg_down=True)  # v1b, "d", "vd"


def _cfg(**kwargs):
    return {
        'num_classes': 1000, 'input_size': (3, 224, 224), 'pool_size': (7, 7),
        'crop_pct': 0.875, 'interpolation': 'bilinear',
        'mean': IMAGENET_DEFAULT_MEAN, 'std': IMAGENET_DEFAULT_STD,
        'first_conv': 'conv1', 'classifier': 'fc', 'license': 'apache-2.0',
        'paper_name': 'Res2Net: A New Multi-scale Backbone Architecture', 'paper_ids': 'arXiv:1904.01169',
        **kwargs
    }


def _dcfg(**kwargs):
    return _cfg(**{'first_conv': 'conv1.0', **kwargs})


def _dlacfg(**kwargs):
    return _cfg(**{'first_conv': 'base_layer.0', **kwargs})


def _ccfg(**kwargs):
    return _cfg(**{
        'num_classes': 100, 'input_size': (3, 32, 32), 'pool_size': (8, 8), 'crop_pct': 1.0, 'interpolation': 'bicubic',
        'mean': (0.5071, 0.4865, 0.4409), 'std': (0.2673, 0.2564, 0.2762),
        **kwargs
    })


default_cfgs = generate_default_cfgs({
    'res2net50_26w_4s_custom.in1k': _cfg(hf_hub_id='timm/res2net50_26w_4s.in1k', license='unknown'),
    'res2net50_48w_2s_custom.in1k': _cfg(hf_hub_id='timm/res2net50_48w_2s.in1k', license='unknown'),
    'res2net50_14w_8s_custom.in1k': _cfg(hf_hub_id='timm/res2net50_14w_8s.in1k', license='unknown'),
    'res2net50_26w_6s_custom.in1k': _cfg(hf_hub_id='timm/res2net50_26w_6s.in1k', license='unknown'),
    'res2net50_26w_8s_custom.in1k': _cfg(hf_hub_id='timm/res2net50_26w_8s.in1k', license='unknown'),
    'res2net50_18w_4s_custom.untrained': _cfg(),
    'res2net101_26w_4s_custom.in1k': _cfg(hf_hub_id='timm/res2net101_26w_4s.in1k', license='unknown'),
    'res2net152_26w_4s_custom.untrained': _cfg(),
    'res2net50d_custom.in1k': _dcfg(hf_hub_id='timm/res2net50d.in1k', license='unknown'),
    'res2net101d_custom.in1k': _dcfg(hf_hub_id='timm/res2net101d.in1k', license='unknown'),
    'res2net152d_custom.untrained': _dcfg(),
    'res2net200d_custom.untrained': _dcfg(),
    'res2next50_custom.in1k': _cfg(hf_hub_id='timm/res2next50.in1k', license='unknown'),
    'res2next101_custom.untrained': _cfg(),
    'seres2net50_26w_4s_custom.untrained': _cfg(),
    'seres2net101_26w_4s_custom.untrained': _cfg(),
    'seres2next50_custom.untrained': _cfg(),
    'res2net50_26w_4s_paddle_custom.untrained': _cfg(),
    'res2net50_14w_8s_paddle_custom.untrained': _cfg(),
    'res2net50_vd_26w_4s_custom.untrained': _dcfg(),
    'res2net101_vd_26w_4s_custom.untrained': _dcfg(),
    'res2net200_vd_26w_4s_custom.untrained': _dcfg(),
    'resnet50_custom.a1_in1k': _cfg(
        hf_hub_id='timm/resnet50.a1_in1k', paper_name='Deep Residual Learning for Image Recognition',
        paper_ids='arXiv:1512.03385', interpolation='bicubic', crop_pct=0.95),
    'res2net_custom.untrained': _cfg(),
    'test_res2net_custom.untrained': _dcfg(input_size=(3, 160, 160), pool_size=(5, 5)),
    'dla60_res2net_custom.in1k': _dlacfg(hf_hub_id='timm/dla60_res2net.in1k', license='unknown'),
    'dla60_res2next_custom.in1k': _dlacfg(hf_hub_id='timm/dla60_res2next.in1k', license='unknown'),
    'res2next29_6c_24w_4s_cifar_custom.untrained': _ccfg(),
    'res2next29_8c_25w_4s_cifar_custom.untrained': _ccfg(),
    'res2next29_6c_24w_6s_cifar_custom.untrained': _ccfg(),
    'seres2next29_6c_24w_4s_cifar_custom.untrained': _ccfg(),
    'seres2next29_8c_25w_4s_cifar_custom.untrained': _ccfg(),
    'seres2next29_6c_24w_6s_cifar_custom.untrained': _ccfg(),
    'resnext29_8c_64w_cifar_custom.untrained': _ccfg(),
    'resnext29_16c_64w_cifar_custom.untrained': _ccfg(),
    'seresnext29_8c_64w_cifar_custom.untrained': _ccfg(),
    'res2net23_32w_4s_cifar_custom.cifar100': _ccfg(
        file=weights_file('res2net23_32w_4s_cifar_custom.cifar100'), label_names=CIFAR100_CLASSES, pool_size=(4, 4)),
})


@register_variant
def res2net50_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50, 26w x 4s: the form most people mean (paper, table 1)."""
    return build(Res2Net, 'res2net50_26w_4s_custom', pretrained, dict(depth=50, scale=4, base_width=26), kwargs)


@register_variant
def res2net50_48w_2s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50, 48w x 2s (paper, table 3)."""
    return build(Res2Net, 'res2net50_48w_2s_custom', pretrained, dict(depth=50, scale=2, base_width=48), kwargs)


@register_variant
def res2net50_14w_8s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50, 14w x 8s (paper, table 3)."""
    return build(Res2Net, 'res2net50_14w_8s_custom', pretrained, dict(depth=50, scale=8, base_width=14), kwargs)


@register_variant
def res2net50_26w_6s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50, 26w x 6s (paper, table 3)."""
    return build(Res2Net, 'res2net50_26w_6s_custom', pretrained, dict(depth=50, scale=6, base_width=26), kwargs)


@register_variant
def res2net50_26w_8s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50, 26w x 8s (paper, table 3)."""
    return build(Res2Net, 'res2net50_26w_8s_custom', pretrained, dict(depth=50, scale=8, base_width=26), kwargs)


@register_variant
def res2net50_18w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50-L, 18w x 4s (paper, table 3)."""
    return build(Res2Net, 'res2net50_18w_4s_custom', pretrained, dict(depth=50, scale=4, base_width=18), kwargs)


@register_variant
def res2net101_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-101, 26w x 4s (paper, table 2)."""
    return build(Res2Net, 'res2net101_26w_4s_custom', pretrained, dict(depth=101, scale=4, base_width=26), kwargs)


@register_variant
def res2net152_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-152, 26w x 4s."""
    return build(Res2Net, 'res2net152_26w_4s_custom', pretrained, dict(depth=152, scale=4, base_width=26), kwargs)


@register_variant
def res2net50d_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50 v1b, 26w x 4s: deep stem, average pool in the shortcut."""
    return build(Res2Net, 'res2net50d_custom', pretrained, dict(depth=50, scale=4, base_width=26, **_D), kwargs)


@register_variant
def res2net101d_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-101 v1b, 26w x 4s."""
    return build(Res2Net, 'res2net101d_custom', pretrained, dict(depth=101, scale=4, base_width=26, **_D), kwargs)


@register_variant
def res2net152d_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-152 v1b, 26w x 4s."""
    return build(Res2Net, 'res2net152d_custom', pretrained, dict(depth=152, scale=4, base_width=26, **_D), kwargs)


@register_variant
def res2net200d_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-200 v1b, 26w x 4s."""
    return build(Res2Net, 'res2net200d_custom', pretrained, dict(depth=200, scale=4, base_width=26, **_D), kwargs)


@register_variant
def res2next50_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2NeXt-50, 4w x 4s x 8c (paper, table 1)."""
    return build(Res2Net, 'res2next50_custom', pretrained, dict(depth=50, scale=4, base_width=4, cardinality=8), kwargs)


@register_variant
def res2next101_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2NeXt-101, 4w x 4s x 8c."""
    args = dict(depth=101, scale=4, base_width=4, cardinality=8)
    return build(Res2Net, 'res2next101_custom', pretrained, args, kwargs)


@register_variant
def seres2net50_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """SE-Res2Net-50, 26w x 4s (paper, table 1)."""
    args = dict(depth=50, scale=4, base_width=26, attn_layer='se', rd_ratio=1 / 16)
    return build(Res2Net, 'seres2net50_26w_4s_custom', pretrained, args, kwargs)


@register_variant
def seres2net101_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """SE-Res2Net-101, 26w x 4s."""
    args = dict(depth=101, scale=4, base_width=26, attn_layer='se', rd_ratio=1 / 16)
    return build(Res2Net, 'seres2net101_26w_4s_custom', pretrained, args, kwargs)


@register_variant
def seres2next50_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """SE-Res2NeXt-50, 4w x 4s x 8c."""
    args = dict(depth=50, scale=4, base_width=4, cardinality=8, attn_layer='se', rd_ratio=1 / 16)
    return build(Res2Net, 'seres2next50_custom', pretrained, args, kwargs)


@register_variant
def res2net50_26w_4s_paddle_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50, 26w x 4s, in the form of PaddleClas's Res2Net50_26w_4s weights."""
    args = dict(depth=50, scale=4, base_width=26, first_block='paddle')
    return build(Res2Net, 'res2net50_26w_4s_paddle_custom', pretrained, args, kwargs)


@register_variant
def res2net50_14w_8s_paddle_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50, 14w x 8s, in the form of PaddleClas's Res2Net50_14w_8s weights."""
    args = dict(depth=50, scale=8, base_width=14, first_block='paddle')
    return build(Res2Net, 'res2net50_14w_8s_paddle_custom', pretrained, args, kwargs)


@register_variant
def res2net50_vd_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-50 vd, 26w x 4s, in the form of PaddleClas's weights."""
    args = dict(depth=50, scale=4, base_width=26, first_block='paddle', **_D)
    return build(Res2Net, 'res2net50_vd_26w_4s_custom', pretrained, args, kwargs)


@register_variant
def res2net101_vd_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-101 vd, 26w x 4s, in the form of PaddleClas's weights."""
    args = dict(depth=101, scale=4, base_width=26, first_block='paddle', **_D)
    return build(Res2Net, 'res2net101_vd_26w_4s_custom', pretrained, args, kwargs)


@register_variant
def res2net200_vd_26w_4s_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-200 vd, 26w x 4s, in the form of PaddleClas's weights (85.1% ImageNet top-1)."""
    args = dict(depth=200, scale=4, base_width=26, first_block='paddle', **_D)
    return build(Res2Net, 'res2net200_vd_26w_4s_custom', pretrained, args, kwargs)


@register_variant
def resnet50_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """ResNet-50 as scale 1: the baseline of the paper."""
    return build(Res2Net, 'resnet50_custom', pretrained, dict(depth=50, scale=1, base_width=64), kwargs)


@register_variant
def res2net_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net in any form, Res2Net-50 26w x 4s by default; see `Res2Net` for the arguments."""
    return build(Res2Net, 'res2net_custom', pretrained, dict(), kwargs)


@register_variant
def test_res2net_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """A tiny Res2Net for quick tests."""
    args = dict(layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), scale=4, base_width=32, stem_type='deep', stem_width=8)
    return build(Res2Net, 'test_res2net_custom', pretrained, args, kwargs)


@register_variant
def dla60_res2net_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2Net-DLA-60, 28w x 4s (paper, table 1)."""
    return build(Res2NetDla, 'dla60_res2net_custom', pretrained, dict(scale=4, base_width=28, cardinality=1), kwargs)


@register_variant
def dla60_res2next_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2NeXt-DLA-60, 4w x 4s x 8c (paper, table 1)."""
    return build(Res2NetDla, 'dla60_res2next_custom', pretrained, dict(scale=4, base_width=4, cardinality=8), kwargs)


@register_variant
def res2next29_6c_24w_4s_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2NeXt-29, 6c x 24w x 4s (paper, table 4)."""
    args = dict(scale=4, base_width=24, cardinality=6, first_block='parallel_conv')
    return build(Res2NetCifar, 'res2next29_6c_24w_4s_cifar_custom', pretrained, args, kwargs)


@register_variant
def res2next29_8c_25w_4s_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2NeXt-29, 8c x 25w x 4s (paper, table 4)."""
    args = dict(scale=4, base_width=25, cardinality=8, first_block='parallel_conv')
    return build(Res2NetCifar, 'res2next29_8c_25w_4s_cifar_custom', pretrained, args, kwargs)


@register_variant
def res2next29_6c_24w_6s_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """Res2NeXt-29, 6c x 24w x 6s (paper, table 4)."""
    args = dict(scale=6, base_width=24, cardinality=6, first_block='parallel_conv')
    return build(Res2NetCifar, 'res2next29_6c_24w_6s_cifar_custom', pretrained, args, kwargs)


@register_variant
def seres2next29_6c_24w_4s_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """SE-Res2NeXt-29, 6c x 24w x 4s (paper, table 4)."""
    args = dict(scale=4, base_width=24, cardinality=6, first_block='parallel_conv', attn_layer='se', rd_ratio=1 / 16)
    return build(Res2NetCifar, 'seres2next29_6c_24w_4s_cifar_custom', pretrained, args, kwargs)


@register_variant
def seres2next29_8c_25w_4s_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """SE-Res2NeXt-29, 8c x 25w x 4s (paper, table 4)."""
    args = dict(scale=4, base_width=25, cardinality=8, first_block='parallel_conv', attn_layer='se', rd_ratio=1 / 16)
    return build(Res2NetCifar, 'seres2next29_8c_25w_4s_cifar_custom', pretrained, args, kwargs)


@register_variant
def seres2next29_6c_24w_6s_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """SE-Res2NeXt-29, 6c x 24w x 6s (paper, table 4)."""
    args = dict(scale=6, base_width=24, cardinality=6, first_block='parallel_conv', attn_layer='se', rd_ratio=1 / 16)
    return build(Res2NetCifar, 'seres2next29_6c_24w_6s_cifar_custom', pretrained, args, kwargs)


@register_variant
def resnext29_8c_64w_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """ResNeXt-29, 8c x 64w as scale 1: a baseline of the paper (table 4)."""
    args = dict(scale=1, base_width=64, cardinality=8)
    return build(Res2NetCifar, 'resnext29_8c_64w_cifar_custom', pretrained, args, kwargs)


@register_variant
def resnext29_16c_64w_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """ResNeXt-29, 16c x 64w as scale 1: a baseline of the paper (table 4)."""
    args = dict(scale=1, base_width=64, cardinality=16)
    return build(Res2NetCifar, 'resnext29_16c_64w_cifar_custom', pretrained, args, kwargs)


@register_variant
def seresnext29_8c_64w_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """SE-ResNeXt-29, 8c x 64w as scale 1: a baseline of the paper (table 4)."""
    args = dict(scale=1, base_width=64, cardinality=8, attn_layer='se', rd_ratio=1 / 16)
    return build(Res2NetCifar, 'seresnext29_8c_64w_cifar_custom', pretrained, args, kwargs)


@register_variant
def res2net23_32w_4s_cifar_custom(pretrained: bool = False, **kwargs) -> nn.Module:
    """A small Res2Net for CPU-sized work, 32w x 4s, 1.8 M parameters."""
    args = dict(
        layers=(2, 3, 2), channels=(64, 96, 128), scale=4, base_width=32, cardinality=1, stem_width=32, stem_stride=2)
    return build(Res2NetCifar, 'res2net23_32w_4s_cifar_custom', pretrained, args, kwargs)
