"""Charts of a sweep's page, as SVG in the page's colours."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from lingotune.config.problems import printable
from lingotune.launch.results.entries import Configuration, Entry, Leaderboard
from lingotune.launch.results.learning_curve import KEY as ROWS
from lingotune.launch.results.learning_curve import Curve
from lingotune.launch.results.table import named, shortened, value_text
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.trial import REPEATED, State
from lingotune.report.data_charts import COLOURS, Pen, frame, new_figure, svg

_BLUE, _RED, _GREY = COLOURS[2], COLOURS[0], COLOURS[1]
_MOST_TICKS = 8
_MOST_POINTS = 80
"""Evaluations of a run that are drawn; of more, every n-th."""
_LENGTH = 14
"""Characters of a value below an axis."""


def charts_of(board: Leaderboard, rows: Sequence[Curve] = ()) -> dict[str, list[str]]:
    """Draw all charts by section; none if matplotlib is not installed. rows: the learning curves."""
    try:
        return {
            "rows": [_drawn(partial(_by_rows, of, board.metric), _title(of)) for of in rows],
            "keys": [
                _drawn(partial(_against, key, board), f"{board.metric.name} against {key}")
                for key in board.keys
                if key not in (REPEATED, *([ROWS] if rows else []))
                and len({of.varies.get(key) for of in board.ranked}) > 1
            ],
            "curves": _curves(board),
            "front": _front(board),
        }
    except ImportError:
        return {"rows": [], "keys": [], "curves": [], "front": []}


def _drawn(plot: Callable[[Pen], Any], name: str) -> str:
    """Draw an SVG with coordinates of one decimal, which are half of its size otherwise."""
    return re.sub(r' (d|x|y|points)="[^"]*"', _rounded, svg(plot, name))


def _rounded(attribute: re.Match[str]) -> str:
    return re.sub(
        r"\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), attribute[0]
    )


# --- the metric against the rows ----------------------------------------------------------------


def _title(of: Curve) -> str:
    return f"Score by training rows{': ' if of.name else ''}{of.name}"


def _by_rows(of: Curve, metric: Metric, pen: Pen) -> Any:
    """Draw the runs by their training rows, and the power law up to twice the most with its interval."""
    figure, (axis,) = new_figure(1, 3.4, width=5.8)
    axis.set_xscale("log")
    axis.scatter(of.rows, of.scores, s=14, color=_BLUE, alpha=0.7, linewidths=0)
    if fit := of.fit:
        axis.fill_between(fit.rows, fit.low, fit.high, color=_BLUE, alpha=0.15, linewidth=0)
        axis.plot(fit.rows, fit.middle, color=_BLUE, linewidth=1.2)
        axis.axvline(max(of.rows), color=pen.ink, linewidth=0.8, linestyle=":")
    ticks = [*sorted(set(of.rows)), *([2 * max(of.rows)] if of.fit else [])]
    axis.minorticks_off()
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8, rotation=25, ha="right")
    axis.set_xlabel("training rows", fontsize=8, color=pen.ink)
    _finish(axis, f"{metric.name} by training rows", pen)
    return figure


# --- the metric against a swept key -------------------------------------------------------------


def _against(key: str, board: Leaderboard, pen: Pen) -> Any:
    """Draw each configuration's mean with the spread over its seeds, over the values of a key."""
    figure, (axis,) = new_figure(1, 2.9)
    shown = [of for of in board.ranked if key in of.varies]
    places, ticks = positions([of.varies[key] for of in shown])
    for of, place in reversed(list(zip(shown, places))):  # the best on top
        colour = _RED if of is board.best else _BLUE
        if len(of.scores) > 1:
            axis.scatter(
                [place] * len(of.scores), of.scores, s=9, color=colour, alpha=0.45, linewidths=0
            )
            axis.plot([place, place], [min(of.scores), max(of.scores)], color=colour, linewidth=1)
        axis.plot([place], [of.mean], marker="o", markersize=5, color=colour)
    if len(board.keys) - (REPEATED in board.keys) == 1:
        line = sorted(zip(places, (of.mean for of in shown)))
        axis.plot(*zip(*line), color=_BLUE, linewidth=0.9, alpha=0.6, zorder=0)
    _tick(axis, ticks)
    axis.set_xlabel(printable(key), fontsize=8, color=pen.ink)
    _finish(axis, f"{board.metric.name} by {printable(key)}", pen)
    return figure


def positions(values: Sequence[str]) -> tuple[list[float], dict[float, str]]:
    """Place values on an axis: numbers by size, on a logarithmic scale if they span a decade; others in
    their order. Returns a place for each value, and the ticks."""
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    if len(known) == len(values):
        scale = math.log10 if min(known) > 0 and max(known) >= 10 * min(known) else float
        ticks = {scale(number): value for number, value in zip(known, values)}
        return [scale(number) for number in known], ticks
    order = {value: float(place) for place, value in enumerate(dict.fromkeys(values))}
    return [order[value] for value in values], {place: value for value, place in order.items()}


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _tick(axis: Any, ticks: Mapping[float, str]) -> None:
    """Name the values below an axis, of many only some."""
    places = sorted(ticks)
    step = -(-len(places) // _MOST_TICKS)
    shown = places[::step]
    names = [_brief(ticks[place]) for place in shown]
    turn = {"rotation": 25, "ha": "right"} if sum(map(len, names)) > 40 else {}
    axis.set_xticks(shown, names, **turn)
    if len(places) > 1:
        margin = 0.08 * (places[-1] - places[0])
        axis.set_xlim(places[0] - margin, places[-1] + margin)


def _brief(value: str) -> str:
    text = value_text(value)
    return shortened(text, _LENGTH)


# --- learning curves ----------------------------------------------------------------------------

_STYLES: dict[State, dict[str, Any]] = {
    State.pruned: {"color": _RED, "linestyle": "--"},
    State.failed: {"color": COLOURS[5], "linestyle": ":"},
    State.stopped: {"color": COLOURS[5], "linestyle": ":"},
}


def _curves(board: Leaderboard) -> list[str]:
    known = [entry for entry in board.entries if _points(entry, board.metric)]
    return [_drawn(partial(_overlay, board, known), "Learning curves")] if known else []


def _points(entry: Entry, metric: Metric) -> list[tuple[int, float]]:
    points = [
        (e.step, e.values[metric.name])
        for e in entry.evaluations
        if math.isfinite(e.values.get(metric.name, math.nan))
    ]
    step = -(-len(points) // _MOST_POINTS) or 1
    return points[::step] if len(points) <= _MOST_POINTS else [*points[:-1:step], points[-1]]


def _overlay(board: Leaderboard, entries: Sequence[Entry], pen: Pen) -> Any:
    figure, (axis,) = new_figure(1, 3.6, width=5.8)
    best = {entry.number for entry in board.best.entries} if board.best else set()
    legend: set[str] = set()
    for entry in sorted(entries, key=lambda e: e.number in best):
        steps, values = zip(*_points(entry, board.metric))
        name, style = _style_of(entry, best)
        label = None if name in legend else name
        legend.add(name)
        axis.plot(steps, values, label=label, **style)
        if entry.state in (State.pruned, State.failed, State.stopped):
            axis.plot(steps[-1:], values[-1:], marker="x", markersize=5, color=style["color"])
        elif len(steps) == 1:
            axis.plot(steps, values, marker="o", markersize=3, color=style["color"])
    axis.legend(fontsize=8, frameon=False, labelcolor=pen.ink, loc="best")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("step", fontsize=8, color=pen.ink)
    _finish(axis, f"validation {board.metric.name}", pen)
    return figure


def _style_of(entry: Entry, best: set[int]) -> tuple[str, dict[str, Any]]:
    """Return the name in the legend and the line of a run's curve."""
    if entry.state in _STYLES:
        return entry.state.value, {"linewidth": 1, "alpha": 0.8, **_STYLES[entry.state]}
    if entry.number in best:
        return "the best", {"color": _BLUE, "linewidth": 1.8}
    if entry.completed:
        return "completed", {"color": _GREY, "linewidth": 1, "alpha": 0.8}
    return entry.state.value, {"color": COLOURS[3], "linewidth": 1.2}


# --- money against quality ----------------------------------------------------------------------


_SECONDS = {"hours": 3600, "minutes": 60}


def price_of(of: Configuration, unit: str) -> float | None:
    """Return what a configuration took: USD, or time where nothing is billed."""
    if unit == "USD":
        return of.usd
    return None if of.seconds is None else of.seconds / _SECONDS[unit]


def unit_of(board: Leaderboard) -> str:
    """Return `USD` if the price of any configuration is known, else `hours` or `minutes`."""
    if any(of.usd is not None for of in board.ranked):
        return "USD"
    longest = max((of.seconds or 0 for of in board.ranked), default=0)
    return "hours" if longest > 2 * _SECONDS["hours"] else "minutes"


def pareto(board: Leaderboard) -> list[Configuration]:
    """Find the configurations that none beats at the same price or less, the cheapest first."""
    unit = unit_of(board)
    priced = [(price, of) for of in board.ranked if (price := price_of(of, unit)) is not None]
    priced.sort(key=lambda item: (item[0], board.metric.rank(item[1].mean)))
    front: list[Configuration] = []
    for _, of in priced:
        if not front or board.metric.rank(of.mean) < board.metric.rank(front[-1].mean):
            front.append(of)
    return front


def _front(board: Leaderboard) -> list[str]:
    unit = unit_of(board)
    priced = [of for of in board.ranked if price_of(of, unit) is not None]
    if len(priced) < 2:
        return []
    name = "Money against quality" if unit == "USD" else "Time against quality"
    return [_drawn(partial(_money, board, priced, unit), name)]


def _money(board: Leaderboard, priced: Sequence[Configuration], unit: str, pen: Pen) -> Any:
    figure, (axis,) = new_figure(1, 3.1, width=5.8)
    front = pareto(board)
    rest = [of for of in priced if of not in front]
    axis.scatter([price_of(of, unit) for of in rest], [of.mean for of in rest], s=20, color=_GREY)
    prices = [price_of(of, unit) for of in front]
    means = [of.mean for of in front]
    axis.plot(
        prices, means, color=_BLUE, marker="o", markersize=5, linewidth=1.2, drawstyle="steps-post"
    )
    for of, price in list(zip(front, prices))[-4:]:
        axis.annotate(
            _cut(named(of)), (price, of.mean), xytext=(5, -9), textcoords="offset points", fontsize=7,
            color=pen.ink,
        )  # fmt: skip
    axis.margins(x=0.12, y=0.15)
    axis.set_xlabel(unit, fontsize=8, color=pen.ink)
    _finish(axis, f"validation {board.metric.name} by {unit}, with the Pareto front", pen)
    return figure


def _cut(text: str) -> str:
    return shortened(text, 30)


def _finish(axis: Any, title: str, pen: Pen) -> None:
    frame(axis, title, pen)
    axis.tick_params(labelsize=8)
    axis.spines["bottom"].set_visible(True)
    axis.spines["bottom"].set_color(pen.ink)
    axis.spines["left"].set_visible(True)
    axis.spines["left"].set_color(pen.ink)
