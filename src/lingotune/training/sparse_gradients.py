"""Exchanging only those rows of the word embeddings' gradient that an update has touched.

A row whose word piece occurs in no text of the batch has a zero gradient in every process: out of tens of
thousands of rows an update touches a few hundred per process. It is worth it because the embeddings'
gradient comes last in the backward pass, when no computation is left to hide its exchange. The averages
equal those of DistributedDataParallel, up to the order of addition.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


class RowExchange:
    """Averages the embeddings' gradient over all processes, in place of DistributedDataParallel.

    Create it before the model is wrapped, as it makes DistributedDataParallel ignore the weight. wrapped:
    returns the wrapped model; called only once there is a gradient.
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
        """Return the rows of the weight that these ids look up: int64, ascending, without repetition."""
        # A CompactEmbedding has fewer rows than there are ids.
        places = getattr(self._embeddings, "places", None)
        return torch.unique(ids if places is None else places(ids))

    def _send(self, weight: torch.Tensor) -> None:
        if not self._wrapped().require_backward_grad_sync:
            return  # not the last micro-batch of the update: gradients accumulate
        gradient, world = weight.grad, distributed.get_world_size()
        assert gradient is not None
        # Every process sends the same rows in the same order: those it touched itself, and those that
        # others touched (zeros here). One all_reduce of a (rows, dim) tensor then sums them.
        rows = union(torch.unique(torch.cat(self._touched)))
        self._touched.clear()
        sums = gradient[rows].div_(world)
        distributed.all_reduce(sums)
        gradient[rows] = sums


def union(rows: torch.Tensor) -> torch.Tensor:
    """Unite the numbers that the processes hold (int64, ascending); returns the same union in each.

    Every process has to hold at least one number.
    """
    world = distributed.get_world_size()
    # all_gather needs tensors of equal size, so find the longest first.
    counts = [rows.new_empty(1) for _ in range(world)]
    distributed.all_gather(counts, rows.new_tensor([len(rows)]))
    most = int(torch.cat(counts).max())
    # Pad by repeating the first number, which does not change the union.
    filled = torch.cat([rows, rows[:1].expand(most - len(rows))])
    found = [rows.new_empty(most) for _ in range(world)]
    distributed.all_gather(found, filled)
    return torch.unique(torch.cat(found))
