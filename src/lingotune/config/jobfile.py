"""job.yaml: the one file that carries a job to every worker, and proves itself.

The first line holds the SHA-256 of the rest. That digest is the job's identity: launch.py puts it
into names, tags and environment, and every worker compares it.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pickle
import shlex
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from lingotune.config.machines import as_planned
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import ClusterConfig, DataConfig, JobConfig

_NAME = "job.yaml"
_HEADER = "# lingotune job, sha256 of the lines below: "


def job_of(config: JobConfig) -> JobConfig:
    """Copy the part of a composed config that travels to the workers; of a job that is all of it."""
    cluster = ClusterConfig(**_shared(config.cluster, ClusterConfig))
    data = DataConfig(**_shared(config.data, DataConfig))
    if data.split_seed == config.seed:  # as job files said it before they had two seeds
        data.split_seed = None
    return JobConfig(**{**_shared(config, JobConfig), "cluster": cluster, "data": data})


def _shared(config: Any, kind: Any) -> dict[str, Any]:
    """Collect the fields of a config that its base class `kind` has, too."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(kind)}


def plain(section: Any) -> dict[str, Any]:
    """Convert a job, or a section of it, to dicts, lists and plain values; enums by name, schema order.

    Sections and settings that are only written where they are used are left out.
    """
    values = dataclasses.asdict(section, dict_factory=_with_enum_names)
    _leave_out(section, values)
    return values


def check_types(job: JobConfig) -> None:
    """Compare the values of a job with the schema's types; ConfigError lists those that do not fit, such as
    ones that a program has set."""
    from omegaconf import OmegaConf
    from omegaconf.base import SCMode
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = OmegaConf.structured(job)
    except OmegaConfBaseException as error:
        what = str(error).splitlines()[0]
        raise ConfigError([Problem(error.full_key or error.key or "job", what)]) from error
    typed = OmegaConf.to_container(config, structured_config_mode=SCMode.DICT)
    found = [*_converted(dataclasses.asdict(job), typed, "")]
    if found:
        raise ConfigError(found)


def _converted(given: Any, typed: Any, key: str) -> Iterator[Problem]:
    """Yield the values that had to be converted: whoever reads the job would see what they were before."""
    if isinstance(given, dict) and isinstance(typed, dict):
        for name, value in given.items():
            yield from _converted(value, typed.get(str(name)), f"{key}.{name}".lstrip("."))
    elif given != typed and repr(given) != repr(typed):  # nan is not even itself
        what = f"{given!r} is of type {type(given).__name__}, not {type(typed).__name__}"
        yield Problem(key, what, f"{key}={_named(typed)}", key=key)


def _leave_out(section: Any, values: dict[str, Any]) -> None:
    for item in dataclasses.fields(section):
        value, factory = getattr(section, item.name), item.default_factory
        default = item.default if factory is dataclasses.MISSING else factory()
        if item.metadata.get("written") and value == default:
            del values[item.name]
        elif dataclasses.is_dataclass(value):
            _leave_out(value, values[item.name])


def _with_enum_names(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: _named(value) for key, value in items}


def _named(value: Any) -> Any:
    if isinstance(value, list):
        return [_named(item) for item in value]
    return value.name if isinstance(value, Enum) else value


def dump_job(job: JobConfig) -> bytes:
    """Format the job file: UTF-8 bytes, every setting in the order of the schema, enums by name.

    The body equals `OmegaConf.to_yaml(OmegaConf.structured(job))`, but is faster: the types of a typed job
    are not checked again, and sections that the jobs of a sweep share are formatted once. A job that may
    get several machines is written as on the first of them.
    """
    sections = (json.dumps({key: value}) for key, value in plain(as_planned(job)).items())
    body = "".join(map(_as_yaml, sections)).encode()
    return f"{_HEADER}{_sha256(body)}\n".encode() + body


@functools.lru_cache(maxsize=1000)
def _as_yaml(section: str) -> str:
    """Format a section of a job as OmegaConf does. It is passed as JSON, which can be a cache key."""
    import yaml
    from omegaconf._utils import get_omega_conf_dumper

    text: str = yaml.dump(
        json.loads(section),
        Dumper=get_omega_conf_dumper(),
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
    )
    return text


def job_digest(job: JobConfig) -> str:
    """Compute a job's identity: 64 hexadecimal digits."""
    return digest_in(dump_job(job))


def digest_in(job_file: bytes) -> str:
    """Read the digest from the first line of a job file's bytes."""
    return job_file.split(b"\n", 1)[0].decode()[len(_HEADER) :]


def is_intact(job_file: bytes) -> bool:
    """Tell whether a job file's bytes are as some version wrote them."""
    first, _, body = job_file.partition(b"\n")
    return first == f"{_HEADER}{_sha256(body)}".encode()


def load_job(path: str | Path) -> tuple[JobConfig, str]:
    """Load job and digest from a file that `dump_job` wrote; ConfigError if it is not such a file."""
    try:
        content = Path(path).read_bytes()
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"cannot be read: {error}") from error
    except OSError as error:
        raise ConfigError([_not_there(Path(path), error)]) from error
    first, _, body = text.partition("\n")
    if not first.startswith(_HEADER):
        raise _unreadable(path, f"is not a job file: its first line is not '{_HEADER}...'")
    said, found = first[len(_HEADER) :].strip(), _sha256(body.encode())
    if said != found:
        raise _unreadable(
            path, f"was changed after it was written: sha256 {said} then, {found} now"
        )
    return _parse(path, body), found


def _parse(path: str | Path, body: str) -> JobConfig:
    try:  # an inference image has no OmegaConf, and reads the job elsewhere
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError
    except ImportError as error:
        raise _unreadable(path, f"cannot be read here: {error}") from error
    try:
        job = pickle.loads(_typed(body))
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _unreadable(path, f"does not fit this version's settings: {reason}") from error
    assert isinstance(job, JobConfig)
    return job


@functools.lru_cache(maxsize=64)
def _typed(body: str) -> bytes:
    """Give a job's settings their types, once: a command asks for the same job several times, and reading a
    pickle takes a hundredth."""
    from omegaconf import OmegaConf

    from lingotune.config.yaml_text import read_yaml, typed_value

    content, _ = read_yaml(body)
    settings = OmegaConf.create(typed_value(JobConfig, content or {}))
    return pickle.dumps(OmegaConf.to_object(OmegaConf.merge(pickle.loads(_schema()), settings)))


@functools.cache
def _schema() -> bytes:
    """Build OmegaConf's schema of a job once: it looks at each field's annotation, half of a job's time."""
    from omegaconf import OmegaConf

    return pickle.dumps(OmegaConf.structured(JobConfig))


def _not_there(path: Path, error: OSError) -> Problem:
    """Describe a job file that cannot be opened, such as the run folder that is typed for it."""
    if (path / _NAME).is_file():
        fix = f"--job {shlex.quote(str(path / _NAME))}"
        return Problem(str(path), "is a folder; its job file is meant", fix)
    there = any(Path("runs").glob(f"*/{_NAME}"))
    fix = f"ls runs/*/{_NAME}" if there else _written()
    return Problem(str(path), f"cannot be read: {error.strerror}", fix)


def _unreadable(path: str | Path, what: str) -> ConfigError:
    return ConfigError([Problem(str(path), what, _written())])


def _written() -> str:
    return f"{program('launch')} job_file={_NAME}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
