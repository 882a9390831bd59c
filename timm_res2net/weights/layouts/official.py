"""The authors' repository, and timm after it: our names. Their DLA also has projections that it never uses."""
import re
from typing import Set

import torch

from .layout import Found, Layout, Renamed, State

_PROJECTION = re.compile(r'(level\d(?:\.tree[12])*)\.project\.')


def _trees_of_trees(state: State) -> Set[str]:
    return {m[1] for k in state if (m := re.match(r'(level\d(?:\.tree[12])*)\.tree1\.tree1\.', k))}


def _unused(state: State) -> Set[str]:
    """Projections of trees that have trees: official DLA makes one for every tree, and uses those of depth 1."""
    trees = _trees_of_trees(state)
    return {k for k in state if (m := _PROJECTION.match(k)) and m[1] in trees}


def _to_ours(found: Found) -> Renamed:
    unused = _unused(found.state)
    return Renamed(
        {k: v for k, v in found.state.items() if k not in unused},
        (f'{len(unused)} entries of projections that the network never uses',))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names: in DLA with the unused projections, as zeros."""
    unused: State = {}
    for tree in sorted(_trees_of_trees(state)):
        block = next(k.removesuffix('conv1.weight') for k in state if re.fullmatch(
            rf'{re.escape(tree)}(?:\.tree1)+\.conv1\.weight', k))
        into, out = state[f'{block}conv1.weight'].shape[1], state[f'{block}conv3.weight'].shape[0]
        if into != out:
            unused[f'{tree}.project.0.weight'] = torch.zeros(out, into, 1, 1)
            for entry, value in (('weight', 1.), ('bias', 0.), ('running_mean', 0.), ('running_var', 1.)):
                unused[f'{tree}.project.1.{entry}'] = torch.full((out,), value)
            unused[f'{tree}.project.1.num_batches_tracked'] = torch.tensor(0)
    return {**state, **unused}


LAYOUT = Layout('', 'base_layer.0.weight', lambda found: bool(_unused(found.state)), _to_ours)
