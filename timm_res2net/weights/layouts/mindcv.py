"""mindcv's .ckpt: MindSpore's words for the entries of a norm, `classifier`. The network is the authors'.

Its v1b has no pool in the shortcut of stage 1, which has no stride, nor a place for one.
"""
import re

from .layout import Found, Layout, Renamed, State, rename_entries

_NORM = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean', 'moving_variance': 'running_var'}


def _pools(state: State, down: str) -> bool:
    """Whether the shortcuts with a stride begin with a pool: their convolution is in the second place."""
    weight = state.get(f'layer2.0.{down}.1.weight')
    return weight is not None and weight.ndim == 4


def _to_ours(found: Found) -> Renamed:
    further = 1 if _pools(found.state, 'down_sample') else 0

    def ours(name: str) -> str:
        module, _, entry = name.rpartition('.')
        if module == 'classifier':
            module = 'fc'
        elif match := re.fullmatch(r'(layer(\d+)\.\d+)\.down_sample\.(\d)', module):
            block, stage, place = match.groups()
            module = f'{block}.downsample.{int(place) + (further if stage == "1" else 0)}'
        return f'{module}.{_NORM.get(entry, entry)}'

    return Renamed(rename_entries(found.state, ours), implies=dict(first_block='parallel'))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names, without the counters of norms."""
    norms = {k.removesuffix('.running_mean') for k in state if k.endswith('.running_mean')}
    further = 1 if _pools(state, 'downsample') else 0
    entries = {new: old for old, new in _NORM.items()}

    def theirs(name: str) -> str:
        module, _, entry = name.rpartition('.')
        entry = entries[entry] if module in norms else entry
        if module == 'fc':
            module = 'classifier'
        elif match := re.fullmatch(r'(layer(\d+)\.\d+)\.downsample\.(\d)', module):
            block, stage, place = match.groups()
            module = f'{block}.down_sample.{int(place) - (further if stage == "1" else 0)}'
        return f'{module}.{entry}'

    return rename_entries({k: v for k, v in state.items() if not k.endswith('.num_batches_tracked')}, theirs)


LAYOUT = Layout(
    'mindcv', 'layer1.0.convs.0.weight', lambda found: 'bn1.gamma' in found.state, _to_ours,
    trap='outputs would be off by up to 26%')
