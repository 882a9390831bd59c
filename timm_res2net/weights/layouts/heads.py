"""What a file holds beside the trunk: classifiers of another build, auxiliary heads, decoders."""
import re
from typing import List, Tuple

from .layout import State

# top-level names of our networks, and those that could be a part of another one's trunk: they are not left out
_TRUNK = re.compile(
    r'(?:base_layer|fc|conv|bn|norm|stem|layer|level|stage|block|res|pool|maxpool|features)\d*(?:_\d+)?')


def without_other_heads(state: State) -> Tuple[State, List[str]]:
    """Take out whole parts that no trunk has, and return their names."""
    others = sorted({top for k in state if not _TRUNK.fullmatch(top := k.partition('.')[0])})
    return {k: v for k, v in state.items() if k.partition('.')[0] not in others}, others


def with_plain_classifier(state: State) -> Tuple[State, List[str], List[str]]:
    """A classifier inside a sequence, as dropout before it makes one, becomes `fc`; one of several layers is left out.

    Returns:
        The state, what was left out and what was assumed, in words.
    """
    inside = [k for k in state if k.startswith('fc.')]
    if not inside or any(k in ('fc.weight', 'fc.bias') for k in inside):
        return state, [], []
    rest = {k: v for k, v in state.items() if k not in inside}
    layers = sorted({k.rpartition('.')[0] for k in inside})
    if len(layers) > 1 or state.get(f'{layers[0]}.weight', state[inside[0]]).ndim != 2:
        return rest, [f'a classifier of several layers: {", ".join(layers)}'], []
    fc = {f'fc{k.removeprefix(layers[0])}': state[k] for k in inside}
    return {**rest, **fc}, [], [f'the classifier to be {layers[0]} alone']
