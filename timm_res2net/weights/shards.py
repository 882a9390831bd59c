"""Weights in several files, as transformers and accelerate write large ones: an index says which file has which."""
from pathlib import Path
from typing import Any, Callable, Dict, Mapping

from .checkpoint import CheckpointError, naming

INDEXES = ('model.safetensors.index.json', 'pytorch_model.bin.index.json')


def load_shards(index: Path, content: Mapping[str, Any], load: Callable[[Path], Any]) -> Dict[str, Any]:
    """Name -> weight, out of all files of an index.

    Args:
        index: The file.
        content: What it says.
        load: Reads one file.

    Raises:
        FileNotFoundError: A file is not there.
        CheckpointError: The index says something else than files beside it, or a file has not what it says.
    """
    of_weight = content.get('weight_map')
    with naming(index):
        if not isinstance(of_weight, dict) or not of_weight:
            raise CheckpointError('it has no weight_map, which says what file has which weight.')
        for file in of_weight.values():
            if not file or not isinstance(file, str) or Path(file).name != file or file in INDEXES:
                raise CheckpointError(f'it names {file!r}, which is no file beside it.')
    shards = {file: load(index.parent / file) for file in sorted(set(of_weight.values()))}
    weights: Dict[str, Any] = {}
    for name, file in of_weight.items():
        if not isinstance(shards[file], dict) or name not in shards[file]:
            raise CheckpointError(f'{index.parent / file}: it has no {name}, which {index.name} says is there.')
        weights[name] = shards[file][name]
    for file, shard in shards.items():
        odd = next((name for name in shard if of_weight.get(name) != file), None)
        if odd is not None:
            raise CheckpointError(f'{index.parent / file}: it has {odd}, which {index.name} does not say.')
    return weights
