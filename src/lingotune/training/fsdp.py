"""Training a model sharded over processes: the Trainer with FSDP2, saving whole models.

In a checkpoint the weights are one ordinary file, which rank 0 writes, and reads for all ranks. The
optimizer's state is one file per rank: gathering it would only cost time, as a run resumes on the same
number of ranks anyway.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from lingotune.config.problems import ConfigError, Problem
from lingotune.training.trainer import ClassifierTrainer

if "fsdp_version" not in FullyShardedDataParallelPlugin.__dataclass_fields__:
    raise ImportError("accelerate knows FSDP2 since 1.6")

StateDict = dict[str, Any]
"""State dict of a torch optimizer."""
WEIGHTS = "model*.safetensors"
"""Files of weights; transformers 4 splits those over 5 GB."""
SCHEDULE = "scheduler.pt"


class ShardedTrainer(ClassifierTrainer):
    """ClassifierTrainer for a model of which each process holds a shard."""

    is_fsdp_enabled: bool
    model: Any
    optimizer: Any

    def create_accelerator_and_postprocess(self) -> None:
        """Create the Trainer's accelerator with FSDP, on CPUs too, summing gradients in float32.

        accelerate enables FSDP on GPUs only, though torch's runs on CPUs as well. By default it would sum
        gradients in the half precision of the computation, less exactly than without sharding.
        """
        if self.args.fp16:
            what = "what overflows in one process's piece must keep all from the update: not proven here"
            fix = "training.precision=fp32, or a GPU that computes in bf16"
            raise ConfigError([Problem("training.shard=true with fp16", what, fix)])
        super().create_accelerator_and_postprocess()
        state = self.accelerator.state
        if not self.is_fsdp_enabled:
            given = getattr(self.args, "fsdp_plugin_args", None) or {}
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**given)
            state.distributed_type = DistributedType.FSDP
            self.is_fsdp_enabled = True
        half = torch.bfloat16 if self.args.bf16 else None
        state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(half, torch.float32)

    def autocast_smart_context_manager(
        self, *args: Any, **kwargs: Any
    ) -> AbstractContextManager[Any]:
        """Return accelerate's autocast, which wraps the forward pass of other models, but not FSDP2's."""
        found: AbstractContextManager[Any] = self.accelerator.autocast()
        return found

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Gather the weights on rank 0, which writes them; every rank has to call this."""
        weights = whole_weights(self.model)
        if self.is_world_process_zero():
            self._save(output_dir, state_dict=weights)

    def save_whole(self, folder: Path) -> None:
        """Gather and save the model on rank 0; every rank has to call this."""
        weights = whole_weights(self.model)
        if self.is_world_process_zero():
            self.model.save_pretrained(str(folder), state_dict=weights, safe_serialization=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        folder = Path(output_dir)
        torch.save(own_part(self.optimizer.state_dict()), folder / self._own_file)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), folder / SCHEDULE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        part = torch.load(folder / self._own_file, map_location="cpu", weights_only=True)
        self.optimizer.load_state_dict(as_shards(part, self.optimizer))
        schedule = torch.load(folder / SCHEDULE, map_location="cpu", weights_only=True)
        self.lr_scheduler.load_state_dict(schedule)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights: dict[str, torch.Tensor] = {}
        if self.is_world_process_zero():
            for path in Path(resume_from_checkpoint).glob(WEIGHTS):
                weights |= load_file(path)
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(model or self.model, weights, options=options)

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _stand_ready(self) -> None:
        """Shard the model as `train` does, for which there has to be an optimizer."""
        self.create_optimizer()
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.model_wrapped = self.model

    @property
    def _own_file(self) -> str:
        return f"optimizer_{self.args.process_index}.pt"


def whole_weights(model: Any) -> dict[str, torch.Tensor]:
    """Gather all weights of a sharded model in rank 0's CPU memory; other ranks get an empty dict.

    Every rank has to call this.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found: dict[str, torch.Tensor] = get_model_state_dict(model, options=options)
    return found


def own_part(state: StateDict) -> StateDict:
    """Replace the shards in an optimizer's state dict by ordinary tensors with this rank's rows."""
    return _mapped(
        state, lambda _, value: value.to_local() if isinstance(value, DTensor) else value
    )


def as_shards(state: StateDict, optimizer: Any) -> StateDict:
    """Reverse `own_part`, for an optimizer whose weights are sharded alike."""
    weights = [value for group in optimizer.param_groups for value in group["params"]]

    def shard(number: int, value: Any) -> Any:
        weight = weights[number]
        if not isinstance(value, torch.Tensor) or value.shape != weight.to_local().shape:
            return value  # the step count, a scalar
        return DTensor.from_local(
            value.to(weight.device), weight.device_mesh, weight.placements,
            run_check=False, shape=weight.shape, stride=weight.stride(),
        )  # fmt: skip

    return _mapped(state, shard)


def _mapped(state: StateDict, change: Any) -> StateDict:
    # Optimizer state: weight number -> {"step": ..., "exp_avg": ..., "exp_avg_sq": ...}.
    values = {
        number: {name: change(number, value) for name, value in moments.items()}
        for number, moments in state["state"].items()
    }
    return {**state, "state": values}
