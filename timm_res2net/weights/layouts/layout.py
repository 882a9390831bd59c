"""What a layout says of itself, what comes out of it, and the one way to rename."""
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional, Tuple

from torch import Tensor

from ..checkpoint import CheckpointError

State = Dict[str, Tensor]

# of networks that detectors and segmentors may have dilated
STRIDED = 'strides and no dilation, as no weight tells them: for a dilated network give output_stride='


@dataclass(frozen=True)
class Found:
    """A network as it lies in a file.

    Attributes:
        state: Its weights, under the names of its project, without the prefix.
        prefix: Before all of its names, '' or with the dot at its end ('backbone.', 'student.encoder.').
        beside: The other entries of the file, under their whole names.
    """
    state: State
    prefix: str = ''
    beside: State = field(default_factory=dict)


@dataclass(frozen=True)
class Renamed:
    """A network under our names.

    Attributes:
        state: Its weights. A name that the layout does not know stays, to be reported as unexpected.
        left_out: What was left out, in words.
        used: Whole names of entries beside it that were used after all (a classifier).
        implies: Arguments that no name and no shape tells and that all networks of this layout have.
        assumed: What neither tells and was taken for granted, in words.
    """
    state: State
    left_out: Tuple[str, ...] = ()
    used: Tuple[str, ...] = ()
    implies: Dict[str, Any] = field(default_factory=dict)
    assumed: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """Names of a project's weights -> ours.

    Attributes:
        name: Of the project, '' for one that only differs in what it holds.
        anchor: A name that every network of the project has once: what stands before it is the prefix of the network.
        is_sign: Whether names like these, without prefix, are of this project.
        to_ours: Renames what was found.
        trap: What would be wrong in a network without the arguments that are implied.
    """
    name: str
    anchor: str
    is_sign: Callable[[Found], bool]
    to_ours: Callable[[Found], Renamed]
    trap: str = ''


def rename_entries(state: State, new_name: Callable[[str], Optional[str]]) -> State:
    """Rename every entry that `new_name` gives a name.

    Raises:
        CheckpointError: Two names stand for the same weight.
    """
    renamed: State = {}
    source: Dict[str, str] = {}
    for name, value in state.items():
        new = new_name(name) or name
        if new in renamed:
            raise CheckpointError(f'{source[new]} and {name} are both our {new}.')
        renamed[new], source[new] = value, name
    return renamed


def without_counters(state: State) -> State:
    """Without `num_batches_tracked` of the norms, which most projects do not keep."""
    return {k: v for k, v in state.items() if not k.endswith('.num_batches_tracked')}


def without_head(state: State) -> State:
    """Without the classifier, for projects whose networks are backbones."""
    return {k: v for k, v in state.items() if not k.startswith('fc.')}
