"""YAML as it is written: the schema decides what is a number, not the looks of a word.

YAML 1.1, which PyYAML reads, makes `no` false, `0110` the number 72 and `1.10` the number 1.1: languages,
class names and ids that are none of these. Here every plain scalar but null is the text that stands in
the file, and becomes what its setting holds.
"""

from __future__ import annotations

import codecs
import functools
import pickle
import re
import typing
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any, ClassVar

import yaml

from lingotune.config.settings import field_types

try:  # OmegaConf 2.4, which Hydra 1.4 needs
    from omegaconf._yaml import get_yaml_loader  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from omegaconf._utils import get_yaml_loader

_NULL, _TEXT = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"
_KEPT = (_NULL, "tag:yaml.org,2002:merge")
_WITHOUT_END = re.compile(r"([+-]?)\.(inf|nan)", re.IGNORECASE)
"""Numbers that YAML writes with a dot, and Python without."""
_BOOLEANS = {word: word in ("true", "yes", "y", "on", "1") for word in
             ("true", "yes", "y", "on", "1", "false", "no", "n", "off", "0")}  # fmt: skip


class _AsWritten(get_yaml_loader()):  # type: ignore[misc]  # refuses duplicate keys
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        """Read names as texts, `null` too."""
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.tag == _NULL:
                name.tag = _TEXT
        return super().construct_mapping(node, deep)


for _tag in ("bool", "int", "float", "timestamp", "merge"):  # where a file says so itself
    _AsWritten.add_constructor(f"tag:yaml.org,2002:{_tag}", _AsWritten.construct_scalar)


def decoded(content: bytes) -> str:
    """Decode a YAML file: UTF-8, or UTF-16 as its first bytes say; line breaks become \\n.

    Raises ValueError, which names the line, where it is neither.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8: {error.reason}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_yaml(text: str) -> tuple[Any, dict[str, int]]:
    """Read one document; returns its content and the line, from 1, of each dotted key.

    Raises YAMLError where it is none; an empty document is None.
    """
    content: tuple[Any, dict[str, int]] = pickle.loads(_pickled(text))
    return content


@functools.lru_cache(maxsize=256)
def _pickled(text: str) -> bytes:
    """Read a document once: the parser takes ten times longer than a copy, and files are read again for
    each job, choice of groups or check that they are part of."""
    return pickle.dumps(_parsed(text))


def _parsed(text: str) -> tuple[Any, dict[str, int]]:
    loader = _AsWritten(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _refuse_expansion(node, {})
        return loader.construct_document(node), dict(_lines(node, ""))
    except RecursionError as error:
        raise NotRead(problem="it is nested too deeply") from error
    finally:
        loader.dispose()


for _tag in ("binary", "set", "omap", "pairs"):  # no setting holds what these stand for
    _AsWritten.add_constructor(f"tag:yaml.org,2002:{_tag}", _AsWritten.construct_undefined)


class NotRead(yaml.MarkedYAMLError):
    """YAML that is no file of settings: its aliases stand for too much, or it is nested too deeply."""


_MOST = 10_000
"""Values that aliases may stand for; a few lines can stand for billions."""


def _refuse_expansion(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Count the values of a node with its aliases written out; raises NotRead where they are too many."""
    known = sizes.get(id(node))
    if known == 0:
        raise NotRead(
            problem="an alias stands for a value that it is part of", problem_mark=node.start_mark
        )
    if known is not None:
        return known
    sizes[id(node)] = 0  # not known yet
    inner = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in inner for part in pair]
    size = 1 + sum(_refuse_expansion(part, sizes) for part in inner)
    if size > _MOST + len(sizes):
        what = f"aliases stand for more than {_MOST} values"
        raise NotRead(problem=what, problem_mark=node.start_mark)
    sizes[id(node)] = size
    return size


def _lines(node: yaml.Node, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}.{key.value}" if prefix else str(key.value)
            yield name, key.start_mark.line + 1
            yield from _lines(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield f"{prefix}[{index}]", item.start_mark.line + 1
            yield from _lines(item, f"{prefix}[{index}]")


def typed_value(kind: Any, value: Any) -> Any:
    """Turn texts into what a type of the schema holds; what does not fit stays, for others to refuse."""
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        return typed_value(inner[0], value)
    if isinstance(value, list) and typing.get_origin(kind) is list:
        return [typed_value(inner[0], item) for item in value]
    if isinstance(value, dict) and is_dataclass(kind):
        types = field_types(typing.cast(type, kind))
        return {name: typed_value(types.get(name), item) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    if kind is bool:
        return _BOOLEANS.get(value.lower(), value)
    if kind is int:
        return _whole(value)
    if kind is float:
        with suppress(ValueError):
            return float(_WITHOUT_END.sub(r"\1\2", value))
    return value


def _whole(text: str) -> int | str:
    """Read 16, 1_000 and 1e3, but no number with a fraction."""
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError, OverflowError):
        number = float(text)
        return int(number) if number.is_integer() else text
    return text
