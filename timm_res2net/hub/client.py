"""What push and pull ask the Hub's client in the same way."""
from typing import Any, Dict

from huggingface_hub import HfApi, get_token

from ..version import __version__
from .errors import LOGIN, HubError

LIBRARY: Dict[str, Any] = {'library_name': 'timm-res2net', 'library_version': __version__}


def check_text(name: str, value: Any, what: str) -> None:
    """Raise a `TypeError` for what is no text."""
    if not isinstance(value, str):
        raise TypeError(f'{name}={value!r} must be text: {what}.')


def full_name(api: HfApi, repo_id: str) -> str:
    """USER/NAME, with the user who is logged in where only NAME is given."""
    check_text('repo_id', repo_id, 'USER/NAME, or NAME of who is logged in')
    if '/' in repo_id:
        return repo_id
    if not (api.token or get_token()):
        raise HubError(f'repo_id={repo_id!r} names no user: write USER/{repo_id}, or {LOGIN}.')
    return f'{api.whoami()["name"]}/{repo_id}'
