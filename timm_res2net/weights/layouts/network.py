"""Where in a file a network lies: under which prefix, beside what, among which names that are no weights."""
import re
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from ..checkpoint import CheckpointError
from ..words import listed
from .heads import without_other_heads
from .layout import Found, State
from .sequence import ANCHOR

# parts of names that torch puts around modules: compiled, sharded, checkpointed, parallel
_WRAPPERS = re.compile(r'(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|module)\.')
# numbers that averaged models and counters of operations (thop) keep beside the weights
_NO_WEIGHTS = re.compile(r'(?:^|\.)(?:n_averaged|total_ops|total_params)$|\.aux_bn(?=\.\d+\.)')


def plain_name(name: str) -> str:
    """A name without what torch puts around modules."""
    return _WRAPPERS.sub('', name)


def without_wrappers(state: State) -> Tuple[State, List[str]]:
    """Take what torch's wrappers add out of names, and the entries that are no weights out of the state.

    Raises:
        CheckpointError: Two names become one.
    """
    kept: State = {}
    dropped = set()
    for name, value in state.items():
        if match := _NO_WEIGHTS.search(name):
            dropped.add(match[0].lstrip('.'))
            continue
        new = plain_name(name)
        if new in kept:
            raise CheckpointError(f'{name} and another name are both {new} without what torch has put around them.')
        kept[new] = value
    dropped.discard('n_averaged')  # every averaged model has it
    return kept, [f'entries that are no weights: {", ".join(sorted(dropped))}'] if dropped else []


def prefixes(names: Iterable[str], anchors: Sequence[str]) -> List[str]:
    """What stands before an anchor, one prefix a network."""
    found: Dict[str, None] = {}
    for name in names:
        for anchor in anchors:
            before = name[:len(name) - len(anchor)]
            if name.endswith(anchor) and (not before or before.endswith('.')):
                found[before] = None
    return list(found)


def find_network(state: State, anchors: Sequence[str], prefix: Optional[str] = None) -> Found:
    """The network of a file, and what lies beside it.

    Args:
        state: Without wrappers.
        anchors: Of the layouts; without any of them in the file it is taken as it is, and what is wrong is said later.
        prefix: Of the network that is meant where there are several, or how it begins, with or without a last dot.

    Raises:
        CheckpointError: There are several networks, which are listed, or none under the prefix.
    """
    there = prefixes(state, anchors) or prefixes(state, (ANCHOR,))
    names = listed([repr(p) for p in there])
    if prefix is not None:
        wanted = plain_name(prefix and prefix.rstrip('.') + '.')
        begins = [wanted] if wanted in there else [p for p in there if wanted and p.startswith(wanted)]
        if not begins:
            raise CheckpointError(
                f'prefix={prefix!r}: no network has this before its names, ' + (
                    f'there are {names}.' if there else 'and there is no other.'))
        there = begins
    there = _without_aliases(state, there, anchors)
    if len(there) > 1:
        raise CheckpointError(
            f'it holds {len(there)} networks, give the prefix of one (prefix={there[0]!r}): {names}.')
    chosen = there[0] if there else ''
    network = {k[len(chosen):]: v for k, v in state.items() if k.startswith(chosen)}
    _check_memory(without_other_heads(network)[0])
    return Found(network, chosen, {k: v for k, v in state.items() if not k.startswith(chosen)})


def _without_aliases(state: State, there: List[str], anchors: Sequence[str]) -> List[str]:
    """One prefix of those under which the same tensors stand: code that keeps parts of a network under two names.

    That with the most names, and not that without a prefix, under which all the others stand too.
    """
    of_memory: Dict[Tuple[int, ...], List[str]] = {}
    for prefix in there:
        weights = [state[prefix + anchor] for anchor in anchors if prefix + anchor in state]
        of_memory.setdefault(tuple(sorted(w.data_ptr() or id(w) for w in weights)), []).append(prefix)
    kept: List[str] = []
    for same in of_memory.values():
        whole = max(same, key=lambda prefix: (prefix != '', sum(k.startswith(prefix) for k in state)))
        kept += [prefix for prefix in same if prefix == whole or not _is_alias(state, prefix, whole)]
    return kept


def _is_alias(state: State, prefix: str, whole: str) -> bool:
    """Whether all that two prefixes both have is the same: two networks may share their first stages alone."""
    both = ((value, state.get(whole + k[len(prefix):])) for k, value in state.items() if k.startswith(prefix))
    return all(other is None or value.data_ptr() == other.data_ptr() for value, other in both)


def _check_memory(network: State) -> None:
    """Each weight has memory of its own: two that share it come from a damaged file and would load without a word.

    Raises:
        CheckpointError: Two do.
    """
    seen: Dict[int, str] = {}
    for name, value in network.items():
        other = seen.setdefault(value.data_ptr() or id(value), name) if value.numel() > 1 else name
        if other != name:
            raise CheckpointError(f'{name} and {other} share the same memory.')
