"""Hydra's grammar of overrides: one override from its text, and where a text is none."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.overrides_visitor import HydraOverrideVisitor
from hydra.core.override_parser.types import Override
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser

from lingotune.config.settings import mapping_of

try:  # OmegaConf 2.4 brings the parser of its own and of Hydra 1.4 along
    from omegaconf.vendor.antlr4 import CommonTokenStream, InputStream  # type: ignore[import-not-found]
    from omegaconf.vendor.antlr4.error.ErrorListener import (  # type: ignore[import-not-found]
        ErrorListener,
    )
except ImportError:
    from antlr4 import CommonTokenStream, InputStream  # type: ignore[import-untyped]
    from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]

_KEY_ENDS = re.compile(r"[=@]")
Groups = Mapping[str, Sequence[str]]
"""Group name -> its options."""


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Override:
    """Read an override; values of names of the user's own are the texts as typed.

    The same text gives the same object: the fixes of a command are tried with all the rest of it. Raises
    HydraException where it is none.
    """
    override = _parser().parse_override(text)
    if mapping_of(override.key_or_group):
        tree = _tree(OverrideLexer(InputStream(text))).override()
        override = _AsTyped(create_functions()).visit(tree)
        override.input_line = text
    return override


def key_of_word(word: str) -> str:
    """Read the key of a word as it is typed, which need not be an override: lr of ++lr=3, ~lr of ~lr."""
    return _KEY_ENDS.split(word.strip(), maxsplit=1)[0].strip().lstrip("+")


def first_wrong(text: str) -> int:
    """Find the first character that the grammar cannot read; the length of the text if it ends too soon."""
    listener, lexer = _Listener(), OverrideLexer(InputStream(text))
    parser = _tree(lexer)
    for reader in (lexer, parser):
        reader.removeErrorListeners()
        reader.addErrorListener(listener)
    parser.override()
    place = len(text) if listener.place is None else listener.place
    return place + len(text[place:]) - len(text[place:].lstrip(" \t"))


def repeated_name(text: str) -> str:
    """Find a name that some {...} of an override gives twice, of which Hydra keeps the last; '' if none."""
    if text.count(":") < 2:
        return ""
    left = [_tree(OverrideLexer(InputStream(text))).override()]
    while left:
        node = left.pop()
        left += getattr(node, "children", None) or []
        if isinstance(node, OverrideParser.DictContainerContext):
            names = [pair.dictKey().getText() for pair in node.dictKeyValuePair()]
            for name in names:
                if names.count(name) > 1:
                    return str(name)
    return ""


def is_function(name: str) -> bool:
    """Tell whether Hydra has a function of this name, such as choice or range."""
    return name in create_functions().functions


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _tree(lexer: Any) -> Any:
    """Make a parser of the tokens of an override."""
    return OverrideParser(CommonTokenStream(lexer))


class _AsTyped(HydraOverrideVisitor):
    """Visitor that reads 1.10 and true as texts, as a number would come back as 1.1."""

    def _createPrimitive(self, ctx: Any) -> Any:
        value = super()._createPrimitive(ctx)
        return ctx.getText().strip() if isinstance(value, (bool, int, float)) else value

    def visitFunction(self, ctx: Any) -> Any:
        return HydraOverrideVisitor(self.functions).visitFunction(ctx)  # range(1,3) counts


class _Listener(ErrorListener):
    place: int | None = None

    def syntaxError(self, recognizer: Any, symbol: Any, line: int, column: int, *more: Any) -> None:
        self.place = column if self.place is None else self.place
