"""A tokenizer made ready while the source is read.

Importing transformers takes as long as reading a hundred thousand rows. Where nothing else needs it, it
is done in a process of its own, which leaves out torch: half of that time, and no tokenizer needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.schema import ModelConfig
from lingotune.data.prepared.encode import Vocabulary, vocabulary_of
from lingotune.data.prepared.tokenizer import (
    load_tokenizer,
    special_tokens,
    train_vocabulary,
    wordpiece_tokenizer,
)
from lingotune.system.helper_processes import helpers
from lingotune.system.lean_imports import lean


@dataclass(frozen=True)
class Loaded:
    """The parts of a tokenizer that preparation needs. size: entries of its vocabulary; padding_id: id of
    the padding token, if there is one; special: name such as pad_token -> the token."""

    vocabulary: Vocabulary
    size: int
    padding_id: int | None
    special: dict[str, str]


class Loading:
    """A tokenizer on its way; its files go into `folder`. executor: where it is loaded, from now on; None
    = here, once it is asked for."""

    def __init__(
        self, executor: Executor | None, model: ModelConfig, max_length: int, folder: Path
    ) -> None:
        self._executor, self._model = executor, model
        self._max_length, self._folder = max_length, folder
        self._loaded: Future[Loaded] | None = None
        if executor and model.name_or_path:
            self._loaded = self._load(None)
        elif executor:  # it waits for the texts, but not for the import
            executor.submit(_import)

    def finish(self, texts: Iterable[str]) -> Future[Loaded]:
        """The tokenizer; one that has to be made first is made of `texts`, read once."""
        if self._loaded is None:
            scratch = self._model.scratch
            made = None if self._model.name_or_path else train_vocabulary(texts, scratch.vocab_size)
            self._loaded = self._load(made)
        return self._loaded

    def _load(self, made: dict[str, int] | None) -> Future[Loaded]:
        given = self._model, made, self._max_length, self._folder
        if self._executor:
            return self._executor.submit(_load, *given)
        loaded: Future[Loaded] = Future()
        loaded.set_result(_load(*given))
        return loaded


@contextmanager
def loading(model: ModelConfig, max_length: int, folder: Path, *, aside: bool) -> Iterator[Loading]:
    """Begin with it; `aside`: in a process of its own, which is no gain to one that needs transformers
    anyway. ConfigError of the future, or of `finish`, for a tokenizer that cannot be loaded."""
    if not aside or "transformers" in sys.modules:
        yield Loading(None, model, max_length, folder)
        return
    with helpers(1, _without_torch) as executor:
        yield Loading(executor, model, max_length, folder)


def _without_torch() -> None:
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # that torch is missing
    sys.modules["torch"] = None  # type: ignore[assignment]


def _import() -> None:
    import transformers.tokenization_utils_fast  # noqa: F401


def _load(model: ModelConfig, made: dict[str, int] | None, max_length: int, folder: Path) -> Loaded:
    with lean():
        tokenizer = load_tokenizer(model) if made is None else wordpiece_tokenizer(made, max_length)
    tokenizer.save_pretrained(str(folder))
    return Loaded(
        vocabulary_of(tokenizer, max_length),
        len(tokenizer),
        tokenizer.pad_token_id,
        special_tokens(tokenizer),
    )
