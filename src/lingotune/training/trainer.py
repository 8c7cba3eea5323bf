"""The Hugging Face Trainer, with its known faults guarded, and what it reports on the way."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

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
"""Lines about the training loss in a whole run; TensorBoard has them all."""


class ProgressLines(TrainerCallback):
    """Readable lines of what the Trainer logs; stops a training whose loss is no longer a number."""

    def __init__(self, lr: float, total_steps: int, show: bool) -> None:
        self.lr, self.total_steps, self.show = lr, total_steps, show
        self.next_line = 0

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Called by the Trainer with the new values."""
        logs = logs or {}
        loss = logs.get("loss", logs.get("eval_loss"))
        if loss is not None and not math.isfinite(float(loss)):
            what = f"the loss became {loss} at step {state.global_step}"
            raise ConfigError([Problem(f"lr={self.lr:g}", what, f"lr={self.lr / 10:g}")])
        if not self.show or not state.is_world_process_zero:
            return
        step = f"step {state.global_step}/{self.total_steps}"
        if "loss" in logs and state.global_step >= self.next_line:
            self.next_line = state.global_step + self.total_steps // LINES
            norm = f"  grad {logs['grad_norm']:.2f}" if "grad_norm" in logs else ""
            tqdm.write(f"{step}  loss {logs['loss']:.4f}  lr {logs['learning_rate']:.2e}{norm}")
        elif "eval_macro_f1" in logs:
            tqdm.write(
                f"{step}  validation: loss {logs['eval_loss']:.4f}"
                f"  accuracy {logs['eval_accuracy']:.3f}  macro-F1 {logs['eval_macro_f1']:.3f}"
            )


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
