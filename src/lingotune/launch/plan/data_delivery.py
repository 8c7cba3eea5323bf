"""How a job's data will reach its machines: prepared here, elsewhere, or by the job. Prepares nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, Severity
from lingotune.config.program import program
from lingotune.config.schema import Action, JobConfig, LaunchConfig, Source, split_seed
from lingotune.data.prepared.manifest import (
    FILE,
    Manifest,
    TeacherIdentity,
    folder_of,
    identify,
    load_manifest,
    misfits,
    other_teacher,
)
from lingotune.data.prepared.tokenizer import tokenizer_identity
from lingotune.data.rows.training_rows import (
    check_select,
    count_trained,
    limit_warnings,
    trained_languages,
)
from lingotune.data.sources.addresses import shown_address
from lingotune.data.sources.copies import copy_of
from lingotune.data.sources.patterns import check_settings, elsewhere_in, not_here
from lingotune.data.splits.counts import count_rows

_URI = re.compile(r"s3://[^/]+/(.+/)?([0-9a-f]{64})/*$")


@dataclass(frozen=True)
class Delivery:
    """Facts about a job's data before it runs.

    rows: by split; None if they will be counted when the data is read. digest: of the prepared data that
    the machines get; None = they prepare it themselves. folder: where it is, or will be; None too where its
    source has not been fetched. uri: where it is in S3 already. manifest: None if it is not available.
    """

    rows: dict[str, int] | None
    problems: tuple[Problem, ...] = ()
    digest: str | None = None
    folder: Path | None = None
    uri: str | None = None
    manifest: Manifest | None = None

    @property
    def is_made(self) -> bool:
        """True if nothing is left to prepare here."""
        return self.folder is None or self.manifest is not None

    def files(self) -> Iterator[Path]:
        """Yield the files to upload, as paths in the folder, the manifest last."""
        assert self.manifest is not None
        yield from (Path(file.file) for file in self.manifest.files())
        yield Path(FILE)


def deliver(config: LaunchConfig) -> Delivery:
    """Find out what is known about a job's data; files that have not been prepared are read and checked.

    ConfigError if they have errors, or `data.prepared` does not belong to this job.
    """
    data = config.data
    if data.prepared is not None:
        found = _URI.match(data.prepared)
        if found:
            rows = (
                None
                if data.source is Source.files
                else count_rows(data, split_seed(config), config.evaluation.select)[0]
            )
            return Delivery(rows, digest=found[2], uri=data.prepared.rstrip("/") + "/")
        return _in_folder(config, Path(data.prepared))
    # A teacher is on this machine alone: its probabilities are computed here, and travel with the data.
    teacher = _teacher(config)
    if data.source is not Source.files and teacher is None:
        rows, warnings = count_rows(data, split_seed(config), config.evaluation.select)
        return Delivery(rows, _warnings(warnings))
    absent = not_here(data)
    if absent:  # the digest of the data, and the job's name with it, will be another
        check_settings(data)
        digest = hashlib.sha256(json.dumps(["not here", *absent]).encode()).hexdigest()
        return Delivery(None, _unseen(config), digest)
    known = tokenizer_identity(config.model)
    identity = identify(data, split_seed(config), known or "not here", teacher)
    folder = folder_of(config.prepared_dir, data, identity)
    if (folder / FILE).is_file():
        made = from_folder(folder, load_manifest(folder), config)
        return replace(made, problems=(*_unseen(config), *made.problems))
    rows, warnings = count_rows(data, split_seed(config), config.evaluation.select)
    problems = (
        *_unseen(config),
        *_warnings(warnings),
        *([] if known else [_unknown_tokenizer(config)]),
        *([_uncounted(config)] if teacher and teacher.texts else []),
    )
    counted = None if teacher and teacher.texts else rows
    return Delivery(counted, problems, identity.digest, folder)


def _teacher(config: LaunchConfig) -> TeacherIdentity | None:
    """Identify the teacher of a job; None without one."""
    if config.distillation.teacher is None:
        return None
    from lingotune.serving.teacher import teacher_of  # few jobs have one

    if config.data.source is Source.hub:
        what = "is asked about rows of the hub, which a plan does not read"
        fix = f"{program('prepare')} with the same settings, then data.prepared=ITS_FOLDER"
        where = f"distillation.teacher={config.distillation.teacher}"
        raise ConfigError([Problem(where, what, fix)])
    teacher = teacher_of(config)
    return teacher.identity if teacher else None


def _unseen(config: LaunchConfig) -> tuple[Problem, ...]:
    """List what a plan, which asks no network, does not see of a source that lies elsewhere."""
    if config.action is not Action.plan:
        return ()
    problems = []
    for key, pattern in elsewhere_in(config.data):
        where, copy = f"{key}={shown_address(pattern)}", copy_of(pattern)
        if copy is None:
            what = "is not on this machine yet: its rows, steps, time, and the job's name are not known"
            fix = (
                f"{program('prepare')} with the same settings fetches it; action=check looks at it"
            )
            id = "source-not-here"
        else:
            what = f"is planned with its copy of {copy.fetched} UTC; it may have changed since"
            fix, id = "action=check asks", "source-copied"
        problems.append(Problem(where, what, fix, Severity.warning, id, "a plan asks no network"))
    return tuple(problems)


def made_before(config: LaunchConfig) -> Manifest | None:
    """Find the manifest of the sample that a run on this machine has prepared; None if there is none."""
    if config.data.source is not Source.sample:
        return None
    known = tokenizer_identity(config.model)
    if known is None:
        return None
    identity = identify(config.data, split_seed(config), known, _teacher(config))
    folder = folder_of(config.prepared_dir, config.data, identity)
    return load_manifest(folder) if (folder / FILE).is_file() else None


def _in_folder(config: LaunchConfig, folder: Path) -> Delivery:
    where = f"data.prepared={folder}"
    if str(folder).startswith("s3:"):
        what = "is no prefix of prepared data: its last part is a digest of 64 digits"
        raise ConfigError([Problem(where, what, "s3://bucket/lingotune/data/<digest>")])
    try:
        manifest = load_manifest(folder)
    except ConfigError as error:
        raise ConfigError([Problem(where, p.what, p.fix) for p in error.problems]) from error
    problems = misfits(manifest, config.data, split_seed(config))
    problems += other_teacher(manifest, config.distillation)
    if problems:
        raise ConfigError(problems)
    return from_folder(folder, manifest, config)


def from_folder(folder: Path, manifest: Manifest, job: JobConfig) -> Delivery:
    """Describe prepared data in a folder; ConfigError as `trained_languages` and `check_select`."""
    rows = {split: found.rows for split, found in manifest.splits.items()}
    rows["train"] = count_trained(job.data, manifest.training_rows)
    trained = trained_languages(job.data, manifest.training_rows)
    check_select(job.evaluation.select, trained, manifest.statistics["validation"])
    warnings = _warnings([*manifest.warnings, *limit_warnings(job.data, manifest.training_rows)])
    return Delivery(rows, warnings, manifest.digest, folder, manifest=manifest)


def _warnings(texts: Iterable[str]) -> tuple[Problem, ...]:
    return tuple(Problem("data", text, severity=Severity.warning) for text in texts)


def _uncounted(config: LaunchConfig) -> Problem:
    """Make the problem of texts without labels, of which those count that no split has."""
    return Problem(
        f"distillation.texts={config.distillation.texts}",
        "how many of them are new is not known yet, and with it neither steps nor time",
        f"{program('prepare')} with the same settings asks the teacher, and counts them",
        Severity.warning,
        check="texts-not-counted",
        why="texts that train, validation or test have are left out",
    )


def _unknown_tokenizer(config: LaunchConfig) -> Problem:
    """Make the problem of an unknown tokenizer, on which the data depends, and the job's name on that."""
    name = config.model.name_or_path
    return Problem(
        f"model.name_or_path={name}",
        "its tokenizer is not on this machine yet: the digest of the data and the job's name will differ",
        f"{program('prepare')} with the same settings fetches it",
        Severity.warning,
        check="tokenizer-not-here",
        why="the files are prepared here with it, before anything is uploaded",
    )
