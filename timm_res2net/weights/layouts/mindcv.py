"""mindcv's .ckpt: MindSpore's words for the entries of a norm, `classifier`. The network is the authors'."""
import re

from .layout import Found, Layout, Renamed, State, rename_entries

_NORM = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean', 'moving_variance': 'running_var'}


def _name(name: str) -> str:
    module, _, entry = name.rpartition('.')
    if module == 'classifier':
        module = 'fc'
    module = re.sub(r'^(layer\d+\.\d+)\.down_sample\.', r'\1.downsample.', module)
    return f'{module}.{_NORM.get(entry, entry)}'


def _to_ours(found: Found) -> Renamed:
    state = rename_entries(found.state, _name)
    return Renamed(state, implies=dict(first_block='parallel'))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names, without the counters of norms."""
    norms = {k.removesuffix('.running_mean') for k in state if k.endswith('.running_mean')}
    entries = {ours: theirs for theirs, ours in _NORM.items()}

    def name(ours: str) -> str:
        module, _, entry = ours.rpartition('.')
        entry = entries[entry] if module in norms else entry
        module = 'classifier' if module == 'fc' else module.replace('.downsample.', '.down_sample.')
        return f'{module}.{entry}'

    return rename_entries({k: v for k, v in state.items() if not k.endswith('.num_batches_tracked')}, name)


LAYOUT = Layout(
    'mindcv', 'layer1.0.convs.0.weight', lambda found: 'bn1.gamma' in found.state, _to_ours,
    trap='outputs would be off by up to 26%')
