"""The table of variants: registered name -> class, arguments, words. A row a variant, no code a row.

Papers:
* `Res2Net: A New Multi-scale Backbone Architecture` - https://arxiv.org/abs/1904.01169
* `Deep Layer Aggregation` - https://arxiv.org/abs/1707.06484
* `Squeeze-and-Excitation Networks` - https://arxiv.org/abs/1709.01507
* `Aggregated Residual Transformations for Deep Neural Networks` (ResNeXt) - https://arxiv.org/abs/1611.05431
* `Bag of Tricks for Image Classification with Convolutional Neural Networks` (d, vd) - https://arxiv.org/abs/1812.01187

Names read as in the paper: 26w is `base_width`, 4s is `scale`, 6c is `cardinality`. Their weights are the rows of
`weights.catalogue`.
"""
from typing import Any, Dict, NamedTuple, Type

from .cifar import Res2NetCifar
from .dla import Res2NetDla
from .networks import Network, Res2Net

FREE_FORM = 'res2net_custom'


class Variant(NamedTuple):
    """A row.

    Attributes:
        cls: The class.
        arguments: Its arguments, where they differ from the defaults or say what the name says.
        words: What it is, a line of the page of variants.
        data: Preprocessing where it is not that of the class, as in timm's cfgs.
    """
    cls: Type[Network]
    arguments: Dict[str, Any]
    words: str
    data: Dict[str, Any] = {}


D = dict(stem_type='deep', stem_width=32, avg_down=True)  # v1b, "d", "vd"
SE = dict(attn_layer='se', rd_ratio=1 / 16)

VARIANTS: Dict[str, Variant] = {
    'res2net50_26w_4s_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=26),
        'Res2Net-50, 26w x 4s: the form most people mean (paper, table 1)'),
    'res2net50_48w_2s_custom': Variant(
        Res2Net, dict(depth=50, scale=2, base_width=48), 'Res2Net-50, 48w x 2s (paper, table 3)'),
    'res2net50_14w_8s_custom': Variant(
        Res2Net, dict(depth=50, scale=8, base_width=14), 'Res2Net-50, 14w x 8s (paper, table 3)'),
    'res2net50_26w_6s_custom': Variant(
        Res2Net, dict(depth=50, scale=6, base_width=26), 'Res2Net-50, 26w x 6s (paper, table 3)'),
    'res2net50_26w_8s_custom': Variant(
        Res2Net, dict(depth=50, scale=8, base_width=26), 'Res2Net-50, 26w x 8s (paper, table 3)'),
    'res2net50_18w_4s_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=18), 'Res2Net-50-L, 18w x 4s (paper, table 3)'),
    'res2net101_26w_4s_custom': Variant(
        Res2Net, dict(depth=101, scale=4, base_width=26), 'Res2Net-101, 26w x 4s (paper, table 2)'),
    'res2net152_26w_4s_custom': Variant(Res2Net, dict(depth=152, scale=4, base_width=26), 'Res2Net-152, 26w x 4s'),
    'res2net50d_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=26, **D),
        'Res2Net-50 v1b, 26w x 4s: deep stem, average pool in the shortcut'),
    'res2net101d_custom': Variant(Res2Net, dict(depth=101, scale=4, base_width=26, **D), 'Res2Net-101 v1b, 26w x 4s'),
    'res2net152d_custom': Variant(Res2Net, dict(depth=152, scale=4, base_width=26, **D), 'Res2Net-152 v1b, 26w x 4s'),
    'res2net200d_custom': Variant(Res2Net, dict(depth=200, scale=4, base_width=26, **D), 'Res2Net-200 v1b, 26w x 4s'),
    'res2next50_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=4, cardinality=8), 'Res2NeXt-50, 4w x 4s x 8c (paper, table 1)'),
    'res2next101_custom': Variant(
        Res2Net, dict(depth=101, scale=4, base_width=4, cardinality=8), 'Res2NeXt-101, 4w x 4s x 8c'),
    'seres2net50_26w_4s_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=26, **SE), 'SE-Res2Net-50, 26w x 4s (paper, table 1)'),
    'seres2net101_26w_4s_custom': Variant(
        Res2Net, dict(depth=101, scale=4, base_width=26, **SE), 'SE-Res2Net-101, 26w x 4s'),
    'seres2next50_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=4, cardinality=8, **SE), 'SE-Res2NeXt-50, 4w x 4s x 8c'),
    'res2net50_26w_4s_paddle_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=26, first_block='paddle'),
        "Res2Net-50, 26w x 4s, in the form of PaddleClas's Res2Net50_26w_4s weights"),
    'res2net50_14w_8s_paddle_custom': Variant(
        Res2Net, dict(depth=50, scale=8, base_width=14, first_block='paddle'),
        "Res2Net-50, 14w x 8s, in the form of PaddleClas's Res2Net50_14w_8s weights"),
    'res2net50_vd_26w_4s_custom': Variant(
        Res2Net, dict(depth=50, scale=4, base_width=26, first_block='paddle', **D),
        "Res2Net-50 vd, 26w x 4s, in the form of PaddleClas's weights"),
    'res2net101_vd_26w_4s_custom': Variant(
        Res2Net, dict(depth=101, scale=4, base_width=26, first_block='paddle', **D),
        "Res2Net-101 vd, 26w x 4s, in the form of PaddleClas's weights"),
    'res2net200_vd_26w_4s_custom': Variant(
        Res2Net, dict(depth=200, scale=4, base_width=26, first_block='paddle', **D),
        "Res2Net-200 vd, 26w x 4s, in the form of PaddleClas's weights (85.1% ImageNet top-1)"),
    'resnet50_custom': Variant(
        Res2Net, dict(depth=50, scale=1, base_width=64), 'ResNet-50 as scale 1: the baseline of the paper'),
    'res2net_custom': Variant(
        Res2Net, dict(), 'Res2Net in any form, Res2Net-50 26w x 4s by default; see `Res2Net` for the arguments'),
    'test_res2net_custom': Variant(
        Res2Net, dict(
            layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), scale=4, base_width=32, stem_type='deep', stem_width=8),
        'A tiny Res2Net for quick tests', dict(input_size=(3, 160, 160))),
    'dla60_res2net_custom': Variant(
        Res2NetDla, dict(scale=4, base_width=28, cardinality=1), 'Res2Net-DLA-60, 28w x 4s (paper, table 1)'),
    'dla60_res2next_custom': Variant(
        Res2NetDla, dict(scale=4, base_width=4, cardinality=8), 'Res2NeXt-DLA-60, 4w x 4s x 8c (paper, table 1)'),
    'res2next29_6c_24w_4s_cifar_custom': Variant(
        Res2NetCifar, dict(scale=4, base_width=24, cardinality=6, first_block='parallel_conv'),
        'Res2NeXt-29, 6c x 24w x 4s (paper, table 4)'),
    'res2next29_8c_25w_4s_cifar_custom': Variant(
        Res2NetCifar, dict(scale=4, base_width=25, cardinality=8, first_block='parallel_conv'),
        'Res2NeXt-29, 8c x 25w x 4s (paper, table 4)'),
    'res2next29_6c_24w_6s_cifar_custom': Variant(
        Res2NetCifar, dict(scale=6, base_width=24, cardinality=6, first_block='parallel_conv'),
        'Res2NeXt-29, 6c x 24w x 6s (paper, table 4)'),
    'seres2next29_6c_24w_4s_cifar_custom': Variant(
        Res2NetCifar, dict(scale=4, base_width=24, cardinality=6, first_block='parallel_conv', **SE),
        'SE-Res2NeXt-29, 6c x 24w x 4s (paper, table 4)'),
    'seres2next29_8c_25w_4s_cifar_custom': Variant(
        Res2NetCifar, dict(scale=4, base_width=25, cardinality=8, first_block='parallel_conv', **SE),
        'SE-Res2NeXt-29, 8c x 25w x 4s (paper, table 4)'),
    'seres2next29_6c_24w_6s_cifar_custom': Variant(
        Res2NetCifar, dict(scale=6, base_width=24, cardinality=6, first_block='parallel_conv', **SE),
        'SE-Res2NeXt-29, 6c x 24w x 6s (paper, table 4)'),
    'resnext29_8c_64w_cifar_custom': Variant(
        Res2NetCifar, dict(scale=1, base_width=64, cardinality=8),
        'ResNeXt-29, 8c x 64w as scale 1: a baseline of the paper (table 4)'),
    'resnext29_16c_64w_cifar_custom': Variant(
        Res2NetCifar, dict(scale=1, base_width=64, cardinality=16),
        'ResNeXt-29, 16c x 64w as scale 1: a baseline of the paper (table 4)'),
    'seresnext29_8c_64w_cifar_custom': Variant(
        Res2NetCifar, dict(scale=1, base_width=64, cardinality=8, **SE),
        'SE-ResNeXt-29, 8c x 64w as scale 1: a baseline of the paper (table 4)'),
    'res2net23_32w_4s_cifar_custom': Variant(
        Res2NetCifar, dict(
            layers=(2, 3, 2), channels=(64, 96, 128), scale=4, base_width=32, cardinality=1, stem_width=32,
            stem_stride=2),
        'A small Res2Net for CPU-sized work, 32w x 4s, 1.8 M parameters'),
    'seres2net23_16w_8s_cifar_custom': Variant(
        Res2NetCifar, dict(
            layers=(2, 3, 2), channels=(64, 96, 128), scale=8, base_width=16, cardinality=1, stem_width=32,
            stem_stride=2, **SE),
        'The same with eight groups and SE, 16w x 8s, 1.8 M parameters'),
}


def variant_of(name: str) -> str:
    """The variant that a name means: with a tag, or without our suffix as timm calls its own; '' if none."""
    name = name.partition('.')[0]
    return next((n for n in (name, f'{name}_custom') if n in VARIANTS), '')
