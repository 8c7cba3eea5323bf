"""job.yaml: the one file that carries a job to every worker, and proves itself.

The first line holds the SHA-256 of the rest. That digest is the job's identity: launch.py puts it
into names, tags and environment, and every worker compares it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lingotune.schema import ConfigError, JobConfig, LaunchConfig, Problem

_HEADER = "# lingotune job, sha256 of the lines below: "


def job_of(config: LaunchConfig) -> JobConfig:
    """The part of what was composed that travels to the workers."""
    names = [f.name for f in dataclasses.fields(JobConfig)]
    return JobConfig(**{name: getattr(config, name) for name in names})


def dump_job(job: JobConfig) -> bytes:
    """The job file's bytes: UTF-8, every setting in the order of the schema, enums by name."""
    body = OmegaConf.to_yaml(OmegaConf.structured(job)).encode()
    return f"{_HEADER}{_sha256(body)}\n".encode() + body


def job_digest(job: JobConfig) -> str:
    """The job's identity: 64 hexadecimal digits."""
    return digest_in(dump_job(job))


def digest_in(job_file: bytes) -> str:
    """The digest that the first line of a job file's bytes holds."""
    return job_file.split(b"\n", 1)[0].decode()[len(_HEADER) :]


def load_job(path: str | Path) -> tuple[JobConfig, str]:
    """Job and digest of a file that `dump_job` wrote; ConfigError if it is no such file."""
    try:
        content = Path(path).read_bytes()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, f"cannot be read: {error}") from error
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
    try:
        loaded = OmegaConf.merge(OmegaConf.structured(JobConfig), OmegaConf.create(body))
        job = OmegaConf.to_object(loaded)
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise _unreadable(path, f"does not fit this version's settings: {reason}") from error
    assert isinstance(job, JobConfig)
    return job


def _unreadable(path: str | Path, what: str) -> ConfigError:
    works = "a file written by: python launch.py ... job_file=job.yaml"
    return ConfigError([Problem(str(path), what, works)])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
