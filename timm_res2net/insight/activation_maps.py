"""Class activation maps: where a model looks for a class, through the `grad-cam` library (extra `figures`).

Selvaraju et al., `Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization`,
https://arxiv.org/abs/1610.02391; the Res2Net paper's figure 4 compares such maps of ResNet-50 and Res2Net-50.
"""
from typing import Any, List, Optional, Sequence, Tuple, cast

import torch
from timm.layers import to_2tuple
from torch import nn

from .examined import check_images, examined
from .find_layer import find_layer

METHODS = {
    'gradcam': 'GradCAM', 'gradcam++': 'GradCAMPlusPlus', 'layercam': 'LayerCAM', 'eigencam': 'EigenCAM',
    'scorecam': 'ScoreCAM', 'xgradcam': 'XGradCAM'}


def last_stage(model: Any) -> str:
    """Name of the module with the last map of a model."""
    return model.feature_info[-1]['module']


def class_activation_maps(
        model: nn.Module,
        images: torch.Tensor,
        classes: Optional[Sequence[int]] = None,
        layer: Optional[str] = None,
        method: str = 'gradcam',
) -> torch.Tensor:
    """How much each pixel's surroundings speak for a class: (B, H, W) from 0 to 1, 1 the most in each image.

    Cells of the layer's map lie where their receptive fields are centred. grad-cam spreads them evenly over the image,
    which puts them (r - 1) / 2 pixels too far right and down for a map r times smaller than the image, if all strided
    layers have odd kernels and equal padding (ResNet, Res2Net; not vd and "d" shortcuts, which average 2x2). There the
    maps are moved back.

    Args:
        model: With a classifier; looked at in eval mode, and left as it is, with its gradients.
        images: (B, C, H, W), as the model takes them.
        classes: One index per image, the model's own answers by default.
        layer: Name of a module that returns a map, which is taken as it leaves that module; the last stage by default.
        method: One of `METHODS`.

    Raises:
        ImportError: grad-cam is not installed.
        TypeError: The images are no tensor of that kind.
        ValueError: There is no such layer, class or method, named in the message.
    """
    try:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as error:
        raise ImportError("class activation maps need grad-cam: pip install 'timm-res2net[figures]'") from error
    if method not in METHODS:
        raise ValueError(f'method={method!r} must be one of {", ".join(METHODS)}.')
    check_images(images)
    model = examined(model)
    layer = layer or last_stage(model)
    module = find_layer(model, layer)
    num_classes = getattr(model, 'num_classes', 0)
    if not num_classes:
        raise ValueError('The model has no classifier, so there is no class to map.')
    if classes is not None:
        classes = cast(List[int], torch.as_tensor(classes).tolist() if len(classes) else [])
        wrong = [c for c in classes if type(c) is not int or not 0 <= c < num_classes]
        if wrong or len(classes) != len(images):
            raise ValueError(
                f'classes={list(classes)!r} must be {len(images)} numbers from 0 to {num_classes - 1}, one per '
                'image.')
    targets = None if classes is None else [ClassifierOutputTarget(c) for c in classes]
    sizes: List[Any] = []

    def check_map(_: nn.Module, args: Any, out: Any) -> None:
        if not isinstance(out, torch.Tensor) or out.ndim != 4:
            raise ValueError(f'layer={layer!r} returns no map (B, C, H, W), choose a block or a stage.')
        sizes.append(out.shape[-2:])

    module.register_forward_hook(check_map)
    with torch.inference_mode(False), torch.enable_grad(), getattr(
            pytorch_grad_cam, METHODS[method])(model, [module]) as cam:
        module.register_forward_hook(lambda _, args, out: out.clone())  # in-place layers behind it get another
        maps = torch.as_tensor(cam(input_tensor=images.detach().clone().requires_grad_(), targets=targets))
    return _centred(maps, sizes[0]) if _is_centred(model) else maps


def _is_centred(model: nn.Module) -> bool:
    """Whether cell i of a map r times smaller than the image is centred on pixel r * i, on every path to it."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))]
    sizes = [[to_2tuple(v) for v in (m.stride, m.kernel_size, m.padding)] for m in layers]
    return all(k[0] % 2 and p == (k[0] // 2, k[1] // 2) for s, k, p in sizes if max(s) > 1)


def _centred(heat: torch.Tensor, cells: Tuple[int, int]) -> torch.Tensor:
    """Maps (B, H, W), resized from so many cells, moved by (r - 1) / 2 pixels up and left."""
    h, w = heat.shape[-2:]
    y, x = (torch.arange(n) + (n / c - 1) / 2 for n, c in zip((h, w), cells, strict=True))
    # grid_sample counts from -1 to 1, from the outer edge of the first pixel to that of the last
    grid = torch.stack(torch.meshgrid((2 * x + 1) / w - 1, (2 * y + 1) / h - 1, indexing='xy'), -1)
    moved = nn.functional.grid_sample(
        heat[:, None], grid.expand(len(heat), -1, -1, -1), padding_mode='border', align_corners=False)[:, 0]
    return moved / moved.amax((1, 2), keepdim=True).clamp_min(torch.finfo(moved.dtype).tiny)


def heat_inside(heat: torch.Tensor, box: Tuple[float, float, float, float]) -> Tuple[float, float]:
    """Share of a map's heat inside a box, and the share that chance gives: the box's share of the image.

    Args:
        heat: (H, W), not negative.
        box: Left, top, right, bottom as fractions of width and height, 0 to 1.

    Raises:
        ValueError: The box is empty or not inside 0 .. 1.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(f'box={box!r} must be (left, top, right, bottom) with 0 <= left < right <= 1, likewise top.')
    h, w = heat.shape
    part = heat[round(top * h):round(bottom * h), round(left * w):round(right * w)]
    # a map without any heat, where nothing speaks for the class, has none in the box
    return (part.sum() / heat.sum().clamp_min(torch.finfo(heat.dtype).tiny)).item(), part.numel() / heat.numel()
