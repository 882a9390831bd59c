"""Which part of the image a unit sees: by the architecture, path by path, and by the gradients of a trained model.

Theoretical. A path through a network is a choice, in every block, of the shortcut or of one way through the
hierarchical split, where y_i is reached through 1 to i - 1 convolutions (paper, equation 1). Each path sees a window of
the image; the largest is what is usually called the receptive field. `receptive_fields(model)` follows all of them at
once: a window is (pixels before, pixels after) the centre, and a convolution of kernel k, padding p, dilation d at a
distance j of neighbouring units in the image adds p * j before and ((k - 1) * d - p) * j after. Only convolutions and
pools count: channel attention and norms with spatial statistics see the whole map.

Effective. `effective_receptive_field(model, images)` is the gradient of the centre unit of a layer with respect to the
image, as in Luo et al., `Understanding the Effective Receptive Field in Deep Convolutional Neural Networks`,
https://arxiv.org/abs/1701.04128, averaged over images.
"""
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple, cast

import torch
from timm.layers import BlurPool2d
from torch import nn

from ..model.blocks import Res2NetBlock
from ..model.cifar import Res2NetCifar
from ..model.dilation import Dilated
from ..model.dla import Res2NetDla
from ..model.layers import resolve_layer
from ..model.networks import Res2Net
from .examined import check_images
from .find_layer import find_layer

Window = Tuple[int, int]  # pixels before and after the centre


@dataclass(frozen=True)
class Field:
    """What one unit of a map sees.

    Attributes:
        jump: Distance in the image of neighbouring units, in pixels: the stride of the map.
        paths: Window in pixels (before, after) -> number of paths with it.
    """
    jump: int
    paths: Dict[Window, int]

    def through(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> 'Field':
        """The field behind a convolution or pool."""
        before, after = padding * self.jump, ((kernel - 1) * dilation - padding) * self.jump
        return Field(self.jump * stride, {(b + before, a + after): n for (b, a), n in self.paths.items()})

    def __add__(self, other: 'Field') -> 'Field':
        """The field of a sum or a concatenation of two maps."""
        return Field(self.jump, dict(Counter(self.paths) + Counter(other.paths)))

    @property
    def window(self) -> Window:
        """What all paths together see, in pixels before and after the centre."""
        return max(b for b, _ in self.paths), max(a for _, a in self.paths)

    @property
    def largest(self) -> int:
        """Side of the window that all paths together see, in pixels: the receptive field."""
        return sum(self.window) + 1

    @property
    def smallest(self) -> int:
        """Side of the smallest window of a single path, in pixels."""
        return min(b + a + 1 for b, a in self.paths)

    def shares(self) -> Dict[int, float]:
        """Side of a path's window in pixels -> share of all paths, by size."""
        sides: Counter = Counter()
        for (before, after), n in self.paths.items():
            sides[before + after + 1] += n
        total = sum(sides.values())
        return {side: sides[side] / total for side in sorted(sides)}


@dataclass(frozen=True)
class Group:
    """One group of a hierarchical split: its channels and what they see; the paper's y_1 is the last."""
    channels: int
    field: Field


@dataclass(frozen=True)
class Layer:
    """A stem layer or a block: its name in the model, its output, and the groups inside a block."""
    name: str
    field: Field
    groups: Tuple[Group, ...] = ()


def receptive_fields(model: nn.Module) -> List[Layer]:
    """The theoretical receptive fields of a model, layer by layer, and group by group inside its blocks.

    Args:
        model: `Res2Net`, `Res2NetCifar` or `Res2NetDla`; `scale=1` is the ResNet to compare with.

    Raises:
        TypeError: Another kind of model, or one with anti-aliasing of one's own, of which nothing is known.
    """
    layers: List[Layer] = []
    aa_layer = getattr(getattr(model, 'arguments', None), 'aa_layer', None)
    resolved = resolve_layer('aa_layer', aa_layer)
    aa_class = getattr(resolved, 'func', resolved)  # of a partial
    if aa_class is not None and not (
            isinstance(aa_class, type) and issubclass(aa_class, (nn.AvgPool2d, nn.MaxPool2d, nn.Conv2d, BlurPool2d))):
        raise TypeError(f"what aa_layer={aa_layer!r} sees is not known: use 'blur', 'avg' or a subclass of those.")
    field = Field(1, {(0, 0): 1})
    if isinstance(model, (Res2Net, Res2NetCifar)):
        for name in ('conv1', 'maxpool'):
            if hasattr(model, name):
                field = _plain(field, getattr(model, name))
                layers.append(Layer(name, field))
        for name, stage in model.named_children():
            if name.startswith('layer'):
                for i, block in enumerate(cast(Any, stage)):
                    field = _block(field, block, f'{name}.{i}', layers)
    elif isinstance(model, Res2NetDla):
        for name in ('base_layer', 'level0', 'level1'):
            field = _plain(field, getattr(model, name))
            layers.append(Layer(name, field))
        for name in ('level2', 'level3', 'level4', 'level5'):
            field = _tree(field, getattr(model, name), name, layers)
    else:
        raise TypeError(
            f'{type(model).__name__} is not a network of timm_res2net, take one of those, without a wrapper.')
    return layers


def table(layers: List[Layer]) -> str:
    """The layers as text: what groups see, then what the layer's output sees, in pixels."""
    lines = [f'{"layer":14} {"stride":>6} {"smallest":>9} {"largest":>8}   channels: largest, group by group']
    for layer in layers:
        groups = ', '.join(f'{g.channels}: {g.field.largest}' for g in layer.groups)
        field = layer.field
        lines.append(f'{layer.name:14} {field.jump:6} {field.smallest:9} {field.largest:8}   {groups}'.rstrip())
    return '\n'.join(lines)


def _plain(field: Field, module: Optional[nn.Module], dilation: int = 1) -> Field:
    """Through a layer or a Sequential of layers; what is neither a convolution nor a pool sees a single unit."""
    if isinstance(module, nn.Sequential):
        for layer in module:
            field = _plain(field, layer, dilation)
    elif isinstance(module, Dilated):
        field = _plain(field, module.layer, module.dilation)
    elif isinstance(module, nn.Conv2d):
        padding = cast(Tuple[int, int], module.padding)
        field = field.through(module.kernel_size[0], module.stride[0], padding[0], module.dilation[0])
    elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        kernel, step, outside = (
            v[0] if isinstance(v, tuple) else v for v in (module.kernel_size, module.stride, module.padding))
        field = field.through(kernel, step, outside * dilation, dilation)
    elif isinstance(module, BlurPool2d):
        field = field.through(
            module.filt_size, module.stride, cast(List[int], module.padding)[0] * dilation, dilation)
    return field


def _branch(field: Field, block: Res2NetBlock) -> Tuple[Field, Tuple[Group, ...]]:
    """The residual branch and the groups of its split; the same steps as `HierarchicalSplit.split`."""
    x = _plain(_plain(field, block.conv1), block.aa1)
    ys: List[Field] = []
    for i, conv in enumerate(block.convs):
        y = x if i == 0 or block.parallel else ys[-1] + x
        ys.append(_plain(_plain(y, conv), block.aa))
    if block.keep_last:
        ys.append(_plain(x, block.pool))
    out = ys[0]
    for y in ys[1:]:
        out = out + y
    return _plain(out, block.conv3), tuple(Group(block.width, y) for y in ys)


def _block(
        field: Field,
        block: Res2NetBlock,
        name: str,
        layers: List[Layer],
        shortcut: Optional[Field] = None,
) -> Field:
    out, groups = _branch(field, block)
    if shortcut is None:
        shortcut = _plain(field, getattr(block, 'downsample', None))
    out = out + shortcut
    layers.append(Layer(name, out, groups))
    return out


def _tree(
        field: Field,
        tree: Any,
        name: str,
        layers: List[Layer],
        children: Tuple[Field, ...] = (),
) -> Field:
    """Through one of DLA's trees, as its forward goes."""
    bottom = _plain(field, tree.downsample)
    if tree.level_root:
        children = (*children, bottom)
    if tree.root is None:
        x1 = _tree(field, tree.tree1, f'{name}.tree1', layers)
        return _tree(x1, tree.tree2, f'{name}.tree2', layers, (*children, x1))
    x1 = _block(field, tree.tree1, f'{name}.tree1', layers, _plain(bottom, tree.project))
    out = x2 = _block(x1, tree.tree2, f'{name}.tree2', layers)
    for child in (x1, *children):
        out = out + child
    if tree.root.shortcut:
        out = out + x2
    layers.append(Layer(f'{name}.root', out))
    return out


def effective_receptive_field(model: Any, images: torch.Tensor, layer: Optional[str] = None) -> torch.Tensor:
    """How much each pixel moves the centre unit of a layer: (H, W), of sum 1.

    The gradient of the sum over channels of the unit at the middle of the layer's output map, its absolute value summed
    over colours and averaged over images (Luo et al.).

    Args:
        model: In eval mode; its parameters are left as they are.
        images: (B, C, H, W), as the model takes them.
        layer: Name of a module of the model that returns a map, such as 'layer3', which is taken as it leaves that
            module; the last map by default.

    Raises:
        TypeError: The images are no tensor of that kind.
        ValueError: There is no such layer, or it returns no map.
    """
    seen: List[Any] = []

    def keep(_: nn.Module, args: Any, out: Any) -> Any:
        seen.append(out)
        return out.clone() if isinstance(out, torch.Tensor) else out  # in-place layers behind it get another

    with torch.inference_mode(False), torch.enable_grad():
        images = check_images(images).detach().clone().requires_grad_()
        if layer is None:
            seen.append(model.forward_features(images))
        else:
            handle = find_layer(model, layer).register_forward_hook(keep)
            try:
                model.forward_features(images)
            finally:
                handle.remove()
        if not seen or not isinstance(seen[0], torch.Tensor) or seen[0].ndim != 4:
            raise ValueError(f'layer={layer!r} returns no map (B, C, H, W), choose a convolution, a block or a stage.')
        return gradient_field(seen[0], images, (seen[0].shape[2] // 2, seen[0].shape[3] // 2))


def gradient_field(out: torch.Tensor, images: torch.Tensor, unit: Tuple[int, int], keep: bool = False) -> torch.Tensor:
    """How much each pixel moves one unit of a map, as `effective_receptive_field`: (H, W), of sum 1.

    Args:
        out: (B, C, h, w), computed from `images`.
        images: (B, C, H, W), a leaf that requires a gradient.
        unit: Row and column of the unit in the map.
        keep: Keep the graph, to ask for another unit or another map of it.
    """
    gradient, = torch.autograd.grad(out[:, :, unit[0], unit[1]].sum(), images, retain_graph=keep)
    field = gradient.abs().sum((0, 1))
    return field / field.sum().clamp_min(torch.finfo(field.dtype).tiny)  # a unit that nothing moves has none


def side_of_share(field: torch.Tensor, share: float = 0.5, centre: Optional[Tuple[int, int]] = None) -> int:
    """Side in pixels of the smallest centred square that holds a share of an effective receptive field.

    Args:
        field: (H, W) of sum 1, see `effective_receptive_field`.
        share: More than 0, less than 1.
        centre: Row and column of the square's middle, by default that of the image.
    """
    if not 0 < share < 1:
        raise ValueError(f'share={share!r} must be between 0 and 1.')
    h, w = field.shape
    row, column = (h // 2, w // 2) if centre is None else centre
    rows = (torch.arange(h) - row).abs()[:, None]
    columns = (torch.arange(w) - column).abs()[None]
    distance = torch.maximum(rows, columns).to(field.device)
    inside = torch.zeros(int(distance.max()) + 1, dtype=torch.float64, device=field.device)
    inside.index_add_(0, distance.flatten(), field.double().flatten())
    return 2 * int((inside.cumsum(0) < share).sum()) + 1
