"""The file of weights of a repository on the Hub, by timm's own download, into the Hub's cache.

timm builds a network before it asks for the weights; this package asks for them first, so that what is built is
compared with them. Token, cache, endpoint and offline mode are huggingface_hub's, from the environment.
"""
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Union

from huggingface_hub.errors import EntryNotFoundError
from timm.models._hub import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME, download_from_hf

from .cache import sha256_of
from .checkpoint import CheckpointError
from .words import one_line


def hub_file(repo_id: Any, filename: Any, cache_dir: Union[str, Path, None], described: bool) -> Path:
    """Path of the weights in the cache, downloaded where the cache has not the newest ones.

    Args:
        repo_id: USER/NAME or USER/NAME@REVISION.
        filename: In the repository, None for timm's, of which safetensors comes first.
        cache_dir: Folder of the downloads, None for the Hub's cache.
        described: Fetch the config.json beside them too, if there is one, which says what no weight tells.

    Raises:
        CheckpointError: They cannot be had, with the error of the Hub's client as its cause; or are damaged.
    """
    asked = filename or HF_WEIGHTS_NAME
    if not isinstance(repo_id, str):
        raise CheckpointError(f'hf_hub_id={repo_id!r} must be text, USER/NAME or USER/NAME@REVISION.')
    if not isinstance(asked, str) or PurePosixPath(asked).is_absolute() or '..' in PurePosixPath(asked).parts:
        raise CheckpointError(f'{repo_id}: hf_hub_filename={asked!r} must be the name of a file in the repository.')
    missing = None
    for name in (*_safe(asked), asked):
        try:
            path = Path(download_from_hf(repo_id, name, cache_dir))
            if described:
                with suppress(EntryNotFoundError):
                    download_from_hf(repo_id, str(PurePosixPath(name).with_name('config.json')), cache_dir)
            break
        except EntryNotFoundError as error:  # also where neither the Hub nor the cache could be asked
            missing = error
        except Exception as error:
            raise CheckpointError(f'{repo_id}: {name} cannot be had ({_told(error)}).') from error
    else:
        raise CheckpointError(
            f'{repo_id}: {" or ".join((*_safe(asked), asked))} cannot be had ({_told(missing)}).') from missing
    if is_damaged(path):
        raise CheckpointError(
            f'{repo_id}: the weights in {path.resolve()} are damaged: delete that file and try again.')
    return path


def _safe(name: str) -> tuple:
    """The file that is taken rather than a pickle, if the repository has it."""
    if name == HF_WEIGHTS_NAME:
        return (HF_SAFE_WEIGHTS_NAME,)
    return (f'{name[:-4]}.safetensors',) if name.endswith('.bin') else ()


def _told(error: Any) -> str:
    return f'{type(error).__name__}: {one_line(error, 300)}'


def is_damaged(path: Path) -> bool:
    """Whether a file of the Hub's cache is another one than was pushed: large ones are stored under their SHA-256."""
    stored = path.resolve()
    hashed = len(stored.name) == 64  # else a cache without links, or a file outside large file storage
    return hashed and sha256_of(stored) != stored.name
