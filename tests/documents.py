"""The repository's Markdown, parsed for tests: code blocks, commands, links, anchors."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from conftest import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    document: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Lines of a shell block without their comments."""
        lines = self.text.splitlines() if self.language == "sh" else []
        return [without_comment(line) for line in lines]


def without_comment(line: str) -> str:
    """Drop a comment at the end of a shell line."""
    return re.sub(r"\s+#.*", "", line)


def words_of(command: str) -> list[str]:
    """Split a command as a shell does, without a redirection."""
    return shlex.split(command.partition(" > ")[0])


def tokens_of(path: Path) -> list[Token]:
    """Parse a document; inline tokens hold their parts as children."""
    return _PARSER.parse(path.read_text(encoding="utf-8"))


def blocks_of(path: Path) -> list[Block]:
    """List the fenced code blocks of a document."""
    fences = [token for token in tokens_of(path) if token.type == "fence"]
    return [Block(path.name, token.info.strip(), token.content) for token in fences]


def inline_code_of(path: Path) -> list[str]:
    """List the pieces of code within the text of a document."""
    return [part.content for part in _inline(path) if part.type == "code_inline"]


def links_of(path: Path) -> list[str]:
    """List the targets of links and images."""
    found = (part.attrGet("href") or part.attrGet("src") for part in _inline(path))
    return [str(target) for target in found if target]


def headings_of(path: Path) -> list[str]:
    """List the headings as plain text."""
    tokens = tokens_of(path)
    return [
        "".join(part.content for part in after.children or [])
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    ]


def github_anchor(heading: str) -> str:
    """Make the anchor that GitHub gives a heading; repeated headings aside."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def site_anchor(heading: str) -> str:
    """Make the anchor that Python-Markdown, and with it the site, gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _inline(path: Path) -> list[Token]:
    return [part for token in tokens_of(path) for part in token.children or []]
