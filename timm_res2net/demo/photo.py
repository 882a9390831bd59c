"""A picture of a visitor's, kept in memory as the bytes of its file, and the pixels that models see of it."""
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from PIL import Image, ImageOps

from ..deploy.preprocessing import read_pixels
from ..model.images import SHOWN, bundled, read_image

BUNDLED = SHOWN
_VIEWS = 12  # kept of a photo: three sizes for each of two models, and as many of the settings before


@dataclass(frozen=True)
class Photo:
    """A picture that is known to be readable.

    It is kept as its file: 40 megapixels are 120 MB decoded. Decoded it stays until it has been looked at once.

    Attributes:
        title: What it is called on the page.
        data: The file; None for a photograph of scikit-image of that title.
    """
    title: str
    data: Optional[bytes] = None
    _decoded: List[Image.Image] = field(default_factory=list, compare=False, repr=False)
    _views: Dict[Tuple[Any, ...], torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, path: Path, title: str) -> 'Photo':
        """Of a file, which is not needed any more then.

        Raises:
            ImageError: It cannot be read whole; the message names it by its title.
        """
        photo = cls(title, path.read_bytes())
        photo._decoded.append(photo.image())
        return photo

    def image(self) -> Image.Image:
        """The picture, RGB, upright, whole."""
        if self.data is None:
            (_, array), = bundled((self.title,))
            return read_image(array)
        file = io.BytesIO(self.data)
        file.name = self.title
        return read_image(file)

    def views(self, config: Dict[str, Any], sizes: Sequence[int]) -> List[torch.Tensor]:
        """As a model of that `data_config` sees it, at several sizes: uint8 (1, C, N, N) each.

        All of them show the same part of the picture, that which the model's own preprocessing leaves. They are
        remembered: what is asked for at once costs one decoding of the file.
        """
        channels = config['input_size'][0]
        keys = [(n, channels, config['interpolation'], config['crop_pct'], config['crop_mode']) for n in sizes]
        found = {key: view for key in keys if (view := self._views.get(key)) is not None}
        if len(found) < len(set(keys)):
            try:
                image = self._decoded.pop()
            except IndexError:
                image = self.image()
            for n, key in zip(sizes, keys, strict=True):
                found[key] = self._views[key] = read_pixels([image], {**config, 'input_size': [channels, n, n]}, 1)
            for key in list(self._views)[:-_VIEWS]:
                self._views.pop(key, None)
        return [found[key] for key in keys]

    def shown(self, config: Dict[str, Any], size: int) -> np.ndarray:
        """The same for eyes: uint8 (N, N, 3)."""
        return self.views(config, [size])[0][0].permute(1, 2, 0).expand(-1, -1, 3).numpy()

    def shown_whole(self, size: int) -> Image.Image:
        """A square out of its middle, for a list of photos."""
        return ImageOps.fit(self.image(), (size, size), Image.Resampling.BICUBIC)
