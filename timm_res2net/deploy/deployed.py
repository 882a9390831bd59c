"""A loaded file as a callable: the input and the output of the model that it was made of, whatever engine runs it."""
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from timm.data import create_transform

from ..model.images import Source, read_image
from .inputs import check_tensor, holds_numbers, is_broken, nan_for_broken
from .preprocessing import image_mode
from .workers import Pool

NEEDED = ('format', 'precision', 'input', 'shape', 'data_config', 'num_classes')  # of the metadata


class Deployed:
    """An exported model: call it with a batch on the CPU as the model itself, get what the model returns.

    Any number of threads may call it; how many it serves at once is for `load` to say. As a context manager it closes
    itself.

    Attributes:
        metadata: How it was exported: architecture, format, precision, input, preprocessing, label_names.
        labels: Names of the classes, or None.
    """

    def __init__(self, run: Pool, metadata: Dict[str, Any]) -> None:
        self.run = run
        self.metadata = metadata
        self.labels: Optional[List[str]] = metadata.get('label_names')

    def __repr__(self) -> str:
        known, input_type = self.metadata, 'uint8' if self.metadata['input'] == 'pixels' else 'float32'
        classes = f'{known["num_classes"]} classes' if known['num_classes'] else 'features'
        return (
            f'Deployed({known.get("architecture") or "a network"}, {known["format"]} {known["precision"]}: '
            f'{input_type} ({self._shape()}) -> {classes})')

    def _shape(self) -> str:
        return ', '.join('any' if s is None else str(s) for s in ('B', *self.metadata['shape'][1:]))

    @property
    def transform(self) -> Callable[[Source], torch.Tensor]:
        """Picture -> input without the batch: resized, cropped and, unless the graph does it, normalised.

        A picture is a PIL image of any mode, a path, an open file or an array, and read as by all commands. What cannot
        be read raises a ValueError.
        """
        config = {**self.metadata['data_config'], 'input_size': tuple(self.metadata['data_config']['input_size'])}
        pixels = self.metadata['input'] == 'pixels'
        return partial(_input, create_transform(**config, use_prefetcher=pixels), image_mode(config), pixels)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Input as the model's, (B, C, H, W) float32, or (B, H, W, C) uint8 pixels if it was exported so.

        An image that holds NaN, inf or numbers beyond 1e30 gives NaN. There are no gradients, and no autocast.

        Raises:
            TypeError: It is no tensor, or one without numbers of its own.
            ValueError: Another type, shape or device.
            RuntimeError: The file has been closed, or torch runs it and the process has been forked since; or
                torch.jit traces the call; or there is too little memory.
        """
        x, broken = self.look(x)
        if not len(x):
            return self._run(x.new_zeros(1, *x.shape[1:]))[:0]
        y = self._run(x)
        if len(y) != len(x):  # as OpenVINO's are then, without a word
            raise RuntimeError(
                f'There are {len(y)} answers for {len(x)} images: there is too little memory, or the engine failed.')
        return nan_for_broken(y, x) if broken else y

    def look(self, x: Any) -> Tuple[torch.Tensor, bool]:
        """What each call does first: refuse, or give the engine's input and whether an image is broken."""
        check_tensor(x, 'model.transform(image)[None] for a picture, torch.from_numpy(x) for an array')
        if torch.jit.is_tracing():  # which would keep this answer for all inputs
            raise RuntimeError('A loaded file cannot be traced: trace the model that it was exported from.')
        if x.device.type != 'cpu':  # compiled code would read its address as one of the CPU's
            remedy = 'tensors on meta hold no numbers' if x.is_meta else 'use x.cpu()'
            raise ValueError(f'The input is on {x.device}, exported files run on the CPU: {remedy}.')
        if not holds_numbers(x):
            raise TypeError(
                f'The input is a {type(x).__name__} that holds no numbers itself (fake, not initialised, or of vmap or '
                'another transform, say): call the file with a plain torch.Tensor.')
        shape, dtype = self.metadata['shape'], torch.float32
        if self.metadata['input'] == 'pixels':
            dtype = torch.uint8
        fits = x.ndim == len(shape) and all(
            n == wanted or wanted is None and n for wanted, n in zip(shape[1:], x.shape[1:], strict=True))
        if x.dtype != dtype or not fits:
            raise ValueError(
                f'The input is {x.dtype} of shape {tuple(x.shape)}, it must be {dtype} of ({self._shape()}).')
        x = x.detach().contiguous().resolve_neg()
        return x, is_broken(x)

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        size = self.metadata['shape'][0]
        if size is None or size == len(x):
            return self.run(x)
        parts = list(x.split(size))  # a file made for one batch size serves every other
        missing = size - len(parts[-1])
        if missing:
            parts[-1] = torch.cat([parts[-1], parts[-1][-1:].expand(missing, *x.shape[1:])])
        return self.run(*parts)[:len(x)]

    def close(self) -> None:
        """Refuse further calls, and end the workers after what they are computing."""
        self.run.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError('A loaded file cannot be copied or pickled: send its path, and deploy.load it there.')

    def __enter__(self) -> 'Deployed':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _input(transform: Callable[[Any], Any], mode: str, pixels: bool, picture: Source) -> torch.Tensor:
    x = torch.as_tensor(transform(read_image(picture, mode)))
    return x.permute(1, 2, 0) if pixels else x
