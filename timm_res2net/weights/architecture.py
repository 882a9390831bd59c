"""The architecture behind a set of weights: names and shapes -> class and arguments, one pure function.

Names and shapes tell depth, widths, scale, cardinality, stem, shortcut, attention, classes and input channels. They do
not tell what has no weights: strides, activation, anti-aliasing, the form of the first block (except 'parallel_conv',
which has one more convolution). Which registered variant this is, and with it what names and shapes do not tell, is
the work of `matching`.
"""
import re
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from timm.layers import make_divisible

from ..model.cifar import Res2NetCifar
from ..model.dla import Res2NetDla
from ..model.networks import Network, Res2Net
from .checkpoint import CheckpointError

_RD_RATIOS = (1 / 16, 1 / 8, 1 / 4, 1 / 32, 1 / 2)
ATTENTION = {'fc1.weight': 'se', 'fc.weight': 'ese', 'conv.weight': 'eca'}  # parameter -> timm's name of the layer
_POSITIONS = {'se.': 'output', 'split_attn.': 'split'}  # module of a block -> where its attention acts


@dataclass(frozen=True)
class Architecture:
    """What names and shapes tell about a network.

    Attributes:
        cls: Its class.
        arguments: What could be read off, without `base_width`.
        planes: Planes of each stage, as `check_width` takes them.
        widths: Channels of one group of the split in each stage.
        squeezes: Shape of the first weight of each stage's SE layer, (squeezed, channels, 1, 1).
        implied: Names of those arguments that the layout of the weights tells, not names and shapes.
    """
    cls: Type[Network]
    arguments: Dict[str, Any]
    planes: Tuple[int, ...]
    widths: Tuple[int, ...]
    squeezes: Tuple[Tuple[int, ...], ...] = ()
    implied: Tuple[str, ...] = ()


class _Shapes(Dict[str, Tuple[int, ...]]):
    """Name -> shape, with an error for what must be there."""

    def of(self, name: str) -> Tuple[int, ...]:
        """The shape of a convolution's weight."""
        shape = self.get(name)
        if shape is None:
            raise CheckpointError(f'{name} is missing, so the architecture cannot be told.')
        if len(shape) != 4 or 0 in shape:
            raise CheckpointError(f'{name} has shape {shape} instead of 4 dimensions.')
        return shape

    def count(self, prefix: str) -> int:
        """Consecutive blocks: how many of `prefix0.`, `prefix1.`, .. there are from the first on."""
        numbers = {name[len(prefix):].partition('.')[0] for name in self if name.startswith(prefix)}
        return next(i for i in range(len(numbers) + 1) if str(i) not in numbers)

    def has(self, prefix: str) -> bool:
        """Whether any name starts so."""
        return any(name.startswith(prefix) for name in self)


def read_architecture(
        named_shapes: Mapping[str, Sequence[int]],
        implies: Mapping[str, Any] = MappingProxyType({}),
) -> Architecture:
    """Read class and arguments off the names and shapes of weights.

    Args:
        named_shapes: Name -> shape, under our names.
        implies: What the layout of the weights tells beside them.

    Raises:
        CheckpointError: It is no Res2Net, or one that these classes cannot be.
    """
    shapes = _Shapes({name: tuple(shape) for name, shape in named_shapes.items()})
    if 'base_layer.0.weight' in shapes:
        cls: Type[Network] = Res2NetDla
        arguments, planes, blocks = _dla(shapes)
    elif 'layer1.0.conv1.weight' in shapes:
        _check_stages(shapes)
        cls = Res2Net if shapes.has('layer4.') else Res2NetCifar
        arguments, blocks = _resnet(shapes, 4 if cls is Res2Net else 3)
        arguments.update(_imagenet_stem(shapes) if cls is Res2Net else _cifar_stem(shapes))
        planes = arguments['channels']
        if not any(name.endswith('.running_mean') for name in shapes):
            _check_folded(shapes)
            arguments['norm_layer'] = 'groupnorm'  # which norm cannot be read off, groupnorm is the common one
    else:
        raise CheckpointError(
            f'it is not a Res2Net: neither layer1.0.conv1.weight nor base_layer.0.weight is among its '
            f'{len(shapes)} entries ({", ".join(list(shapes)[:3])}, ...).')
    _check_blocks(shapes, arguments, blocks)
    widths = tuple(shapes.of(f'{block}convs.0.weight')[0] for block in blocks)
    arguments.update(_split(shapes, blocks, widths[0]))
    attention, squeezes = _attention(shapes, blocks)
    arguments.update(attention)
    if arguments['scale'] == 1:  # one group, no form
        implies = {k: v for k, v in implies.items() if k != 'first_block'}
    arguments.update(implies)
    return Architecture(cls, arguments, planes, widths, squeezes, tuple(implies))


def _check_folded(shapes: _Shapes) -> None:
    """Convolutions with a bias have taken in the norms that followed them."""
    if 'layer1.0.conv1.bias' in shapes and 'layer1.0.bn1.weight' not in shapes:
        raise CheckpointError(
            'its norms are folded into its convolutions (layer1.0.conv1.bias): give the weights from before that.')


def _check_stages(shapes: _Shapes) -> None:
    """A network has all of its stages: three after the stem of a CIFAR network, else four."""
    stem = shapes.get('conv1.weight', ())
    if not shapes.has('layer4.') and (not shapes.has('layer3.') or stem[2:] != (3, 3)):
        last = next((s for s in (3, 2) if shapes.has(f'layer{s}.')), 1)
        raise CheckpointError(
            f'its stages end with layer{last}: it is a part of a network, of which only whole ones can be loaded, or '
            'of another kind.')


def _check_blocks(shapes: _Shapes, arguments: Mapping[str, Any], first: Sequence[str]) -> None:
    """Every block that is to be built has its convolutions, so that what is built is no larger than the file.

    Args:
        first: Prefix of the first block of each stage.
    """
    convs = Counter(m[1] for name in shapes if (m := re.fullmatch(r'(.+\.)convs\.\d+\.weight', name)))
    if 'layers' in arguments:
        stages = [[f'layer{s + 1}.{b}.' for b in range(n)] for s, n in enumerate(arguments['layers'])]
    else:
        stages = [[b for b in convs if b.startswith(f'level{i}.')] for i in range(2, 6)]
        if [len(s) for s in stages] != [2 ** n for n in arguments['levels'][2:]]:
            raise CheckpointError('its trees lack blocks, so the architecture cannot be told.')
    for stage, block in zip(stages, first, strict=True):
        scale = shapes.of(f'{block}conv1.weight')[0] // max(shapes.of(f'{block}convs.0.weight')[0], 1)
        for name in stage:
            if convs[name] < max(scale - 1, 1):
                raise CheckpointError(
                    f'{name}convs has {convs[name]} of at least {max(scale - 1, 1)} convolutions, so the architecture '
                    'cannot be told.')


def _classifier(shapes: _Shapes, features: int) -> Dict[str, Any]:
    shape = shapes.get('fc.weight')
    twice = shape is not None and len(shape) > 1 and shape[1] == 2 * features
    return {'num_classes': shape[0] if shape else 0, **({'global_pool': 'catavgmax'} if twice else {})}


def _resnet(shapes: _Shapes, stages: int) -> Tuple[Dict[str, Any], List[str]]:
    """Arguments of the stages and the head, and the prefixes of each stage's first block."""
    last = [shapes.of(f'layer{s + 1}.0.conv3.weight')[0] for s in range(stages)]
    if any(n % 4 for n in last):
        raise CheckpointError(f'its stages have {last} channels, which are not multiples of 4.')
    # a stage that timm has dilated has no projection where its input is as wide as its output
    down = next((d for d in (f'layer{s}.0.downsample.' for s in range(2, stages + 1)) if shapes.has(d)),
                'layer2.0.downsample.')
    arguments: Dict[str, Any] = dict(
        layers=tuple(shapes.count(f'layer{s + 1}.') for s in range(stages)),
        channels=tuple(n // 4 for n in last),
        avg_down=len(shapes.get(f'{down}1.weight', ())) == 4,
        **_classifier(shapes, last[-1]),
    )
    if not arguments['avg_down']:
        arguments['down_kernel_size'] = shapes.of(f'{down}0.weight')[-1]
    return arguments, [f'layer{s + 1}.0.' for s in range(stages)]


def _imagenet_stem(shapes: _Shapes) -> Dict[str, Any]:
    deep = 'conv1.0.weight' in shapes
    first, in_chans = shapes.of('conv1.0.weight' if deep else 'conv1.weight')[:2]
    stem: Dict[str, Any] = dict(in_chans=in_chans, replace_stem_pool='maxpool.0.weight' in shapes)
    if deep:
        second = shapes.of('conv1.3.weight')[0]
        stem.update(stem_type='deep' if first == second else 'deep_tiered', stem_width=second)
    return stem


def _cifar_stem(shapes: _Shapes) -> Dict[str, Any]:
    width, in_chans = shapes.of('conv1.weight')[:2]
    return dict(in_chans=in_chans, stem_width=width)


def _dla(shapes: _Shapes) -> Tuple[Dict[str, Any], Tuple[int, ...], List[str]]:
    """Arguments but those of the blocks, planes of the last four levels, and the prefix of each one's first block."""
    in_chans = shapes.of('base_layer.0.weight')[1]
    levels = [sum(len(v) == 4 for k, v in shapes.items() if k.startswith(f'level{i}.')) for i in (0, 1)]
    channels = [shapes.of(f'level{i}.0.weight')[0] for i in (0, 1)]
    blocks = []
    for i in range(2, 6):
        block = f'level{i}.tree1.'
        while shapes.has(block + 'tree1.'):
            block += 'tree1.'
        blocks.append(block)
        levels.append(block.count('tree1'))
        channels.append(shapes.of(block + 'conv3.weight')[0])
    arguments = dict(
        in_chans=in_chans, levels=tuple(levels), channels=tuple(channels), **_classifier(shapes, channels[-1]))
    return arguments, tuple(channels[2:]), blocks


def _split(shapes: _Shapes, blocks: Sequence[str], width: int) -> Dict[str, Any]:
    """Arguments of the split, from the first block of each stage and the width of the groups in the first stage."""
    conv = shapes.of(f'{blocks[0]}convs.0.weight')
    whole = shapes.of(f'{blocks[0]}conv1.weight')[0]
    scale = whole // width
    if scale < 1 or scale * width != whole:
        raise CheckpointError(f'{blocks[0]}conv1.weight has {whole} channels, not a multiple of {width}.')
    # in any: stage 1 has no such block where the stem is as wide as its output
    convolved = scale > 1 and any(f'{block}convs.{scale - 1}.weight' in shapes for block in blocks)
    return dict(
        scale=scale, cardinality=conv[0] // conv[1], first_block='parallel_conv' if convolved else 'parallel')


def _attention(shapes: _Shapes, blocks: Sequence[str]) -> Tuple[Dict[str, Any], Tuple[Tuple[int, ...], ...]]:
    arguments: Dict[str, Any] = {}
    squeezes: Tuple[Tuple[int, ...], ...] = ()
    for module, position in _POSITIONS.items():
        for parameter, layer in ATTENTION.items():
            names = [f'{block}{module}{parameter}' for block in blocks]
            if not all(name in shapes for name in names) or layer == 'se' and not _is_se(shapes, names[0]):
                continue
            arguments.update(attn_layer=layer, attn_position=position)
            if layer == 'se':
                squeezes = tuple(shapes.of(name) for name in names)
                arguments['rd_ratio'] = _rd_ratio(squeezes)
                if arguments['rd_ratio'] is None:
                    raise CheckpointError(f'{names[0]} fits no rd_ratio.')
    return arguments, squeezes


def _is_se(shapes: _Shapes, first: str) -> bool:
    """Not split attention, which convolves before it, nor that of coordinates, whose layers are linear."""
    return len(shapes[first]) == 4 and f'{first.removesuffix("fc1.weight")}conv.weight' not in shapes


def squeezes_by(ratio: float, squeezes: Sequence[Tuple[int, ...]]) -> bool:
    """Whether a reduction ratio gives all the shapes (squeezed, channels, 1, 1); several may in narrow networks."""
    return all(make_divisible(s[1] * ratio, 8, round_limit=0.) == s[0] for s in squeezes)


def _rd_ratio(squeezes: Sequence[Tuple[int, ...]]) -> Optional[float]:
    """The reduction ratio that gives all the shapes (squeezed, channels, 1, 1), a usual one if there is one."""
    ratios = (*_RD_RATIOS, squeezes[-1][0] / squeezes[-1][1])
    return next((r for r in ratios if squeezes_by(r, squeezes)), None)
