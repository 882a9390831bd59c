"""Fold norms into the convolutions before them: the same function, fewer operations, for inference only.

With batch statistics fixed, norm(conv(x)) is one convolution with weight W * g / sqrt(var + eps) and bias
b - mean * g / sqrt(var + eps). Blocks and networks say which norm follows which convolution (`conv_norm_acts`), and
timm's `reparameterize_model` and the `--reparam` of its validate.py, benchmark.py and onnx_export.py fold them through
`reparameterize`.
"""
import copy
from typing import Any, Iterator, List, Optional, Tuple, cast

import torch
from timm.layers import BlurPool2d
from timm.models.dla import DlaRoot
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops.misc import FrozenBatchNorm2d

from .arguments import unwrapped

ConvNormAct = Tuple[nn.Conv2d, Any, Optional[nn.Module]]
FOLDABLE = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


def in_sequence(layers: nn.Sequential) -> Iterator[ConvNormAct]:
    """The convolutions of a Sequential with what follows them: a norm, then an activation or nothing."""
    modules = list(layers)
    for conv, norm, act in zip(modules, modules[1:], [*modules[2:], None], strict=False):
        if isinstance(conv, nn.Conv2d) and not isinstance(norm, (nn.Conv2d, nn.AvgPool2d, BlurPool2d)):
            yield conv, norm, act


def conv_norm_acts(model: nn.Module) -> List[ConvNormAct]:
    """Every convolution of a model with the norm and, if there is one, the activation that follow it directly."""
    found: List[ConvNormAct] = []
    module: Any
    for module in model.modules():
        if isinstance(module, FoldHook):
            found += module.network[0].stem_conv_norm_act()
        elif hasattr(module, 'conv_norm_acts'):
            found += module.conv_norm_acts()
        elif isinstance(module, DlaRoot):
            found.append((module.conv, module.bn, None if module.shortcut else module.relu))
        elif type(module) is nn.Sequential:
            found += in_sequence(module)
    return found


def fold_norms(model: nn.Module) -> None:
    """Fold all norms of a model or a part of it, in place and all or none; a second time changes nothing.

    These are the norms that directly follow a convolution of stem, blocks, shortcuts and roots. Norms inside an
    attention layer of timm, or after the blur of an anti-aliased stem pooling, stay.

    Convolutions and norms are changed rather than replaced (a norm becomes an Identity), since timm's feature
    extractors hold the modules of a stem by references of their own.

    Raises:
        ValueError: A norm has no fixed statistics, such as a group norm.
    """
    found = conv_norm_acts(model)
    if not found or not any(hasattr(m, 'conv_norm_acts') for m in model.modules()):
        raise ValueError(
            f'{type(model).__name__} shows no blocks of timm_res2net, nothing can be folded: fold the model before it '
            'is traced.')
    pairs = [(conv, norm) for conv, norm, _ in found if type(norm) is not nn.Identity]
    for _, norm in pairs:
        if type(norm) not in FOLDABLE or norm.running_mean is None:
            raise ValueError(
                f'{norm} cannot be folded: only batch norms with running statistics are a convolution at inference, '
                "use norm_layer='batchnorm2d'.")
    for conv, norm in pairs:
        w, b, mean, var, gain, shift = (cast(torch.Tensor, v if v is None else v.detach().double()) for v in (
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias))
        weight, bias = fuse_conv_bn_weights(w, b, mean, var, norm.eps, gain, shift)
        conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=False)
        norm.__class__ = nn.Identity
        norm.__dict__ = nn.Identity().__dict__
    model.eval()


def fold(model: nn.Module) -> nn.Module:
    """A copy of a model with norms folded into their convolutions, see `fold_norms`; outputs differ by rounding only.

    Args:
        model: One of this package, or timm's feature extractor around one, in eval mode; possibly compiled.

    Raises:
        ValueError: The model is in training mode, or it has a norm that cannot be folded.
    """
    model = unwrapped(model)
    if model.training:
        raise ValueError('The model is in training mode, where norms use batch statistics: call model.eval() first.')
    model = copy.deepcopy(model)
    fold_norms(model)
    return model


class FoldHook(nn.Module):
    """Where timm's `reparameterize_model` finds our networks, since it asks the children of a model but not the model.

    It comes first among the children and passes on what it is given, because timm's feature extractors run the
    children of a network one after the other.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = (network,)  # not registered: the network is the parent

    @classmethod
    def install(cls, network: nn.Module) -> None:
        """Put the hook before the other children."""
        children = dict(network._modules)
        network._modules.clear()
        network._modules['fold_hook'] = cls(network)
        network._modules.update(children)

    def reparameterize(self) -> None:
        fold_norms(self.network[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x
