"""The Hugging Face Trainer with workarounds for its known faults, and the lines it prints."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerState
from transformers.trainer_utils import has_length

from lingotune.config.problems import CheckpointError, Problem
from lingotune.config.schema import DistillationConfig, LabelsMode
from lingotune.config.secrets import redacted
from lingotune.contract.log_lines import format_train_line, format_validation_line
from lingotune.data.loader.store import TEACHER
from lingotune.modeling.layer_learning_rates import by_layers
from lingotune.modeling.lean_encoder import Packing
from lingotune.modeling.own_names import not_loaded, own_names
from lingotune.training import failure
from lingotune.training.checkpoints import Checkpoint, begin
from lingotune.training.dataloader import SHARE, Loader, Updates
from lingotune.training.distillation import mixed_loss
from lingotune.training.finite import FiniteGuard, check_loss
from lingotune.training.progress import progress
from lingotune.training.schedules import MakeSchedule
from lingotune.training.sparse_gradients import RowExchange
from lingotune.training.timing import Phases

ARGUMENTS = "training_args.json"
"""File of a checkpoint: the Trainer's arguments."""


class ClassifierTrainer(Trainer):
    """Trainer whose gradient is the mean over the global batch, however it is split into micro-batches.

    transformers 4.46 to 5.23 assume that classification models divide their loss by the number of
    accumulated items. They do not, so the gradient would be too large by a factor of the accumulation
    steps (transformers issue 47688). transformers 5.3.0 divides by these steps itself and once more through
    accelerate. `tests/training/test_gradient.py` proves the equality.

    class_weights: one weight per class for the training loss, averaging 1 over the examples; the loss is
    the sum of the weighted losses divided by the number of examples. labels_mode: multi = class_weights are
    those of the texts that have a class, in the binary cross-entropy of each; soft = cross-entropy with
    shares of the classes. label_smoothing: as in torch's cross_entropy. distillation: mixes in the loss
    against a teacher where batches hold its probabilities. Scores are neither weighted, smoothed nor mixed.
    layer_decay: see `by_layers`. schedule: makes that of the learning rate; None = the Trainer does, by its
    name. pace: returns the figures to log with each training loss. updates: sampler of this process's
    micro-batches; None = the Trainer's own random batches. compress: send gradients in half precision
    between GPUs. phases: timer for the parts of a step. packing: the model's, if it skips padding. guard:
    stops a training that is no longer finite; None = a training that is not guarded.
    """

    def __init__(
        self,
        *,
        tokenizer: Any,
        class_weights: Sequence[float] | None = None,
        labels_mode: LabelsMode = LabelsMode.single,
        label_smoothing: float = 0.0,
        distillation: DistillationConfig | None = None,
        layer_decay: float = 1.0,
        schedule: MakeSchedule | None = None,
        pace: Callable[[], dict[str, float]] = dict,
        updates: Updates | None = None,
        compress: bool = False,
        phases: Phases | None = None,
        packing: Packing | None = None,
        guard: FiniteGuard | None = None,
        **kwargs: Any,
    ) -> None:
        known = inspect.signature(Trainer.__init__).parameters
        name = "processing_class" if "processing_class" in known else "tokenizer"
        super().__init__(**{name: tokenizer}, **kwargs)
        self.model_accepts_loss_kwargs = False
        if "current_gradient_accumulation_steps" in Trainer.training_step.__code__.co_names:
            self.accelerator.gradient_accumulation_steps = 1  # or accelerate divides once more
        self._class_weights = None if class_weights is None else torch.tensor(class_weights)
        self._labels_mode = labels_mode
        self._label_smoothing, self._layer_decay = label_smoothing, layer_decay
        self._distillation = distillation or DistillationConfig()
        self._schedule = schedule
        self._row_exchange: RowExchange | None = None
        self._pace, self._updates, self._guard = pace, updates, guard
        self._phases, self._packing = phases or Phases(), packing or Packing()
        if compress and self.half_precision:
            self.add_callback(HalfPrecisionSums(self))
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(OneProgressBar())

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Run the forward and backward pass, which includes waiting for gradients to be exchanged."""
        with self._phases.of("forward_backward"):
            return super().training_step(*args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Compute the model's own loss, or the weighted or smoothed one in training.

        A micro-batch's loss is scaled by its share, see `MicroBatch.share`.
        """
        inputs = dict(inputs)
        share = inputs.pop(SHARE, None)
        with self._packing.of(inputs), progress.computing():
            loss = self._loss(model, inputs, return_outputs, **kwargs)
        if self._guard and model.training and not return_outputs:
            loss = self._guard.poisoned(loss, getattr(share, "rows", None))
        return loss if share is None else share * loss

    def _loss(self, model: Any, inputs: Any, return_outputs: bool, **kwargs: Any) -> Any:
        if self._labels_mode is LabelsMode.soft:
            return self._soft_loss(model, dict(inputs), return_outputs)
        weights, smoothing = self._class_weights, self._label_smoothing
        teacher = inputs.pop(TEACHER, None)
        if not model.training or (weights is None and not smoothing and teacher is None):
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        outputs = model(**inputs)
        logits, labels = outputs["logits"].float(), inputs["labels"]
        if self._labels_mode is LabelsMode.multi:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, labels, pos_weight=weights if weights is None else weights.to(logits)
            )
            return (loss, outputs) if return_outputs else loss
        losses = torch.nn.functional.cross_entropy(
            logits, labels, reduction="none", label_smoothing=smoothing
        )
        if weights is not None:
            losses = losses * weights.to(losses.device)[labels]
        if teacher is not None:
            losses = mixed_loss(losses, logits, labels, teacher, self._distillation)
        loss = losses.mean()
        return (loss, outputs) if return_outputs else loss

    def _soft_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """Compute the loss of shares of the classes, which no model of transformers takes."""
        targets = inputs.pop("labels")
        outputs = model(**inputs)
        smoothing = self._label_smoothing if model.training else 0.0
        loss = torch.nn.functional.cross_entropy(
            outputs["logits"].float(), targets, label_smoothing=smoothing
        )
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the validation split, which is a stage of its own."""
        with failure.during(failure.EVALUATING):
            scores: dict[str, float] = super().evaluate(*args, **kwargs)
        return scores

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Load this process's own micro-batches, so that accelerate need not distribute batches."""
        if self._updates is None:
            return super().get_train_dataloader()
        return Loader(
            self.train_dataset,
            self._updates,
            self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _wrap_model(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Configure the handler that accelerate wraps the model with later; old versions have none."""
        wrapped = super()._wrap_model(model, *args, **kwargs)
        handler = getattr(getattr(self, "accelerator", None), "ddp_handler", None)
        if handler is not None:
            handler.gradient_as_bucket_view = True  # spares a copy of the gradients
        return wrapped

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Create the Trainer's optimizer, with a learning rate per layer if there is a decay."""
        optimizer = super().create_optimizer(*args, **kwargs)
        if self._layer_decay != 1:
            by_layers(optimizer, self.model, self._layer_decay)
        _time_steps(optimizer, self._phases)
        if self._guard:
            self._guard.watch(self, optimizer)
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create the schedule of the learning rate."""
        if self._schedule is not None:
            given = self.optimizer if optimizer is None else optimizer
            warmup = self.args.get_warmup_steps(num_training_steps)
            self.lr_scheduler = self._schedule(given, warmup, num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, adding the speed and the padding since the last training loss.

        They go into the log history, and so into checkpoints: a run resumed elsewhere has all of it.
        """
        if "loss" in logs:
            logs = {**logs, **self._pace()}
        super().log(logs, *args, **kwargs)

    def _sorted_checkpoints(self, *args: Any, **kwargs: Any) -> list[str]:
        """Return none to the Trainer: which ones are kept is not its business (see `keeping`).

        transformers 4.28 to 4.5x look for the best one among them, which may be inside another.
        """
        return []

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save into a folder that already exists and is not empty.

        transformers 4.36 writes to a temporary folder, which every rank renames without waiting for the
        others (transformers issue 27925), but writes straight into a folder that exists.
        """
        if self._guard:
            self._guard.check_weights(self.model, "checkpoint")
        folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        if self.args.should_save:
            begin(folder)
        if self.args.world_size > 1:
            torch.distributed.barrier()
        super()._save_checkpoint(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the weights too on each node that saves, and the arguments as JSON, not as a pickle.

        In transformers 5 `save_pretrained` writes on rank 0 only: even with `save_on_each_node` the other
        nodes' checkpoints lack weights, so those nodes could not load the best ones at the end.
        """
        with own_names(self.model):
            super()._save(output_dir, state_dict)
        folder = Path(output_dir or self.args.output_dir)
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)  # loading it would run what it holds
        (folder / ARGUMENTS).write_text(redacted(self.args.to_json_string()), encoding="utf-8")
        if self.args.should_save and not any(folder.glob("*.safetensors")):
            self.model.config.save_pretrained(str(folder))
            save_model(self.model, str(folder / "model.safetensors"), metadata={"format": "pt"})

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Refuse a checkpoint that lacks some of the weights: the Trainer would go on with those it has."""
        lacking = not_loaded(self.model, list(load_result.missing_keys))
        if lacking:
            what = (
                f"its checkpoints lack {len(lacking)} of the model's weights, such as {lacking[0]}"
            )
            fix = "the version of transformers that wrote them, or resume=never"
            raise CheckpointError([Problem(str(self.args.output_dir), what, fix)])

    def save_whole(self, folder: Path) -> None:
        """Save the model on rank 0; every rank has to call this."""
        if self.is_world_process_zero():
            self.model.save_pretrained(str(folder), safe_serialization=True)

    @property
    def half_precision(self) -> torch.dtype | None:
        """Number format of gradients that are sent in half precision; None where they are not: gloo cannot
        sum in it."""
        if not torch.cuda.is_available():
            return None
        return torch.bfloat16 if self.args.bf16 else torch.float16

    def exchange_rows(self, sent_as: torch.dtype | None) -> None:
        """Exchange only the touched rows of the word embeddings' gradient; call it before the training.

        sent_as: number format of what is sent; None = that of the gradient.
        """
        self._row_exchange = RowExchange(self.model, lambda: self.model_wrapped, sent_as)

    def communication_seconds(self) -> float | None:
        """Measure the seconds per update that this process waits for gradients without computing.

        The mean over the updates that DistributedDataParallel measures, with that of `exchange_rows`; None
        for a single process, or if nothing was measured.
        """
        wrapped = self.model_wrapped
        if not isinstance(wrapped, torch.nn.parallel.DistributedDataParallel):
            return None
        found = wrapped._get_ddp_logging_data()
        sent = found.get("avg_backward_comm_time", 0)
        hidden = found.get("avg_backward_compute_comm_overlap_time", 0)
        rows = self._row_exchange
        waited = rows.waited / rows.updates if rows and rows.updates else 0.0
        return waited + max(0.0, (sent - hidden) * 1e-9) if sent or waited else None

    def train_or_resume(self, start: Checkpoint | None, total_steps: int) -> None:
        """Train to the end, from a checkpoint if there is one."""
        if start is None:
            self.train()
            return
        _know_numbered_cpus()
        if start.step < total_steps:
            self.train(resume_from_checkpoint=str(start.folder))
        else:
            self._take_over(start)

    def _take_over(self, end: Checkpoint) -> None:
        """Restore the state in which `train` ended; resuming from its last checkpoint may add a step."""
        self.state = TrainerState.load_from_json(str(end.folder / "trainer_state.json"))
        self._stand_ready()
        self._load_from_checkpoint(str(end.best or end.folder))
        self.callback_handler.on_train_begin(self.args, self.state, self.control)
        self.callback_handler.on_train_end(self.args, self.state, self.control)

    def _stand_ready(self) -> None:
        """Prepare the model for loading its best weights; a hook for `ShardedTrainer`."""


class HalfPrecisionSums(TrainerCallback):
    """Callback that sends gradients in half precision, with torch's own DistributedDataParallel hook."""

    def __init__(self, trainer: ClassifierTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Register the hook: the model is wrapped by now, but has not run yet."""
        wrapped = self._trainer.model_wrapped
        if isinstance(wrapped, torch.nn.parallel.DistributedDataParallel):
            hook = (
                default_hooks.bf16_compress_hook if args.bf16 else default_hooks.fp16_compress_hook
            )
            wrapped.register_comm_hook(None, hook)


class GroupGradients(TrainerCallback):
    """Callback that lets DistributedDataParallel group gradients as it does from the second update on.

    Its groups follow the order in which gradients came in the first backward pass, and decide the order in
    which three or more processes add them up. Without it, a resumed run would differ in the last digit from
    one that nobody interrupted, as its first update is a later one. batch: of any text.
    """

    def __init__(self, trainer: ClassifierTrainer, batch: Any) -> None:
        self._trainer, self._batch = trainer, batch

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compute and drop a gradient; random numbers stay as they were."""
        trainer, wrapped = self._trainer, self._trainer.model_wrapped
        if not isinstance(wrapped, torch.nn.parallel.DistributedDataParallel):
            return
        wrapped.train()
        with torch.random.fork_rng(), trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(wrapped, trainer._prepare_inputs(self._batch))
        loss.backward()
        wrapped.zero_grad()


def _time_steps(optimizer: Any, phases: Phases) -> None:
    stack = ExitStack()
    optimizer.register_step_pre_hook(
        lambda *_: stack.enter_context(phases.of("optimizer")) and None
    )
    optimizer.register_step_post_hook(lambda *_: stack.close())


@functools.cache
def _know_numbered_cpus() -> None:
    """Let torch load onto "cpu:0", as accelerate 1.10 does with a CPU rank's optimizer; once, as torch
    cannot order what is registered twice."""
    torch.serialization.register_package(0, lambda storage: None, _numbered_cpu)


def _numbered_cpu(storage: Any, location: str) -> Any:
    return storage if location.startswith("cpu:") else None


LINES = 20
"""Training losses printed per run on a terminal; TensorBoard has all of them."""


class ProgressLines(TrainerCallback):
    """Callback that prints what the Trainer logs, and stops if a loss is no longer a finite number.

    lines: about how many training losses to print per run; None = every logged one, for logs that a
    program reads (SageMaker extracts metrics from these lines). own: names of the user's metrics.
    """

    def __init__(
        self,
        lr: float,
        total_steps: int,
        show: bool,
        lines: int | None = LINES,
        own: Sequence[str] = (),
    ) -> None:
        self.lr, self.total_steps, self.show, self.own = lr, total_steps, show, own
        self.steps_a_line = 0 if lines is None else total_steps // lines
        self.next_line = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the step, for the message of a failure."""
        failure.enter(f"training, step {state.global_step + 1} of {self.total_steps}")

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Print the new values; ConfigError if a loss is infinite or NaN."""
        logs = logs or {}
        step = state.global_step
        loss = logs.get("loss", logs.get("eval_loss"))
        if loss is not None:
            check_loss(float(loss), step, self.lr)
        if not self.show or not state.is_world_process_zero:
            return
        if "loss" in logs and step >= self.next_line:
            self.next_line = step + self.steps_a_line
            _print(format_train_line(step, self.total_steps, logs))
        elif "eval_macro_f1" in logs:
            scores = {key.removeprefix("eval_"): value for key, value in logs.items()}
            _print(format_validation_line(step, self.total_steps, scores, self.own))


def _print(line: str) -> None:
    """Print above the progress bar, and flush: SageMaker dates a metric by when its line arrives."""
    tqdm.write(line)
    sys.stdout.flush()


class OneProgressBar(ProgressCallback):
    """One bar with its name: training, or what is scored meanwhile; after the training one for the scores.

    `ProgressLines` prints what the Trainer's own bar would have printed.
    """

    training_bar: Any
    prediction_bar: Any
    _scored = 0

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Show the bar, with the steps of a resumed job done."""
        if state.is_world_process_zero:
            self.training_bar = _bar("training", state.max_steps, state.global_step)
        self.current_step = state.global_step

    def on_prediction_step(
        self, args: Any, state: TrainerState, control: Any, eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Count batches in the name of the bar, or in one of their own after the training."""
        if not (state.is_world_process_zero and has_length(eval_dataloader)):
            return
        self._scored += 1
        if self.training_bar is not None:
            self.training_bar.set_description(f"scoring {self._scored}/{len(eval_dataloader)}")
            return
        if self.prediction_bar is None:
            self.prediction_bar = _bar("scoring", len(eval_dataloader))
        self.prediction_bar.update(1)

    def on_evaluate(self, *args: Any, **kwargs: Any) -> None:
        """Name the bar as before."""
        self._scored = 0
        super().on_evaluate(*args, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description("training")

    def on_predict(self, *args: Any, **kwargs: Any) -> None:
        """Name the bar as before."""
        self._scored = 0
        super().on_predict(*args, **kwargs)
        if self.training_bar is not None:
            self.training_bar.set_description("training")

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Print nothing."""


def _bar(name: str, total: int, done: int = 0) -> Any:
    return tqdm(total=total, initial=done, desc=name, leave=False, dynamic_ncols=True)
