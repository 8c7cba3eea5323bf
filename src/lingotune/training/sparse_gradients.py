"""Exchanging only those rows of the word embeddings' gradient that an update has touched.

A row whose word piece is in no text of the batch has a zero gradient in every process. The embeddings'
gradient is the last that a backward pass computes, so no computation is left to hide its exchange; of
tens of thousands of rows an update touches a few hundred in each process. The averages are those of
DistributedDataParallel up to the order of addition.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


class RowExchange:
    """Averages the embeddings' gradient over all processes, in place of DistributedDataParallel.

    Create it before the model is wrapped: DistributedDataParallel is told to ignore the weight. wrapped:
    called for the wrapped model, once there is a gradient.
    """

    def __init__(self, model: Any, wrapped: Any) -> None:
        self._embeddings, self._wrapped = model.get_input_embeddings(), wrapped
        # Rows looked up since the last exchange, one tensor for each forward pass.
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
        """Rows of the weight that these ids look up: int64, ascending, each once."""
        # A CompactEmbedding has fewer rows than there are ids.
        places = getattr(self._embeddings, "places", None)
        return torch.unique(ids if places is None else places(ids))

    def _send(self, weight: torch.Tensor) -> None:
        if not self._wrapped().require_backward_grad_sync:
            return  # not the last micro-batch of the update: gradients accumulate
        gradient, world = weight.grad, distributed.get_world_size()
        assert gradient is not None
        # Every process sends the same rows in the same order, its own touched ones and all others'
        # (zeros here), so that one all_reduce of a (rows, dim) tensor sums them.
        rows = union(torch.unique(torch.cat(self._touched)))
        self._touched.clear()
        sums = gradient[rows].div_(world)
        distributed.all_reduce(sums)
        gradient[rows] = sums


def union(rows: torch.Tensor) -> torch.Tensor:
    """Unite the numbers (int64, ascending) that each process holds; the result is the same in all of them.

    Every process has to hold at least one number.
    """
    world = distributed.get_world_size()
    # all_gather takes tensors of one size: find the largest first.
    counts = [rows.new_empty(1) for _ in range(world)]
    distributed.all_gather(counts, rows.new_tensor([len(rows)]))
    most = int(torch.cat(counts).max())
    # Pad with a number that is there anyway: a repetition does not change the union.
    filled = torch.cat([rows, rows[:1].expand(most - len(rows))])
    found = [rows.new_empty(most) for _ in range(world)]
    distributed.all_gather(found, filled)
    return torch.unique(torch.cat(found))
