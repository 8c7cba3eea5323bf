"""Code in a model's files that loading them could run: none is, but what was typed for the run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError
from lingotune.config.quoting import for_shell
from lingotune.config.remote_code import is_permitted, not_typed
from lingotune.config.schema import ModelConfig
from lingotune.config.typed_json import parse_json

NEVER = {"trust_remote_code": False}
"""For each call that loads config, tokenizer or model: without it transformers asks on standard input."""


def permission(model: ModelConfig) -> dict[str, Any]:
    """Return the arguments that let transformers run a model's own code, or keep it from that.

    ConfigError if a job asks for code that was not typed for this run.
    """
    if model.remote_code is None:
        return NEVER
    if not is_permitted(model):
        raise ConfigError([not_typed(model)])
    return {"trust_remote_code": True, "code_revision": model.remote_code}


_SETTINGS = ("config.json", "tokenizer_config.json")
_TAKEN_UP = {"eurobert": "EuroBertConfig"}
"""Architectures that have become transformers' own -> the class that their checkpoints still name as their
own: transformers takes its own code, and the checkpoint's is not needed."""
_CONVERTED = (
    "import sys, glob, torch, safetensors.torch as s; p = sys.argv[1];"
    " parts = [torch.load(f, 'cpu', weights_only=True) for f in glob.glob(p + '/pytorch_model*.bin')];"
    " s.save_file({k: v.clone() for w in parts for k, v in w.items()},"
    " p + '/model.safetensors', {'format': 'pt'})"
)


def pickled_alone(names: Collection[str]) -> str:
    """Say that a model's weights are a pickle alone, by the names of its files; '' if not."""
    pickles = [n for n in names if n.startswith("pytorch_model") and n.endswith(".bin")]
    if not pickles or any(name.endswith(".safetensors") for name in names):
        return ""
    return f"holds its weights as a pickle, {pickles[0]}, which could run code as it is loaded"


def conversion(folder: Path) -> str:
    """Write the command that makes safetensors of a folder's pickled weights without running their code."""
    return f'python -c "{_CONVERTED}" {for_shell(str(folder))}'


def own_classes(settings: Mapping[str, Any], name: str = _SETTINGS[0]) -> str:
    """Say that a config names classes in Python files of the model's own; '' if it names none."""
    named = settings.get("auto_map")
    if not named or _is_taken_up(settings, named):
        return ""
    first = next(iter(named.values()), named) if isinstance(named, dict) else named
    first = first[0] if isinstance(first, (list, tuple)) and first else first
    return f"needs code of its own, {first} (auto_map in {name}), which is never run"


def _is_taken_up(settings: Mapping[str, Any], named: Any) -> bool:
    known = _TAKEN_UP.get(str(settings.get("model_type")))
    given = str(named.get("AutoConfig")) if isinstance(named, dict) else ""
    return known is not None and given.rpartition(".")[2] == known


KNOWN_CLASSES = (
    "a model of transformers' own classes, code.builder=NAME for a class of yours, or, for a model of the"
    " hub, the commit of its code as model.remote_code"
)


def foreign_code(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a model's folder that needs code to be run, and what works instead."""
    for name in _SETTINGS:
        try:
            settings = parse_json((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # told where it is read
        if isinstance(settings, dict) and (what := own_classes(settings, name)):
            yield what, KNOWN_CLASSES
    if what := pickled_alone([path.name for path in folder.iterdir()]):
        yield what, conversion(folder)
