"""Run folders: one per run, never shared, never overwritten; a killed run goes on in its own."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lingotune.config.jobfile import digest_in, dump_job, job_digest
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import JobConfig
from lingotune.config.secrets import redacted
from lingotune.contract.container import JOB_FILE

METRICS = "metrics.json"
"""A run's scores; the last file that it writes before what only looks at them."""


MODEL = "model"
"""Folder of the trained model, in a run folder."""
COMMAND = "command.txt"
"""The command line that made a run, as it was typed."""
_DATA = "prepared.json"
HISTORY = "history.jsonl"
"""What was logged on the way, a line each: `step` and figures of training, or `eval_...`."""


@dataclass(frozen=True)
class Folders:
    """Where a run writes. On a laptop all lie in one run folder; on SageMaker they are apart."""

    run: Path
    model: Path
    checkpoints: Path

    @property
    def tensorboard(self) -> Path:
        """The event files' folder."""
        return self.run / "tensorboard"

    @property
    def in_container(self) -> bool:
        """Whether SageMaker laid them out."""
        return self.model.parent != self.run


def folders_in(run: str | Path) -> Folders:
    """A run folder's parts."""
    return Folders(Path(run), Path(run, MODEL), Path(run, "checkpoints"))


def container_folders(environment: Mapping[str, str]) -> Folders | None:
    """Where SageMaker wants the results; None outside of its container."""
    model = environment.get("SM_MODEL_DIR")
    if not model:
        return None
    run = Path(environment.get("SM_OUTPUT_DATA_DIR", f"{model}/../output/data"))
    # The container's checkpoint folder has no variable; it lies beside the model's.
    return Folders(run, Path(model), Path(model).parent / "checkpoints")


@contextmanager
def opened(folders: Folders, job: JobConfig) -> Iterator[None]:
    """The folders made, the job file in its place, and nobody else in there until the end.

    ConfigError if they are another job's, or another process is at work in them.
    """
    for folder in (folders.run, folders.model, folders.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)
    path, content = folders.run / JOB_FILE, dump_job(job)
    with path.open("ab") as file:  # the lock ends with the process, however that ends
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = "another process is training in this folder"
            raise ConfigError([Problem(str(folders.run), what, "wait for it, or end it")]) from None
        there = path.read_bytes()
        if there and there != content:
            found = digest_in(there)[:12]
            what = f"is the folder of job {found}; this is job {digest_in(content)[:12]}"
            fix = f"--job {path}, or another --run-dir"
            raise ConfigError([Problem(str(folders.run), what, fix)])
        if not there:
            file.write(content)
            file.flush()
        yield


def finished(folders: Folders, digest: str) -> dict[str, Any] | None:
    """The scores of a run of this job that has come to its end; None where none has."""
    try:
        results = json.loads((folders.run / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return results if results.get("job_sha256") == digest else None


def write_metrics(results: Mapping[str, Any], folders: Folders) -> None:
    """Write the scores beside the model and then into the run, at once: they mark its end."""
    text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
    for folder in dict.fromkeys((folders.model, folders.run)):
        unfinished = folder / f"{METRICS}.tmp"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / METRICS)


def write_history(entries: Iterable[Mapping[str, Any]], folders: Folders) -> None:
    """Write the Trainer's log into the run."""
    text = "".join(f"{json.dumps(entry)}\n" for entry in entries)
    (folders.run / HISTORY).write_text(text, encoding="utf-8")


def read_history(run: Path) -> list[dict[str, Any]]:
    """What `write_history` wrote; nothing where a run has none."""
    try:
        lines = (run / HISTORY).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []


def write_data_folder(folder: Path, run: Path) -> None:
    """Note in the run where the prepared data lies that it was trained on; on this machine alone."""
    (run / _DATA).write_text(json.dumps({"folder": str(folder.resolve())}) + "\n", encoding="utf-8")


def read_data_folder(run: Path) -> Path | None:
    """What `write_data_folder` noted; None where nothing was."""
    try:
        return Path(json.loads((run / _DATA).read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_command(typed: str, run: Path) -> None:
    """Keep in a run the command line that made it, without secrets; nothing where none was typed.

    It is no part of the job: the same job typed in another way is the same.
    """
    if typed:
        (run / COMMAND).write_text(f"{redacted(typed, os.environ)}\n", encoding="utf-8")


def new_run_folder(job: JobConfig, runs_dir: str = "runs") -> Path:
    """Make `<runs_dir>/<name>-<UTC time>-<digest>`."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    return new_folder(f"{job.name}-{stamp}-{job_digest(job)[:6]}", runs_dir)


def new_folder(base: str, runs_dir: str) -> Path:
    """Make `<runs_dir>/<base>`; where it is there already, `<base>-2` and so on.

    ConfigError if no folder can be made there.
    """
    for number in range(1, 1000):
        folder = Path(runs_dir, base if number == 1 else f"{base}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not Path(runs_dir).is_dir():
                what = "is a file; run folders need a folder"
                raise ConfigError(
                    [Problem(f"runs_dir={runs_dir}", what, "runs_dir=runs")]
                ) from None
            continue
        except OSError as error:
            what = f"no run folder can be made there: {error.strerror}"
            raise ConfigError([Problem(f"runs_dir={runs_dir}", what, "runs_dir=runs")]) from error
        return folder
    raise AssertionError(f"a thousand runs named {base}")
