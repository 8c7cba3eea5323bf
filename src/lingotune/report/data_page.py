"""Prepared data shown: as one page with pictures and some rows, and as lines for a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.data.prepared.manifest import load_manifest
from lingotune.report import data_charts as pictures
from lingotune.report import data_statistics as look
from lingotune.report.data_examples import choose_examples

PAGE = "report/data.html"
"""In a folder of prepared data; `write_report` puts it there, last."""
EXAMPLES = 3
"""Rows shown of every class of a language."""
CHARACTERS = 400
"""Characters shown of a text."""
_TEMPLATE = "data.html.j2"
_WIDTH = 98
# All but tab and line feed, and what turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069]")


def write_report(folder: Path) -> Path:
    """Write `report/` into a folder of prepared data: class_distribution.png, lengths.png, data.html.

    Returns the page's path. Each file appears at once, the page last. ConfigError if the folder holds no
    prepared data, a shard cannot be read, or nothing can be written there.
    """
    manifest, page = load_manifest(folder), folder / PAGE
    try:
        page.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=page.parent, prefix=".") as name:
            for file in _write_files(manifest, folder, Path(name)):
                file.replace(page.with_name(file.name))
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise ConfigError([Problem(str(page.parent), what)]) from error
    return page


def _write_files(manifest: Mapping[str, Any], folder: Path, work: Path) -> list[Path]:
    splits, labels = look.splits_of(manifest), look.labels_of(manifest)
    classes, lengths, page = (
        work / name for name in ("class_distribution.png", "lengths.png", Path(PAGE).name)
    )
    pictures.write_png(
        partial(pictures.class_distribution, splits, labels), "Class distribution", classes
    )
    pictures.write_png(
        partial(pictures.length_histogram, splits, manifest["max_length"]), "Text lengths", lengths
    )
    page.write_text(data_page(manifest, folder), encoding="utf-8")
    return [classes, lengths, page]


# --- the page -----------------------------------------------------------------------------------


def data_page(manifest: Mapping[str, Any], folder: Path) -> str:
    """The page as HTML; it asks for nothing beside itself, and runs no script."""
    shown = {**_figures(manifest), **_examples(manifest, folder), **_origin(manifest)}
    return rendered(_TEMPLATE, shown, Path(__file__).parent)


def rendered(template: str, shown: Mapping[str, Any], *folders: Path) -> str:
    """A page of one of these folders' templates, every value in it escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(shown)


def _figures(manifest: Mapping[str, Any]) -> dict[str, Any]:
    labels, splits = look.labels_of(manifest), look.splits_of(manifest)
    *inputs, whole = look.flows_of(manifest)
    rejected = look.rejected_of(manifest).items()
    return {
        "headline": look.headline(manifest),
        "flow": whole.sentence,
        "flow_table": look.flow_table(inputs) if len(inputs) > 1 else [],
        "rejected": [[printable(reason), f"{rows:,}"] for reason, rows in rejected],
        "warnings": [printable(warning) for warning in manifest["warnings"]],
        "legend": look.legend(manifest),
        "splits": [_split(split, labels, manifest["max_length"]) for split in splits],
    }


def _split(split: look.Split, labels: Sequence[str], max_length: int) -> dict[str, Any]:
    plots = {
        f"Classes of {split.name}": partial(pictures.class_distribution, [split], labels),
        f"Text lengths of {split.name}": partial(pictures.length_histogram, [split], max_length),
    }
    return {
        "name": split.name,
        "rows": look.rows_text(split.whole.total),
        "tokens": f"{split.whole.tokens:,}",
        "table": look.figure_table(split, labels),
        "pictures": [pictures.svg(plot, name) for name, plot in plots.items()],
    }


def _examples(manifest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Of train, or else the first split that has rows; of the languages that the figures name."""
    splits = look.splits_of(manifest)
    split = next((split for split in splits if split.whole.total), splits[0])
    labels = [printable(label) for label in look.labels_of(manifest)]
    files = [folder / shard["file"] for shard in manifest["splits"][split.name]["shards"]]
    names = [language.name for language in split.languages]
    found = choose_examples(files, names, EXAMPLES, manifest["seed"] or 0)
    shown: dict[str, dict[str, list[dict[str, str]]]] = {}
    for (name, label), rows in found.items():
        shown.setdefault(printable(name), {})[labels[label]] = [
            {"id": printable(row.id), "text": visible(cut(row.text))} for row in rows
        ]
    return {"examples": shown, "examples_of": split.name}


def _origin(manifest: Mapping[str, Any]) -> dict[str, Any]:
    files = [
        [
            printable(file["name"]),
            f"{file['bytes']:,}" if "bytes" in file else "-",
            file.get("sha256") or "-",
        ]
        for file in manifest["source"]["files"]
    ]
    settings = json.dumps(manifest["data"], indent=2, ensure_ascii=False)
    return {
        "digest": manifest["digest"],
        "origin": look.origin(manifest),
        "files": files,
        "settings": visible(settings),
    }


def cut(text: str) -> str:
    """The start of a text; an ellipsis stands for the rest."""
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS].rstrip()}…"


def visible(text: str) -> str:
    """A text with its control characters written out: they would be lost, or turn the line around."""
    text = text.replace("\r\n", "\n")
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


# --- the lines ----------------------------------------------------------------------------------


def lines_of(manifest: Mapping[str, Any]) -> list[str]:
    """The figures as aligned tables, some 100 columns wide at most."""
    *inputs, whole = look.flows_of(manifest)
    rejected = look.rejected_of(manifest).items()
    reasons = ", ".join(f"{rows:,} {printable(reason)}" for reason, rows in rejected)
    lines = [look.headline(manifest)]
    lines += [f"  {name}: {what}" for name, what in look.origin(manifest).items()]
    lines += ["", f"rows: {whole.sentence}"]
    lines += _aligned(look.flow_table(inputs)) if len(inputs) > 1 else []
    lines += [f"  rejected: {reasons}"] if reasons else []
    for split in look.splits_of(manifest):
        rows = look.rows_text(split.whole.total)
        lines += ["", f"{split.name}: {rows}, {split.whole.tokens:,} tokens"]
        lines += _aligned(look.figure_table(split, look.labels_of(manifest)))
    warnings = [f"warning: {printable(warning)}" for warning in manifest["warnings"]]
    return [*lines, "", *look.legend(manifest), *([""] if warnings else []), *warnings]


def _aligned(table: look.Table) -> list[str]:
    """Lines two spaces in; columns that do not fit stand below, the first one repeated."""
    table = [[look.brief(cell) for cell in row] for row in table]
    widths = [max(map(look.columns, column)) for column in zip(*table)]
    lines = []
    for fitting in _folded(widths):
        for row in table:
            spaces = [" " * (width - look.columns(cell)) for cell, width in zip(row, widths)]
            cells = [row[0] + spaces[0], *(spaces[n] + row[n] for n in fitting)]
            lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines


def _folded(widths: Sequence[int]) -> list[list[int]]:
    """Places of columns, but the first, that fit beside each other."""
    folds: list[list[int]] = [[]]
    left = room = _WIDTH - 2 - widths[0]
    for place, width in enumerate(widths[1:], 1):
        if folds[-1] and left < width + 2:
            folds.append([])
            left = room
        folds[-1].append(place)
        left -= width + 2
    return folds
