"""A pull: download one commit's config and weights, check both, and have timm build the model from the cache."""
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple, Union

import timm
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import SafetensorError
from timm.models import is_model
from torch import nn

from ..weights.cache import sha256_of
from ..weights.checkpoint import CheckpointError
from ..weights.saving import CONFIG, WEIGHTS
from .client import LIBRARY, full_name
from .errors import HubError, hub_errors


def from_hub(
        repo_id: str,
        *,
        revision: Optional[str] = None,
        token: Optional[str] = None,
        cache_dir: Union[str, Path, None] = None,
        num_classes: Optional[int] = None,
        in_chans: Optional[int] = None,
        **model_kwargs,
) -> nn.Module:
    """Load a pushed model, as `timm.create_model('hf-hub:USER/NAME', pretrained=True)` does.

    Args:
        repo_id: USER/NAME or USER/NAME@REVISION, or NAME for the user who is logged in.
        revision: Branch, tag or commit.
        token: Of the Hub, None for the one of `hf auth login` or HF_TOKEN.
        cache_dir: Folder of the downloads, None for the Hub's cache.
        num_classes: Classes of a new head, None for the head that was pushed.
        in_chans: Input channels, None for those of the pushed model.
        **model_kwargs: Further arguments of the model, which win over those it was pushed with.

    Returns:
        The model in training mode, as timm gives it, on the CPU.

    Raises:
        HubError: In one line that says what to do.
        TypeError, ValueError: An argument that the model does not take.
    """
    repo_id, revision = _named(repo_id, revision)
    with hub_errors(repo_id, revision, token):
        name = full_name(HfApi(token=token, **LIBRARY), repo_id)
        config = _download(name, CONFIG, revision, token, cache_dir)
        _check_architecture(name, config)
        commit = config.parent.name  # one commit for both files, whatever is pushed meanwhile
        weights = _download(name, WEIGHTS, commit, token, cache_dir)
    _check_hash(weights)
    with _build_errors(name, weights):  # from here on everything is in the cache
        return timm.create_model(
            f'hf-hub:{name}@{commit}', pretrained=True, cache_dir=cache_dir, num_classes=num_classes, in_chans=in_chans,
            **model_kwargs)


def _named(repo_id: str, revision: Optional[str]) -> Tuple[str, Optional[str]]:
    """Name and revision, without timm's prefix, of `NAME` or `NAME@REVISION`."""
    repo_id, _, named = repo_id.removeprefix('hf-hub:').partition('@')
    if named and revision not in (None, named):
        raise ValueError(f'revision={revision!r}, and the name says @{named}: give one of them.')
    return repo_id, named or revision


def _download(name: str, file: str, revision: Optional[str], token: Optional[str], cache_dir: Any) -> Path:
    """Path of a file in the cache, downloaded where the cache has not the newest one."""
    try:
        return Path(hf_hub_download(name, file, revision=revision, token=token, cache_dir=cache_dir, **LIBRARY))
    except LocalEntryNotFoundError:  # neither the Hub nor the cache could be asked
        raise
    except EntryNotFoundError as error:
        hint = 'its weights are not in safetensors form' if file == WEIGHTS else 'it is not a model of timm'
        raise HubError(f'{name} has no {file}: {hint}, or nothing was pushed there yet. Check the name.') from error


def _check_architecture(name: str, config: Path) -> None:
    """A config.json must name an architecture that is registered."""
    try:
        architecture = json.loads(config.read_text(encoding='utf-8'))['architecture']
    except (ValueError, KeyError, TypeError):
        architecture = None
    if not isinstance(architecture, str) or not is_model(architecture):
        raise HubError(
            f'{name} holds no model that timm and timm-res2net know (its config.json says architecture '
            f'{architecture!r}): check the name, or install and import the package that defines it.')


def _check_hash(weights: Path) -> None:
    """The cache stores a weight file under its SHA-256; a damaged one must not pass for the one that was pushed."""
    expected = weights.resolve().name
    if len(expected) != 64:  # a cache without links, or a file outside large file storage
        return
    if sha256_of(weights) != expected:
        raise HubError(f'The weights in {weights.resolve()} are damaged: delete that file and try again.')


@contextmanager
def _build_errors(name: str, weights: Path) -> Iterator[None]:
    """Turn what timm raises on files that do not fit into `HubError`; errors in arguments pass as they are."""
    try:
        yield
    except (AssertionError, AttributeError, LookupError) as error:  # timm's, on odd entries
        raise HubError(
            f'The config.json of {name} has an entry that timm cannot use ({type(error).__name__}: {error}): push the '
            'model again, or correct the file by hand.') from error
    except SafetensorError as error:
        raise HubError(f'The weights in {weights} are damaged ({error}): delete that file and try again.') from error
    except (CheckpointError, RuntimeError) as error:
        raise HubError(
            f'The weights of {name} do not fit the model ({" ".join(str(error).split())[:300]}): leave out arguments '
            'that change its parameters.') from error
