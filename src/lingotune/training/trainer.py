"""The Hugging Face Trainer, with its known faults guarded, and what it reports on the way."""

from __future__ import annotations

import inspect
import math
import sys
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from lingotune.loglines import format_train_line, format_validation_line
from lingotune.schema import ConfigError, Problem


class ClassifierTrainer(Trainer):
    """Trainer whose accumulated gradient is the mean over the whole global batch.

    transformers 4.46 to 5.23 believe that classification models divide their loss by the number of
    accumulated items; they do not, and the gradient would come out multiplied by the accumulation
    steps (transformers issue 47688). `tests/test_gradient.py` holds the equality.
    """

    def __init__(self, *, tokenizer: Any, **kwargs: Any) -> None:
        known = inspect.signature(Trainer.__init__).parameters
        name = "processing_class" if "processing_class" in known else "tokenizer"
        super().__init__(**{name: tokenizer}, **kwargs)
        self.model_accepts_loss_kwargs = False
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(QuietProgress())


LINES = 20
"""Lines about the training loss in a whole run on a terminal; TensorBoard has them all."""


class ProgressLines(TrainerCallback):
    """Readable lines of what the Trainer logs; stops a training whose loss is no longer a number.

    `lines`: about how many to print of the training loss in the whole run; None = one for each
    logged step, where the log is read by a program (SageMaker makes metrics of these lines).
    """

    def __init__(self, lr: float, total_steps: int, show: bool, lines: int | None = LINES) -> None:
        self.lr, self.total_steps, self.show = lr, total_steps, show
        self.steps_a_line = 0 if lines is None else total_steps // lines
        self.next_line = 0

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Called by the Trainer with the new values."""
        logs = logs or {}
        step = state.global_step
        loss = logs.get("loss", logs.get("eval_loss"))
        if loss is not None and not math.isfinite(float(loss)):
            what = f"the loss became {loss} at step {step}"
            raise ConfigError([Problem(f"lr={self.lr:g}", what, f"lr={self.lr / 10:g}")])
        if not self.show or not state.is_world_process_zero:
            return
        if "loss" in logs and step >= self.next_line:
            self.next_line = step + self.steps_a_line
            _print(format_train_line(step, self.total_steps, logs))
        elif "eval_macro_f1" in logs:
            scores = {key.removeprefix("eval_"): value for key, value in logs.items()}
            _print(format_validation_line(step, self.total_steps, scores))


def _print(line: str) -> None:
    """Past the progress bar, and at once: the time of a metric is the time of its line."""
    tqdm.write(line)
    sys.stdout.flush()


class QuietProgress(ProgressCallback):
    """The Trainer's progress bar without its dumps of dictionaries: `ProgressLines` prints."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the bar only moves."""


def tensorboard_callback(folder: Path) -> TrainerCallback:
    """Events into `folder`; made on rank 0 only."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    callback: TrainerCallback = TensorBoardCallback(SummaryWriter(log_dir=str(folder)))
    return callback
