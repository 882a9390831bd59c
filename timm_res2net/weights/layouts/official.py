"""The authors' repository, and timm after it: our names. Their DLA also has projections that it never uses."""
import re
from typing import List

from .layout import Found, Layout, Renamed, State

_PROJECTION = re.compile(r'(level\d(?:\.tree[12])*)\.project\.')


def _unused(state: State) -> List[str]:
    """Projections of trees that have trees: official DLA makes one for every tree, and uses those of depth 1."""
    trees = {m[1] for k in state if (m := re.match(r'(level\d(?:\.tree[12])*)\.tree1\.tree1\.', k))}
    return [k for k in state if (m := _PROJECTION.match(k)) and m[1] in trees]


def _to_ours(found: Found) -> Renamed:
    unused = set(_unused(found.state))
    return Renamed(
        {k: v for k, v in found.state.items() if k not in unused},
        (f'{len(unused)} entries of projections that the network never uses',))


LAYOUT = Layout('', 'base_layer.0.weight', lambda found: bool(_unused(found.state)), _to_ours)
