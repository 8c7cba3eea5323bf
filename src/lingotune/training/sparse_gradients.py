"""Sending only those rows of the word embeddings' gradient that an update has touched.

All other rows of it are zero in every process. The embeddings' gradient is the last that a backward pass
makes, so that nothing is left to hide its sending behind; of some ten thousand rows an update touches a
few hundred for each process. The sums are those of DistributedDataParallel but for the order of adding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


class RowExchange:
    """Takes the embeddings' gradient out of DistributedDataParallel's hands; make it before the model is
    wrapped. `wrapped` is called for the wrapper once there is a gradient."""

    def __init__(self, model: Any, wrapped: Any) -> None:
        self._embeddings, self._wrapped = model.get_input_embeddings(), wrapped
        self._touched: list[torch.Tensor] = []
        weight = self._embeddings.weight
        names = [name for name, value in model.named_parameters() if value is weight]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
        self._embeddings.register_forward_pre_hook(self._note)
        weight.register_post_accumulate_grad_hook(self._send)

    def _note(self, module: Any, inputs: Any) -> None:
        if module.training:
            self._touched.append(self._rows(inputs[0]))

    def _rows(self, ids: torch.Tensor) -> torch.Tensor:
        places = getattr(self._embeddings, "places", None)
        return torch.unique(ids if places is None else places(ids))

    def _send(self, weight: torch.Tensor) -> None:
        if not self._wrapped().require_backward_grad_sync:
            return  # more parts of the update are to come
        gradient, world = weight.grad, distributed.get_world_size()
        assert gradient is not None
        rows = union(torch.unique(torch.cat(self._touched)))
        self._touched.clear()
        sums = gradient[rows].div_(world)
        distributed.all_reduce(sums)
        gradient[rows] = sums


def union(rows: torch.Tensor) -> torch.Tensor:
    """Of ascending numbers (int64) that differ between processes; ascending, the same in all of them."""
    world = distributed.get_world_size()
    counts = [rows.new_empty(1) for _ in range(world)]
    distributed.all_gather(counts, rows.new_tensor([len(rows)]))
    most = int(torch.cat(counts).max())
    # Filled up with what is there: repeated numbers change no union.
    filled = torch.cat([rows, rows[:1].expand(most - len(rows))])
    found = [rows.new_empty(most) for _ in range(world)]
    distributed.all_gather(found, filled)
    return torch.unique(torch.cat(found))
