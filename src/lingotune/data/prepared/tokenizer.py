"""The tokenizer of a model: which one it is, and how it is loaded or made.

transformers is imported when a tokenizer is loaded; which one it is can be told without.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lingotune.config.faults import of_machine
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ModelConfig
from lingotune.config.typed_json import parse_json
from lingotune.data.prepared.foreign_code import NEVER, foreign_code, permission
from lingotune.system.cache import cache_folder

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}

LONGEST_WORD = 1000
"""Characters of the longest word that pieces are learnt from. The trainer takes the square of a word's
length, and WordPiece splits no word of more than 100 characters anyway."""


def load_tokenizer(model: ModelConfig) -> Any:
    """The tokenizer of a pretrained model; ConfigError if it cannot be loaded."""
    with_revision = {"revision": model.revision} if model.revision else {}
    refuse_code(f"model.name_or_path={model.name_or_path}", Path(_place(model)))
    try:
        return open_tokenizer(_place(model), **with_revision, **permission(model))
    except (OSError, ValueError) as error:
        raise not_loaded(model, error) from error


def refuse_code(where: str, folder: Path) -> None:
    """Refuse a model's folder that needs code to be run; ConfigError. A model of the hub is no folder."""
    faults = list(foreign_code(folder)) if folder.is_dir() else []
    if faults:
        raise ConfigError([Problem(where, what, fix) for what, fix in faults])


def open_tokenizer(place: str, **given: Any) -> Any:
    """Open a tokenizer's files, those that transformers 5 has written with transformers 4 too.

    Version 5 calls a tokenizer that is no model's own a TokenizersBackend, which version 4 does not know;
    its tokenizer.json is read by either. given: revision, and permission of code. ValueError or OSError as
    the library raises them.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        return AutoTokenizer.from_pretrained(place, **{**NEVER, **given})
    except ValueError as error:
        if "TokenizersBackend" not in str(error):
            raise
    return PreTrainedTokenizerFast.from_pretrained(place, **given)


def wordpiece_tokenizer(vocabulary: dict[str, int], max_length: int) -> Any:
    """A tokenizer of the kind of multilingual cased BERT's with a vocabulary of one's own."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

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


def special_tokens(tokenizer: Any) -> dict[str, str]:
    """Name what restores the tokenizer from its file: pad_token and the like."""
    return {name: str(token) for name, token in tokenizer.special_tokens_map.items() if token}


def train_vocabulary(texts: Iterable[str], size: int) -> dict[str, int]:
    """Word piece -> id, at most `size` of them: the same texts give the same ids, in every process.

    The time is linear in the texts, whatever the length of their words: see LONGEST_WORD.

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
    known = (
        word
        for word in words.elements()
        if len(word) <= LONGEST_WORD and all(piece in kept for piece in _characters(word))
    )
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


def not_loaded(model: ModelConfig, error: Exception) -> ConfigError:
    """Make the error for a model whose files cannot be used, with the reason; or for the machine's."""
    if known := of_machine(error):
        return known
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    kind = "folder" if Path(str(model.name_or_path)).exists() else "folder or reachable hub model"
    fix = "a folder with config.json, weights and tokenizer; a hub id with the hub in reach; model=tiny"
    return ConfigError(
        [Problem(f"model.name_or_path={model.name_or_path}", f"no usable {kind}: {reason}", fix)]
    )


# --- which one it is ----------------------------------------------------------------------------

_VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model",
    "spm.model", "tokenizer.model", "bpe.codes",
)  # fmt: skip
_WITHOUT_VOCABULARY = ("ByT5", "Canine", "Perceiver")
"""Tokenizers that read bytes or characters, and have no file but their settings."""
_FILES = (
    "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt",
    "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "bpe.codes",
    "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
"""What the tokenizers of all kinds of models are saved as, each as some of these."""


def is_tokenizer_file(name: str) -> bool:
    """Tell a file that a tokenizer is loaded from by its name; config.json says of which kind it is."""
    return name in _FILES or name == "config.json"


def copy_of(uri: str) -> Path:
    """Name the folder of this machine's cache that keeps files of a model in S3."""
    digest = hashlib.sha256(uri.rstrip("/").encode()).hexdigest()
    return cache_folder() / "models" / digest[:16]


def _place(model: ModelConfig) -> str:
    """Find where a model's files are read: a model in S3 is in this machine's copy, if it was fetched."""
    name = str(model.name_or_path)
    return str(copy_of(name)) if name.startswith("s3://") else name


def has_tokenizer(folder: Path) -> bool:
    """Tell whether a model's folder holds a tokenizer of any kind: its vocabulary, or none for bytes."""
    if any((folder / name).is_file() for name in _VOCABULARIES):
        return True
    with suppress(OSError, ValueError, AttributeError):
        found = parse_json((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return str(found.get("tokenizer_class", "")).startswith(_WITHOUT_VOCABULARY)
    return False


def names_tokenizer(names: Iterable[str]) -> bool:
    """Tell whether one of a model's files may be that of a tokenizer, whose content is not here."""
    return any(name in _FILES for name in names)


def tokenizer_identity(model: ModelConfig) -> str | None:
    """Identify what a tokenizer's ids follow from, beside the texts: a digest of its files, or of the
    settings it is made from. None for a model of the hub that is not on this machine yet."""
    if model.name_or_path is None:
        scratch = {"vocabulary of": asdict(model.scratch)["vocab_size"]}
        return hashlib.sha256(json.dumps(scratch).encode()).hexdigest()
    folder = Path(_place(model))
    if not folder.is_dir():
        cached = _cached(model)
        if cached is None:
            return None
        folder = cached
    digest = hashlib.sha256()
    for name in _FILES:
        if (folder / name).is_file():
            digest.update(f"{name}\0{(folder / name).stat().st_size}\0".encode())
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def fetch_tokenizer(model: ModelConfig) -> None:
    """Bring a hub model's tokenizer onto this machine, if it is not there; ConfigError if it cannot be."""
    if tokenizer_identity(model) is None:
        load_tokenizer(model)


def _cached(model: ModelConfig) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    with suppress(ValueError):  # no name that a model could have
        for name in _FILES:
            found = try_to_load_from_cache(str(model.name_or_path), name, revision=model.revision)
            if isinstance(found, str):
                return Path(found).parent
    return None
