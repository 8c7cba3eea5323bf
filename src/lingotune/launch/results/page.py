"""The page of a sweep: sweep.html, self-contained, with all text from outside escaped."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lingotune.report
from lingotune.config.problems import printable
from lingotune.estimate.run_time import duration
from lingotune.launch.results.charts import charts_of, pareto, unit_of
from lingotune.launch.results.compare import Comparison, compare
from lingotune.launch.results.entries import Configuration, Entry, Leaderboard
from lingotune.launch.results.learning_curve import curves_of
from lingotune.launch.results.table import (
    cells_of,
    named,
    run_text,
    so_far,
    value_text,
    varies_text,
    verdict,
)
from lingotune.launch.sweeps.trial import REPEATED, State
from lingotune.report.data_page import rendered, visible
from lingotune.report.run_page import PAGE as RUN_PAGE
from lingotune.runs.folder import write_whole

PAGE = "sweep.html"
"""Name of the page in a sweep's folder."""
_MOST_HEAT = 30
"""Configurations, and languages, of the heat map."""
_HERE = Path(__file__).parent


def write_page(board: Leaderboard, folder: Path) -> Path:
    """Write the page into a folder and return its path; ConfigError if it cannot be written."""
    return write_whole(folder / PAGE, page_of(board, folder))


def page_of(board: Leaderboard, folder: Path) -> str:
    """Render the page as HTML; its links are relative to `folder`."""
    comparison, curves = compare(board.ranked), curves_of(board)
    script = (_HERE / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = {
        "name": printable(board.name),
        "summary": summary(board),
        "verdict": [visible(line.strip()) for line in verdict(board, comparison)],
        "notes": [visible(note) for note in board.notes if note not in {of.told for of in curves}],
        "board": _board(board, comparison, folder),
        "score": comparison.score,
        "pictures": charts_of(board, curves),
        "curves": [{"name": of.name, "told": of.told} for of in curves],
        "heat": heat(board),
        "unit": unit_of(board),
        "front": [named(of) for of in pareto(board)],
        "stopped": stopped(board),
        "trials": _trials(board, folder),
        "script": script,
        "script_digest": digest,
    }
    return rendered("sweep.html.j2", shown, _HERE, Path(lingotune.report.__file__).parent)


def summary(board: Leaderboard) -> str:
    """Count the trials by state, and tell the time and the money that they have taken."""
    entries = board.entries
    states = [entry.state.value for entry in entries]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    seconds = sum(entry.seconds or 0 for entry in entries)
    usd = sum(entry.usd or 0 for entry in entries)
    money = f" and {usd:.2f} USD" if usd else ""
    jobs = f"{len(entries)} {'job' if len(entries) == 1 else 'jobs'}"
    spent = f" {duration(seconds)}{money} in all." if seconds else ""
    return f"{jobs}: {counts}.{spent}" if entries else "No jobs yet."


# --- the leaderboard ----------------------------------------------------------------------------


def _board(board: Leaderboard, comparison: Comparison, folder: Path) -> dict[str, Any]:
    """Return the names of the columns, and rows of cells: text, sorting value, link."""
    if not board.ranked:
        return {"head": [], "rows": []}
    head, *rows = cells_of(board, comparison)
    made = []
    for row, of in zip(rows, board.ranked):
        cells = [{"text": visible(text), "sort": _sort_value(text), "link": ""} for text in row]
        cells[-1] = {
            "text": visible(Path(run_text(of)).name), "sort": "", "link": _link(of.best_entry, folder),
        }  # fmt: skip
        cells[0]["sort"] = ""
        made.append({"cells": cells, "best": of is board.best})
    names = ["best", *map(printable, head[1:])]
    return {"head": names, "rows": made}


def _sort_value(text: str) -> str:
    """Return the number that a cell begins with, for sorting; '' for other texts."""
    words = text.split()
    if words and words[-1] in ("h", "min", "s"):
        return str(_seconds(words))
    for word in words[:2]:  # a language stands before its score
        try:
            return f"{float(word):g}"
        except ValueError:
            continue
    return ""


def _seconds(words: Sequence[str]) -> float:
    units = {"h": 3600, "min": 60, "s": 1}
    return sum(float(n) * units[unit] for n, unit in zip(words[::2], words[1::2]))


def _link(entry: Entry, folder: Path) -> str:
    """Return the relative address of a run's page; '' if there is none."""
    page = entry.folder / RUN_PAGE if entry.folder else None
    if page is None or not page.is_file():
        return ""
    relative = os.path.relpath(page, folder)
    return "/".join(map(_quoted, Path(relative).parts))


def _quoted(part: str) -> str:
    from urllib.parse import quote

    return quote(part)


# --- languages ----------------------------------------------------------------------------------


def heat(board: Leaderboard) -> dict[str, Any]:
    """Tabulate macro-F1 of the languages by configuration, with the place of each between the extremes."""
    shown = [of for of in board.ranked if len(of.languages) > 1][:_MOST_HEAT]
    codes = sorted({code for of in shown for code in of.languages})
    lowest = {code: min(of.languages.get(code, 1.0) for of in shown) for code in codes}
    codes = sorted(sorted(codes, key=lowest.__getitem__)[:_MOST_HEAT])
    values = [of.languages[code] for of in shown for code in codes if code in of.languages]
    low, high = min(values, default=0.0), max(values, default=1.0)
    rows = [
        (
            visible(" / ".join(map(value_text, of.varies.values())) or named(of)),
            [_heat_cell(of, code, low, high) for code in codes],
        )
        for of in shown
    ]
    keys = " / ".join(key for key in board.keys if key != REPEATED)
    left = len([of for of in board.ranked if len(of.languages) > 1]) - len(shown)
    names = [printable(code) for code in codes]
    return {"keys": visible(keys), "codes": names, "rows": rows, "left": left}


def _heat_cell(of: Configuration, code: str, low: float, high: float) -> tuple[str, float]:
    value = of.languages.get(code)
    if value is None:
        return "", 0.0
    return f"{value:.3f}", round((value - low) / (high - low), 3) if high > low else 0.5


# --- what was stopped ---------------------------------------------------------------------------


def stopped(board: Leaderboard) -> dict[str, Any]:
    """Tabulate the pruned trials: when each was stopped, and what that has saved."""
    pruned = [entry for entry in board.entries if entry.state is State.pruned and entry.evaluations]
    saved = [saved_usd(entry) for entry in pruned]
    money = any(saved)
    head = ["trial", "values", "stopped at", "training left out", "USD saved, about"]
    rows = [
        [
            str(entry.number),
            visible(varies_text(entry)),
            visible(so_far(entry, board)),
            f"{share_left(entry):.0%}",
            "unknown" if usd is None else f"{usd:.2f}",
        ]
        for entry, usd in zip(pruned, saved)
    ]
    table = [row if money else row[:-1] for row in (head, *rows)]
    last = [entry.evaluations[-1] for entry in pruned]
    done, total = sum(e.step for e in last), sum(e.total_steps for e in last)
    count = "1 trial was" if len(pruned) == 1 else f"{len(pruned)} trials were"
    told = f"{count} stopped early, after {done:,} of {total:,} updates"
    told += f"; that saved about {sum(filter(None, saved)):.2f} USD." if money else "."
    return {"table": table if pruned else [], "told": told}


def share_left(entry: Entry) -> float:
    """Return the share of its updates that a stopped trial was spared, by its last evaluation."""
    last = entry.evaluations[-1]
    return max(0.0, 1 - last.step / last.total_steps) if last.total_steps else 0.0


def saved_usd(entry: Entry) -> float | None:
    """Estimate the money that stopping has saved: against the plan, or against its own pace if that was
    dearer; None if what it took is unknown."""
    share = share_left(entry)
    if entry.usd is None or share == 1:
        return None
    return max(entry.expected_usd or 0.0, entry.usd / (1 - share)) - entry.usd


# --- all trials ---------------------------------------------------------------------------------


def _trials(board: Leaderboard, folder: Path) -> list[dict[str, str]]:
    return [
        {
            "number": str(entry.number),
            "varies": visible(varies_text(entry)),
            "state": entry.state.value,
            "score": ""
            if entry.value(board.metric) is None
            else f"{entry.value(board.metric):.4g}",
            "told": visible(_told(entry, board)),
            "name": visible(entry.name) if entry.state is not State.waiting else "",
            "link": _link(entry, folder),
        }
        for entry in board.entries
    ]


def _told(entry: Entry, board: Leaderboard) -> str:
    if entry.completed:
        return entry.reason or ("" if entry.folder else "not fetched yet")
    return so_far(entry, board)
