"""The best model so far, pushed while the training goes on: in another process, and at no risk."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
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
from lingotune.runs.folder import METRICS, Folders
from lingotune.system.helper_processes import helpers

PATIENCE = 30
"""Seconds that a push which is under way has at the end of the training."""

_STAGE = ".publishing-"


@contextmanager
def pushing(
    target: Target, job: JobConfig, folders: Folders, known: Mapping[str, Any]
) -> Iterator[PushWhileTraining]:
    """The callback that pushes; what is still under way at the end of the block has `PATIENCE`.

    known: of the results, before there are any: name, job_sha256, labels, data.
    """
    place = folders.model.parent
    for left in place.glob(f"{_STAGE}*"):  # of an attempt that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_STAGE, dir=place) as work, helpers(1) as pool:
        callback = PushWhileTraining(target, job, folders, known, Path(work), pool)
        yield callback
        callback.wait(PATIENCE)


class PushWhileTraining(TrainerCallback):
    """Rank 0's: after each checkpoint that is whole the best model so far goes to the hub.

    One push at a time: what comes meanwhile is left to the next. One that fails is told, and costs the
    training nothing. Add it behind what makes checkpoints count.
    """

    def __init__(
        self,
        target: Target,
        job: JobConfig,
        folders: Folders,
        known: Mapping[str, Any],
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
        """The same, which knows what to push beside the model."""
        self._tokenizer = tokenizer
        return self

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any
    ) -> None:
        """The validation split has been scored."""
        names = {f"eval_{name}": name for name in ("loss", "macro_f1", "accuracy")}
        found = metrics or {}
        self._scores = {name: float(found[key]) for key, name in names.items() if key in found}

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint counts; push, if nothing is being pushed."""
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
        """Until the push that is under way has ended, and tell it if it has failed."""
        push, self._push = self._push, None
        if push is None:
            return
        try:
            push.result(timeout=seconds)
        except TooLate:
            self._told("it is still under way, and is given up for the last one")
        except BrokenExecutor:
            self._told("its process was ended from outside")
        except (HubError, OSError) as error:
            self._told(str(error))

    def _told(self, what: str) -> None:
        say(f"warning: hub: the push at step {self._step} failed, the training goes on: {what}")

    def _staged(self, checkpoint: Path, state: Any) -> dict[str, Path]:
        """A folder with the model and all that belongs to it, which no rotation takes away."""
        folder = self._work / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in checkpoint.glob("model*"):
            _link(path, folder / path.name)
        shutil.copy(checkpoint / "config.json", folder)
        self._tokenizer.save_pretrained(str(folder))
        results = {
            **self._known,
            "finished": False,
            "step": state.global_step,
            "total_steps": state.max_steps,
            "validation": self._scores,
        }
        text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
        (folder / METRICS).write_text(text, encoding="utf-8")
        assemble(folder, self._job, results, self._folders.run, self._folders.tensorboard)
        return contents_of(folder)[0]


def _link(source: Path, place: Path) -> None:
    """The file itself under another name, where both lie on one disk: weights are large."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copy(source, place)
