"""Own code of a composed job: its file is read, checked and given its digest, nothing of it is run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, closest, nearest
from lingotune.config.schema import CodeConfig, JobConfig, LaunchConfig
from lingotune.plugins.source import changed, find_source, sha256_of, stored_name


@dataclass(frozen=True)
class Origin:
    """Origin of the settings of a job.

    config_dir: the user's own folder of group files. base, base_dir: a job that others stand on top of,
    and the folder of its file, where they are known.
    """

    config_dir: Path | None = None
    base: JobConfig | None = None
    base_dir: Path | None = None


def with_own_code(
    config: LaunchConfig, typed: Collection[str], origin: Origin
) -> tuple[LaunchConfig, list[Problem]]:
    """Fill in what follows from the file of own code: its path, its digest, what a worker installs for it.

    typed: the keys of the overrides. A typed path is relative to the current folder, as all paths are that
    are typed; one of a group file to the user's folder of group files. Returns the config as it is, and
    what is wrong, for code that cannot be used.
    """
    code = config.code
    if code == CodeConfig():
        return config, []
    from lingotune.plugins.check import check_code, worker_requirements  # most jobs have none

    is_typed = bool({"code", "code.file"} & set(typed))
    if code.file is not None:
        code = _placed(code, origin, is_typed=is_typed)
    if is_typed and "code.sha256" not in typed:
        code = replace(code, sha256=None)  # that of the file it was before
    try:
        code, content = _read(code, origin, is_typed=is_typed)
    except ConfigError as error:
        return config, error.problems
    problems = check_code(code, content)
    if not problems:
        requirements, unreachable = worker_requirements(code, content)
        if config.cluster.instance_type is not None and config.cluster.image.uri is None:
            problems = unreachable
        code = replace(code, requirements=requirements)
    return replace(config, code=code), problems


def _placed(code: CodeConfig, origin: Origin, *, is_typed: bool) -> CodeConfig:
    """Make the path of a group file one that holds from the current folder."""
    assert code.file is not None
    from_base = origin.base is not None and code.file == origin.base.code.file
    if is_typed or from_base or origin.config_dir is None:
        return code
    return replace(code, file=str(origin.config_dir / code.file))


def _read(code: CodeConfig, origin: Origin, *, is_typed: bool) -> tuple[CodeConfig, bytes | None]:
    """Read the file and compare its digest, if it has one; the copy of the job that others stand on
    does where the file is gone."""
    if code.file is None:
        if code.sha256 is not None:
            what = "is the digest of no file"
            raise ConfigError([Problem(f"code.sha256={code.sha256}", what, "code.sha256=null")])
        return code, None
    path = Path(code.file)
    copy = origin.base_dir / stored_name(code.sha256) if origin.base_dir and code.sha256 else None
    if not path.exists() and copy and copy.is_file() and not is_typed:
        source = find_source(code, [copy.parents[1]], original=False)
        assert source is not None
        return replace(code, file=str(copy)), source.content
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([_unreadable(code.file, error, origin, is_typed=is_typed)]) from error
    digest = sha256_of(content)
    if code.sha256 not in (None, digest):
        raise ConfigError([_changed(code, content, copy)])
    return replace(code, sha256=digest), content


def _changed(code: CodeConfig, content: bytes, copy: Path | None) -> Problem:
    problem = changed(code, content)
    own = f"; as it was: code.file={copy}" if copy and copy.is_file() else ""
    return replace(problem, fix=f"as it is now: code.file={code.file}{own}")


def _unreadable(file: str, error: OSError, origin: Origin, *, is_typed: bool) -> Problem:
    path = Path(file)
    there = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
    what = f"cannot be read: {error.strerror or error}{nearest(path.name, there)}"
    base = origin.config_dir if origin.config_dir and not is_typed else "the current folder"
    fix = f"the path of a Python file, relative to {base}"
    if near := closest(path.name, there):
        fix = f"code.file={path.parent / near}"
    elif origin.config_dir and (origin.config_dir / path).is_file():
        fix = f"code.file={origin.config_dir / path}"
    return Problem(f"code.file={file}", what, fix)
