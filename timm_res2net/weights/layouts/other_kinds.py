"""Networks that are called Res2Net, or are made of it, and are none of ours: refused by their own name.

Some have all the names of a Res2Net besides their own, and would load with a few entries left out.
"""
import re

from ..checkpoint import CheckpointError
from .layout import State

_IN_BLOCK = r'^(?:layer|res|bb_)\d+(?:\.blocks)?[._]\d+\.'
_KINDS = {  # what it is: a name that only it has
    'an ERes2Net (3D-Speaker), whose blocks fuse their groups by attention': r'\bfuse_mode',
    'the speaker network Res2Net of wespeaker and 3D-Speaker, with another stem, blocks and activation':
        r'^seg_1\.|^layer\d+\.\d+\.shortcut\.',
    'an ECAPA-TDNN, whose Res2Net blocks convolve in time alone': r'\b(?:res2net_block|se_res2block|res2conv1d)\b',
    'a deformable Res2Net (DCN), whose convolutions learn where to look':
        _IN_BLOCK + r'(?:.*\.)?conv\d?_offset\b|' + _IN_BLOCK + r'(?:.*\.)?offset_conv\b',
    'a channel-wise gated Res2Net (CG-Res2Net)': _IN_BLOCK + r'gates\.\d',
    "a Res2Net with mmdetection's plugins":
        _IN_BLOCK + r'(?:context_block|gen_attention_block|nonlocal_block|conv_module)',
}
_PATTERNS = {words: re.compile(pattern) for words, pattern in _KINDS.items()}
_GROUP = re.compile(r'(?:^|\.)convs\.\d+\.weight$')
_DIMENSIONS = {3: '1-D Res2Net, for sequences', 5: '3-D Res2Net, for volumes or videos'}


def refuse_other_kinds(state: State) -> None:
    """Refuse a network that is a Res2Net of another kind.

    Args:
        state: Of the network, under the names of its project.

    Raises:
        CheckpointError: It is one; the message says which and by what it is told.
    """
    has_groups = any(_GROUP.search(k) for k in state)
    for words, pattern in _PATTERNS.items():
        name = next((k for k in state if pattern.search(k)), None)
        if name and (has_groups or '.shortcut.' not in name):  # many a ResNet calls its shortcut so
            raise CheckpointError(f'it is {words} ({name}): another network, which this package has not.')
    for name, value in state.items():
        if value.ndim in _DIMENSIONS and _GROUP.search(name):
            raise CheckpointError(
                f'it is a {_DIMENSIONS[value.ndim]} ({name} has {value.ndim} dimensions): another network, which this '
                'package has not.')
