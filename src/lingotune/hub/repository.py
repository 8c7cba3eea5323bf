"""Calls to the hub: opening a repository, committing files to it.

Both run in a process of their own with a time limit, so that a hub that does not answer never delays
training (see publish.py). Their errors contain no token.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lingotune.config.secrets import redacted
from lingotune.contract.container import JOB_FILE
from lingotune.hub.allowlist import is_published, with_secrets
from lingotune.system.hashing import sha256_of

_BLOCK = 1 << 20
_NEW_TOKEN = (
    "a new token with write access (https://huggingface.co/settings/tokens) in HF_TOKEN, or in the"
    " AWS secret"
)


class HubError(Exception):
    """The hub could not be reached, or refused. fix: a remedy, if there is one."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason, fix)
        self.reason, self.fix = reason, fix

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Target:
    """Repository of this job, which the token may write to.

    job_file: contents of the job file, which identify the repository as this job's. licence: the base
    model's, as the hub calls it; None = unknown.
    """

    repo: str
    user: str
    private: bool
    licence: str | None
    job_file: bytes = field(repr=False)
    token: str = field(repr=False)  # must not reach a log

    @property
    def link(self) -> str:
        """URL of the repository, without a password that the hub's address may hold."""
        return redacted(f"{_endpoint()}/{self.repo}")


@dataclass(frozen=True)
class _File:
    """File in the repository: SHA-256 of a large file (LFS), or git's blob digest of others, if known."""

    sha256: str | None
    blob: str | None

    def is_of(self, path: Path) -> bool | None:
        """Tell whether it equals a local file; None if the hub gives no digest."""
        if self.sha256:
            return sha256_of(path) == self.sha256
        return _blob_of(path) == self.blob if self.blob else None


# --- calls --------------------------------------------------------------------------------------


def open_repository(
    token: str, repo: str, private: bool, job_file: bytes, base_model: str | None
) -> Target:
    """Create the repository, or check that it is this job's, and commit the job file to a new one.

    The commit proves that the token may write. repo: `owner/name`, or `name` under the token's user.
    base_model: hub id of the model whose licence to look up. HubError if the token is rejected, or the
    repository holds anything else.
    """
    api = _api(token)
    with _explained(token, repo):
        who = api.whoami()
        user = str(who["name"])
        role = ((who.get("auth") or {}).get("accessToken") or {}).get("role")
        if role == "read":
            raise HubError("the token may only read", _NEW_TOKEN)
        repo = repo if "/" in repo else f"{user}/{repo}"
        found = _repository(api, repo)
        if found is None:
            repo = str(api.create_repo(repo, private=private, exist_ok=True).repo_id)
            found = api.model_info(repo, files_metadata=True)
        if found.private is not None and bool(found.private) != private:
            is_now = "private" if found.private else "public"
            fix = f"hub={is_now}, or another hub.repo"
            raise HubError(f"{repo} is there already, and is {is_now}", fix)
        target = Target(repo, user, private, _licence(api, base_model), job_file, token)
        files = _files(found)
        _check_ours(api, target, files)
        if JOB_FILE not in files:
            _commit(api, target, [(JOB_FILE, job_file)], [], "Begin", found.sha)
    return target


def commit_files(target: Target, files: Mapping[str, Path], message: str) -> str:
    """Make the repository hold these files, in one commit; returns the commit's id.

    Files of earlier pushes that are not among them are deleted; unchanged files are not sent. Afterwards
    the repository is compared with the local files. HubError if any step fails; a failed commit leaves
    the repository as it was.
    """
    secret = with_secrets(files, target.token)
    if secret:
        what = f"nothing was sent: there is a token, or a key, in {', '.join(secret)}"
        raise HubError(what, "the files without it")
    api = _api(target.token)
    with _explained(target.token, target.repo):
        found = api.model_info(target.repo, files_metadata=True)
        there = _files(found)
        _check_ours(api, target, there)
        changed = [n for n, path in files.items() if n not in there or not there[n].is_of(path)]
        gone = [name for name in there if is_published(name) and name not in files]
        if changed or gone:
            contents = [(name, str(files[name])) for name in changed]
            _commit(api, target, contents, gone, message, found.sha)
            found = api.model_info(target.repo, files_metadata=True)
        arrived = _files(found)
        bad = [n for n, p in files.items() if n not in arrived or arrived[n].is_of(p) is False]
        if bad:
            raise HubError(f"did not arrive as they are here: {', '.join(bad)}")
        return str(found.sha)


# --- details ------------------------------------------------------------------------------------


def _api(token: str) -> Any:
    from huggingface_hub import HfApi, logging
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    logging.set_verbosity_error()
    return HfApi(endpoint=_endpoint(), token=token)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _repository(api: Any, repo: str) -> Any | None:
    from huggingface_hub.utils import RepositoryNotFoundError

    try:
        return api.model_info(repo, files_metadata=True)
    except RepositoryNotFoundError as error:
        # Old versions raise this for a rejected token too, but then whoami has failed before.
        if _status(error) in (401, 404, None):
            return None
        raise


def _files(info: Any) -> dict[str, _File]:
    found = {}
    for file in info.siblings or ():
        lfs = file.lfs or {}
        sha = lfs.get("sha256") if isinstance(lfs, dict) else lfs.sha256
        found[file.rfilename] = _File(sha, file.blob_id)
    return found


def _check_ours(api: Any, target: Target, files: Mapping[str, _File]) -> None:
    fix = "another hub.repo, or an empty repository"
    if JOB_FILE in files:
        blob = files[JOB_FILE].blob or _blob_of(_fetched(api, target.repo))
        if blob != _blob(target.job_file):
            raise HubError(f"{target.repo} holds the model of another job", fix)
        return
    others = sorted(name for name in files if name != ".gitattributes")
    if others:
        named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise HubError(f"{target.repo} holds other content: {named}", fix)


def _fetched(api: Any, repo: str) -> Path:
    return Path(api.hf_hub_download(repo, JOB_FILE, force_download=True))


def _commit(
    api: Any,
    target: Target,
    contents: Sequence[tuple[str, str | bytes]],
    gone: Sequence[str],
    message: str,
    parent: str | None,
) -> None:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations = [
        *(CommitOperationAdd(path_in_repo=n, path_or_fileobj=content) for n, content in contents),
        *(CommitOperationDelete(path_in_repo=name) for name in gone),
    ]
    # Naming the parent commit prevents overwriting one that somebody else made meanwhile.
    api.create_commit(target.repo, operations, commit_message=message, parent_commit=parent)


def _licence(api: Any, base_model: str | None) -> str | None:
    """Read the licence from the base model's card; None if the card cannot be read."""
    if base_model is None:
        return None
    try:
        info = api.model_info(base_model)
        card = getattr(info, "card_data", None) or getattr(info, "cardData", None) or {}
        found = card.get("license")
    except Exception:
        return None
    return found if isinstance(found, str) else None


@contextmanager
def _explained(token: str, repo: str) -> Iterator[None]:
    """Turn the client's many kinds of errors into HubError, without the token."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        reason, fix = _reason(error, repo)
        raise HubError(reason.replace(token, "***"), fix) from None


def _reason(error: Exception, repo: str) -> tuple[str, str]:
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    said = getattr(error, "server_message", None) or said or type(error).__name__
    status = _status(error)
    if status == 401:
        return "the hub does not take the token: it has expired, or is none", _NEW_TOKEN
    if status == 403:
        return f"the token may not write to {repo}: {said}", _NEW_TOKEN
    if status in (409, 412):
        return f"somebody else is writing to {repo}: {said}", "the same once more"
    if status is None:
        fix = f"the hub in reach ({_endpoint()}), or hub=none"
        return f"the hub was not reached: {said}", fix
    return f"the hub answers {status}: {said}", "later, the same once more"


def _status(error: BaseException | None) -> int | None:
    """Find the HTTP status of an error, or of an error that caused it."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return int(status)
        error = error.__cause__ or error.__context__
    return None


def _blob_of(path: Path) -> str:
    digest = _started(path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return str(digest.hexdigest())


def _blob(content: bytes) -> str:
    digest = _started(len(content))
    digest.update(content)
    return str(digest.hexdigest())


def _started(size: int) -> Any:
    """Start git's digest of a file, which is the SHA-1 of its size and its bytes."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
