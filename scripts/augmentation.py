"""Random crops, flips and erasing of a batch at once, on the GPU, as torchvision and timm draw them."""
import math
from typing import Tuple

import torch
from torch.nn import functional as F


def crop_and_resize(images: torch.Tensor, box: Tuple[torch.Tensor, ...], flip: torch.Tensor) -> torch.Tensor:
    """Cut `box` (top, left, height, width; each (N,), in pixels) out of float images (N, C, H, W), 0 to 255.

    Resized back, bilinearly, and flipped. What of a box lies outside its image is black. Like
    Pillow's, a resized crop knows nothing of what is around it.
    """
    top, left, height, width = (v.float()[:, None] for v in box)
    n, _, h, w = images.shape

    def positions(first: torch.Tensor, size: torch.Tensor, count: int) -> torch.Tensor:
        steps = (torch.arange(count, device=images.device) + 0.5) * size / count - 0.5
        return (first + torch.minimum(steps.clamp(min=0), size - 1)) * 2 / (count - 1) - 1

    x = positions(left, width, w)
    grid = torch.empty(n, h, w, 2, device=images.device)
    grid[..., 0] = torch.where(flip[:, None], x.flip(1), x)[:, None, :]
    grid[..., 1] = positions(top, height, h)[:, :, None]
    return F.grid_sample(images, grid, mode='bilinear', padding_mode='zeros', align_corners=True).round()


def random_box(
        n: int, area: Tuple[float, float], ratio: Tuple[float, float], size: Tuple[int, int], draw: torch.Generator,
        least_margin: int = 0,
) -> Tuple[torch.Tensor, ...]:
    """Random boxes (top, left, height, width; each (N,)) of a share of the image's area and an aspect ratio.

    As torchvision's random crop draws them: the first of ten that fits, else the whole image. A box fits that is
    smaller than the image by `least_margin` pixels each way.
    """
    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=draw, device=draw.device) * (high - low) + low

    areas = uniform(*area, n, 10) * size[0] * size[1]
    ratios = uniform(math.log(ratio[0]), math.log(ratio[1]), n, 10).exp()
    width, height = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
    most = size[0] - least_margin, size[1] - least_margin
    fits = (height <= most[0]) & (width <= most[1]) & (width > 0) & (height > 0)
    first = fits.int().argmax(1, keepdim=True)
    any_fits = fits.any(1)
    height, width = (  # full_like: no number from the CPU's memory
        torch.where(any_fits, v.gather(1, first)[:, 0], torch.full_like(v[:, 0], whole))
        for v, whole in zip((height, width), size))
    top = (uniform(0, 1, n) * (size[0] - height + 1)).floor()
    left = (uniform(0, 1, n) * (size[1] - width + 1)).floor()
    return top, left, height, width


def erase(x: torch.Tensor, probability: float, draw: torch.Generator) -> torch.Tensor:
    """Normalized images (N, C, H, W) with a random box of some filled with noise, as timm's `RandomErasing` does.

    That is, in its mode 'pixel', train.py's own: a box is smaller than the image both ways.
    """
    n, _, h, w = x.shape
    top, left, height, width = (
        v[:, None] for v in random_box(n, (0.02, 1 / 3), (0.3, 1 / 0.3), (h, w), draw, least_margin=1))
    chosen = (torch.rand(n, 1, generator=draw, device=x.device) < probability) & (height < h)
    rows, columns = (torch.arange(size, device=x.device) for size in (h, w))
    inside_rows = (rows >= top) & (rows < top + height) & chosen
    inside = inside_rows[:, :, None] & ((columns >= left) & (columns < left + width))[:, None]
    return torch.where(inside[:, None], torch.empty_like(x).normal_(generator=draw), x)
