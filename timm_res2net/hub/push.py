"""Share a model on the Hugging Face Hub, and get one back.

`push_to_hub` writes what timm reads, so that after `import timm_res2net` plain timm loads a pushed model with the
arguments it was built with: `timm.create_model('hf-hub:USER/NAME', pretrained=True)`. `from_hub` does the same with a
token, and with errors that say what to do.
"""
import hashlib
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, Mapping, Optional, Sequence, Union

import timm
from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, get_token, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import SafetensorError
from timm.models import is_model
from torch import nn

from .folders import WEIGHTS
from .hub_errors import LOGIN, HubError, hub_errors
from .hub_files import save_for_hub
from .model_card import MARKER
from .reading import CheckpointError
from .version import __version__

_LIBRARY: Dict[str, Any] = {'library_name': 'timm-res2net', 'library_version': __version__}


def push_to_hub(
        model: nn.Module,
        repo_id: str,
        *,
        commit_message: Optional[str] = None,
        token: Optional[str] = None,
        revision: Optional[str] = None,
        private: bool = False,
        create_pr: bool = False,
        label_names: Union[Sequence[str], Mapping[int, str], None] = None,
        label_descriptions: Optional[Mapping[str, str]] = None,
        metrics: Optional[Mapping[str, float]] = None,
        dataset: Union[str, Sequence[str], None] = None,
        license: Optional[str] = None,
        tags: Sequence[str] = (),
        description: Optional[str] = None,
        data_config: Optional[Mapping[str, Any]] = None,
        as_timm: bool = False,
) -> CommitInfo:
    """Push a model of this package: model.safetensors, config.json and README.md in one commit.

    Args:
        model: From `timm.create_model`, possibly compiled or inside DistributedDataParallel, on any device.
        repo_id: USER/NAME, or NAME for the user who is logged in. Made if it does not exist.
        commit_message: Title of the commit or pull request.
        token: Of the Hub, None for the one of `hf auth login` or HF_TOKEN.
        revision: Branch, made from the main one if it does not exist.
        private: Make the repository private. One that exists and is public is an error.
        create_pr: Open a pull request instead of committing to the main branch.
        label_names, label_descriptions, metrics, dataset, license, tags, description, data_config, as_timm: See
            `save_for_hub`.

    Returns:
        The commit: `commit_url`, `oid` and, with `create_pr`, `pr_url`.

    Raises:
        TypeError, ValueError: The model or an argument cannot be pushed; nothing has been uploaded.
        HubError: The Hub refused or could not be reached, in one line that says what to do. The repository is as it
            was, or new and empty; or complete, if only the answer to the commit was lost.
    """
    if create_pr and revision not in (None, 'main'):
        raise ValueError(f'revision={revision!r}: a pull request is opened against main, leave out revision.')
    with TemporaryDirectory() as folder, hub_errors(repo_id, revision, token, writes=True):
        api = HfApi(token=token, **_LIBRARY)
        name = _full_name(api, repo_id)
        save_for_hub(
            model, folder, name, label_names=label_names, label_descriptions=label_descriptions, metrics=metrics,
            dataset=dataset, license=license, tags=tags, description=description, data_config=data_config,
            as_timm=as_timm)
        if not (token or get_token()):
            raise HubError(f'Not logged in to the Hub: {LOGIN}.')
        api.create_repo(name, private=private or None, exist_ok=True)
        if private and not api.model_info(name).private:
            raise HubError(f'{name} exists and is public: make it private in its settings, or push to another name.')
        if revision not in (None, 'main') and not revision.startswith('refs/'):
            api.create_branch(name, branch=revision, exist_ok=True)
        files = sorted(os.listdir(folder))
        if _is_edited(api, name, revision, token):
            files.remove('README.md')
        # one commit, while `upload_folder` may spread the files over several
        return api.create_commit(
            name,
            [CommitOperationAdd(file, os.path.join(folder, file)) for file in files],
            commit_message=commit_message or f'Push model with timm-res2net {__version__}',
            revision=revision,
            create_pr=create_pr,
        )


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
    repo_id = repo_id.removeprefix('hf-hub:')
    if '@' in repo_id:
        repo_id, _, named = repo_id.partition('@')
        if revision not in (None, named):
            raise ValueError(f'revision={revision!r}, and the name says @{named}: give one of them.')
        revision = named
    with hub_errors(repo_id, revision, token):
        name = _full_name(HfApi(token=token, **_LIBRARY), repo_id)
        config_path = _download(name, 'config.json', revision, token, cache_dir)
        try:
            architecture = json.loads(config_path.read_text(encoding='utf-8'))['architecture']
        except (ValueError, KeyError, TypeError):
            architecture = None
        if not isinstance(architecture, str) or not is_model(architecture):
            raise HubError(
                f'{name} holds no model that timm and timm-res2net know (its config.json says architecture '
                f'{architecture!r}): check the name, or install and import the package that defines it.')
        commit = config_path.parent.name  # one commit for both files, whatever is pushed meanwhile
        weights = _download(name, WEIGHTS, commit, token, cache_dir)
    _check_hash(weights)
    try:
        # from here on everything is in the cache
        return timm.create_model(
            f'hf-hub:{name}@{commit}', pretrained=True, cache_dir=cache_dir, num_classes=num_classes, in_chans=in_chans,
            **model_kwargs)
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


def _full_name(api: HfApi, repo_id: str) -> str:
    """USER/NAME, with the user who is logged in where only NAME is given."""
    if '/' in repo_id:
        return repo_id
    if not (api.token or get_token()):
        raise HubError(f'repo_id={repo_id!r} names no user: write USER/{repo_id}, or {LOGIN}.')
    return f'{api.whoami()["name"]}/{repo_id}'


def _download(name: str, file: str, revision: Optional[str], token: Optional[str], cache_dir: Any) -> Path:
    """Path of a file in the cache, downloaded where the cache has not the newest one."""
    try:
        return Path(hf_hub_download(name, file, revision=revision, token=token, cache_dir=cache_dir, **_LIBRARY))
    except LocalEntryNotFoundError:  # neither the Hub nor the cache could be asked
        raise
    except EntryNotFoundError as error:
        hint = 'its weights are not in safetensors form' if file == WEIGHTS else 'it is not a model of timm'
        raise HubError(f'{name} has no {file}: {hint}, or nothing was pushed there yet. Check the name.') from error


def _check_hash(weights: Path) -> None:
    """The cache stores a weight file under its SHA-256; a damaged one must not pass for the one that was pushed."""
    expected = weights.resolve().name
    if len(expected) != 64:  # a cache without links, or a file outside large file storage
        return
    digest = hashlib.sha256()
    with weights.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise HubError(f'The weights in {weights.resolve()} are damaged: delete that file and try again.')


def _is_edited(api: HfApi, name: str, revision: Optional[str], token: Optional[str]) -> bool:
    """Whether the repository has a model card that somebody wrote by hand."""
    if not api.file_exists(name, 'README.md', revision=revision):
        return False
    with TemporaryDirectory() as folder:
        path = api.hf_hub_download(name, 'README.md', revision=revision, local_dir=folder)
        return MARKER not in Path(path).read_text(encoding='utf-8')
