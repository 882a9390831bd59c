"""What goes wrong with the Hugging Face Hub, each in one line that says what to do."""
import json
import os
from contextlib import contextmanager
from http import HTTPStatus
from typing import Iterator, Optional, Union

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..weights.words import printable

LOGIN = 'log in with `hf auth login` or pass token='
# the client's HTTP library changed over the years; its base exception is a parent of the Hub's own in each of them
TRANSPORT = tuple(
    c for c in HfHubHTTPError.__mro__ if c.__module__.partition('.')[0] in ('httpx', 'httpx2', 'requests'))


class HubError(RuntimeError):
    """Something that a person can put right, told in one line; the client's own error is its `__cause__`."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class HubTimeout(HubError):
    """The Hub kept silent for longer than the limit."""


@contextmanager
def hub_errors(
        repo_id: str,
        revision: Optional[str] = None,
        token: Union[str, bool, None] = None,
        writes: bool = False,
) -> Iterator[None]:
    """Turn the errors of huggingface_hub inside the block into `HubError`; all others pass as they are."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        message = _explain(error, repo_id, revision, token, writes)
        if message is None:
            raise
        raise HubError(' '.join(message.split())) from error


def _explain(
        error: Optional[BaseException],
        repo_id: str,
        revision: Optional[str],
        token: Union[str, bool, None],
        writes: bool,
) -> Optional[str]:
    """The one line for an error or, where it only reports another one, for its cause; None if it is not the Hub's."""
    seen = set()
    cached = True  # the client looks into its cache before it gives up on these
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, HubError):  # of ours, and the client has put its own around it
            return str(error)
        if isinstance(error, LocalEntryNotFoundError):
            cached = False
            if error.__cause__ is None:
                return _offline(repo_id, writes)
        else:
            message = _explain_one(error, repo_id, revision, token, writes, cached)
            if message is not None:
                return message
        error = error.__cause__
    return None if cached else f'{repo_id} is not in the cache and could not be looked up on the Hub: try again.'


def _offline(repo_id: str, writes: bool) -> str:
    if writes:
        return f'Offline mode is on (HF_HUB_OFFLINE), and nothing can be pushed to {repo_id}: unset HF_HUB_OFFLINE.'
    return (f'Offline mode is on (HF_HUB_OFFLINE) and {repo_id} is not in the cache ({constants.HF_HUB_CACHE}): unset '
            'HF_HUB_OFFLINE, or download it once while online.')


def _explain_one(
        error: BaseException,
        repo_id: str,
        revision: Optional[str],
        token: Union[str, bool, None],
        writes: bool,
        cached: bool,
) -> Optional[str]:
    logged_in = bool(token) if token is not None else get_token() is not None
    url = f'{constants.ENDPOINT}/{repo_id}'
    if isinstance(error, OfflineModeIsEnabled):
        return _offline(repo_id, writes)
    if isinstance(error, LocalTokenNotFoundError):
        return f'Not logged in to the Hub: {LOGIN}.'
    if isinstance(error, HFValidationError):
        return f'repo_id={repo_id!r} is not a name on the Hub, USER/NAME or NAME in letters, digits, -, _ and .'
    if isinstance(error, GatedRepoError):  # before its base class, RepositoryNotFoundError
        then = 'try again' if logged_in else LOGIN
        return f'Access to {repo_id} is gated: ask for it at {url}, then {then}.'
    if isinstance(error, RevisionNotFoundError):
        return f'{repo_id} has no revision {revision or "main"!r}: give a branch, tag or commit of {url}.'
    if isinstance(error, RepositoryNotFoundError):
        if logged_in:
            return f'No repository {repo_id} on the Hub that this token may see: check the name and its rights.'
        return f'No repository {repo_id} on the Hub, or it is private: check the name, or {LOGIN}.'
    if isinstance(error, EntryNotFoundError):
        return f'A file of {repo_id} is missing on the Hub: see {url}.'
    if isinstance(error, HfHubHTTPError):
        return _explain_status(error, repo_id, logged_in, writes)
    if isinstance(error, (ConnectionError, TimeoutError, *TRANSPORT)):
        in_cache = '' if cached else f' and {repo_id} is not in the cache'
        detail = f'{type(error).__name__}: {error}'.rstrip(': ')
        return f'The connection to {constants.ENDPOINT} failed ({detail}){in_cache}: check the network and try again.'
    if isinstance(error, json.JSONDecodeError):
        return f'{constants.ENDPOINT} gave an answer that cannot be read: try again in a few minutes.'
    if isinstance(error, OSError) and 'Consistency check failed' in str(error):
        return f'The download of {repo_id} ended early and was thrown away: try again.'
    if isinstance(error, ValueError) and 'Invalid metadata in README.md' in str(error):
        reason = str(error).partition('README.md.')[2].strip(' -\n')
        return f'The Hub refuses the model card: {reason} Correct license=, dataset= or tags=.'
    return None


def _explain_status(error: HfHubHTTPError, repo_id: str, logged_in: bool, writes: bool) -> str:
    response = error.response
    status = getattr(response, 'status_code', None)
    server = getattr(error, 'server_message', None) or ''
    if status == 401:
        if not logged_in:
            return f'Not logged in to the Hub: {LOGIN}.'
        source = 'in HF_TOKEN is used before any other: correct or unset it' if os.environ.get('HF_TOKEN') else \
            'is invalid or has expired: log in again with `hf auth login --force`'
        return f'The Hub refuses the token, which {source}, or pass a valid token=.'
    if status == 403:
        settings = f'{constants.ENDPOINT}/settings/tokens'
        remedy = f'use a token with write access to it ({settings}), another name, or create_pr=True' if writes else \
            f'use a token that may read it ({settings})'
        return f'No right to do this with {repo_id} ({server or "403 Forbidden"}): {remedy}.'
    if status == 429:
        after = response.headers.get('Retry-After')
        wait = f'wait {after} seconds' if after else 'wait a few minutes'
        return f'The Hub limits the rate of requests: {wait} and try again{"" if logged_in else ", or " + LOGIN}.'
    if status in (500, 502, 503, 504):
        return f'The Hub has a problem of its own ({status} {HTTPStatus(status).phrase}): try again in a few minutes.'
    if status == 404:
        return f'The Hub does not know {repo_id} at {constants.ENDPOINT}: check the name and try again.'
    return f'The Hub refuses the request for {repo_id} ({status}): {server or error}'
