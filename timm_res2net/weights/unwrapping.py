"""Which entry of a training checkpoint holds the weights: told by what the entries hold, not by what they are called.

| content | taken |
| --- | --- |
| one dictionary that holds a network, however deep | it |
| timm's `state_dict` and `state_dict_ema`, `model` and `model_ema` | the averaged one, as timm does |
| mmengine's `state_dict` and `ema_state_dict` | the first, which is the averaged one: its EMAHook writes them so |
| several others (`teacher`, `student`) | none: the caller names the entry |
"""
from typing import Any, Dict, Iterable, List, Optional, Tuple

import numpy as np
import torch

from .checkpoint import CheckpointError
from .layouts import ANCHORS
from .layouts.network import plain_name, prefixes
from .words import listed

_PAIRS = {'state_dict': 'state_dict_ema', 'model': 'model_ema'}  # plain and averaged
_SWAPPED = 'ema_state_dict'  # mmengine's, with the plain weights
_DEPTH = 6  # of dictionaries in dictionaries, far beyond what trainers write
_ENTRIES = 1_000_000


def unwrap(content: Any, use_ema: bool = True, entry: Optional[str] = None) -> Tuple[Dict[Any, Any], str]:
    """Take the weights out of whatever a file holds.

    Args:
        content: Of a file.
        use_ema: Take the averaged weights of a checkpoint as timm writes it where there are any.
        entry: Path of the entry that is meant, with dots between its names ('ema.module').

    Returns:
        Name -> value, and the path of the entry, '' if `content` is itself the state dict.

    Raises:
        CheckpointError: There is nothing like it, or there are several.
    """
    entries = dict(_states(content))
    if entry is not None:
        if entry not in entries:
            raise CheckpointError(f'entry={entry!r}: there is none with weights of this name{_there(entries)}.')
        return dict(entries[entry]), entry
    networks = {path: state for path, state in entries.items() if _is_network(state)}
    known = [*(_PAIRS.values() if use_ema else ()), *_PAIRS]
    if _swaps(content) and len(networks) == 2:
        known = ['state_dict' if use_ema else _SWAPPED]
    elif len(networks) > 1 and set(networks) not in map(set, _PAIRS.items()):
        raise CheckpointError(
            f'it holds {len(networks)} networks, name the entry of one (entry={next(iter(networks))!r})'
            f'{_there(networks)}.')
    chosen = networks or entries  # without a network what is wrong is said of what is there
    path = next((p for p in (*known, '', *chosen) if p in chosen), None)
    if path is None:
        raise CheckpointError(f'it holds {_kind(content)} instead of named weights.')
    return dict(chosen[path]), path


def _swaps(content: Any) -> bool:
    """Whether the entries are those of mmengine's EMAHook, whose averaged model counts its steps."""
    averaged = content.get(_SWAPPED) if isinstance(content, dict) and 'state_dict' in content else None
    return isinstance(averaged, dict) and 'steps' in averaged


def in_words(content: Any, path: str) -> Tuple[str, ...]:
    """What is assumed of an entry of a file."""
    if path not in ('state_dict', _SWAPPED) or not _swaps(content):
        return ()
    kind = 'averaged' if path == 'state_dict' else 'plain'
    return (f"these to be the {kind} weights, as mmengine's EMAHook writes them",)


def _states(content: Any) -> Iterable[Tuple[str, Dict[Any, Any]]]:
    """All dictionaries that hold tensors or arrays, each under its path."""
    level, looked_at = [('', content)], 0
    for _ in range(_DEPTH):
        below: List[Tuple[str, Any]] = []
        for path, value in level:
            if not isinstance(value, dict):
                continue
            if any(isinstance(v, (torch.Tensor, np.ndarray)) for v in value.values()):
                yield path, value
            below += [(f'{path}.{k}' if path else k, v) for k, v in value.items() if isinstance(k, str)]
            looked_at += len(value)
            if looked_at > _ENTRIES:  # one dictionary may stand in many places, which takes no bytes
                raise CheckpointError(f'its dictionaries hold more than {_ENTRIES:,} entries, which no weights do.')
        level = below


def _is_network(state: Dict[Any, Any]) -> bool:
    return bool(prefixes((plain_name(k) for k in state if isinstance(k, str)), ANCHORS))


def _there(entries: Dict[str, Any]) -> str:
    names = [repr(path) if path else 'the whole file' for path in entries]
    return f': {listed(names)}' if names else ''


def _kind(content: Any) -> str:
    return 'an empty dictionary' if isinstance(content, dict) and not content else type(content).__name__
