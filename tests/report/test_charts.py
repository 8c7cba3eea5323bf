"""Charts have room for every name that data may bring."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lingotune.report.charts import _confusion
from lingotune.report.data_charts import Pen, class_distribution, lay_out
from lingotune.report.data_statistics import splits_of_rows

LONG = ["Billing and subscription questions", "Account access: two-factor", "技術サポート", "x"]
CASES = {
    "stars": ["negative", "neutral", "positive"],
    "long names": LONG,
    "as many as are counted": [f"intent {n} of many" for n in range(15)],
    "more than are counted": [f"intent {n} of many" for n in range(80)],
}


def boxes_of(figure: Any) -> list[Any]:
    """Lay out a figure; the boxes of its panels with their texts, its legends and its title, in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.suptitle("Title", fontsize=11, y=1 - 0.08 / figure.get_figheight())
    lay_out(figure)
    figure.draw_without_rendering()  # what is drawn has its place, and no pixel
    panels = [axis.get_tightbbox(renderer) for axis in figure.axes]
    others = [*figure.legends, figure._suptitle]
    return [*panels, *(text.get_window_extent(renderer) for text in others)]


def assert_readable(figure: Any) -> None:
    boxes = boxes_of(figure)
    whole = figure.bbox
    for box in boxes:
        assert box.width > 0 and box.height > 0
        assert box.x0 >= -1 and box.y0 >= -1
        assert box.x1 <= whole.width + 1 and box.y1 <= whole.height + 1
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other), (one, other)


@pytest.mark.parametrize("labels", CASES.values(), ids=CASES)
@pytest.mark.parametrize("languages", [["de"], ["de", "en", "es", "fr", "zh-Hans"]])
def test_a_confusion_matrix_has_room(labels: list[str], languages: list[str]) -> None:
    size = len(labels)
    score = SimpleNamespace(confusion=[[1234] * size] * size, accuracy=0.5)
    scores: Any = SimpleNamespace(overall=score, languages=dict.fromkeys(languages, score))
    figure = _confusion(scores, labels, Pen("black", lambda name: True))
    assert_readable(figure)
    numbers = sum(len(axis.texts) for axis in figure.axes)
    assert numbers == ((len(languages) + 1) * size**2 if size <= 15 else 0)


@pytest.mark.parametrize("labels", CASES.values(), ids=CASES)
def test_the_classes_have_room(labels: list[str]) -> None:
    rows = {split: {"de": dict.fromkeys(labels, 7)} for split in ("train", "validation", "test")}
    splits = splits_of_rows(rows, labels)
    assert_readable(class_distribution(splits, labels, Pen("black", lambda name: True)))


def test_many_classes_are_told_by_their_sizes() -> None:
    labels = [f"class {n}" for n in range(40)]
    rows = {split: {"de": {label: 100 - n for n, label in enumerate(labels)}}
            for split in ("train", "validation", "test")}  # fmt: skip
    splits = splits_of_rows(rows, labels)
    figure = class_distribution(splits, labels, Pen("black", lambda name: True))
    for axis in figure.axes:
        assert [bar.get_height() for bar in axis.patches] == [*range(100, 60, -1)]
        ticks = [text.get_text() for text in axis.get_xticklabels()]
        assert ticks == ["class 0\n100", "class 39\n61"]
