"""Fold norms into the convolutions before them: the same function, fewer operations, for inference only.

With batch statistics fixed, norm(conv(x)) is one convolution with weight W * g / sqrt(var + eps) and bias
b - mean * g / sqrt(var + eps). timm's `reparameterize_model` and the `--reparam` of its validate.py, benchmark.py and
onnx_export.py fold every block with its shortcut, through `reparameterize`; they ask the children of a model and not
the model itself, so that the stem's norm, and in DLA those outside the blocks, are left. `fold` and the model's own
`reparameterize` fold these too.
"""
import copy
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Type, cast

import torch
from timm.layers import DropBlock2d, DropPath
from timm.models.dla import DlaRoot
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops.misc import FrozenBatchNorm2d

from .wrappers import unwrapped

ConvNormAct = Tuple[nn.Conv2d, Any, Optional[nn.Module]]
FOLDABLE = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


def in_sequence(layers: Iterable[nn.Module]) -> Iterator[ConvNormAct]:
    """The convolutions of layers run one after the other, with what follows: a norm, then an activation or nothing."""
    modules = list(layers)
    for conv, norm, act in zip(modules, modules[1:], [*modules[2:], None], strict=False):
        if isinstance(conv, nn.Conv2d) and (hasattr(norm, 'eps') or type(norm) is nn.Identity):  # not anti-aliasing
            yield conv, norm, act


def in_stem(conv: nn.Module, norm: nn.Module, act: nn.Module) -> Iterator[ConvNormAct]:
    """The last convolution of a stem, of one or of several, with what follows it."""
    return in_sequence((conv[-1] if isinstance(conv, nn.Sequential) else conv, norm, act))


def conv_norm_acts(model: nn.Module) -> List[ConvNormAct]:
    """Every convolution of a model with the norm and, if there is one, the activation that follow it directly."""
    found: List[ConvNormAct] = []
    module: Any
    for module in model.modules():
        children = dict(module.named_children())
        if hasattr(module, 'conv_norm_acts'):  # a block, or a network whose stem has other names
            found += module.conv_norm_acts()
        elif isinstance(module, DlaRoot):
            found.append((module.conv, module.bn, None if module.shortcut else module.relu))
        elif type(module) is nn.Sequential:
            found += in_sequence(module)
        elif {'conv1', 'bn1', 'act1'} <= children.keys():  # the stem of a network or of timm's extractor around one
            found += in_stem(children['conv1'], children['bn1'], children['act1'])
    return found


def replace_modules(model: nn.Module, new: Dict[nn.Module, nn.Module]) -> None:
    """Put new modules in the place of old ones, in every module of `model` that holds them."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # under all its names, which named_children() does not give
            if child in new:
                setattr(parent, name, new[child])


def fold_norms(model: nn.Module) -> None:
    """Fold all norms of a model or a part of it, in place and all or none; a second time changes nothing.

    These are the norms that directly follow a convolution of stem, blocks, shortcuts and roots. Norms inside an
    attention layer of timm, or after the blur of an anti-aliased stem pooling, stay. A folded norm becomes an Identity.

    Raises:
        ValueError: A norm has no fixed statistics, such as a group norm.
    """
    found = conv_norm_acts(model)
    if not found or not any(hasattr(m, 'conv_norm_acts') for m in model.modules()):
        raise ValueError(
            f'{type(model).__name__} shows no blocks of timm_res2net, nothing can be folded: fold the model before it '
            'is traced.')
    pairs = {norm: conv for conv, norm, _ in found if type(norm) is not nn.Identity}  # once each
    for norm in pairs:
        if type(norm) not in FOLDABLE or norm.running_mean is None:
            raise ValueError(
                f'{norm} cannot be folded: only batch norms with running statistics are a convolution at inference, '
                "use norm_layer='batchnorm2d'.")
    names = {module: name for name, module in model.named_modules()}
    for conv in pairs.values():
        if not isinstance(conv._parameters.get('weight'), nn.Parameter):
            raise ValueError(
                f'{names[conv]}.weight is computed at each call (pruned, or parametrized), its norm cannot be folded: '
                'make it permanent, by torch.nn.utils.prune.remove or parametrize.remove_parametrizations say.')
    for norm, conv in pairs.items():
        w, b, mean, var, gain, shift = (cast(torch.Tensor, v if v is None else v.detach().double()) for v in (
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias))
        weight, bias = fuse_conv_bn_weights(w, b, mean, var, norm.eps, gain, shift)
        conv.weight = nn.Parameter(weight.to(conv.weight), requires_grad=False)
        conv.bias = nn.Parameter(bias.to(conv.weight), requires_grad=False)
        neutral = (norm.running_mean, 0), (norm.running_var, 1 - norm.eps), (norm.weight, 1), (norm.bias, 0)
        for value, number in neutral:
            if value is not None:  # whoever outside `model` holds conv and norm computes the same as before
                value.data.fill_(number)
    replace_modules(model, {norm: nn.Identity() for norm in pairs})
    model.eval()


_DIFFERS_IN_TRAINING = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, DropPath, DropBlock2d


def check_inference(model: Any) -> None:
    """Raise a TypeError for what is no network, a ValueError for one that is in training mode or has parts in it."""
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f'model is {type(model).__module__}.{type(model).__name__}, it must be a network, a torch.nn.Module that '
            'has not been scripted.')
    training = next((name for name, module in model.named_modules() if module.training and (
        module is model or isinstance(module, _DIFFERS_IN_TRAINING))), None)
    if training is not None:
        part = f', its {training}' if training else ''
        raise ValueError(f'The model{part} is in training mode: call model.eval() first.')


def check_weights(state: Mapping[str, Any], error: Type[ValueError] = ValueError) -> None:
    """Raise an error for the state dict of a model on the meta device, which has shapes and no values."""
    empty = next((name for name, value in state.items() if getattr(value, 'is_meta', False)), None)
    if empty is not None:
        raise error(
            f'the model has no values on the meta device ({empty}): build it outside torch.device(\'meta\'), or give '
            "it memory by model.to_empty(device='cpu') and load weights into it by timm_res2net.load_checkpoint.")


def copied(model: nn.Module) -> nn.Module:
    """A copy, or a TypeError for a model that holds what cannot be copied, such as a lock or an open file."""
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        raise TypeError(f'The model cannot be copied ({error}): take away the attribute that cannot.') from error


@torch.inference_mode(False)  # or its weights could not be used where gradients are asked for
def fold(model: nn.Module) -> nn.Module:
    """A copy of a model with norms folded into their convolutions, see `fold_norms`; outputs differ by rounding only.

    Args:
        model: One of this package, or timm's feature extractor around one, in eval mode; possibly compiled.

    Raises:
        TypeError: It is no network, torch.jit has scripted it, or it cannot be copied.
        ValueError: A part of it is in training mode, or it has a norm that cannot be folded.
    """
    model = unwrapped(model)
    check_inference(model)
    model = copied(model)
    fold_norms(model)
    return model
