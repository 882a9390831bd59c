"""The architecture behind a set of weights: names and shapes -> class, arguments, registered variant.

Names and shapes tell depth, widths, scale, cardinality, stem, shortcut, attention, classes and input channels. They do
not tell what has no weights: strides, activation, anti-aliasing, the form of the first block (except 'parallel_conv',
which has one more convolution), so these are the class's defaults, or those of the registered variant that matches.
"""
import inspect
import math
from fractions import Fraction
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type

import timm
from timm.layers import make_divisible
from timm.models import is_model, model_entrypoint
from torch import Tensor, nn

from .arguments import check_width
from .blocks import default_first_block
from .cifar import Res2NetCifar
from .networks import LAYERS, Res2Net, Res2NetDla
from .reading import CheckpointError

DESCRIBE = object()  # in place of `pretrained`: a variant returns its class and arguments instead of a model
FREE_FORM = 'res2net_custom'
_RD_RATIOS = (1 / 16, 1 / 8, 1 / 4, 1 / 32, 1 / 2)
_ATTENTION = {'fc1.weight': 'se', 'fc.weight': 'ese', 'conv.weight': 'eca'}  # parameter -> timm's name of the layer
HEAD = ('num_classes', 'in_chans', 'global_pool')  # how a variant is used, not what it is


def variants() -> List[str]:
    """Names of the registered variants."""
    return timm.list_models('*_custom', module='res2net_custom')


def variant_arguments(name: str) -> Tuple[Type[nn.Module], Dict[str, Any]]:
    """Class and arguments of a registered variant, without building it."""
    return model_entrypoint(name)(pretrained=DESCRIBE)


def is_variant(name: str) -> bool:
    """Whether `name` is one of the registered variants."""
    return is_model(name) and name in variants()


def variant_of(name: str) -> str:
    """The registered variant that a name means: with a tag, or without our suffix as timm calls its own; '' if none."""
    name = name.partition('.')[0]
    return next((n for n in (name, f'{name}_custom') if is_variant(n)), '')


def complete(cls: Type[nn.Module], arguments: Dict[str, Any]) -> Dict[str, Any]:
    """All arguments of a network, defaults filled in, in one spelling."""
    defaults = {k: p.default for k, p in inspect.signature(cls.__init__).parameters.items()
                if p.default is not p.empty and k not in ('device', 'dtype')}
    full = {**defaults, **arguments}
    if 'depth' in full:
        depth = full.pop('depth')
        full['layers'] = full['layers'] or LAYERS[depth or 50]
    if full['first_block'] is None:
        full['first_block'] = default_first_block(full['stride_position'])
    if full['attn_layer'] == 'se' and full['rd_ratio'] is None:
        full['rd_ratio'] = 1 / 16
    if 'stem_type' in full:
        full['stem_width'] = full['stem_width'] or (32 if full['stem_type'] else 64)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in full.items()}


class Recognised:
    """What names and shapes tell about a network.

    Attributes:
        cls: Its class.
        arguments: What could be read off, without `base_width`.
        planes: Planes of each stage, as `check_width` takes them.
        widths: Channels of one group of the split in each stage.
    """

    def __init__(self, state: Dict[str, Tensor], paddle: bool = False) -> None:
        self.shapes = {k: tuple(v.shape) for k, v in state.items()}
        self.cls: Type[nn.Module] = Res2NetDla
        self.arguments: Dict[str, Any] = {}
        if 'base_layer.0.weight' in state:
            blocks = self._dla()
        elif 'layer1.0.conv1.weight' in state and any(k.startswith('layer3.') for k in state):
            self.cls = Res2Net if any(k.startswith('layer4.') for k in state) else Res2NetCifar
            blocks = self._resnet()
        else:
            raise CheckpointError(
                f'it is not a Res2Net: neither layer1.0.conv1.weight nor base_layer.0.weight is among its '
                f'{len(state)} entries ({", ".join(list(state)[:3])}, ...).')
        if self.cls is not Res2NetDla and not any(k.endswith('.running_mean') for k in state):
            self.arguments['norm_layer'] = 'groupnorm'  # which norm cannot be read off, groupnorm is the common one
        self._split(blocks)
        self._attention(blocks)
        self.arguments['first_block'] = 'paddle' if paddle else self.arguments['first_block']

    def _shape(self, name: str, ndim: Optional[int] = 4) -> Tuple[int, ...]:
        shape = self.shapes.get(name)
        if shape is None:
            raise CheckpointError(f'{name} is missing, so the architecture cannot be told.')
        if ndim is not None and len(shape) != ndim or 0 in shape:
            raise CheckpointError(f'{name} has shape {shape} instead of {ndim} dimensions.')
        return shape

    def _count(self, pattern: str) -> int:
        """Consecutive blocks: the first i for which no name starts with `pattern.format(i)`."""
        i = 0
        while any(k.startswith(pattern.format(i)) for k in self.shapes):
            i += 1
        return i

    def _classifier(self, features: int) -> None:
        shape = self.shapes.get('fc.weight')
        self.arguments['num_classes'] = shape[0] if shape else 0
        if shape and len(shape) > 1 and shape[1] == 2 * features:
            self.arguments['global_pool'] = 'catavgmax'

    def _resnet(self) -> List[str]:
        args, stages = self.arguments, 4 if self.cls is Res2Net else 3
        args['layers'] = tuple(self._count(f'layer{s + 1}.{{}}.') for s in range(stages))
        last = [self._shape(f'layer{s + 1}.0.conv3.weight')[0] for s in range(stages)]
        if any(n % 4 for n in last):
            raise CheckpointError(f'its stages have {last} channels, which are not multiples of 4.')
        args['channels'] = tuple(n // 4 for n in last)
        self.planes = args['channels']
        self._classifier(last[-1])
        deep = 'conv1.0.weight' in self.shapes
        first, args['in_chans'] = self._shape('conv1.0.weight' if deep else 'conv1.weight')[:2]
        if self.cls is Res2NetCifar:
            args['stem_width'] = first
        elif deep:
            second = self._shape('conv1.3.weight')[0]
            args.update(stem_type='deep' if first == second else 'deep_tiered', stem_width=second)
        if self.cls is Res2Net:
            args['replace_stem_pool'] = 'maxpool.0.weight' in self.shapes
        args['avg_down'] = len(self.shapes.get('layer2.0.downsample.1.weight', ())) == 4
        if not args['avg_down']:
            args['down_kernel_size'] = self._shape('layer2.0.downsample.0.weight')[-1]
        return [f'layer{s + 1}.0.' for s in range(stages)]

    def _dla(self) -> List[str]:
        args, blocks = self.arguments, []  # type: Dict[str, Any], List[str]
        first, args['in_chans'] = self._shape('base_layer.0.weight')[:2]
        levels = [sum(len(v) == 4 for k, v in self.shapes.items() if k.startswith(f'level{i}.')) for i in (0, 1)]
        channels = [self._shape(f'level{i}.0.weight')[0] for i in (0, 1)]
        for i in range(2, 6):
            block = f'level{i}.tree1.'
            while any(k.startswith(block + 'tree1.') for k in self.shapes):
                block += 'tree1.'
            blocks.append(block)
            levels.append(block.count('tree1'))
            channels.append(self._shape(block + 'conv3.weight')[0])
        args.update(levels=tuple(levels), channels=tuple(channels))
        self.planes = tuple(channels[2:])
        self._classifier(channels[-1])
        return blocks

    def _split(self, blocks: Sequence[str]) -> None:
        convs = [self._shape(b + 'convs.0.weight') for b in blocks]
        self.widths = tuple(s[0] for s in convs)
        whole = self._shape(blocks[0] + 'conv1.weight')[0]
        scale = whole // self.widths[0]
        self.arguments.update(scale=scale, cardinality=convs[0][0] // convs[0][1], first_block='parallel')
        if scale < 1 or scale * self.widths[0] != whole:
            raise CheckpointError(f'{blocks[0]}conv1.weight has {whole} channels, not a multiple of {self.widths[0]}.')
        if scale > 1 and f'{blocks[0]}convs.{scale - 1}.weight' in self.shapes:
            self.arguments['first_block'] = 'parallel_conv'

    def _attention(self, blocks: Sequence[str]) -> None:
        for position, module in (('output', 'se.'), ('split', 'split_attn.')):
            for parameter, layer in _ATTENTION.items():
                shapes = [self.shapes[b + module + parameter] for b in blocks if b + module + parameter in self.shapes]
                if not shapes or len(shapes) < len(blocks):
                    continue
                self.arguments.update(attn_layer=layer, attn_position=position)
                if layer == 'se':
                    ratios = _RD_RATIOS + (shapes[-1][0] / shapes[-1][1],)
                    fits = [
                        r for r in ratios if all(make_divisible(s[1] * r, 8, round_limit=0.) == s[0] for s in shapes)]
                    if not fits:
                        raise CheckpointError(f'{blocks[0]}{module}{parameter} fits no rd_ratio.')
                    self.arguments['rd_ratio'] = fits[0]

    def fits(self, base_width: float) -> bool:
        """Whether `base_width` gives the widths of the file."""
        halved = 2 if self.cls is Res2NetDla else 1
        try:
            widths = [check_width(p, base_width, self.arguments['cardinality']) // halved for p in self.planes]
        except ValueError:
            return False
        return tuple(widths) == self.widths

    def smallest_base_width(self) -> float:
        """The smallest `base_width` that gives the widths of the file, an integer if there is one."""
        c, halved = self.arguments['cardinality'], 2 if self.cls is Res2NetDla else 1
        low = max(Fraction(64 * -(-w * halved // c), p) for p, w in zip(self.planes, self.widths, strict=True))
        for value in (math.ceil(low), float(low), math.nextafter(float(low), math.inf)):
            if self.fits(value):
                return value
        raise CheckpointError(
            f'its group widths {self.widths} at {self.planes} planes are not floor(planes * base_width / 64) * {c} '
            'for any base_width.')

    def matches(self, cls: Type[nn.Module], arguments: Dict[str, Any], visible_only: bool = False) -> bool:
        """Whether a network with these arguments has the weights of the file.

        Args:
            visible_only: Accept any first-block form with the right number of convolutions.
        """
        full = complete(cls, arguments)
        own = complete(self.cls, self.arguments)
        if visible_only:
            full, own = ({
                **a,
                'first_block': a['first_block'] == 'parallel_conv',
                'norm_layer': a.get('norm_layer') == 'batchnorm2d',
            } for a in (full, own))
        return cls is self.cls and all(full[k] == own[k] for k in self.visible()) and self.fits(full['base_width'])

    def visible(self) -> List[str]:
        """Names of the arguments that names and shapes tell, without `base_width` and those of `HEAD`."""
        keys = [k for k in self.arguments if k not in HEAD] + ['attn_layer', 'rd_ratio', 'first_block']
        if self.cls is not Res2NetDla:
            keys.append('norm_layer')
        if self.cls is Res2Net:
            keys += ['stem_type', 'stem_width']
        return list(dict.fromkeys(keys))

    def differing(self, cls: Type[nn.Module], arguments: Dict[str, Any]) -> Dict[str, Any]:
        """What makes a network with these arguments the one of the file.

        What has no weights stays as it is if the channels are the same, else it is the class's default.
        """
        full, own = complete(cls, arguments), complete(self.cls, self.arguments)
        if 'channels' not in self.arguments or full['channels'] == own['channels']:
            told = {*self.visible(), *HEAD}
            own.update({k: v for k, v in full.items() if k not in told})
        blocks = {full['first_block'], own['first_block']}
        if own['first_block'] != 'paddle' and 'parallel_conv' not in blocks:
            own['first_block'] = full['first_block']
        result = {k: v for k, v in own.items() if k != 'base_width' and v != full[k]}
        if not self.fits(full['base_width']):
            result['base_width'] = self.smallest_base_width()
        return result


def match(found: Recognised, hint: Tuple[str, Dict[str, Any]] = ('', {})) -> Tuple[str, Dict[str, Any]]:
    """The registered variant of a recognised network, and the arguments in which it differs from the variant.

    Args:
        hint: Variant and arguments that come with the weights; taken where names and shapes do not contradict them,
            since they also tell what has no weights.
    """
    variant = variant_of(hint[0])
    if variant:
        head = complete(found.cls, {k: v for k, v in found.arguments.items() if k in HEAD})
        head = {k: head[k] for k in HEAD}
        cls, defaults = variant_arguments(variant)
        known = complete(cls, {})
        given = {k: v for k, v in hint[1].items() if k in known or k == 'depth'}
        paddle_lost = found.arguments['first_block'] == 'paddle' != complete(cls, {**defaults, **given})['first_block']
        if 'layers' in given or 'depth' in given:  # as `build` does
            defaults = {k: v for k, v in defaults.items() if k not in ('layers', 'depth')}
        if found.matches(cls, {**defaults, **given}, visible_only=True) and not paddle_lost:
            given = {k: v for k, v in given.items() if k not in HEAD or k == 'global_pool'}
            told = {**known, **defaults, **given}
            if 'global_pool' not in found.arguments and told['global_pool'] != 'catavgmax':
                head.pop('global_pool')  # average or maximum, that has no weights
            differing = {k: v for k, v in head.items() if v != told[k]}
            return variant, {**given, **differing}
    names = sorted(variants(), key=lambda name: name == FREE_FORM)
    described = {name: variant_arguments(name) for name in names}
    for name in names:
        cls, defaults = described[name]
        if found.matches(cls, defaults):
            return name, found.differing(cls, defaults)
    candidates = []
    for name in names:
        cls, defaults = described[name]
        if cls is found.cls and (name == FREE_FORM or cls is not Res2Net):
            candidates.append((name, found.differing(cls, defaults)))
    return min(candidates, key=lambda candidate: len(candidate[1]))
