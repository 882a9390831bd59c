"""The value that walks from a file to a model, what is said of it, and the error that ends the walk.

    read -> rename -> recognise -> build -> check -> load
"""
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Mapping, Tuple

import torch

from .words import keywords, printable

_LONGEST = 2400  # characters of an error: a file may have names and values of megabytes


class CheckpointError(ValueError):
    """A checkpoint that cannot be used, with the file and the reason, in one line whatever the file holds."""

    def __init__(self, message: str) -> None:
        text = printable(message)
        super().__init__(text if len(text) <= _LONGEST else f'{text[:_LONGEST - 600]} .. {text[-600:]}')


@contextmanager
def naming(place: Any) -> Iterator[None]:
    """Put the file or repository before what is wrong with its weights, where it is not there yet."""
    try:
        yield
    except CheckpointError as error:
        if not place or isinstance(place, Checkpoint) or str(error).startswith(printable(str(place))):
            raise
        raise CheckpointError(f'{place}: {error}') from error.__cause__


def shapes_of(state: Mapping[str, torch.Tensor]) -> Dict[str, Tuple[int, ...]]:
    """Name -> shape."""
    return {k: tuple(v.shape) for k, v in state.items()}


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: File or folder, '' where the weights come from elsewhere.
        state: Name -> tensor, taken out of whatever it was wrapped in; under our names once `layout` is set.
        wrapper: The entry it was wrapped in ('state_dict_ema', ...), '' if none.
        architecture: Name of the model that the file gives, '' if none.
        model_args: Arguments of the model that the file gives.
        cfg: Preprocessing, class names and license that a folder's config.json gives.
        layout: Project whose names the weights had, '' as read.
        prefix: What stood before all names of the network, '' or with a dot at its end.
        implies: Arguments that all networks of the layout have and no name or shape tells.
        trap: What would be wrong without them.
        left_out: What was left out, in words.
        assumed: What was taken for granted since nothing tells it, in words.
        training: What timm's train.py says of the training: `args`, `arch`, `epoch`, `metric`, `averaged` (whether
            there are averaged weights); empty where the file is no checkpoint of it.
    """
    path: str
    state: Dict[str, torch.Tensor]
    wrapper: str = ''
    architecture: str = ''
    model_args: Dict[str, Any] = field(default_factory=dict)
    cfg: Dict[str, Any] = field(default_factory=dict)
    layout: str = ''
    prefix: str = ''
    implies: Dict[str, Any] = field(default_factory=dict)
    trap: str = ''
    left_out: Tuple[str, ...] = ()
    assumed: Tuple[str, ...] = ()
    training: Dict[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> Dict[str, Tuple[int, ...]]:
        """Name -> shape."""
        return shapes_of(self.state)

    @property
    def num_parameters(self) -> int:
        """Learnable numbers."""
        statistics = ('.running_mean', '.running_var', '.num_batches_tracked')
        return sum(v.numel() for k, v in self.state.items() if not k.endswith(statistics))


@dataclass
class CheckpointInfo:
    """What was recognised in a checkpoint; `str()` of it is one line.

    Attributes:
        path: File or folder.
        layout: Project whose names the weights have.
        architecture: Registered variant that they fit.
        model_args: Arguments in which the network differs from the variant.
        num_parameters: Learnable numbers in the file.
        num_classes: Classes, 0 for a backbone alone.
        in_chans: Input channels.
        wrapper: Entry of a training checkpoint they were taken from ('state_dict_ema', ...), '' if none.
        prefix: What stood before all names of the network, '' or with a dot at its end.
        left_out: What was left out, in words.
        assumed: What names and shapes do not tell and the file does not say, in words.
    """
    path: str
    layout: str
    architecture: str
    model_args: Dict[str, Any]
    num_parameters: int
    num_classes: int
    in_chans: int
    wrapper: str = ''
    prefix: str = ''
    left_out: List[str] = field(default_factory=list)
    assumed: List[str] = field(default_factory=list)

    def __str__(self) -> str:
        arguments = f' with {keywords(self.model_args)}' if self.model_args else ''
        line = f'{self.layout} layout -> {self.architecture}{arguments}'
        line += f', {self.num_parameters / 1e6:.1f} M parameters, '
        line += f'{self.num_classes} classes' if self.num_classes else 'no classifier'
        if self.wrapper:
            line += f', from {self.wrapper}'
        if self.prefix:
            line += f', under {self.prefix.rstrip(".")}'
        line += ''.join(f'; left out {what}' for what in self.left_out)
        return printable(line + ''.join(f'; assumed {what}' for what in self.assumed))
