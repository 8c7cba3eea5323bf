"""Run folders: one per run, never shared, never overwritten; a killed run resumes in its own."""

from __future__ import annotations

import errno
import json
import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.config.jobfile import job_digest, load_job
from lingotune.config.problems import DISK_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.remote_code import typed_again
from lingotune.config.schema import JobConfig
from lingotune.config.secrets import redacted
from lingotune.config.typed_json import from_json, parse_json, to_json
from lingotune.contract.container import JOB_FILE
from lingotune.system.files import replace_file

if TYPE_CHECKING:
    from lingotune.runs.results import RunProgress, RunResults

METRICS = "metrics.json"
"""Results of a run; written last, except for the report, which only shows them."""
MODEL = "model"
"""Folder of the trained model, in a run folder."""
CODE = "code"
"""Folder in a model's that holds what serves it on an endpoint; no part of the results."""
EXPORTS = "exports"
"""Folder of exported models, in a run folder."""
EXPORT = "export.json"
"""Comparison of an exported model with the original, in its folder."""
CHECKPOINTS = "checkpoints"
"""Folder of checkpoints, in a run folder."""
COMMAND = "command.txt"
"""The command line that made a run, as it was typed."""
HISTORY = "history.jsonl"
"""Log of the Trainer, one JSON object per line: `step` and the figures of training, or `eval_...`."""
_DATA = "prepared.json"

Entry = dict[str, float]
"""One entry of the Trainer's log: name -> number."""


@dataclass(frozen=True)
class Folders:
    """Folders that a run writes to: all in one run folder on a laptop, in several places on SageMaker."""

    run: Path
    model: Path
    checkpoints: Path

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files."""
        return self.run / "tensorboard"

    def check_there(self) -> None:
        """Raise OSError if the run folder was deleted: what was written so far is lost."""
        if not self.run.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.run))

    @property
    def in_container(self) -> bool:
        """True if these are the folders of SageMaker's container."""
        return self.model.parent != self.run


def folders_in(run: str | Path) -> Folders:
    """Return the folders of a run folder on a laptop."""
    return Folders(Path(run), Path(run, MODEL), Path(run, CHECKPOINTS))


def container_folders(environment: Mapping[str, str]) -> Folders | None:
    """Return the folders in which SageMaker expects results; None outside its container."""
    model = environment.get("SM_MODEL_DIR")
    if not model:
        return None
    run = Path(environment.get("SM_OUTPUT_DATA_DIR", f"{model}/../output/data"))
    # No variable names the container's checkpoint folder; it lies beside the model's.
    return Folders(run, Path(model), Path(model).parent / CHECKPOINTS)


def resume_command(folder: str | Path, job_file: str | Path | None = None) -> str:
    """Return the command that goes on with the run in a folder; its own job file by default."""
    path = Path(job_file or Path(folder, JOB_FILE))
    file, run = shlex.quote(str(path)), shlex.quote(str(folder))
    return f"{program('train')} --job {file} --run-dir {run}{_typed_again(path)}"


def train_again_command(folders: Folders) -> str:
    """Return the command that trains a run's job once more, in a new folder; overrides go behind it."""
    path = folders.run / JOB_FILE
    # In a container the run folder is another one than where its files will lie.
    file = JOB_FILE if folders.in_container else shlex.quote(str(path))
    return f"lingotune train --job {file}{_typed_again(path)}"


def _typed_again(job_file: Path) -> str:
    with suppress(ConfigError, OSError):
        return typed_again(load_job(job_file)[0].model)
    return ""


def moved_away(path: Path) -> str:
    """Return the command that moves a damaged file out of the way, and keeps it."""
    return f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.damaged')}"


def finished(folders: Folders, digest: str, again: str = "") -> RunResults | None:
    """Read the results of a finished run of this job; None if there is none.

    ConfigError if its metrics.json is damaged; `again` is the command that recreates it.
    """
    try:
        values = parse_json((folders.run / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    ours = isinstance(values, dict) and values.get("job_sha256") == digest
    if not ours or values.get("finished") is False:  # the model was published during training
        return None
    return results_from(values, folders.run, again)


def results_from(values: object, run: Path, again: str = "") -> RunResults:
    """Build the results of a run from the JSON of its metrics.json; ConfigError names what is wrong."""
    from lingotune.runs.results import RunResults  # its classes take a tenth of a plan's imports

    try:
        return from_json(RunResults, values)
    except ValueError as error:
        what = f"is damaged, or was written by another version of lingotune: {error}"
        fix = f"{moved_away(run / METRICS)} && {again or resume_command(run)}"
        raise ConfigError([Problem(str(run / METRICS), what, fix)]) from error


def read_results(run: Path) -> RunResults:
    """Read the results of the run in a folder; ConfigError if it has none, or they are damaged."""
    path = run / METRICS
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = f"the run has not come to its end: there is no {METRICS}"
        raise ConfigError([Problem(str(run), what, resume_command(run))]) from None
    except (OSError, ValueError) as error:
        fix = f"{moved_away(path)} && {resume_command(run)}"
        raise ConfigError([Problem(str(path), f"cannot be read: {error}", fix)]) from error
    return results_from(values, run)


def write_metrics(results: RunResults, folders: Folders) -> None:
    """Write metrics.json beside the model, then into the run folder, where it marks the run as finished.

    Each file appears only once it is complete.
    """
    for folder in dict.fromkeys((folders.model, folders.run)):
        replace_file(folder / METRICS, as_metrics(results))


def as_metrics(results: RunResults | RunProgress) -> str:
    """Format results as the text of metrics.json."""
    return json.dumps(to_json(results), indent=2, ensure_ascii=False) + "\n"


def write_history(entries: Iterable[Mapping[str, float]], folders: Folders) -> None:
    """Write the Trainer's log into the run folder; the file is whole at any time."""
    text = "".join(f"{json.dumps(to_json(entry))}\n" for entry in entries)
    replace_file(folders.run / HISTORY, text)


def write_whole(path: Path, text: str) -> Path:
    """Write a page or table into a folder, whole or not at all; returns its path. ConfigError if it
    cannot be written."""
    try:
        replace_file(path, text)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise ConfigError([Problem(str(path), what, code=DISK_FAILED)]) from error
    return path


def read_history(run: Path) -> list[Entry]:
    """Read the log that `write_history` wrote; empty if it is missing or damaged."""
    try:
        lines = (run / HISTORY).read_text(encoding="utf-8").splitlines()
        entries = [parse_json(line) for line in lines]
    except (OSError, ValueError):
        return []
    return [
        {name: value for name, value in entry.items() if isinstance(value, (int, float))}
        for entry in entries
        if isinstance(entry, dict) and "step" in entry
    ]


def write_data_folder(folder: Path, run: Path) -> None:
    """Note in the run folder which folder of prepared data on this machine it was trained on."""
    (run / _DATA).write_text(json.dumps({"folder": str(folder.resolve())}) + "\n", encoding="utf-8")


def read_data_folder(run: Path) -> Path | None:
    """Read the folder that `write_data_folder` noted; None if there is no note."""
    try:
        return Path(parse_json((run / _DATA).read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_command(typed: str, run: Path) -> None:
    """Write the command line, without secrets, into the run folder; write nothing if none was typed, or
    the run goes on.

    It is not part of the job: a job is the same however it was typed.
    """
    if typed and not (run / COMMAND).exists():
        (run / COMMAND).write_text(f"{redacted(typed, os.environ)}\n", encoding="utf-8")


def new_run_folder(job: JobConfig, runs_dir: str = "runs") -> Path:
    """Make `<runs_dir>/<name>-<UTC time>-<digest>`."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    return new_folder(f"{job.name}-{stamp}-{job_digest(job)[:6]}", runs_dir)


def new_folder(base: str, parent: str, where: str = "", fix: str = "runs_dir=runs") -> Path:
    """Make `<parent>/<base>`, or `<base>-2` and so on if it exists.

    where, fix: as of `make_parent`; default: those of runs_dir. ConfigError if no folder can be made there.
    """
    make_parent(parent, where or f"runs_dir={parent}", fix)
    for number in range(1, 1000):
        folder = Path(parent, base if number == 1 else f"{base}-{number}")
        if _is_made(folder, where or f"runs_dir={parent}", fix):
            return folder
    raise AssertionError(f"a thousand runs named {base}")


def make_parent(folder: str, where: str, fix: str) -> None:
    """Make the folder that others are made in, if it is not there.

    where, fix: of the problem: what was typed for it, and what to type. ConfigError if it cannot be made.
    """
    if not Path(folder).is_dir() and not _is_made(Path(folder), where, fix):
        raise ConfigError([Problem(where, "is a file, not a folder", fix)])


def _is_made(folder: Path, where: str, fix: str) -> bool:
    """Make a folder; returns False if something of that name is there."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        what = f"no folder can be made there: {error.strerror}"
        raise ConfigError([Problem(where, what, fix, code=DISK_FAILED)]) from error
    return True
