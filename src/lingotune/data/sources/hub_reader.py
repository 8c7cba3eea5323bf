"""Reading from the Hugging Face Hub: one commit of a dataset repository, its files like local ones."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from lingotune.config.faults import of_machine
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import HUB_PREFIX
from lingotune.data.rows.findings import Located, OnReject, OnRemark, config_error
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.files import check_type, read_named
from lingotune.data.sources.split_names import check_names

_HUB_PATTERN = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/]+|[^/]+))?/(?P<path>.+)"
)
_LOCAL_INSTEAD = "local files in its place: data=files data.path=reviews.jsonl"


def read_hub(
    pattern: str,
    key: str,
    on_fault: OnReject | None = None,
    how: FileFormat = FileFormat(),  # noqa: B008 - it is frozen
    on_remark: OnRemark = lambda text: None,
    *,
    pool: bool = False,
) -> Iterator[Located]:
    """Read the hub files that `hf://datasets/OWNER/NAME[@REVISION]/PATH` names; PATH may be a glob.

    The files go through the same readers as local ones. All come from the one commit that the
    revision stands for now. ConfigError if the hub cannot be reached or has no such file, or if some
    files are called after another split than `key`, unless they may be pooled.
    """
    repo, sha, names = _found(pattern, key, pool)
    return read_named(_downloaded(repo, sha, names), on_fault, how, on_remark)


def hub_files(pattern: str, key: str, *, pool: bool = False) -> list[str]:
    """List the files that the pattern names, as `OWNER/NAME@COMMIT/PATH`; ConfigError as `read_hub`."""
    repo, sha, names = _found(pattern, key, pool)
    return [f"{repo}@{sha}/{name}" for name in names]


def _found(pattern: str, key: str, pool: bool) -> tuple[str, str, list[str]]:
    """Repository, commit and files that a pattern names."""
    match = _HUB_PATTERN.fullmatch(pattern)
    if match is None:
        fix = f"{key}=hf://datasets/OWNER/NAME/train.jsonl"
        raise config_error(f"{key}={pattern}", "does not name files of a hub dataset", fix)
    repo, path = match["repo"], match["path"]
    revision = (match["revision"] or "main").replace("%2F", "/")
    listing = _listing(repo, revision)
    if isinstance(listing, Problem):
        raise ConfigError([listing])
    sha, known = listing
    names = [name for name in known if _matches(name, path)]
    if not names:
        listed = ", ".join(known[:8]) + (f" and {len(known) - 8} more" if len(known) > 8 else "")
        what = f"{repo} has no file {path}; it has: {listed or 'none'}"
        raise config_error(f"{key}={pattern}", what, _LOCAL_INSTEAD)
    for name in names:
        check_type(name)
    if not pool:
        check_names(f"{key}={pattern}", key.rpartition(".")[2], list(map(PurePosixPath, names)))
    return repo, sha, names


@cache  # once for all splits and languages, and the same commit for all of them
def _listing(repo: str, revision: str) -> tuple[str, list[str]] | Problem:
    """The commit that a revision stands for and its files, or why the hub does not tell."""
    where = f"{HUB_PREFIX}datasets/{repo}@{revision}"
    try:
        from huggingface_hub import HfApi
    except ImportError:
        return Problem(where, "needs huggingface_hub", "pip install huggingface_hub")
    try:
        info = _tried(lambda: HfApi().dataset_info(repo, revision=revision, timeout=10))
    except Exception as error:  # what a dead line raises depends on the version: requests, httpx
        return _no_hub(repo, where, error)
    return str(info.sha), sorted(file.rfilename for file in info.siblings or [])


def _downloaded(repo: str, sha: str, names: Sequence[str]) -> Iterator[tuple[Path, str]]:
    from huggingface_hub import hf_hub_download

    for name in names:
        fetch = partial(hf_hub_download, repo, name, repo_type="dataset", revision=sha)
        try:
            local = _tried(fetch)
        except Exception as error:  # as above
            if known := of_machine(error):
                raise known from error
            problem = _no_hub(repo, f"{HUB_PREFIX}datasets/{repo}@{sha}/{name}", error)
            raise ConfigError([problem]) from error
        yield Path(local), f"{HUB_PREFIX}datasets/{repo}/{name}"


def _tried(call: Callable[[], Any]) -> Any:
    """The call's result; where the line or the server fails, it is asked three times."""
    for pause in (1, 3):
        try:
            return call()
        except Exception as error:
            status = _status(error)
            passing = status is None or status == 429 or status >= 500
            if not passing or type(error).__name__ == "OfflineModeIsEnabled":
                raise
            time.sleep(pause)
    return call()


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _matches(name: str, pattern: str) -> bool:
    """Glob over a repository's paths: a star stays within a folder, `**` does not."""
    if "**" in pattern:
        return fnmatchcase(name, pattern.replace("**/", "*"))
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _no_hub(repo: str, where: str, error: Exception) -> Problem:
    status, kind = _status(error), type(error).__name__
    if kind == "GatedRepoError":
        what = f"{repo} is gated: it needs HF_TOKEN of an account that was given access"
    elif kind == "RevisionNotFoundError":
        what = "there is no such revision"
    elif kind == "RepositoryNotFoundError":
        what = f"the hub shows no dataset {repo}: it is gone, or private and needs HF_TOKEN"
    elif kind == "OfflineModeIsEnabled":
        what = "needs a network line to the hub, and HF_HUB_OFFLINE forbids it"
    elif status is not None:
        what = f"the hub answered {status}"
    else:
        reason = next(iter(str(error).splitlines()), "") or kind
        what = f"needs a network line to the hub: {reason}"
    return Problem(where, what, _LOCAL_INSTEAD)
