"""`Res2Net` with the attributes, the children and the behaviour of the authors' classes, which derive from it."""
from typing import Any, ClassVar, Dict, Iterator, Optional, Sequence

import timm
import torch
from timm.models import get_pretrained_cfg
from torch import nn

from ..model.arguments import check_ints
from ..model.data_cfg import OF_THE_WEIGHTS
from ..model.fold import ConvNormAct, in_stem
from ..model.networks import Network, Res2Net
from ..model.variants import FREE_FORM
from ..weights.comparing import undisturbed
from ..weights.writing import difference


class _Blocks:
    """Makes the blocks of a network one by one, as timm's stages call for them."""

    def __init__(self, block: Any, layers: Sequence[int], **arguments: Any) -> None:
        self.block, self.expansion, self.arguments = block, block.expansion, arguments
        self.stypes = iter([stype for n in layers for stype in ['stage'] + ['normal'] * (n - 1)])

    def __call__(self, inplanes, planes, stride, downsample, **_):  # the rest is what the authors' blocks have not
        return self.block(
            inplanes, planes, stride=stride, downsample=downsample, stype=next(self.stypes), **self.arguments)


class OfficialNetwork(Res2Net):
    """(B, 3, H, W) -> (B, num_classes), with the children conv1, bn1, relu, maxpool, layer1 .. layer4, avgpool, fc.

    Each of them may be replaced, the next call uses what is there. State dicts have the names and the order of the
    authors' files. The same seed gives the same start as there.

    Attributes:
        num_classes: Of the `fc` that is there.
        inplanes, baseWidth, scale: As in the authors' classes.
    """
    form: ClassVar[Dict[str, Any]] = {}  # arguments of ours that the class stands for
    relu_in_place: ClassVar[bool] = True  # `relu` overwrites what came out of `bn1`
    child_names: ClassVar[Dict[str, str]] = {'act1': 'relu', 'global_pool': 'avgpool'}  # timm's name -> the authors'
    names_of_timm = True  # while its code builds

    def __init__(
            self,
            block: Any,
            layers: Sequence[int],
            num_classes: int,
            baseWidth: int,
            scale: int,
            **of_block: int,
    ) -> None:
        """
        Args:
            block: `Bottle2neck`, or a block of one's own that takes its arguments and has its `expansion`.
            layers: Blocks of each of the four stages.
            num_classes: Classes, 0 for pooled features.
            baseWidth, scale: Of the blocks.
            **of_block: What else blocks take, besides what tells one block from another.

        Raises:
            TypeError, ValueError: An argument of the wrong kind or value, named in the message.
        """
        if not isinstance(getattr(block, 'expansion', None), int):
            raise TypeError(f'block={block!r} has no expansion, give Bottle2neck or a block with its arguments.')
        layers = check_ints('layers', layers, 4)
        arguments: Dict[str, Any] = dict(
            self.form, layers=layers, base_width=baseWidth, scale=scale, **of_block, num_classes=num_classes)
        self.block = _Blocks(  # type: ignore[misc]  # for the next line alone
            block, layers, baseWidth=baseWidth, scale=scale, **of_block)
        super().__init__(zero_init_last=False, **arguments)
        del self.block
        self.relu = nn.ReLU(self.relu_in_place)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.inplanes, self.baseWidth, self.scale = self.num_features, baseWidth, scale
        self.feature_info[0]['module'] = 'relu'
        self.describe_as(FREE_FORM, **arguments)
        self.names_of_timm = False

    # timm reads and sets some children under its own names; whoever has a layer of such a name beside them, has it so

    def __getattr__(self, name: str) -> Any:
        children = self.__dict__.get('_modules', ())
        return super().__getattr__(name if name in children else self.child_names.get(name, name))

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(self.child_names.get(name, name) if self.names_of_timm else name, value)
        if isinstance(value, nn.Module) and hasattr(type(self), name):  # `block`, say: before that of the class
            self.__dict__[name] = value
        if name == 'fc':
            layers = value.modules() if isinstance(value, nn.Module) else ()
            self.num_classes = ([m.out_features for m in layers if isinstance(m, nn.Linear)] or [0])[-1]

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """(B, C, H, W) -> (B, num_classes), or pooled features (B, C)."""
        x = self.avgpool(x)
        x = x.flatten(1)
        return x if pre_logits else self.fc(x)

    def reset_classifier(self, num_classes: int, global_pool: Optional[str] = None) -> None:
        """As timm's: a new `fc`, 0 classes for none. `avgpool` stays what it is unless another pool is given.

        Raises:
            TypeError, ValueError: As the constructor of `Res2Net`; the network is as it was.
        """
        avgpool = self.avgpool
        self.names_of_timm = True
        try:
            super().reset_classifier(num_classes, global_pool or 'avg')
        finally:
            self.names_of_timm = False
        if global_pool is None:
            self.avgpool = avgpool

    def conv_norm_acts(self) -> Iterator[ConvNormAct]:
        """The stem's last convolution with the norm and the activation that follow it; see `fold`."""
        return in_stem(self.conv1, self.bn1, self.relu)

    def describe_as(self, variant: str, **arguments: Any) -> None:
        """Say which variant this is, and with which arguments; it has no weights of the variant's."""
        cfg: Any = get_pretrained_cfg(variant)
        self.pretrained_cfg = {**cfg.to_dict(), 'architecture': variant, **dict.fromkeys(OF_THE_WEIGHTS)}
        self.default_cfg = self.pretrained_cfg
        self.model_args = arguments

    @undisturbed()
    def as_variant(self) -> Network:
        """The same network with the same weights as `timm.create_model` builds it: this is what is saved and pushed.

        Raises:
            ValueError: The network computes something else by now: a child was replaced, a method overridden. Or it
                is on the meta device.
        """
        variant = self.pretrained_cfg['architecture']
        built: Any = timm.create_model(variant, **{**self.model_args, 'num_classes': self.num_classes})
        changed = difference(self, built)
        if changed:
            raise ValueError(f'The model was changed after it was built and is no {variant} any more: {changed}.')
        built.pretrained_cfg = built.default_cfg = self.pretrained_cfg
        if hasattr(self, 'origin'):
            built.origin = self.origin
        return built.train(self.training).to(next(self.parameters()))
