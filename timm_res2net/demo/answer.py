"""What a model answers to a photo, and where it looks for a class."""
from typing import List, NamedTuple, Optional

import torch

from ..deploy.preprocessing import normalise
from ..insight import class_activation_maps
from .photo import Photo
from .subject import COMPUTING, Subject


class Answer(NamedTuple):
    """A class with its probability."""
    number: int
    name: str
    probability: float


def answers(subject: Subject, photo: Photo) -> List[Answer]:
    """The five most likely classes, as `timm-res2net classify` prints them."""
    pixels, = photo.views(subject.config, [subject.size])
    with COMPUTING, torch.inference_mode():
        probabilities = subject.model(normalise(pixels, subject.config)).softmax(-1)[0]
    best = probabilities.topk(min(5, len(subject.classes)))
    return [Answer(i, subject.classes[i], p)
            for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def heat(
        subject: Subject,
        photo: Photo,
        index: int,
        layer: Optional[str] = None,
        method: str = 'gradcam',
) -> torch.Tensor:
    """The class activation map of a class: (N, N) from 0 to 1, at the size that the model takes.

    Raises:
        ImportError, ValueError: As `class_activation_maps`.
    """
    pixels, = photo.views(subject.config, [subject.size])
    with COMPUTING:
        return class_activation_maps(subject.model, normalise(pixels, subject.config), [index], layer, method)[0]
