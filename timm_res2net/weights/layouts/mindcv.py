"""mindcv's .ckpt: MindSpore's words for the entries of a norm, `classifier`. The network is the authors'.

Its v1b has no pool in the shortcut of stage 1, which has no stride, nor a place for one.
"""
import re

from .layout import Found, Layout, Renamed, State, rename_entries, without_counters

_NORM = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean', 'moving_variance': 'running_var'}


def _pools(state: State, down: str) -> bool:
    """Whether the shortcuts with a stride begin with a pool: their convolution is in the second place."""
    weight = state.get(f'layer2.0.{down}.1.weight')
    return weight is not None and weight.ndim == 4


def _shortcut(module: str, here: str, there: str, further: int) -> str:
    """A module with the other name of its shortcut, whose layers stand `further` behind in stage 1."""
    return re.sub(
        rf'\A(layer(\d+)\.\d+)\.{here}\.(\d)\Z',
        lambda m: f'{m[1]}.{there}.{int(m[3]) + further * (m[2] == "1")}', module)


def _to_ours(found: Found) -> Renamed:
    further = int(_pools(found.state, 'down_sample'))

    def ours(name: str) -> str:
        module, _, entry = name.rpartition('.')
        module = 'fc' if module == 'classifier' else _shortcut(module, 'down_sample', 'downsample', further)
        return f'{module}.{_NORM.get(entry, entry)}'

    return Renamed(rename_entries(found.state, ours), implies=dict(first_block='parallel'))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names, without the counters of norms."""
    norms = {k.removesuffix('.running_mean') for k in state if k.endswith('.running_mean')}
    further = int(_pools(state, 'downsample'))
    entries = {new: old for old, new in _NORM.items()}

    def theirs(name: str) -> str:
        module, _, entry = name.rpartition('.')
        entry = entries[entry] if module in norms else entry
        module = 'classifier' if module == 'fc' else _shortcut(module, 'downsample', 'down_sample', -further)
        return f'{module}.{entry}'

    return rename_entries(without_counters(state), theirs)


LAYOUT = Layout(
    'mindcv', 'layer1.0.convs.0.weight', lambda found: 'bn1.gamma' in found.state, _to_ours,
    trap='outputs would be off by up to 26%')
