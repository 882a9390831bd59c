"""Arrays to pictures that a page holds in itself, so that none is written to a disk."""
import base64
import html
import io

import numpy as np
import torch
from PIL import Image

# every 32nd colour of matplotlib's inferno and viridis (CC0)
_INFERNO = ('#000004', '#1b0c41', '#4a0c6b', '#781c6d', '#a52c60', '#cf4446', '#ed6925', '#fb9b06', '#fcffa4')
_VIRIDIS = ('#440154', '#472d7b', '#3b528b', '#2c728e', '#21918c', '#28ae80', '#5ec962', '#addc30', '#fde725')
# Okabe and Ito's colours, grey for their black, which people who confuse red and green tell apart
GROUP_COLOURS = ('#f0e442', '#56b4e9', '#e69f00', '#cc79a7', '#009e73', '#999999', '#0072b2', '#d55e00')


def _table(colours: tuple) -> np.ndarray:
    stops = np.array([[int(c[i:i + 2], 16) for i in (1, 3, 5)] for c in colours])
    at = np.linspace(0, len(stops) - 1, 256)
    return np.stack([np.interp(at, range(len(stops)), stops[:, c]) for c in range(3)], 1)


INFERNO, VIRIDIS = _table(_INFERNO), _table(_VIRIDIS)


def group_colour(group: int) -> str:
    """Of y_1, y_2, .. everywhere on the page; after eight they come again."""
    return GROUP_COLOURS[(group - 1) % len(GROUP_COLOURS)]


def coloured(values: torch.Tensor, table: np.ndarray) -> np.ndarray:
    """(h, w) from 0 to 1 as colours: float (h, w, 3) from 0 to 255."""
    return table[(values.clamp(0, 1) * 255).round().long().numpy()]


def stretched(values: torch.Tensor) -> torch.Tensor:
    """(h, w), the least value to 0 and the largest to 1; all 0 where they are the same."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny)


def heat_over(photo: np.ndarray, heat: torch.Tensor) -> np.ndarray:
    """A photo, uint8 (N, N, 3), under a map (n, n) from 0 to 1, as `timm-res2net gradcam` draws it."""
    large = torch.nn.functional.interpolate(
        heat[None, None].float(), photo.shape[:2], mode='bilinear', align_corners=False)[0, 0]
    return (0.45 * photo + 0.55 * coloured(large, INFERNO)).round().astype(np.uint8)


def data_uri(array: np.ndarray, side: int = 0, sharp: bool = False) -> str:
    """A picture, uint8 or float (h, w, 3) from 0 to 255, as the address of an image.

    Args:
        side: Resize to so many pixels in height and width; 0 leaves it.
        sharp: Keep cells as squares: lossless, and resized without smoothing.
    """
    image = Image.fromarray(np.asarray(array).round().astype(np.uint8))
    if side:
        image = image.resize((side, side), Image.Resampling.NEAREST if sharp else Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, 'PNG' if sharp else 'JPEG', **({} if sharp else {'quality': 88}))
    return f'data:image/{"png" if sharp else "jpeg"};base64,{base64.b64encode(file.getvalue()).decode()}'


def image_tag(uri: str, alt: str) -> str:
    """An image with its words for those who do not see it."""
    return f'<img src="{uri}" alt="{html.escape(alt)}" draggable="false">'


def place(row: float, column: float) -> str:
    """A place in words; row and column as fractions from 0 to 1."""
    vertical = ('upper', '', 'lower')[min(int(row * 3), 2)]
    horizontal = ('left', '', 'right')[min(int(column * 3), 2)]
    return ' '.join(word for word in (vertical, horizontal) if word) or 'centre'


def hottest(values: torch.Tensor) -> str:
    """Where the largest value of a map (h, w) is, in words."""
    row, column = divmod(int(values.argmax()), values.shape[1])
    return place((row + 0.5) / values.shape[0], (column + 0.5) / values.shape[1])
