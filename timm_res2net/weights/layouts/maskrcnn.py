"""Res2Net-maskrcnn, the authors' detectors on maskrcnn-benchmark: `backbone.body.` before the network, always v1.

Its blocks have the stride in conv1, and no additions in the first of a stage, whose identity group is pooled without a
stride. Its norms, frozen, add nothing to the variance where ours add 1e-5: the weights of norms are scaled accordingly,
which has no way back to the last bit, so that nothing is saved for it.

Anybody's network may have a module called `stem`: with norms that count batches, as frozen ones do not, it is none of
these (see `stem`), and without counters it is assumed unless the prefix says so too.
"""
from .layout import Found, Layout, Renamed, State, rename_entries
from .names import Names

_STEM = Names((('stem.conv1.', 'conv1.'), ('stem.bn1.', 'bn1.')))
_EPSILON = 1e-5  # of our norms
_ASSUMED = ('the backbone of a Res2Net-maskrcnn, by its names: strides in conv1, norms without an epsilon; if it is '
            'not, rename its stem.conv1 and stem.bn1 to conv1 and bn1')


def _with_epsilon(state: State) -> State:
    """Norms that compute with an epsilon what these do without one: g / sqrt(v) = g' / sqrt(v + epsilon)."""
    scaled: State = {}
    for name, variance in state.items():
        weight = f'{name.removesuffix("running_var")}weight'
        if name.endswith('.running_var') and weight in state:
            factor = (1 + _EPSILON / variance.double()).sqrt()
            scaled[weight] = (state[weight].double() * factor).to(state[weight].dtype)
    return {**state, **scaled}


def _to_ours(found: Found) -> Renamed:
    return Renamed(
        _with_epsilon(rename_entries(found.state, _STEM.to_ours)),
        implies=dict(first_block='parallel', stride_position='conv1'),
        assumed=() if found.prefix.endswith('backbone.body.') else (_ASSUMED,))


def _is_sign(found: Found) -> bool:
    frozen = 'stem.bn1.num_batches_tracked' not in found.state
    return frozen and {'stem.conv1.weight', 'layer1.0.convs.0.weight'} <= found.state.keys()


LAYOUT = Layout(
    'Res2Net-maskrcnn', 'layer1.0.conv1.weight', _is_sign, _to_ours, trap='outputs would be off by up to 41%')
