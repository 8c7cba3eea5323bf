"""Saving weights under the names that they have in the model.

transformers 5 saves some architectures (GTE) under the names, and in the shapes, of the checkpoint that
they came from. `from_pretrained` reads them back; `load_state_dict`, by which the Trainer goes on from a
checkpoint and takes the best one, finds none of its names and, as it is not strict, says nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

_ORIGINAL = "save_original_format"


@contextmanager
def own_names(model: Any) -> Iterator[None]:
    """Have `save_pretrained` use the model's own names during the block."""
    save = getattr(model, "save_pretrained", None)
    if save is None or _ORIGINAL not in inspect.signature(save).parameters:
        yield  # before transformers 5, which has no other
        return
    model.save_pretrained = partial(save, **{_ORIGINAL: False})
    try:
        yield
    finally:
        del model.save_pretrained


def not_loaded(model: Any, missing: Sequence[str]) -> list[str]:
    """Name the parameters that a load has left as they were.

    missing: names that were not in the file. Of parameters that are the same one alone is saved, and
    buffers of one version of transformers are none of another's.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    loaded = {id(value) for name, value in own.items() if name not in {*missing}}
    return [name for name in missing if name in own and id(own[name]) not in loaded]
