"""mmdetection 2 and 3: a deep stem of numbered layers, `backbone.` before the network of a detector.

Names and shapes are those of the authors' v1b, and the network is another one: where the first block of a stage has no
stride, as in stage 1, its identity group is not pooled. A detector was trained so. A file with nothing of a detector
may as well be ImageNet weights of the authors' under mmdetection's names, which were trained pooled, and most are.
The authors' own fork of mmdetection 1 has their names, and their network.
"""
from .layout import STRIDED, Found, Layout, Renamed, State, rename_entries, without_head
from .mmpretrain import has_groups, is_detector, renamed_with_head
from .names import Names, deep_stem

_STEM = Names(deep_stem(*(f'stem.{i}.' for i in (0, 1, 3, 4, 6, 7))))
_ASSUMED = "first_block='parallel', as in ImageNet weights; for a backbone out of a detector give 'strided_pool'"


def _to_ours(found: Found) -> Renamed:
    state, head = renamed_with_head(found, _STEM)
    if not has_groups(state):
        return Renamed(state, used=head)
    if is_detector(found):
        return Renamed(state, implies=dict(first_block='strided_pool'), assumed=(STRIDED,))
    if head:  # theirs have none
        return Renamed(state, used=head, implies=dict(first_block='parallel'))
    return Renamed(state, assumed=(_ASSUMED,))


def from_ours(state: State) -> State:
    """Weights of one of our networks under their names, without the classifier that theirs have not."""
    return rename_entries(without_head(state), _STEM.from_ours)


LAYOUT = Layout(
    'mmdetection', 'layer1.0.conv1.weight', lambda found: {'stem.0.weight', 'stem.3.weight'} <= found.state.keys(),
    _to_ours, trap='outputs would be off by up to 19%')
