"""All images of a data set in the memory of a GPU."""
from pathlib import Path
from typing import NamedTuple

import numpy
import torch


class Data(NamedTuple):
    """Images (N, 3, H, W) as bytes and labels (N,), on the GPU."""

    images: torch.Tensor
    labels: torch.Tensor


def read(path: Path, split: str) -> Data:
    """A split of `path`, as bytes."""
    if path.suffix == '.npz':
        with numpy.load(path) as arrays:
            missing = [name for name in (f'{split}_images', f'{split}_labels') if name not in arrays]
            if missing:
                raise ValueError(f'{path} has no {missing[0]}, it has {", ".join(arrays) or "nothing"}')
            images, labels = arrays[f'{split}_images'], arrays[f'{split}_labels']
    else:
        from torchvision.datasets import ImageFolder
        pairs = [(numpy.asarray(image), label) for image, label in ImageFolder(str(path / split))]
        images, labels = numpy.stack([p[0] for p in pairs]), numpy.array([p[1] for p in pairs])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return Data(pixels.cuda(), torch.from_numpy(labels).long().cuda())
