"""Loading the tokenizer that prepared data was made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ModelConfig
from lingotune.data.prepared.tokenizer import load_tokenizer
from lingotune.data.rows.pairs import columns_of

if TYPE_CHECKING:
    from lingotune.data.loader.store import Store

_PROBED = 200
"""Number of texts that are tokenised again, to check that the ids are the same here."""


def tokenizer_of(model: ModelConfig, store: Store) -> Any:
    """Load the tokenizer that the rows of a store were prepared with: the model's own if it has one.

    ConfigError if the model's tokenizer turns the prepared texts into other ids: it is the wrong model, or
    the library here reads its files differently.
    """
    prepared_with, max_length = store.manifest.tokenizer, store.manifest.max_length
    if model.name_or_path is None:
        from transformers import PreTrainedTokenizerFast

        # From its file alone: transformers 4 does not understand what transformers 5 writes beside it.
        return PreTrainedTokenizerFast(
            tokenizer_file=str(store.tokenizer_file),
            model_max_length=max_length,
            model_input_names=["input_ids", "attention_mask"],
            **prepared_with.special,
        )
    tokenizer = load_tokenizer(model)
    probed = "test" if store.manifest.splits["test"].rows else "validation"
    texts, prepared = store.probe(probed, _PROBED)
    given = {"truncation": True, "max_length": max_length}
    here = tokenizer(*columns_of(texts), **given)["input_ids"] if texts else []
    differ = sum(ids != before for ids, before in zip(here, prepared))
    if differ or len(tokenizer) != prepared_with.vocabulary:
        what = f"its tokenizer makes other ids of {differ} of {len(texts)} prepared texts"
        what += (
            f" (they were prepared with {prepared_with.name}, {prepared_with.vocabulary} pieces;"
        )
        what += f" this one has {len(tokenizer)})"
        fix = f"model.name_or_path={prepared_with.name}, or prepare the data for this model"
        raise ConfigError([Problem(f"model.name_or_path={model.name_or_path}", what, fix)])
    return tokenizer
