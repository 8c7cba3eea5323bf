"""Files of a model's folder that are published: known names only, and none that contains a secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.quoting import for_shell
from lingotune.config.secret_values import forms_of, known_secrets
from lingotune.config.secrets import looks_secret, text_in
from lingotune.contract.container import JOB_FILE
from lingotune.runs.decision_file import DECISION

CARD = "README.md"
CURVES = "runs"
"""Folder of TensorBoard events, where the hub looks for training metrics."""
PICTURES = ("confusion_matrix.png", "learning_curves.png")
_NAMES = (
    "config.json", "model*.safetensors", "model.safetensors.index.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "spm.model",
    "bpe.codes", CARD, "metrics.json", DECISION, JOB_FILE, *PICTURES, f"{CURVES}/events.out.tfevents.*",
)  # fmt: skip
_WEIGHTS = ".safetensors"
_PLACES = ("_name_or_path", "name_or_path", "tokenizer_file", "vocab_file")
"""Keys for the path that a model or tokenizer was loaded from; the card names those on the hub."""
_BLOCK = 1 << 22


def is_published(name: str) -> bool:
    """Tell whether a file with this path in the repository is published."""
    return any(
        fnmatchcase(name, pattern) and name.count("/") == pattern.count("/") for pattern in _NAMES
    )


def contents_of(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """List the files to publish, by their path in the repository, and the paths of all others.

    ConfigError for links among them: what they lead to may be no part of the model.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    files = {name: path for name, path in names.items() if is_published(name)}
    links = [_link(path) for name, path in files.items() if _is_linked(folder, name)]
    if links:
        raise ConfigError(links)
    return files, [name for name in names if name not in files]


def _is_linked(folder: Path, name: str) -> bool:
    return (folder / name).resolve() != folder.resolve() / name


def _link(path: Path) -> Problem:
    what = f"is a link to {path.resolve()}; links are not followed"
    fix = f"cp --remove-destination {for_shell(str(path.resolve()))} {for_shell(str(path))}"
    return Problem(str(path), what, f"if that is the model's own: {fix}")


def with_secrets(files: Mapping[str, Path], token: str) -> list[str]:
    """List the files that contain the token or a secret of this process, in any form, or text that looks
    like one."""
    known = known_secrets()
    forms = {*known.forms, *forms_of(token)}
    return [
        name
        for name, path in files.items()
        if _holds(path, forms) or looks_secret(_text_of(path), known)
    ]


def _text_of(path: Path) -> str:
    """Read what may be text in a file: all of it, but of weights the header alone."""
    with path.open("rb") as file:
        if path.suffix != _WEIGHTS:
            return text_in(file.read())
        size = int.from_bytes(file.read(8), "little")
        return file.read(min(size, _BLOCK)).decode(errors="replace")


def without_paths(folder: Path) -> None:
    """Remove this machine's paths from the files that the libraries saved with a model."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in content.items() if key not in _PLACES}
        if kept != content:
            text = json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
            path.write_text(text, encoding="utf-8")


def _holds(path: Path, secrets: Iterable[str]) -> bool:
    wanted = [secret.encode() for secret in secrets]
    longest = max(map(len, wanted))
    before = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            window = before + block
            if any(secret in window for secret in wanted):
                return True
            before = window[-longest:]
    return False
