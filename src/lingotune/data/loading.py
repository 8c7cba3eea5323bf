"""A tokenizer made ready while the source is read.

Importing transformers takes as long as reading a hundred thousand rows. Where that has not been done yet
it is done in a process of its own, which leaves out torch: half of that time, and no tokenizer needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lingotune.data.encode import Vocabulary, vocabulary_of
from lingotune.data.processes import helpers
from lingotune.data.tokenizer import (
    load_tokenizer,
    special_tokens,
    train_vocabulary,
    wordpiece_tokenizer,
)
from lingotune.schema import ModelConfig


@dataclass(frozen=True)
class Loaded:
    """What of a tokenizer a preparation needs. size: entries of its vocabulary; padding_id: the id of
    padding, if it has one; special: pad_token and the like -> the token."""

    vocabulary: Vocabulary
    size: int
    padding_id: int | None
    special: dict[str, str]


class Loading:
    """A tokenizer on its way; its files go into `folder`."""

    def __init__(
        self, executor: Executor, model: ModelConfig, max_length: int, folder: Path
    ) -> None:
        self._executor, self._model = executor, model
        self._max_length, self._folder = max_length, folder
        self._loaded: Future[Loaded] | None = None
        if model.name_or_path is None:  # it waits for the texts, but not for the import
            executor.submit(_import)
        else:
            self._loaded = self._load(None)

    def finish(self, texts: Iterable[str]) -> Future[Loaded]:
        """The tokenizer; one that has to be made first is made of `texts`, read once."""
        if self._loaded is None:
            self._loaded = self._load(train_vocabulary(texts, self._model.scratch.vocab_size))
        return self._loaded

    def _load(self, made: dict[str, int] | None) -> Future[Loaded]:
        return self._executor.submit(_load, self._model, made, self._max_length, self._folder)


@contextmanager
def loading(model: ModelConfig, max_length: int, folder: Path) -> Iterator[Loading]:
    """Begin with it. A `ConfigError` of a tokenizer that cannot be loaded is the future's."""
    here = "transformers" in sys.modules
    with ThreadPoolExecutor(1) if here else helpers(1, _without_torch) as executor:
        yield Loading(executor, model, max_length, folder)


def _without_torch() -> None:
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # that torch is missing
    sys.modules["torch"] = None  # type: ignore[assignment]


def _import() -> None:
    import transformers.tokenization_utils_fast  # noqa: F401


def _load(model: ModelConfig, made: dict[str, int] | None, max_length: int, folder: Path) -> Loaded:
    tokenizer = load_tokenizer(model) if made is None else wordpiece_tokenizer(made, max_length)
    tokenizer.save_pretrained(str(folder))
    return Loaded(
        vocabulary_of(tokenizer, max_length),
        len(tokenizer),
        tokenizer.pad_token_id,
        special_tokens(tokenizer),
    )
