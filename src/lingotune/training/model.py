"""Tokenizer and classifier: pretrained, or made from scratch out of the training texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    PreTrainedTokenizerFast,
)

from lingotune.schema import ArchitectureConfig, ConfigError, ModelConfig, Problem

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def load_tokenizer(model: ModelConfig, texts: Sequence[str], max_length: int) -> Any:
    """The pretrained tokenizer, or a WordPiece vocabulary trained on `texts`."""
    if model.name_or_path is None:
        return _wordpiece(model.scratch, texts, max_length)
    with_revision = {"revision": model.revision} if model.revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.name_or_path, **with_revision)
    except (OSError, ValueError) as error:
        raise _not_loaded(model, error) from error
    return tokenizer


def _wordpiece(scratch: ArchitectureConfig, texts: Sequence[str], max_length: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    vocabulary = train_vocabulary(texts, scratch.vocab_size)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    # As in the multilingual cased BERT: accents and case stay, each Chinese character stands alone.
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    cls, sep = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B {sep}",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in (cls, sep)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **SPECIAL_TOKENS,
    )


def train_vocabulary(texts: Sequence[str], size: int) -> dict[str, int]:
    """Word piece -> id, at most `size` of them: the same texts give the same ids, in every process.

    The library's trainer numbers the pieces inside of words in the order of a hash table that is
    seeded anew in each process, and breaks ties between merges by these numbers: ranks that train
    for themselves would disagree. All single characters are therefore given to it, sorted, as if
    they were special tokens.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from tokenizers.trainers import WordPieceTrainer

    normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for text in texts
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    pieces: Counter[str] = Counter()
    for word, count in words.items():
        for piece in _characters(word):
            pieces[piece] += count
    # Half of the vocabulary is left for longer pieces; words with rarer characters teach nothing.
    common = sorted(pieces, key=lambda piece: (-pieces[piece], piece))[: size // 2]
    kept = set(common)
    known = (w for w in words.elements() if all(piece in kept for piece in _characters(w)))
    trained = Tokenizer(models.WordPiece(unk_token=SPECIAL_TOKENS["unk_token"]))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [*SPECIAL_TOKENS.values(), *sorted(common)]
    trained.train_from_iterator(
        known, WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    )
    vocabulary: dict[str, int] = trained.get_vocab()
    return vocabulary


def _characters(word: str) -> list[str]:
    return [word[0], *(f"##{character}" for character in word[1:])]


def load_model(model: ModelConfig, labels: Sequence[str], tokenizer: Any, max_length: int) -> Any:
    """A classifier over `labels`, whose names and ids are part of its config."""
    names = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    if model.name_or_path is None:
        config = _scratch_config(model.scratch, names, tokenizer, max_length)
        return AutoModelForSequenceClassification.from_config(config)
    with_revision = {"revision": model.revision} if model.revision else {}
    try:
        config = AutoConfig.from_pretrained(model.name_or_path, **names, **with_revision)
        _check_length(config, model, max_length)
        loaded = AutoModelForSequenceClassification.from_pretrained(
            model.name_or_path,
            config=config,
            ignore_mismatched_sizes=True,  # a head for other classes is replaced by a new one
            **with_revision,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _not_loaded(model, error) from error
    # transformers 5 keeps a checkpoint's own number format; half-precision weights do not train.
    return loaded.float()


def _scratch_config(
    scratch: ArchitectureConfig, names: dict[str, Any], tokenizer: Any, max_length: int
) -> DistilBertConfig:
    return DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=scratch.dim,
        hidden_dim=scratch.hidden_dim,
        n_layers=scratch.layers,
        n_heads=scratch.heads,
        dropout=scratch.dropout,
        attention_dropout=scratch.dropout,
        seq_classif_dropout=scratch.dropout,
        max_position_embeddings=max(512, max_length),
        pad_token_id=tokenizer.pad_token_id,
        **names,
    )


def _check_length(config: Any, model: ModelConfig, max_length: int) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return
    # RoBERTa's positions start behind the padding id.
    usable = positions - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)
    if max_length > usable:
        what = f"{model.name_or_path} has positions for {usable} tokens"
        raise ConfigError(
            [Problem(f"data.max_length={max_length}", what, f"data.max_length={usable}")]
        )


def _not_loaded(model: ModelConfig, error: Exception) -> ConfigError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    kind = "folder" if Path(str(model.name_or_path)).exists() else "folder or reachable hub model"
    works = "a folder with config.json, weights and tokenizer; a hub id with the hub in reach; model=tiny"
    return ConfigError(
        [Problem(f"model.name_or_path={model.name_or_path}", f"no usable {kind}: {reason}", works)]
    )
