"""What a sweep keeps to when it is first submitted: its code, its data, and the names of its jobs.

The pin lies in the sweep's folder and in S3, as `sweep.json`, the code beside it. It is written when all
that its jobs need is in S3. From then on an edit of the code or of a data file renames no job and repeats
none, and the sweep can be gone on with from any machine.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lingotune.config.jobfile import load_job, plain
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import AwsConfig, CodeConfig, JobConfig, SweepConfig
from lingotune.config.typed_json import from_json, parse_json, to_json
from lingotune.contract.container import DATA_CHANNEL, JOB_FILE, MODEL_CHANNEL
from lingotune.data.transfer.objects import split_uri
from lingotune.launch.aws.account.quotas import job_quota
from lingotune.launch.aws.connection import Account
from lingotune.launch.aws.faults import Fault, error_of, errors, fault_of, said_by
from lingotune.launch.aws.machines import machines_in
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.sweep_tags import (
    SWEEP_TAG,
    TRIAL_TAG,
    VARIES_TAG,
    read_varies,
    sweep_tags,
)
from lingotune.launch.render.training_job import (
    Digests,
    TrainingJob,
    describe,
    renamed,
    root_uri,
)
from lingotune.launch.sweeps.ledger import PIN
from lingotune.launch.sweeps.trial import Trial, attempt_in
from lingotune.system.files import replace_file

VERSION = 1
_CODE = "code/sourcedir.tar.gz"
_ABSENT = ("NoSuchKey", "NoSuchBucket", "404", "403", "AccessDenied")
"""S3's codes for an object that is not there; without s3:ListBucket it answers as to a stranger."""


@dataclass(frozen=True)
class PinnedTrial:
    """A trial with all that its jobs are named and made by.

    data_uri, model_uri: prefixes in S3; None = none. quota: name of the quota that its machines count
    against. usd_per_hour: of all its machines; None if unknown. rates: the same by instance type of a
    list of machines.
    """

    number: int
    varies: dict[str, str]
    overrides: tuple[str, ...]
    key: str
    name: str
    code: str
    quota: str
    nodes: int
    data_digest: str | None = None
    data_uri: str | None = None
    model_digest: str | None = None
    model_uri: str | None = None
    expected_usd: float | None = None
    worst_usd: float | None = None
    usd_per_hour: float | None = None
    rates: dict[str, float | None] = field(default_factory=dict)

    @property
    def trial(self) -> Trial:
        """The trial as the ledger holds it."""
        return Trial(
            self.number, self.varies, self.overrides, self.key, self.name, self.expected_usd,
            self.worst_usd,
        )  # fmt: skip

    def job(self, job: JobConfig, aws: AwsConfig, sweep: str, attempt: int) -> TrainingJob:
        """Describe the training job of an attempt. job: as read from its job file."""
        digests = Digests(self.key, self.code, self.data_digest, self.model_digest)
        tags = sweep_tags(sweep, self.number, self.varies)
        made = describe(job, aws, digests, attempt, self.data_uri, self.model_uri, tags)
        return renamed(made, self.trial.job_name(attempt))  # new code keeps it


@dataclass(frozen=True)
class OwnCode:
    """Digest of a file of own code, and what a worker installs for it."""

    file: str
    sha256: str
    requirements: tuple[str, ...] = ()

    @classmethod
    def of(cls, code: CodeConfig) -> tuple[OwnCode, ...]:
        """Return that of a job, if it has any."""
        if code.file is None or code.sha256 is None:
            return ()
        return (cls(code.file, code.sha256, tuple(code.requirements)),)


@dataclass(frozen=True)
class Pin:
    """A sweep as it was first submitted, and the trials that have been added since.

    identity: digest of what it varies. words: the command line. code: digest of the bundle for the jobs to
    come. created: seconds since 1970. aws, settings: of the account and of the sweep, as plain values.
    own_code: of each file of own code, first to last. stem: beginning of all its job names.
    """

    name: str
    identity: str
    words: tuple[str, ...]
    code: str
    code_uri: str
    created: float
    lingotune: str
    aws: object
    settings: object
    trials: tuple[PinnedTrial, ...] = ()
    own_code: tuple[OwnCode, ...] = ()
    version: int = field(default=VERSION)

    @property
    def account(self) -> AwsConfig:
        """Settings of the account that the jobs run in."""
        return _typed(AwsConfig, self.aws, self.name)

    @property
    def sweep(self) -> SweepConfig:
        """Settings of the sweep."""
        return _typed(SweepConfig, self.settings, self.name)

    @property
    def stem(self) -> str:
        """What all job names have in common at their beginning."""
        names = [one.name for one in self.trials]
        ends = zip(min(names, default=""), max(names, default=""))
        # what the first and the last in order share, all between them do
        return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], ends))

    @property
    def by_key(self) -> dict[str, PinnedTrial]:
        """The trials by the digest of their job file."""
        return {one.key: one for one in self.trials}


class LostAnswer(ConfigError):
    """S3 has not answered, or not yet: the question may be asked again."""


T = TypeVar("T")


def settings_of(section: AwsConfig | SweepConfig) -> dict[str, Any]:
    """Write a section of the settings as plain values."""
    return plain(section)


def _typed(kind: type[T], values: object, name: str) -> T:
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.create(values))  # type: ignore[call-overload]
        made = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise _unreadable(name, str(error).splitlines()[0]) from error
    assert isinstance(made, kind)
    return made


def _unreadable(where: str, reason: str) -> ConfigError:
    what = f"does not fit this version of lingotune: {reason}"
    return ConfigError([Problem(where, what, "pip install --upgrade lingotune")])


# --- in the sweep's folder ------------------------------------------------------------------------


def save(pin: Pin, bundle: Bundle | None, folder: Path) -> None:
    """Write pin and code into the sweep's folder, each whole or not at all; ConfigError if it cannot be.

    bundle: None = the pin alone; the code stays in S3.
    """
    try:
        code = folder / _CODE
        code.parent.mkdir(parents=True, exist_ok=True)
        held = code.read_bytes() if code.is_file() else None
        if bundle is not None and bundle.content != held:
            replace_file(code, bundle.content)
        replace_file(folder / PIN, _content(pin))
    except OSError as error:
        what = f"cannot be written: {error}"
        fix = "free space on the disk, or another runs_dir=FOLDER; nothing was started"
        raise ConfigError([Problem(str(folder / PIN), what, fix)]) from error


def load(folder: Path) -> Pin | None:
    """Read the pin in a sweep's folder; None if there is none. ConfigError if it cannot be read."""
    try:
        content = (folder / PIN).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError([Problem(str(folder / PIN), f"cannot be read: {error}")]) from error
    return _parse(content, str(folder / PIN))


def _content(pin: Pin) -> bytes:
    return json.dumps(to_json(pin), indent=1).encode()


def _parse(content: bytes, where: str) -> Pin:
    try:
        values = parse_json(content)
        if isinstance(values, dict) and values.get("version", VERSION) > VERSION:
            raise _unreadable(where, f"it is of version {values['version']}")
        return from_json(Pin, values)
    except (ValueError, TypeError) as error:
        raise ConfigError([Problem(where, f"is no pin of a sweep: {error}")]) from error


# --- in S3 ----------------------------------------------------------------------------------------


def uri_of(aws: AwsConfig, sweep: str) -> str:
    """Name the place of a sweep's pin in S3."""
    return f"{root_uri(aws)}/sweeps/{sweep}/{PIN}"


def put(account: Account, pin: Pin) -> None:
    """Write the pin to S3; ConfigError if it is refused."""
    account.upload({uri_of(account.aws, pin.name): _content(pin)}, {}, lambda line: None)


class Reading(Protocol):
    """Connection that objects are read with: clients by service, and the settings of the account."""

    @property
    def aws(self) -> AwsConfig:
        """Settings of the account."""

    def client(self, service: str) -> Any:
        """Return the client of a service."""


def fetch(account: Reading, sweep: str) -> Pin | None:
    """Read the pin of a sweep in S3; None if there is none. ConfigError if AWS does not answer."""
    where = uri_of(account.aws, sweep)
    content = _object(account, where)
    return _parse(content, where) if content is not None else None


def _object(account: Reading, uri: str) -> bytes | None:
    bucket, key = split_uri(uri)
    try:
        body = account.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
        return bytes(body.read())
    except errors() as error:
        if error_of(error).get("Code") in _ABSENT:
            return None
        what = f"cannot be read: {said_by(error)}"
        if fault_of(error) is Fault.lost:
            raise LostAnswer([Problem(uri, what, "the same command once more")]) from error
        raise ConfigError([Problem(uri, what, "aws sso login or AWS_PROFILE=...")]) from error


def code_of(pin: Pin, folder: Path, account: Account | None) -> Bundle:
    """Read the pinned code from the sweep's folder, or else from S3; ConfigError if it is in neither."""
    path = folder / _CODE
    content = path.read_bytes() if path.is_file() else None
    bundle = _bundle(content) if content else None
    if (bundle is None or bundle.digest != pin.code) and account is not None:
        content = _object(account, pin.code_uri)
        bundle = _bundle(content) if content else None
    if bundle is None or bundle.digest != pin.code:
        what = f"the sweep's code {pin.code[:8]} is neither there nor at {pin.code_uri}"
        raise ConfigError([Problem(str(path), what, "code=new for the jobs that have not started")])
    return bundle


def _bundle(content: bytes) -> Bundle | None:
    try:
        packed = gzip.decompress(content)
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            files = {
                member.name: file.read()
                for member in tar
                if (file := tar.extractfile(member)) is not None
            }
    except (OSError, EOFError, tarfile.TarError):
        return None
    return Bundle(packed, hashlib.sha256(packed).hexdigest(), files)


def job_of(pinned: PinnedTrial, folder: Path, account: Account) -> JobConfig:
    """Read a trial's job file from S3, once; ConfigError if it is not there, LostAnswer without one."""
    path = folder / "jobs" / f"{pinned.key}.yaml"
    if not path.is_file():
        uri = f"{root_uri(account.aws)}/jobs/{pinned.key}/{JOB_FILE}"
        content = _object(account, uri)
        if content is None:
            fix = "the sweep's first command once more: it uploads what is missing"
            raise ConfigError([Problem(uri, "is not there", fix)])
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    return load_job(path)[0]


# --- from the jobs alone --------------------------------------------------------------------------


def found_in_jobs(account: Account, sweep: str) -> list[PinnedTrial]:
    """Find a sweep's trials by the tags of its jobs, where its pin is lost: number, digests and places.

    None are found without the right to search.
    """
    wanted = {"Name": f"Tags.{SWEEP_TAG}", "Operator": "Equals", "Value": sweep}
    found: dict[str, PinnedTrial] = {}
    try:
        pages = account.client("sagemaker").get_paginator("search").paginate(
            Resource="TrainingJob", SearchExpression={"Filters": [wanted]},
            SortBy="CreationTime", SortOrder="Ascending",
        )  # fmt: skip
        for page in pages:
            for entry in page["Results"]:
                one = _trial_in(entry["TrainingJob"])
                found.setdefault(one.key, one)
    except errors() as error:
        if "AccessDenied" in str(error) or "UnknownOperation" in str(error):
            return []
        what = f"cannot be looked for among the account's jobs: {said_by(error)}"
        is_lost = fault_of(error) is Fault.lost
        fix = "the same command once more" if is_lost else "the right sagemaker:Search"
        fix = f"{fix}; nothing was started"
        raise ConfigError([Problem(f"sweep.name={sweep}", what, fix)]) from error
    return sorted(found.values(), key=lambda one: one.number)


def _trial_in(job: Mapping[str, Any]) -> PinnedTrial:
    tags = {tag["Key"]: tag["Value"] for tag in job["Tags"]}
    places = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in job.get("InputDataConfig", [])
    }
    varies = read_varies(tags.get(VARIES_TAG, ""))
    digests = {name: _digest_in(places.get(name)) for name in (DATA_CHANNEL, MODEL_CHANNEL)}
    name = str(job["TrainingJobName"])
    instance_type, nodes = (machines_in(job) or [("", 1)])[0]
    spot = bool(job.get("EnableManagedSpotTraining"))
    return PinnedTrial(
        number=int(tags.get(TRIAL_TAG, 0)),
        varies=varies,
        overrides=tuple(f"{key}={value}" for key, value in varies.items()),
        key=tags["lingotune:job-sha256"],
        name=attempt_in(name)[0],
        code=tags["lingotune:code-sha256"],
        quota=job_quota(instance_type, spot=spot),
        nodes=nodes,
        data_digest=digests[DATA_CHANNEL],
        data_uri=places.get(DATA_CHANNEL),
        model_digest=digests[MODEL_CHANNEL],
        model_uri=places.get(MODEL_CHANNEL),
    )


def _digest_in(uri: str | None) -> str | None:
    """Read the digest that names the last folder of a place in S3."""
    last = (uri or "").rstrip("/").rpartition("/")[2]
    return last if len(last) == 64 else None
