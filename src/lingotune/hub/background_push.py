"""Pushing the best model so far while training continues, in another process and without risk to it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from lingotune.config.console import say
from lingotune.config.schema import JobConfig
from lingotune.hub.allowlist import contents_of
from lingotune.hub.model_folder import assemble
from lingotune.hub.repository import HubError, Target, commit_files
from lingotune.runs.folder import METRICS, Folders, as_metrics
from lingotune.runs.results import RunDescription, RunProgress
from lingotune.system.helper_processes import helpers

PATIENCE = 30
"""Seconds that a running push gets at the end of the training."""

_STAGE = ".publishing-"


@contextmanager
def pushing(
    target: Target, job: JobConfig, folders: Folders, known: RunDescription
) -> Iterator[PushWhileTraining]:
    """Provide the callback that pushes; a push still running at the end of the block gets `PATIENCE`."""
    place = folders.model.parent
    for left in place.glob(f"{_STAGE}*"):  # of an attempt that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_STAGE, dir=place) as work, helpers(1) as pool:
        callback = PushWhileTraining(target, job, folders, known, Path(work), pool)
        yield callback
        callback.wait(PATIENCE)


class PushWhileTraining(TrainerCallback):
    """Callback of rank 0 that pushes the best model so far after each complete checkpoint.

    One push runs at a time; checkpoints saved meanwhile wait for the next. A push that fails is reported
    and costs the training nothing. Add it after the callback that completes checkpoints.
    """

    def __init__(
        self,
        target: Target,
        job: JobConfig,
        folders: Folders,
        known: RunDescription,
        work: Path,
        pool: Executor,
    ) -> None:
        self._target, self._job, self._folders = target, job, folders
        self._known, self._work, self._pool = known, work, pool
        self._tokenizer: Any = None
        self._scores: dict[str, float] = {}
        self._step = 0
        self._push: Future[str] | None = None

    def with_tokenizer(self, tokenizer: Any) -> PushWhileTraining:
        """Set the tokenizer to push with the model; returns self."""
        self._tokenizer = tokenizer
        return self

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Remember the scores of the validation split."""
        names = {f"eval_{name}": name for name in ("loss", "macro_f1", "accuracy")}
        found = metrics or {}
        self._scores = {name: float(found[key]) for key, name in names.items() if key in found}

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Push the best model, unless a push is running."""
        if self._push and not self._push.done():
            return
        self.wait(0)
        last = Path(args.output_dir, f"checkpoint-{state.global_step}")
        best = Path(state.best_model_checkpoint or last)
        try:
            files = self._staged(best if best.is_dir() else last, state)
        except OSError as error:
            say(f"warning: hub: nothing was pushed at step {state.global_step}: {error}")
            return
        message = f"Step {state.global_step} of {state.max_steps}"
        self._step = state.global_step
        self._push = self._pool.submit(commit_files, self._target, files, message)

    def wait(self, seconds: float) -> None:
        """Wait for the running push to end, and warn if it failed."""
        push, self._push = self._push, None
        if push is None:
            return
        try:
            push.result(timeout=seconds)
        except TooLate:
            self._warn("it is still under way, and is given up for the last one")
        except BrokenExecutor:
            self._warn("its process was ended from outside")
        except (HubError, OSError) as error:
            self._warn(str(error))

    def _warn(self, what: str) -> None:
        say(f"warning: hub: the push at step {self._step} failed, the training goes on: {what}")

    def _staged(self, checkpoint: Path, state: Any) -> dict[str, Path]:
        """Copy the model and everything published with it, out of reach of checkpoint rotation."""
        folder = self._work / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in checkpoint.glob("model*"):
            _link(path, folder / path.name)
        shutil.copy(checkpoint / "config.json", folder)
        self._tokenizer.save_pretrained(str(folder))
        results = RunProgress(
            **vars(self._known),
            step=state.global_step,
            total_steps=state.max_steps,
            validation=self._scores,
        )
        (folder / METRICS).write_text(as_metrics(results), encoding="utf-8")
        assemble(folder, self._job, results, self._folders.run, self._folders.tensorboard)
        return contents_of(folder)[0]


def _link(source: Path, place: Path) -> None:
    """Hard-link a file if both places are on one disk, for weights are large; copy it otherwise."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copy(source, place)
