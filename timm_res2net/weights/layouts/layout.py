"""What a layout says of itself, and the one way to rename."""
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Tuple

from torch import Tensor

from ..checkpoint import CheckpointError

State = Dict[str, Tensor]

# convolution and norm of a deep stem, under our names
DEEP_STEM = (('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4'), ('conv1.6', 'bn1'))


@dataclass(frozen=True)
class Layout:
    """Names of a project's weights -> ours.

    Attributes:
        name: Of the project.
        is_sign: Whether names like these are of this project.
        to_ours: Weights under its names -> weights under ours, and what was left out, in words. A name that it does not
            know stays, to be reported as unexpected.
        first_block: The form of the first block that its networks have, where it is always this one.
        trap: What would be wrong in another form.
    """
    name: str
    is_sign: Callable[[State], bool]
    to_ours: Callable[[State], Tuple[State, List[str]]]
    first_block: str = ''
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
