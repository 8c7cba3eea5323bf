"""Exchanging only those rows of the word embeddings' gradient that an update has touched.

A row whose word piece occurs in no text of the batch has a zero gradient in every process: out of tens of
thousands of rows an update touches some hundred per process. The sum over the others is a sum of zeros, so
the averages are those of DistributedDataParallel: to the last bit for two processes, as a sum of two
numbers has one order only, and up to the order of addition for more.

The embeddings' gradient comes last in the backward pass, when no computation is left to hide its exchange.
The rows, however, are known from the batch's ids: the processes unite them while they compute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from lingotune.config.problems import ConfigError, Problem


class RowExchange:
    """Averages the embeddings' gradient over all processes, in place of DistributedDataParallel.

    Create it before the model is wrapped, as it makes DistributedDataParallel ignore the weight. wrapped:
    returns the wrapped model; called only once there is an input. sent_as: number format in which rows are
    sent; None = that of the gradient. waited: seconds that this process has waited for others, in all of
    `updates`.

    As with DistributedDataParallel itself, the last micro-batch of an update has to be the only one whose
    gradient is exchanged (the others within `no_sync`), and gradients are complete once `backward` returns.
    """

    waited = 0.0
    updates = 0

    def __init__(
        self,
        model: Any,
        wrapped: Callable[[], Any],
        sent_as: torch.dtype | None = None,
    ) -> None:
        self._embeddings, self._wrapped = model.get_input_embeddings(), wrapped
        weight = self._embeddings.weight
        self._sent_as = sent_as or weight.dtype
        # 1 for each row that was looked up since the last exchange, here or, once shared, anywhere: uint8,
        # (rows,). Its size is the same for all, so that nobody has to ask for the others' sizes first.
        self._touched = torch.zeros(len(weight), dtype=torch.uint8, device=weight.device)
        self._sharing: Any = None
        names = [name for name, value in model.named_parameters() if value is weight]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
        distributed.broadcast(weight.detach(), 0)  # as DistributedDataParallel does with the others
        self._embeddings.register_forward_pre_hook(self._note)
        weight.register_post_accumulate_grad_hook(self._send)

    def _note(self, module: Any, inputs: Any) -> None:
        """Mark the rows that are looked up; in the last micro-batch, share the marks."""
        if not module.training:
            return
        self._wait(self._sharing)  # of another forward pass of the same micro-batch
        # A CompactEmbedding has fewer rows than there are ids.
        places = getattr(module, "places", None)
        ids = inputs[0] if places is None else places(inputs[0])
        self._touched.index_fill_(0, ids.flatten(), 1)
        if self._wrapped().require_backward_grad_sync:
            self._sharing = distributed.all_reduce(
                self._touched, distributed.ReduceOp.MAX, async_op=True
            )

    def _send(self, weight: torch.Tensor) -> None:
        """Begin to sum the rows; they arrive while the backward pass ends and other gradients are sent."""
        if not self._wrapped().require_backward_grad_sync:
            return  # not the last micro-batch of the update: gradients accumulate
        gradient = weight.grad
        assert gradient is not None
        self._wait(self._sharing)
        rows = self._touched.nonzero().squeeze(1)
        if not self.updates:
            self._check(gradient)
        sums = gradient[rows].to(self._sent_as).mul_(1 / distributed.get_world_size())
        sending = distributed.all_reduce(sums, async_op=True)

        def receive() -> None:
            self._wait(sending)
            gradient[rows] = sums.to(gradient.dtype)
            self._touched.zero_()
            self._sharing, self.updates = None, self.updates + 1

        torch.autograd.Variable._execution_engine.queue_callback(receive)

    def _wait(self, work: Any) -> None:
        if work is not None:
            begun = time.perf_counter()
            work.wait()
            self.waited += time.perf_counter() - begun

    def _check(self, gradient: torch.Tensor) -> None:
        """Raise ConfigError if another row than those looked up has a gradient: one that nobody sends."""
        largest = torch.linalg.vector_norm(gradient, float("inf"), dim=1)  # (rows,)
        strange = int(((largest != 0) & (self._touched == 0)).sum())
        if strange:
            what = (
                f"would leave out {strange} rows of the word embeddings: this model uses them without"
                " looking them up"
            )
            # Either name may have asked for it, and one that is left would contradict the other.
            fix = "training.row_exchange=false training.sparse_exchange=false"
            raise ConfigError([Problem("training.row_exchange=true", what, fix)])
