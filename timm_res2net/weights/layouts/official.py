"""The authors' repository, and timm after it: our names. Their DLA also has projections that it never uses."""
import re
from typing import List, Tuple

from .layout import Layout, State

_PROJECTION = re.compile(r'(level\d(?:\.tree[12])*)\.project\.')


def _unused(state: State) -> List[str]:
    """Projections of trees that have trees: official DLA makes one for every tree, and uses those of depth 1."""
    trees = {m[1] for k in state if (m := re.match(r'(level\d(?:\.tree[12])*)\.tree1\.tree1\.', k))}
    return [k for k in state if (m := _PROJECTION.match(k)) and m[1] in trees]


def _to_ours(state: State) -> Tuple[State, List[str]]:
    unused = set(_unused(state))
    left_out = [f'{len(unused)} entries of projections that the network never uses']
    return {k: v for k, v in state.items() if k not in unused}, left_out


LAYOUT = Layout('', lambda state: bool(_unused(state)), _to_ours)
