"""A push: describe the model, write its files, write its card (all in `files`), and commit them."""
import json
import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, get_token
from torch import nn

from ..model.data_cfg import in_order
from ..version import __version__
from ..weights.saving import CONFIG
from .client import LIBRARY, check_text, full_name
from .errors import LOGIN, HubError, hub_errors
from .files import CARD, Content, Described
from .model_card import MARKER
from .time_limit import time_limit

if TYPE_CHECKING:
    from typing_extensions import Unpack

_logger = logging.getLogger(__name__)


def push_to_hub(
        model: nn.Module,
        repo_id: str,
        *,
        commit_message: Optional[str] = None,
        token: Optional[str] = None,
        revision: Optional[str] = None,
        private: bool = False,
        create_pr: bool = False,
        timeout: Optional[float] = None,
        **content: 'Unpack[Content]',
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
        timeout: Seconds without a sign of life from the Hub, None for those of TIMM_RES2NET_HUB_TIMEOUT or else 30. An
            upload that goes on is a sign of life.
        **content: `label_names`, `metrics`, `dataset`, `license`, `as_timm`, ...: all that `Content` lists. Where
            neither it nor the model has class names, those that the repository has are kept, and a warning says so.

    Returns:
        The commit: `commit_url`, `oid` and, with `create_pr`, `pr_url`.

    Raises:
        TypeError, ValueError: The model or an argument cannot be pushed; nothing has been uploaded.
        HubError: The Hub refused, could not be reached or kept silent, in one line that says what to do. The
            repository is as it was, or new and empty; or complete, if only the answer to the commit was lost.
    """
    if create_pr and revision not in (None, 'main'):
        raise ValueError(f'revision={revision!r}: a pull request is opened against main, leave out revision.')
    check_text('revision', revision or '', 'a branch')
    with TemporaryDirectory() as folder, hub_errors(repo_id, revision, token, writes=True), time_limit(
            repo_id, timeout):
        api = HfApi(token=token, **LIBRARY)
        name = full_name(api, repo_id)
        described = Described(model, content)
        config = described.write(Path(folder), name)
        _make_repository(api, name, revision, private)
        names = _names_to_keep(api, name, revision, config)
        if names:
            described.labels['label_names'] = names
            described.write_texts(Path(folder), name)
        files = sorted(os.listdir(folder))
        if _is_edited(api, name, revision):
            files.remove(CARD)
        # one commit, while `upload_folder` may spread the files over several
        return api.create_commit(
            name,
            [CommitOperationAdd(file, os.path.join(folder, file)) for file in files],
            commit_message=commit_message or f'Push model with timm-res2net {__version__}',
            revision=revision,
            create_pr=create_pr,
        )


def _make_repository(api: HfApi, name: str, revision: Optional[str], private: bool) -> None:
    """The repository, as private as it was asked for, and the branch, where they do not exist."""
    if not (api.token or get_token()):
        raise HubError(f'Not logged in to the Hub: {LOGIN}.')
    api.create_repo(name, private=private or None, exist_ok=True)
    if private and not api.model_info(name).private:
        raise HubError(f'{name} exists and is public: make it private in its settings, or push to another name.')
    if revision not in (None, 'main') and not revision.startswith('refs/'):
        api.create_branch(name, branch=revision, exist_ok=True)


def _names_to_keep(api: HfApi, name: str, revision: Optional[str], pushed: Dict[str, Any]) -> Optional[List[str]]:
    """The class names that the repository has, where the config.json to be pushed has none; says what it does."""
    num_classes = pushed['num_classes']
    there = None if pushed.get('label_names') or not num_classes else _file_there(api, name, revision, CONFIG)
    try:
        names = json.loads(there or '{}').get('label_names')
        if not names:
            return None
        names = in_order(names, num_classes)
    except (AttributeError, RecursionError, TypeError, ValueError):  # of other classes, or written by hand
        _logger.warning(f'{name}: its class names are not those of {num_classes} classes, they go.')
        return None
    _logger.warning(f'{name}: the model has no class names, those that the repository has are kept.')
    return names


def _is_edited(api: HfApi, name: str, revision: Optional[str]) -> bool:
    """Whether the repository has a model card that somebody wrote by hand."""
    card = _file_there(api, name, revision, CARD)
    return card is not None and MARKER.encode() not in card


def _file_there(api: HfApi, name: str, revision: Optional[str], file: str) -> Optional[bytes]:
    """What a file of the repository holds, None where there is no such file."""
    if not api.file_exists(name, file, revision=revision):
        return None
    with TemporaryDirectory() as folder:
        return Path(api.hf_hub_download(name, file, revision=revision, local_dir=folder)).read_bytes()
