"""A picture of a visitor's, kept in memory as the bytes of its file, and the pixels that models see of it."""
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from PIL import Image, ImageOps

from ..deploy.preprocessing import read_pixels
from ..model.images import SHOWN, ImageError, bundled, read_image

BUNDLED = SHOWN
_VIEWS = 12  # kept of a photo: three sizes for each of two models, and as many of the settings before


@dataclass(frozen=True)
class Photo:
    """A picture that is known to be readable.

    A large one is decoded anew for what has not been asked yet, rather than kept: 40 megapixels are 120 MB decoded.

    Attributes:
        title: What it is called on the page.
        data: The file; b'' for a photograph of scikit-image of that title.
    """
    title: str
    data: bytes = b''
    _views: Dict[Tuple[Any, ...], torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, path: Path, title: str) -> 'Photo':
        """Of a file; a vector graphic or a damaged picture is refused here.

        Raises:
            ImageError: It cannot be read whole; the message names it by its title.
        """
        photo = cls(title, path.read_bytes())
        photo.image()
        return photo

    def image(self) -> Image.Image:
        """The picture, RGB, upright, whole."""
        if not self.data:
            (_, array), = bundled((self.title,))
            return read_image(array)
        try:
            image = Image.open(io.BytesIO(self.data))
        except Exception as error:  # Pillow's readers raise anything on damaged files
            raise ImageError(f'{self.title} is no image, or of a kind that cannot be read here') from error
        image.filename = self.title  # type: ignore[attr-defined]  # what the reader calls it
        return read_image(image)

    def views(self, config: Dict[str, Any], sizes: Sequence[int]) -> List[torch.Tensor]:
        """As a model of that `data_config` sees it, at several sizes: uint8 (1, C, N, N) each.

        All of them show the same part of the picture, that which the model's own preprocessing leaves.
        """
        shape = [config['input_size'][0]]
        keys = [(n, config['input_size'][0], config['interpolation'], config['crop_pct'], config['crop_mode'])
                for n in sizes]
        if any(key not in self._views for key in keys):
            image = self.image()
            for n, key in zip(sizes, keys, strict=True):
                self._views[key] = read_pixels([image], {**config, 'input_size': [*shape, n, n]}, 1)
        found = [self._views[key] for key in keys]
        for key in list(self._views)[:-_VIEWS]:
            self._views.pop(key, None)
        return found

    def shown(self, config: Dict[str, Any], size: int) -> np.ndarray:
        """The same for eyes: uint8 (N, N, 3)."""
        return self.views(config, [size])[0][0].permute(1, 2, 0).expand(-1, -1, 3).numpy()

    def shown_whole(self, size: int) -> Image.Image:
        """A square out of its middle, for a list of photos."""
        return ImageOps.fit(self.image(), (size, size), Image.Resampling.BICUBIC)
