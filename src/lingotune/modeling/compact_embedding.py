"""Training only the word embeddings that occur in the data; models and checkpoints keep all of them.

The result is exact: a word piece that never occurs has a zero gradient, and AdamW without weight decay
leaves it unchanged, so its row needs no gradient, no moments and no exchange between processes. Two
thirds of multilingual BERT's parameters are word embeddings, of which a corpus in six languages uses a
third.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.nn import Embedding
from torch.nn.functional import embedding

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import TrainingConfig
from lingotune.data.loader.store import Split
from lingotune.estimate.batch import trains_no_rows, trains_used_rows
from lingotune.modeling.load import trained_in
from lingotune.system.arrays import Array

WORTH = 0.9
"""Largest share of the rows to compact; if more are used, all are trained."""


class CompactEmbedding(Embedding):
    """Word embeddings of which only the rows of the `used` ids are trained.

    whole: the embeddings, (vocabulary, dim). used: int64, ascending, (rows,). The parameter `weight` is
    (rows, dim). Callers notice nothing: `forward` takes the same ids as before, and state dicts are saved
    and loaded with all rows. An id that is not used raises IndexError (on a GPU a device-side assertion).
    """

    def __init__(self, whole: Embedding, used: torch.Tensor) -> None:
        weight = whole.weight.detach()
        padding = whole.padding_idx
        super().__init__(
            len(used),
            weight.shape[1],
            None if padding is None else int(torch.searchsorted(used, padding)),
            _weight=weight[used].clone(),
        )
        self.weight.requires_grad_(whole.weight.requires_grad)
        self._used = used
        # All rows, (vocabulary, dim). The used ones are out of date until `whole` fills them in.
        self._whole = weight.clone()
        # id -> row of `weight`, (vocabulary,); -1, which is out of range, for an id that is not used.
        # Not a buffer, as DistributedDataParallel would broadcast it, and checkpoints would include it.
        self._place = torch.full((len(weight),), -1)
        self._place[used] = torch.arange(len(used))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Look up ids of any shape; returns vectors of shape (*ids, dim), as `Embedding` does."""
        return embedding(self.places(input), self.weight, self.padding_idx)

    def places(self, ids: torch.Tensor) -> torch.Tensor:
        """Map ids to the rows of `weight` that hold their vectors; same shape."""
        return self._place[ids]

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        self._place = fn(self._place)  # follows the weights to their device
        return super()._apply(fn, *args, **kwargs)

    def whole(self) -> torch.Tensor:
        """Return all rows, (vocabulary, dim), on the CPU, with the current values of the trained ones."""
        self._whole[self._used] = self.weight.detach().to(self._whole)
        return self._whole

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.whole()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        name = f"{prefix}weight"
        if name in state_dict:
            self._whole.copy_(state_dict[name])
            state_dict = {**state_dict, name: self._whole[self._used]}
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def used_ids(splits: Iterable[Split], special: Iterable[int]) -> Array:
    """Collect the ids that these splits and the special tokens look up: int64, ascending."""
    found = [split.ids for split in splits]
    return np.unique(np.concatenate([*found, np.array(list(special), np.int64)]))


def compact(model: Any, used: Array, worth: float = WORTH) -> CompactEmbedding | None:
    """Replace the model's word embeddings by a module that trains only the rows of the `used` ids.

    Returns None and changes nothing if these are more than a share of `worth` of all rows, or if the
    result would not be exact: embeddings shared with another layer, renormalised, scaled or sparse.
    """
    whole = model.get_input_embeddings()
    if type(whole) is not Embedding or len(used) > worth * whole.num_embeddings:
        return None
    shared = sum(
        value is whole.weight for _, value in model.named_parameters(remove_duplicate=False)
    )
    if shared > 1 or whole.max_norm is not None or whole.scale_grad_by_freq or whole.sparse:
        return None
    found = CompactEmbedding(whole, torch.from_numpy(used))
    # A model with code of its own need not have set_input_embeddings.
    place = next(name for name, module in model.named_modules() if module is whole)
    parent, _, name = place.rpartition(".")
    setattr(model.get_submodule(parent), name, found)
    return found


def choose_embeddings(model: Any, splits: Iterable[Split], training: TrainingConfig) -> str:
    """Freeze, compact or keep the word embeddings as the job asks; returns a line for the log.

    ConfigError if compacting was asked for but is impossible.
    """
    rows, wanted = model.get_input_embeddings().num_embeddings, training.compact_vocabulary
    if trains_no_rows(training):
        model.get_input_embeddings().requires_grad_(requires_grad=False)
        return f"word embeddings: frozen, {_trained(model)}"
    if not trains_used_rows(training):
        why = " (sharded: also those that do not occur)" if training.shard else ""
        return f"word embeddings: all {rows} rows{why}, {_trained(model)}"
    given = list(splits)
    used = used_ids(given, (split.padding_id for split in given))
    if compact(model, used, worth=WORTH if wanted is None else 1.0):
        return f"word embeddings: {len(used)} of {rows} rows, those that occur; {_trained(model)}"
    if wanted:
        what = "this model's embeddings are not of a kind that can be: shared, scaled or of its own kind"
        fix = "training.compact_vocabulary=null"
        raise ConfigError([Problem("training.compact_vocabulary=true", what, fix)])
    return f"word embeddings: all {rows} rows ({len(used)} occur), {_trained(model)}"


def _trained(model: Any) -> str:
    return f"{trained_in(model) / 1e6:.2f} M parameters are trained"
