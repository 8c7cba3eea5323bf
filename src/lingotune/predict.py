"""Labels and probabilities for texts, from a saved model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from lingotune.classifier import Classifier, Trained
from lingotune.data.sources import find_files, read_files
from lingotune.messages import printable
from lingotune.schema import ConfigError, Problem
from lingotune.scores import probabilities_of

_BLOCK = 256
"""Texts that are labelled before the first of them is told."""
_LINES = ".txt"
"""Ending of files that hold a text a line."""


def predict_lines(
    trained: Trained, texts: Iterable[str], *, as_json: bool = False
) -> Iterator[str]:
    """One line a text: the label, then every class with its probability, then the text.

    as_json: an object with label, probabilities (name -> share) and text instead. ConfigError if the
    model cannot be loaded.
    """
    model, names, waiting = Classifier(trained), trained.labels, iter(texts)
    while block := list(islice(waiting, _BLOCK)):
        for text, shares in zip(block, probabilities_of(model.logits(block)).tolist()):
            ranked = sorted(zip(names, shares), key=lambda pair: -pair[1])
            if as_json:
                told = {"label": ranked[0][0], "probabilities": dict(ranked), "text": text}
                yield json.dumps(told, ensure_ascii=False)
            else:
                others = "  ".join(f"{name} {share:.3f}" for name, share in ranked)
                yield f"{ranked[0][0]:10} ({others})  {printable(text)}"


def texts_of(pattern: str, column: str) -> Iterator[str]:
    """The texts of files: the lines of a .txt file that are not empty, a column of any other.

    ConfigError if there is no file, or a row has no text there.
    """
    if pattern.endswith(_LINES):
        yield from _lines(Path(pattern))
        return
    for place, record in read_files(find_files(pattern, "--file")):
        text = record.get(column)
        if not isinstance(text, str) or not text.strip():
            what = f"has no text in {column!r}; its columns: {', '.join(map(str, record))}"
            raise ConfigError([Problem(place, what, "--column NAME")])
        yield text


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            yield from (line.rstrip("\r\n") for line in lines if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        what = f"cannot be read as UTF-8 text: {error}"
        raise ConfigError([Problem(f"--file {path}", what)]) from error
