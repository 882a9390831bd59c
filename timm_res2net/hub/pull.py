"""A pull: download one commit's config and weights, check both, and build what the weights are.

The config.json says what they do not tell (activation, strides, ...). It is compared with them before anything is
built, so that what a pull takes is bounded by the file of weights, whatever the config says.
"""
import dataclasses
import json
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Tuple, Union

import torch
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from timm.models import is_model
from torch import nn

from ..model.arguments import check_int, check_mapping
from ..model.data_cfg import check_settings, read_config
from ..model.variants import variant_of
from ..weights.checkpoint import Checkpoint, CheckpointError
from ..weights.hub_file import is_damaged
from ..weights.loading import load_read
from ..weights.matching import RUNTIME
from ..weights.reading import read_checkpoint
from ..weights.saving import CONFIG, WEIGHTS
from ..weights.words import one_line
from .client import LIBRARY, check_text, full_name
from .errors import HubError, HubTimeout, hub_errors
from .time_limit import time_limit

_CONFIG_BYTES = 1 << 24  # names and descriptions of 20,000 classes are a tenth of it
_REFUSED = {  # arguments of timm.create_model that would undo what a pull is
    'pretrained': 'the weights are always loaded; for a new model use timm.create_model',
    'pretrained_cfg': 'the repository describes itself; pretrained_cfg_overlay= replaces entries',
    'checkpoint_path': 'the weights are those of the repository; for a file use load_checkpoint',
}
_logger = logging.getLogger(__name__)


def from_hub(
        repo_id: str,
        *,
        revision: Optional[str] = None,
        token: Optional[str] = None,
        cache_dir: Union[str, Path, None] = None,
        timeout: Optional[float] = None,
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
        timeout: Seconds without a sign of life from the Hub, None for those of TIMM_RES2NET_HUB_TIMEOUT or else 30.
            The copy in the cache is taken then, if there is one.
        num_classes: Classes of a new head, None for the head that was pushed.
        in_chans: Input channels, None for those of the pushed model.
        **model_kwargs: Further arguments of the model, which win over those it was pushed with.

    Returns:
        The model in training mode, as timm gives it, on the CPU. A ResNet of timm's that this package has too comes as
        this package's.

    Raises:
        HubError: In one line that says what to do; also where weights and config.json contradict each other.
        TypeError, ValueError: An argument that the model does not take.
    """
    kwargs = _checked({'num_classes': num_classes, 'in_chans': in_chans, **model_kwargs})
    repo_id, revision = _named(repo_id, revision)
    with hub_errors(repo_id, revision, token), time_limit(repo_id, timeout):
        name = full_name(HfApi(token=token, **LIBRARY), repo_id)
        path = _download(name, CONFIG, revision, token, cache_dir)
        config = _read_config(name, path)
        commit = path.parent.name  # one commit for both files, whatever is pushed meanwhile
        weights = _download(name, WEIGHTS, commit, token, cache_dir)
    checkpoint = _described(name, config, _read_weights(weights))
    with _fit_errors(checkpoint, kwargs):  # from here on nothing is asked of the Hub
        return load_read(checkpoint, **kwargs)


def _checked(kwargs: Dict[str, Any]) -> Dict[str, Any]:
    """Arguments of the model, as far as they can be checked without it; without those that are None."""
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    for name, reason in _REFUSED.items():
        if name in kwargs:
            raise TypeError(f'from_hub takes no {name}=: {reason}.')
    for name, minimum in (('num_classes', 0), ('in_chans', 1)):
        if name in kwargs:
            kwargs[name] = check_int(name, kwargs[name], minimum)
    _check_device(kwargs.get('device'))
    overlay = 'pretrained_cfg_overlay'
    check_settings(overlay, check_mapping(overlay, kwargs.get(overlay)))
    return kwargs


def _check_device(device: Any) -> None:
    """A model has to be somewhere where there are values."""
    try:
        device = torch.device(device) if device is not None else torch.get_default_device()
    except (RuntimeError, TypeError):
        raise ValueError(f'device={device!r} is none that torch knows.') from None
    if device.type == 'meta':
        raise ValueError(
            "device='meta' has no values, nothing can be loaded there: give another device=, or leave the block of "
            "torch.device('meta').")


def _named(repo_id: str, revision: Optional[str]) -> Tuple[str, Optional[str]]:
    """Name and revision, without timm's prefix, of `NAME` or `NAME@REVISION`."""
    check_text('repo_id', repo_id, 'USER/NAME, USER/NAME@REVISION, or NAME of who is logged in')
    check_text('revision', revision or '', 'a branch, tag or commit')
    repo_id, _, named = repo_id.removeprefix('hf-hub:').partition('@')
    if named and revision not in (None, named):
        raise ValueError(f'revision={revision!r}, and the name says @{named}: give one of them.')
    return repo_id, named or revision


def _download(name: str, file: str, revision: Optional[str], token: Optional[str], cache_dir: Any) -> Path:
    """Path of a file in the cache, downloaded where the cache has not the newest one."""
    where: Dict[str, Any] = dict(revision=revision, token=token, cache_dir=cache_dir, **LIBRARY)
    try:
        return Path(hf_hub_download(name, file, **where))
    except LocalEntryNotFoundError:  # neither the Hub nor the cache could be asked
        raise
    except EntryNotFoundError as error:
        hint = 'its weights are not in safetensors form' if file == WEIGHTS else 'it is not a model of timm'
        raise HubError(f'{name} has no {file}: {hint}, or nothing was pushed there yet. Check the name.') from error
    except HubTimeout as error:  # as huggingface_hub does where nothing answers
        try:
            path = Path(hf_hub_download(name, file, local_files_only=True, **where))
        except LocalEntryNotFoundError:
            raise error from None
        _logger.warning(f'{error} The copy in the cache is taken.')
        return path


def _read_config(name: str, path: Path) -> Dict[str, Any]:
    """A config.json that names an architecture which is registered."""
    config: Any = None
    if path.stat().st_size > _CONFIG_BYTES:
        raise HubError(f'{name} has a config.json of {path.stat().st_size} bytes: it is not a model of timm.')
    try:
        config = json.loads(path.read_text(encoding='utf-8'))
        architecture = config['architecture']
    except (ValueError, KeyError, TypeError, RecursionError):
        architecture = None
    if not isinstance(architecture, str) or not is_model(architecture):
        raise HubError(
            f'{name} holds no model that timm and timm-res2net know (its config.json says architecture '
            f'{_shown(architecture)}): check the name, or install and import the package that defines it.')
    return config


def _shown(value: Any) -> str:
    """A value from a file in an error."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}...'


def _read_weights(weights: Path) -> Checkpoint:
    if is_damaged(weights):
        raise HubError(f'The weights in {weights.resolve()} are damaged: delete that file and try again.')
    try:
        return read_checkpoint(weights)
    except CheckpointError as error:
        raise HubError(
            f'The weights cannot be read ({str(error).rstrip(".")}): delete that file and try again, or ask whoever '
            'pushed it to push it again.') from error


def _described(name: str, config: Mapping[str, Any], checkpoint: Checkpoint) -> Checkpoint:
    """The weights with what their repository says of them; what it says of the machine they run on is left out."""
    given = config.get('model_args')
    arguments = dict(given) if isinstance(given, dict) else {}
    ignored = [k for k in arguments if k in RUNTIME]
    if ignored:
        _logger.warning(
            f'{name}: ignored {", ".join(map(_shown, ignored[:4]))} in model_args of its config.json, which says how a '
            'model is used, not what it is.')
    cfg = config.get('pretrained_cfg')
    tag = cfg.get('tag') if isinstance(cfg, dict) else None  # of weights as they were published
    return dataclasses.replace(
        checkpoint, path=name, architecture=config['architecture'],
        cfg={**read_config(config), **({'tag': tag} if isinstance(tag, str) else {})},
        model_args={k: v for k, v in arguments.items() if k not in RUNTIME})


@contextmanager
def _fit_errors(checkpoint: Checkpoint, kwargs: Mapping[str, Any]) -> Iterator[None]:
    """Turn what is raised on files that do not fit into `HubError`; errors in given arguments pass as they are."""
    name = checkpoint.path
    try:
        yield
    except CheckpointError as error:
        given = [k for k in kwargs if k not in ('num_classes', 'in_chans', *RUNTIME)]
        if given:
            remedy = f'leave out arguments that change its parameters ({", ".join(given)})'
        elif variant_of(checkpoint.architecture):
            remedy = 'whoever pushed it has to push it again, from the model itself'
        else:
            remedy = f"it is a model of timm's, for timm.create_model('hf-hub:{name}', pretrained=True)"
        raise HubError(f'The weights of {name} do not fit the model ({_told(name, error)}): {remedy}.') from error
    except Exception as error:  # of whatever timm and torch make of a config's entries
        if kwargs:
            raise
        raise HubError(
            f'The config.json of {name} has an entry that cannot be used ({_told(name, error)}): whoever pushed it has '
            'to push it again.') from error


def _told(name: str, error: Exception) -> str:
    """An error in one line."""
    return one_line(error, 300).removeprefix(f'{name}: ').rstrip('.')
