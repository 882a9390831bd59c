"""From a picture to the input of a model, and the images an export is calibrated on and checked with."""
import importlib.util
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import nn

from ..model.data_cfg import data_entries, for_channels
from ..model.images import ImageError, bundled, find_images, read_image

Images = Union[str, Path, Sequence[Union[Image.Image, str, Path]], torch.Tensor, None]
_PHOTOGRAPHS = ('rocket', 'coffee', 'astronaut', 'cat', 'camera')


def data_config(model: nn.Module, image_size: Optional[int] = None) -> Dict[str, Any]:
    """timm's preprocessing of a model: input_size (C, H, W), mean, std, interpolation, crop_pct, crop_mode.

    Raises:
        TypeError, ValueError: The model's cfg says what cannot be, named in the message.
    """
    cfg = data_entries(getattr(model, 'pretrained_cfg', None) or {})
    # an empty cfg is none for timm, which then looks at the model's
    config = for_channels(resolve_data_config({}, cfg, nn.Identity()), getattr(model, 'in_chans', 3))
    if image_size is not None:
        config['input_size'] = (config['input_size'][0], image_size, image_size)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}


def image_mode(config: Dict[str, Any]) -> str:
    """PIL's mode of the pictures that a model takes.

    Raises:
        ValueError: It takes other channels than pictures have.
    """
    channels = config['input_size'][0]
    if channels not in (1, 3):
        raise ValueError(
            f'The model takes {channels} channels (in_chans={channels}), pictures have 1 or 3: give a tensor.')
    return 'L' if channels == 1 else 'RGB'


def normalise(pixels: torch.Tensor, config: Dict[str, Any]) -> torch.Tensor:
    """uint8 (B, C, H, W) -> float32 (B, C, H, W) as the model was trained on."""
    mean, std = (torch.tensor(config[k], device=pixels.device).view(1, -1, 1, 1) for k in ('mean', 'std'))
    return (pixels.float() / 255 - mean) / std


class Preprocessed(nn.Module):
    """A model that takes pixels: uint8 RGB (B, H, W, C), resized and cropped, normalised inside the graph."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, model: nn.Module, config: Dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer('scale', 1 / (255 * torch.tensor(config['std']).view(1, -1, 1, 1)))
        self.register_buffer('shift', -(torch.tensor(config['mean']) / torch.tensor(config['std'])).view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x.permute(0, 3, 1, 2).float() * self.scale + self.shift)


def has_photographs() -> bool:
    """Whether scikit-image is here."""
    return importlib.util.find_spec('skimage') is not None


def made_pixels(config: Dict[str, Any], count: int) -> torch.Tensor:
    """Coloured clouds and edges, always the same, uint8 (count, C, H, W): enough to see that two networks agree."""
    c, *size = config['input_size']
    generator = torch.Generator().manual_seed(0)
    clouds = torch.zeros(count, c, *size)
    for cells in (3, 7, 24):
        noise = torch.rand(count, c, cells, cells, generator=generator)
        clouds += torch.nn.functional.interpolate(noise, size=tuple(size), mode='nearest' if cells == 7 else 'bicubic')
    return (clouds * (255 / 3)).clamp(0, 255).byte()


def photographs() -> List[Image.Image]:
    """scikit-image's bundled photographs, each whole and its four quarters."""
    images = []
    for _, photograph in bundled(_PHOTOGRAPHS):
        image = read_image(photograph)
        w, h = image.size
        images.append(image)
        images += [image.crop((x, y, x + w // 2, y + h // 2)) for x in (0, w // 2) for y in (0, h // 2)]
    return images


def read_pixels(
        images: Images,
        config: Dict[str, Any],
        count: int,
        unreadable: Optional[List[str]] = None,
) -> torch.Tensor:
    """Up to `count` images as uint8 (N, C, H, W), resized and cropped as timm does for the model.

    Args:
        images: Folder of images, list of PIL images or paths, uint8 tensor of that form, or None for the photographs
            bundled with scikit-image.
        config: See `data_config`.
        count: Most images to take.
        unreadable: Takes a line about each image that cannot be read, while the others are; without it the first such
            image is an error.

    Raises:
        ImportError: No images given and scikit-image is not installed.
        ValueError: No images there, a tensor of another form, or a file that is no image.
    """
    size = tuple(config['input_size'])
    if isinstance(images, torch.Tensor):
        if images.dtype != torch.uint8 or images.shape[1:] != size or not len(images):
            raise ValueError(
                f'images is a {images.dtype} tensor of shape {tuple(images.shape)}, it must be uint8 of (N, {size[0]}, '
                f'{size[1]}, {size[2]}).')
        return images[:count]
    mode = image_mode(config)
    transform = create_transform(**{**config, 'input_size': size}, use_prefetcher=True)  # to uint8, not normalised
    pixels = []
    for image in _found(images, count):
        if not isinstance(image, (str, Path, Image.Image)):
            raise ValueError(f'images holds {type(image).__name__}, it must hold PIL images or paths of images.')
        try:
            pixels.append(torch.as_tensor(transform(read_image(image, mode))))
        except ImageError as error:
            if unreadable is None:
                raise ValueError(f'images: {error}') from error
            unreadable.append(str(error))
    if not pixels:
        raise ValueError(f'images={str(images)!r}: none of them can be read, such as {(unreadable or [""])[0]}.')
    return torch.stack(pixels)


def _found(images: Images, count: int) -> Sequence[Any]:
    if isinstance(images, (list, tuple)) and images:
        return images[:count]
    if images is None:
        return photographs()[:count]
    if isinstance(images, (str, Path)):
        return find_images(Path(images), count)
    what = repr(images) if isinstance(images, (list, tuple)) else f'{type(images).__module__}.{type(images).__name__}'
    raise ValueError(f'images={what} must be a folder, a list of at least one image, or a uint8 tensor.')
