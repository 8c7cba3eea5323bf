"""Description of prepared data: a page with charts and example rows, and lines for a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from lingotune.config.problems import ConfigError, Problem, printable
from lingotune.data.prepared.manifest import Manifest, load_manifest
from lingotune.data.rows.pairs import displayed
from lingotune.report import data_charts as charts
from lingotune.report import data_statistics as statistics
from lingotune.report.data_examples import choose_examples

PAGE = "report/data.html"
"""Path of the page in a folder of prepared data; `write_report` writes it last."""
EXAMPLES = 3
"""Example rows per class and language."""
CHARACTERS = 400
"""Maximum number of characters shown of a text."""
_TEMPLATE = "data.html.j2"
_WIDTH = 98
# All except tab and line feed, and those that change the writing direction.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u202a-\u202e\u2066-\u2069]")


def write_report(folder: Path) -> Path:
    """Write class_distribution.png, lengths.png and data.html into `report/` of prepared data.

    Returns the page's path. Each file appears only once it is complete, the page last. ConfigError if the
    folder holds no prepared data, a shard cannot be read, or nothing can be written there.
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


def _write_files(manifest: Manifest, folder: Path, work: Path) -> list[Path]:
    splits, labels = statistics.splits_of(manifest), manifest.labels
    classes, lengths, page = (
        work / name for name in ("class_distribution.png", "lengths.png", Path(PAGE).name)
    )
    charts.write_png(
        partial(charts.class_distribution, splits, labels), "Class distribution", classes
    )
    charts.write_png(
        partial(charts.length_histogram, splits, manifest.max_length), "Text lengths", lengths
    )
    page.write_text(data_page(manifest, folder), encoding="utf-8")
    return [classes, lengths, page]


# --- the page -----------------------------------------------------------------------------------


def data_page(manifest: Manifest, folder: Path) -> str:
    """Render the page as HTML, self-contained and without scripts."""
    shown = {**_figures(manifest), **_examples(manifest, folder), **_origin(manifest)}
    return rendered(_TEMPLATE, shown, Path(__file__).parent)


def rendered(template: str, shown: Mapping[str, object], *folders: Path) -> str:
    """Render a template from one of these folders, with every value escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(shown)


def _figures(manifest: Manifest) -> dict[str, object]:
    labels, splits = manifest.labels, statistics.splits_of(manifest)
    *inputs, whole = statistics.flows_of(manifest)
    rejected = statistics.rejected_of(manifest).items()
    return {
        "headline": statistics.headline(manifest),
        "flow": whole.sentence,
        "flow_table": statistics.flow_table(inputs) if len(inputs) > 1 else [],
        "rejected": [[printable(reason), f"{rows:,}"] for reason, rows in rejected],
        "warnings": [printable(warning) for warning in manifest.warnings],
        "legend": statistics.legend(manifest),
        "splits": [_split(split, labels, manifest.max_length) for split in splits],
    }


def _split(split: statistics.Split, labels: Sequence[str], max_length: int) -> dict[str, object]:
    plots = {
        f"Classes of {split.name}": partial(charts.class_distribution, [split], labels),
        f"Text lengths of {split.name}": partial(charts.length_histogram, [split], max_length),
    }
    return {
        "name": split.name,
        "rows": statistics.rows_text(split.whole.total),
        "tokens": f"{split.whole.tokens:,}",
        "table": statistics.figure_table(split, labels),
        "pictures": [charts.svg(plot, name) for name, plot in plots.items()],
    }


def _examples(manifest: Manifest, folder: Path) -> dict[str, object]:
    """Draw examples from the first split that has rows, in the languages that the figures list."""
    splits = statistics.splits_of(manifest)
    split = next((split for split in splits if split.whole.total), splits[0])
    labels = [*map(printable, manifest.labels), "no class"]
    files = [folder / shard.file for shard in manifest.splits[split.name].shards]
    names = [language.name for language in split.languages]
    found = choose_examples(files, names, EXAMPLES, manifest.seed or 0)
    shown: dict[str, dict[str, list[dict[str, str]]]] = {}
    for (name, label), rows in found.items():
        shown.setdefault(printable(name), {})[labels[label]] = [
            {"id": printable(row.id), "text": visible(cut(displayed(row.text)))} for row in rows
        ]
    return {"examples": shown, "examples_of": split.name}


def _origin(manifest: Manifest) -> dict[str, object]:
    files = [
        [
            printable(file.name),
            "-" if file.bytes is None else f"{file.bytes:,}",
            file.sha256 or "-",
        ]
        for file in manifest.source.files
    ]
    settings = json.dumps(manifest.data, indent=2, ensure_ascii=False)
    return {
        "digest": manifest.digest,
        "origin": statistics.origin(manifest),
        "files": files,
        "settings": visible(settings),
    }


def cut(text: str) -> str:
    """Truncate a long text, with an ellipsis for the rest."""
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS].rstrip()}…"


def visible(text: str) -> str:
    """Escape control characters, which would be invisible or reverse the line."""
    text = text.replace("\r\n", "\n")
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


# --- the lines ----------------------------------------------------------------------------------


def lines_of(manifest: Manifest) -> list[str]:
    """Format the figures as aligned tables, at most about 100 columns wide."""
    *inputs, whole = statistics.flows_of(manifest)
    rejected = statistics.rejected_of(manifest).items()
    reasons = ", ".join(f"{rows:,} {printable(reason)}" for reason, rows in rejected)
    lines = [statistics.headline(manifest)]
    lines += [f"  {name}: {what}" for name, what in statistics.origin(manifest).items()]
    lines += ["", f"rows: {whole.sentence}"]
    lines += _aligned(statistics.flow_table(inputs)) if len(inputs) > 1 else []
    lines += [f"  rejected: {reasons}"] if reasons else []
    for split in statistics.splits_of(manifest):
        rows = statistics.rows_text(split.whole.total)
        lines += ["", f"{split.name}: {rows}, {split.whole.tokens:,} tokens"]
        lines += _aligned(statistics.figure_table(split, manifest.labels))
    warnings = [f"warning: {printable(warning)}" for warning in manifest.warnings]
    return [*lines, "", *statistics.legend(manifest), *([""] if warnings else []), *warnings]


def _aligned(table: statistics.Table) -> list[str]:
    """Align a table, indented by two spaces; columns that do not fit go below, after the first again."""
    table = [[statistics.brief(cell) for cell in row] for row in table]
    widths = [max(map(statistics.columns, column)) for column in zip(*table)]
    lines = []
    for fitting in _folded(widths):
        for row in table:
            spaces = [" " * (width - statistics.columns(cell)) for cell, width in zip(row, widths)]
            cells = [row[0] + spaces[0], *(spaces[n] + row[n] for n in fitting)]
            lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines


def _folded(widths: Sequence[int]) -> list[list[int]]:
    """Group column indices (after the first) into lines that fit."""
    folds: list[list[int]] = [[]]
    left = room = _WIDTH - 2 - widths[0]
    for place, width in enumerate(widths[1:], 1):
        if folds[-1] and left < width + 2:
            folds.append([])
            left = room
        folds[-1].append(place)
        left -= width + 2
    return folds
