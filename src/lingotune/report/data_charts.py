"""Charts of data: the distribution of classes, and of the texts' lengths."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import log2
from pathlib import Path
from typing import Any, NamedTuple

from lingotune.config.problems import printable
from lingotune.report.data_statistics import (
    Figures,
    Split,
    brief,
    columns,
    length_text,
    rows_text,
    share_text,
)


class Pen(NamedTuple):
    """Text colour of a figure, and a test of whether its fonts can write a name."""

    ink: str
    writes: Callable[[str], bool]

    def name(self, name: str, instead: str) -> str:
        """Return the name, or `instead` if no font has its characters."""
        return brief(printable(name)) if self.writes(printable(name)) else instead


Plot = Callable[[Pen], Any]
"""Function that draws a matplotlib figure."""

# Distinguishable with any colour vision; ordered from negative to positive.
COLOURS = ("#d55e00", "#999999", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

_HATCHES = ("", "///", "...", "xxx")
_KEPT, _CUT = COLOURS[2], COLOURS[0]
_BINS = 48
_PAGE_INK = "#010203"
"""Placeholder for the page's own text colour, light or dark."""
_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Hiragino Sans", "PingFang SC",
    "Yu Gothic", "Microsoft YaHei", "WenQuanYi Zen Hei", "Noto Sans KR", "Malgun Gothic",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai", "Arial",
)  # fmt: skip
"""Fonts to try, if installed, for characters that matplotlib's own font lacks."""


# --- the charts ---------------------------------------------------------------------------------


def class_distribution(splits: Sequence[Split], labels: Sequence[str], pen: Pen) -> Any:
    """Draw the share of each class per language, and its number of rows at the right; a panel per split.

    Of more classes than can be told apart, draw the rows of each instead, the largest first.
    """
    if len(labels) > len(COLOURS) * len(_HATCHES):
        return _class_sizes(splits, labels, pen)
    languages = max(len(splits[0].languages), 1)
    classes = class_names(labels, pen)
    beside = max(int(4.4 * len(splits) / (0.5 + inches(classes, 9))), 1)
    height = 1.0 + 0.3 * languages + 0.22 * -(-len(labels) // beside)
    figure, axes = new_figure(len(splits), height)
    for axis, split in zip(axes, splits):
        bars = [_draw_class(axis, split.languages, n) for n in range(len(labels))]
        for place, language in enumerate(split.languages):
            _beside(axis, place, f"{language.total:,}" if language.total else "no rows", pen)
        names = [pen.name(of.name, f"language {n}") for n, of in enumerate(split.languages)]
        axis.set_yticks(range(len(names)), names, fontsize=9)
        axis.set_ylim(languages - 0.4, -0.6)
        axis.set_xlim(0, 1)
        axis.set_xticks([])
        frame(axis, f"{split.name}: {rows_text(split.whole.total)}", pen)
    # matplotlib hides labels that begin with an underscore.
    classes = [f" {name}" if name.startswith("_") else name for name in classes]
    figure.legend(
        bars, classes, fontsize=9, labelcolor=pen.ink, frameon=False, loc="outside lower center",
        ncols=min(len(labels), beside),
    )  # fmt: skip
    return figure


def _class_sizes(splits: Sequence[Split], labels: Sequence[str], pen: Pen) -> Any:
    """Draw the rows of each class in all languages, in descending order; a panel per split."""
    figure, axes = new_figure(len(splits), 2.8)
    names = class_names(labels, pen)
    for axis, split in zip(axes, splits):
        order = sorted(range(len(labels)), key=lambda n: -split.whole.rows[n])
        rows = [split.whole.rows[n] for n in order]
        axis.bar(range(len(rows)), rows, 1.0, color=_KEPT, linewidth=0)
        ends = {0: order[0], len(rows) - 1: order[-1]}
        ticks = [f"{names[n]}\n{split.whole.rows[n]:,}" for n in ends.values()]
        axis.set_xticks([*ends], ticks, fontsize=8)
        for text, side in zip(axis.get_xticklabels(), ("left", "right")):
            text.set_ha(side)
        axis.set_xlim(-0.5, len(rows) - 0.5)
        axis.tick_params(axis="y", labelsize=8)
        frame(axis, f"{split.name}: {rows_text(split.whole.total)}", pen)
    return figure


def class_names(labels: Sequence[str], pen: Pen) -> list[str]:
    """Return the names of classes as the pen can write them."""
    return [pen.name(label, f"class {n} (no font for its name)") for n, label in enumerate(labels)]


def inches(names: Sequence[str], size: float) -> float:
    """Estimate the width of the longest of some names in a font of `size` points."""
    return max((columns(name) for name in names), default=0) * 0.6 * size / 72


def _draw_class(axis: Any, languages: Sequence[Figures], label: int) -> Any:
    totals = [max(sum(language.rows), 1) for language in languages]
    starts = [sum(of.rows[:label]) / total for of, total in zip(languages, totals)]
    shares = [of.rows[label] / total for of, total in zip(languages, totals)]
    colour = COLOURS[label % len(COLOURS)]
    hatch = _HATCHES[label // len(COLOURS) % len(_HATCHES)]
    bars = axis.barh(
        range(len(languages)), shares, 0.78, starts, color=colour, hatch=hatch, edgecolor="white",
        linewidth=0.6,
    )  # fmt: skip
    for place, (start, share) in enumerate(zip(starts, shares)):
        if share >= 0.1 and not hatch:
            axis.text(
                start + share / 2, place, f"{share:.0%}", ha="center", va="center", fontsize=8,
                color=_readable_on(colour),
            )  # fmt: skip
    return bars


def _beside(axis: Any, place: int, text: str, pen: Pen) -> None:
    axis.text(
        1.02, place, text, transform=axis.get_yaxis_transform(), va="center", fontsize=8,
        color=pen.ink,
    )  # fmt: skip


def length_histogram(splits: Sequence[Split], max_length: int, pen: Pen) -> Any:
    """Draw a histogram of tokens before truncation, with max_length as a line; one panel per split.

    The axis is logarithmic, and areas are proportional to rows: the area beyond the line is the share
    that is truncated.
    """
    figure, axes = new_figure(len(splits), 3.0)
    for axis, split in zip(axes, splits):
        title = f"{split.name}: {rows_text(split.whole.total)}"
        if split.whole.total:
            title += f", 95% within {length_text(split.whole, 0.95)} tokens"
            _draw_lengths(axis, split.whole, max_length, pen)
            axis.set_xlabel(
                "tokens per text before truncation; area = rows", fontsize=8, color=pen.ink
            )
        else:
            axis.set_xticks([])
        axis.set_yticks([])
        frame(axis, title, pen)
    return figure


def _draw_lengths(axis: Any, figures: Figures, max_length: int, pen: Pen) -> None:
    lengths = figures.lengths
    edges = _edges(lengths, max_length)
    ends = [*(edge - 0.5 for edge in edges), (edges[-1] - 0.5) * 2**0.5]
    rows = [sum(lengths[a:b]) for a, b in zip(edges, [*edges[1:], len(lengths)])]
    widths = [b / a for a, b in pairwise(ends)]
    heights = [n / log2(width) for n, width in zip(rows, widths)]
    colours = [_KEPT if edge <= max_length else _CUT for edge in edges]
    axis.bar(ends[:-1], heights, [b - a for a, b in pairwise(ends)], align="edge",
             color=colours, edgecolor=colours, linewidth=0.4)  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xlim(ends[0] / 1.1, ends[-1] * 1.05)
    axis.set_ylim(0, 1.32 * max(heights))
    axis.axvline(max_length + 0.5, color=pen.ink, linewidth=1, linestyle="--")
    _write_share(axis, figures, max_length, pen)
    last = len(lengths) - 1
    ticks = [2**n for n in range(1, 16) if ends[0] <= 2**n <= last / 1.4]
    names = [str(tick) for tick in ticks]
    axis.set_xticks([*ticks, last * 2**0.25], [*names, f"≥{last}"], fontsize=8)
    axis.minorticks_off()


def _write_share(axis: Any, figures: Figures, max_length: int, pen: Pen) -> None:
    cut = share_text(figures.cut, figures.total)
    axis.annotate(
        f"max_length {max_length}\n{'nothing' if cut == '-' else cut} beyond",
        (max_length + 0.5, 1), xycoords=("data", "axes fraction"), xytext=(4, -3),
        textcoords="offset points", va="top", fontsize=8, color=pen.ink,
    )  # fmt: skip


def _edges(lengths: Sequence[int], max_length: int) -> list[int]:
    """Compute the first lengths of the bins, of about equal width on a logarithmic axis.

    max_length ends a bin; the last one holds everything longer than is counted.
    """
    last = len(lengths) - 1
    first = max(1, min(next((n for n, rows in enumerate(lengths) if rows), 1), max_length // 2))
    ratio = (last / first) ** (1 / _BINS)
    edges = {round(first * ratio**n) for n in range(_BINS)}
    return sorted({first, *(edge for edge in edges if edge < last), max_length + 1, last})


# --- the files ----------------------------------------------------------------------------------


def write_png(plot: Plot, title: str, path: Path) -> None:
    """Save the figure as a PNG on white, with a title."""
    with _style():
        figure = plot(Pen("black", _is_drawable))
        figure.suptitle(title, fontsize=11, y=1 - 0.08 / figure.get_figheight())
        lay_out(figure)
        figure.savefig(path, dpi=110, metadata={"Software": None})


def svg(plot: Plot, name: str) -> str:
    """Render the figure as an `<svg>` element in the page's colours.

    Text stays text, in the reader's fonts. `name` labels the element for screen readers, and keeps its
    ids apart from those of other figures.
    """
    drawn = io.StringIO()
    with _style(**{"svg.hashsalt": name}):
        figure = plot(Pen(_PAGE_INK, lambda name: True))
        lay_out(figure)
        figure.savefig(drawn, format="svg", transparent=True)
    element = drawn.getvalue()[drawn.getvalue().index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'<g id="[^"]*"', "<g", element)  # these ids are the same in every figure
    head, body = element.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    described = re.sub(r"[^\w ,.:-]", "", name)
    return f'<svg {box[0]} role="img" aria-label="{described}">{body}'.replace(
        _PAGE_INK, "currentColor"
    )


def _is_drawable(name: str) -> bool:
    """Check whether matplotlib can draw a name: every character, in the reading order of its script."""
    from matplotlib import ft2font

    shapes = hasattr(ft2font, "__libraqm_version__")  # since matplotlib 3.11
    if not shapes and any(unicodedata.bidirectional(c) in ("R", "AL") for c in name):
        return False
    known = [font.get_char_index for font in _fonts()]
    return all(any(has(ord(c)) for has in known) for c in name if unicodedata.category(c) != "Cf")


def _fonts() -> list[Any]:
    """Return the fonts that `_style` chose, in their order."""
    from matplotlib import font_manager, rcParams

    found = (font_manager.findfont(family) for family in rcParams["font.family"])
    return [font_manager.get_font(path) for path in dict.fromkeys(found)]


@contextmanager
def _style(**settings: Any) -> Iterator[None]:
    """Apply matplotlib settings to the figures drawn inside, and restore them afterwards."""
    import matplotlib
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    families = ["DejaVu Sans", *(font for font in _FONTS if font in installed)]
    # A dollar sign in a name must not begin a formula; the page uses its reader's fonts.
    fixed = {"font.family": families, "text.parse_math": False, "svg.fonttype": "none"}
    with matplotlib.rc_context({**fixed, **settings}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def new_figure(
    panels: int, height: float, rows: int = 1, width: float = 4.4
) -> tuple[Any, list[Any]]:
    """Make a figure of `panels` columns and its panels, each of a height and width in inches.

    It is made without pyplot, which would keep it and might open a window.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * panels, height * rows))
    return figure, list(figure.subplots(rows, panels, squeeze=False).flat)


def lay_out(figure: Any) -> None:
    """Give every panel the same size, and the room that the largest texts beside any panel need.

    matplotlib's constrained layout does this with each text measured twice and everything drawn once
    more: two thirds of the time that a picture takes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    pairs = [
        (axis.get_tightbbox(renderer, for_layout_only=True), axis.get_window_extent(renderer))
        for axis in figure.axes
    ]
    pad = 0.08 * figure.dpi
    left = max(inner.x0 - outer.x0 for outer, inner in pairs) + pad
    right = max(outer.x1 - inner.x1 for outer, inner in pairs) + pad
    below = max(inner.y0 - outer.y0 for outer, inner in pairs) + pad
    above = max(outer.y1 - inner.y1 for outer, inner in pairs) + pad
    foot, head = (
        sum(text.get_window_extent(renderer).height + 2 * pad for text in texts)
        for texts in (figure.legends, [figure._suptitle] if figure._suptitle else [])
    )
    grid = figure.axes[0].get_gridspec()
    width, height = figure.bbox.width, figure.bbox.height
    # However long the texts are, half of the figure is left for the panels.
    across = max(width / grid.ncols - left - right, width / grid.ncols / 2)
    along = max((height - head - foot) / grid.nrows - below - above, height / grid.nrows / 4)
    top = max(1 - (head + above) / height, 0.6)
    figure.subplots_adjust(
        left=min(left / width, 0.4), right=max(1 - right / width, 0.6),
        bottom=min((foot + below) / height, top - 0.05), top=top,
        wspace=(left + right) / across, hspace=(below + above) / along,
    )  # fmt: skip


def frame(axis: Any, title: str, pen: Pen) -> None:
    """Set a panel's title, and hide all lines except the axis."""
    axis.set_title(title, fontsize=10, color=pen.ink)
    axis.spines[["left", "right", "top"]].set_visible(False)
    axis.spines["bottom"].set_visible(bool(axis.get_xticks().size))
    axis.spines["bottom"].set_color(pen.ink)
    axis.tick_params(length=0, color=pen.ink, labelcolor=pen.ink)


def _readable_on(colour: str) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "black"
