"""Experiment tracking: TensorBoard always, other trackers by name.

Only rank 0 reports to them. When a run resumes, the history in its checkpoint is reported again, so that
each attempt has whole curves with every step once. A tracker that fails never stops the run.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback
from transformers.integrations import TensorBoardCallback, get_reporting_integration_callbacks

from lingotune.config.console import say
from lingotune.config.jobfile import dump_job
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import JobConfig
from lingotune.estimate.batch import BatchPlan, StepPlan
from lingotune.runs.folder import Folders, write_history
from lingotune.runs.results import SplitScores
from lingotune.training.trackers import settings_of

METRICS = (
    "eval/macro_f1", "eval/accuracy", "eval/loss", "test/macro_f1", "test/accuracy",
    "test/worst_language_macro_f1",
)  # fmt: skip
"""TensorBoard tags by which runs are compared."""


class Tracking:
    """The trackers of a run; add them to the Trainer with `attach`, and call `finish` at its end."""

    def __init__(
        self, job: JobConfig, folders: Folders, settings: Mapping[str, bool | float | str]
    ) -> None:
        """settings: those by which runs are compared, see `hyperparameters`."""
        self._set = settings_of(os.environ, folders)
        os.environ.update(self._set)
        others = [_callback(tracker.value) for tracker in job.training.report_to]
        self._trackers = [
            Guarded("tensorboard", Curves(folders.tensorboard, dump_job(job).decode(), settings)),
            *(Guarded(t.value, other) for t, other in zip(job.training.report_to, others)),
        ]

    def attach(self, trainer: Trainer) -> None:
        """Report to the trackers whatever the Trainer logs from now on."""
        self._trainer = trainer
        for tracker in self._trackers:
            trainer.add_callback(tracker)

    def finish(self, test: SplitScores | None) -> None:
        """Log the scores of the test split, if there is one, and close the trackers."""
        headline = {"loss": test.loss, **test.headline()} if test else {}
        scores = {f"test_{name}": value for name, value in headline.items()}
        trainer = self._trainer
        for tracker in self._trackers:
            if scores:
                tracker.on_log(trainer.args, trainer.state, trainer.control, logs=scores)
            tracker.end(trainer.args, trainer.state, trainer.control)
        for name in self._set:  # the next run of a sweep sets its own
            os.environ.pop(name, None)


def _callback(name: str) -> TrainerCallback:
    """Create the Trainer's callback for a tracker; ConfigError if this version has none."""
    try:
        (kind,) = get_reporting_integration_callbacks([name])
        callback: TrainerCallback = kind()
    except (ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        where, fix = f"training.report_to=[{name}]", "training.report_to=[], or newer libraries"
        raise ConfigError([Problem(where, f"cannot be used here: {reason}", fix)]) from error
    return callback


def hyperparameters(
    job: JobConfig, batch: BatchPlan, steps: StepPlan, precision: str
) -> dict[str, bool | float | str]:
    """List the settings that may differ between runs of a sweep, as TensorBoard's HParams takes them."""
    training = job.training
    return {
        "lr": job.lr,
        "learning_rate": batch.learning_rate,
        "per_device_bs": job.per_device_bs,
        "global_batch": batch.global_batch,
        "world_size": batch.world_size,
        "steps": steps.total_steps,
        "warmup_steps": steps.warmup_steps,
        "seed": job.seed,
        "model": job.model.name,
        "data": job.data.name,
        "max_length": job.data.max_length,
        "balance": job.data.balance.value,
        "language_alpha": 1.0 if job.data.language_alpha is None else job.data.language_alpha,
        "cluster": job.cluster.name,
        "scaling": job.scaling.rule.value,
        "schedule": training.schedule.value,
        "weight_decay": training.weight_decay,
        "label_smoothing": training.label_smoothing,
        "layer_decay": training.layer_decay,
        "precision": precision,
        **({} if training.lora.rank is None else {"lora_rank": training.lora.rank}),
    }


class History(TrainerCallback):
    """Callback that writes the Trainer's log for whoever follows the run: its first entry, which tells
    that the training has begun, and all after each evaluation."""

    def __init__(self, folders: Folders) -> None:
        self._folders, self._begun = folders, False

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the first entry."""
        if not self._begun:
            self.on_evaluate(args, state, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the log as it is; a full disk ends no run, as its end writes the log again."""
        self._begun = True
        with suppress(OSError):
            write_history(state.log_history, self._folders)


class Guarded(TrainerCallback):
    """Wrapper of a tracker's callback that replays the history on resume, and drops a tracker that fails.

    The tracker is closed by `end`, not by the end of training, as the test scores come later.
    """

    def __init__(self, name: str, callback: TrainerCallback) -> None:
        self._name, self._callback = name, callback
        self._works = True

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the tracker, and report what was logged before a resume."""
        self._tell("on_train_begin", args, state, control, **kwargs)
        for entry in state.log_history:
            then = copy.copy(state)
            then.global_step = entry["step"]
            logs = {name: value for name, value in entry.items() if name != "step"}
            self._tell("on_log", args, then, control, logs=logs, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report new values."""
        self._tell("on_log", args, state, control, **kwargs)

    def end(self, args: Any, state: Any, control: Any) -> None:
        """Close the tracker: the run is over."""
        self._tell("on_train_end", args, state, control)

    def _tell(self, event: str, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._works or not state.is_world_process_zero:
            return
        try:
            _call(getattr(self._callback, event), args, state, control, kwargs)
        except Exception as error:  # anything that its library raises
            self._works = False
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            say(f"warning: {self._name} is switched off, the run continues: {reason}")


def _call(event: Callable[..., Any], args: Any, state: Any, control: Any, kwargs: Any) -> None:
    # The Trainer's handler always passes a model, and some callbacks require the argument.
    event(args, state, control, **{"model": None, **kwargs})


class Curves(TrainerCallback):
    """Callback that writes TensorBoard's curves, the settings for its HParams page, and the job file.

    Files of an interrupted attempt are replaced: the checkpoint holds everything logged before it, so the
    curves are whole on another machine, too.
    """

    def __init__(
        self, folder: Path, job_file: str, settings: Mapping[str, bool | float | str]
    ) -> None:
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._folder, self._job_file, self._settings = folder, job_file, settings

    @cached_property
    def _written(self) -> TensorBoardCallback:
        """The library's callback, made with the first value: no step waits until TensorBoard is imported.

        It begins with the job and its settings, not with the Trainer's own texts, which hold paths of this
        machine.
        """
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(log_dir=str(self._folder))
        writer.add_text("job.yaml", f"```yaml\n{self._job_file}```")
        for summary in self._session[:2]:
            writer.file_writer.add_summary(summary)
        return TensorBoardCallback(writer)

    @cached_property
    def _session(self) -> Sequence[Any]:
        """The experiment, the start and the end of the run, as the HParams page reads them."""
        from torch.utils.tensorboard.summary import hparams

        return hparams(dict(self._settings), dict.fromkeys(METRICS, 0.0))  # type: ignore[no-any-return]

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write new values."""
        self._written.on_log(args, state, control, **kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the end of the session, which the HParams page needs."""
        self._written.tb_writer.file_writer.add_summary(self._session[2])
        self._written.on_train_end(args, state, control, **kwargs)
