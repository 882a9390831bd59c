"""Which part of a photo each group of a block sees around a pixel: by the architecture, and by the gradient."""
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch

from ..deploy.preprocessing import normalise
from ..insight import Group, gradient_field, group_activations, side_of_share
from ..insight.groups import paper_order
from .photo import Photo
from .subject import COMPUTING, Subject

Box = Tuple[int, int, int, int]  # left, top, right and bottom (outside) in pixels; may go beyond the photo


class Seen(NamedTuple):
    """What one unit of a group sees.

    Attributes:
        group: 1 for the paper's y_1.
        unit: The pixel that it is centred on, across and down.
        box: The theoretical field, through convolutions and pools.
        half, most: Sides of the squares around the unit that hold 50% and 90% of the gradient, in pixels; None where
            the gradient is zero, since all units of the group are off there.
        gradient: (N, N) of sum 1, the effective field.
    """
    group: int
    channels: int
    unit: Tuple[int, int]
    box: Box
    half: Optional[int]
    most: Optional[int]
    gradient: torch.Tensor

    @property
    def side(self) -> int:
        """Of the theoretical field, in pixels: the receptive field."""
        return self.box[2] - self.box[0]

    @property
    def outside(self) -> float:
        """Share of the gradient outside the theoretical field: what comes through channel attention, 0 without."""
        left, top, right, bottom = (max(v, 0) for v in self.box)
        inside = self.gradient[top:bottom, left:right].sum().item()
        return max(1 - inside, 0) if self.gradient.any() else 0


def windows(
        subject: Subject,
        photo: Photo,
        size: int,
        at: Tuple[float, float],
        blocks: Optional[Sequence[str]] = None,
) -> Dict[str, List[Seen]]:
    """Block -> what y_1 .. y_s see, of the unit nearest to a pixel; one pass through the network, one back a group.

    Args:
        size: Pixels of height and width that the network is given.
        at: The pixel, across and down, as fractions of the photo from 0 to 1.
        blocks: Names of blocks; all of them by default.
    """
    images = normalise(photo.views(subject.config, [size])[0], subject.config).requires_grad_()
    names = subject.blocks if blocks is None else list(blocks)
    with COMPUTING:
        activations = group_activations(subject.model, images, names)
        return {name: [
            _seen(i, group, subject.layer(name).field.jump, out, images, at) for i, (group, out) in enumerate(zip(
                paper_order(subject.layer(name).groups), activations[name], strict=True), 1)]
            for name in names}


def _seen(
        i: int,
        group: Group,
        jump: int,
        out: torch.Tensor,
        images: torch.Tensor,
        at: Tuple[float, float],
) -> Seen:
    size = images.shape[-1]
    # unit k of a map with stride j is centred on pixel j * k
    column, row = (min(round(v * (size - 1) / jump), n - 1) for v, n in zip(at, out.shape[:1:-1], strict=True))
    x, y = column * jump, row * jump
    before, after = group.field.window
    gradient = gradient_field(out, images, (row, column), keep=True)
    half, most = (side_of_share(gradient, s, (y, x)) if gradient.any() else None for s in (0.5, 0.9))
    return Seen(
        i, group.channels, (x, y), (x - before, y - before, x + after + 1, y + after + 1), half, most, gradient)
