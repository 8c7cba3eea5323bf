"""Pushing the best model so far during training, from another process, without risk to the run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from lingotune.config.console import say
from lingotune.config.schema import JobConfig
from lingotune.hub.allowlist import contents_of
from lingotune.hub.model_folder import assemble
from lingotune.hub.repository import Target, commit_files
from lingotune.runs.folder import METRICS, Folders, as_metrics
from lingotune.runs.results import RunDescription, RunProgress
from lingotune.system.helper_processes import LastingHelper

PATIENCE = 30
"""Seconds to wait at the end of training for a push in progress."""

_STAGE = ".publishing-"


@contextmanager
def pushing(
    target: Target, job: JobConfig, folders: Folders, known: RunDescription
) -> Iterator[PushWhileTraining]:
    """Yield the callback that pushes; at the end of the block, wait `PATIENCE` for a push in progress.

    known: the part of the results that is known before training.
    """
    place = folders.model.parent
    for left in place.glob(f"{_STAGE}*"):  # left by an attempt that was killed
        shutil.rmtree(left, ignore_errors=True)
    stage = tempfile.TemporaryDirectory(prefix=_STAGE, dir=place, ignore_cleanup_errors=True)
    with stage as work, LastingHelper() as process:
        callback = PushWhileTraining(target, job, folders, known, Path(work), process)
        yield callback
        callback.wait(PATIENCE)


class PushWhileTraining(TrainerCallback):
    """Rank 0's callback: after each complete checkpoint, push the best model so far to the hub.

    One push runs at a time; a checkpoint that is saved meanwhile is left to the next push. A push that
    fails, for whatever reason, causes a warning and never interrupts training. Add this callback after the
    one that commits checkpoints.
    """

    def __init__(
        self,
        target: Target,
        job: JobConfig,
        folders: Folders,
        known: RunDescription,
        work: Path,
        process: LastingHelper,
    ) -> None:
        self._target, self._job, self._folders = target, job, folders
        self._known, self._work, self._process = known, work, process
        self._tokenizer: Any = None
        self._write: Callable[[Path, Path], None] = _link_weights
        self._scores: dict[str, float] = {}
        self._step = 0
        self._push: Future[str] | None = None

    def with_model(
        self, tokenizer: Any, write: Callable[[Path, Path], None] | None = None
    ) -> PushWhileTraining:
        """Set the tokenizer to push, and what writes a checkpoint's weights as those of a model to another
        folder; None = they are as they should be. Returns self."""
        self._tokenizer, self._write = tokenizer, write or _link_weights
        return self

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Keep the validation scores for the model card."""
        names = {f"eval_{name}": name for name in ("loss", "macro_f1", "accuracy")}
        found = metrics or {}
        self._scores = {name: float(found[key]) for key, name in names.items() if key in found}

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Push the checkpoint that was just committed, unless a push is in progress."""
        if self._push and not self._push.done():
            return
        self.wait(0)
        last = Path(args.output_dir, f"checkpoint-{state.global_step}")
        best = Path(state.best_model_checkpoint or last)
        try:
            files = self._staged(best if best.is_dir() else last, state)
            message = f"Step {state.global_step} of {state.max_steps}"
            self._push = self._process.submit(commit_files, self._target, files, message)
        except Exception as error:  # a full disk, a library, no more processes
            say(f"warning: hub: nothing was pushed at step {state.global_step}: {error}")
            return
        self._step = state.global_step

    def wait(self, seconds: float) -> None:
        """Wait for the push in progress, if any, and warn if it has failed."""
        push, self._push = self._push, None
        if push is None:
            return
        try:
            push.result(timeout=seconds)
        except TooLate:
            self._warn("it is still under way, and is given up for the last one")
        except BrokenExecutor:
            self._warn("its process was ended from outside")
        except Exception as error:  # HubError, or anything that the client raises
            self._warn(str(error))

    def _warn(self, reason: str) -> None:
        say(f"warning: hub: the push at step {self._step} failed, the training goes on: {reason}")

    def _staged(self, checkpoint: Path, state: Any) -> dict[str, Path]:
        """Copy the files to push to where no checkpoint rotation deletes them; returns name -> path."""
        folder = self._work / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._write(checkpoint, folder)
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


def _link_weights(checkpoint: Path, folder: Path) -> None:
    for path in checkpoint.glob("model*"):
        _link(path, folder / path.name)


def _link(source: Path, place: Path) -> None:
    """Hard-link a file if both places are on one disk, as weights are large; else copy it."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copy(source, place)
