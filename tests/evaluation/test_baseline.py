"""TF-IDF with logistic regression as the score to beat, with scikit-learn, which other tests do without."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from lingotune.config.schema import Baseline
from lingotune.evaluation.baseline import (
    MOST_CHARACTERS,
    LabelledTexts,
    is_installed,
    missing_library,
    reason_against,
    train_baseline,
)
from lingotune.evaluation.metrics import Classes
from lingotune.evaluation.score_rows import score_rows
from lingotune.report.tables import score_table

CLASSES = Classes(("bad", "fair", "good"))
WORDS = (("schlecht", "悪い"), ("geht so", "普通"), ("sehr gut", "良い"))


@pytest.fixture(scope="module")
def sklearn() -> Iterator[None]:
    """Scikit-learn, which tests/conftest.py hides."""
    hidden = "sklearn" in sys.modules and sys.modules["sklearn"] is None
    if hidden:
        del sys.modules["sklearn"]
    yield
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]


def texts(rows: int, classes: tuple[int, ...] = (0, 1, 2)) -> LabelledTexts:
    true = np.array([classes[n % len(classes)] for n in range(rows)], np.int64)
    codes = np.array([("de", "ja")[n // 3 % 2] for n in range(rows)], object)
    said = [f"{WORDS[c][code == 'ja']} {n % 7}" for n, (c, code) in enumerate(zip(true, codes))]
    return LabelledTexts(said, true, codes, np.full(rows, np.nan))


def test_it_learns_what_words_tell(sklearn: None) -> None:
    found = train_baseline(texts(90), texts(60), CLASSES)
    assert found.name == "tfidf" and list(found.by_name()) == ["tfidf", "tfidf balanced"]
    for of in found.by_name().values():
        assert of.overall.macro_f1 == of.languages["ja"].macro_f1 == 1.0 and of.overall.rows == 60
    again = train_baseline(texts(90), texts(60), CLASSES)
    assert again.plain == found.plain and again.balanced == found.balanced
    rows = score_rows(found.plain, found)
    assert [row.name for row in rows[-2:]] == ["tfidf", "tfidf balanced"]
    table = score_table(found.plain, 80, found)
    assert "baseline" in table and "trained on the same rows" in " ".join(table.split())


def test_classes_that_training_lacks_are_never_named(sklearn: None) -> None:
    two = train_baseline(texts(60, (0, 2)), texts(30), CLASSES).plain.overall
    assert [row[1] for row in two.confusion] == [0, 0, 0] and two.accuracy == pytest.approx(2 / 3)
    one = train_baseline(texts(60, (2,)), texts(30), CLASSES).balanced.overall
    assert [row[2] for row in one.confusion] == [10, 10, 10]


def test_rare_classes_are_found_by_the_balanced_one(sklearn: None) -> None:
    draw = np.random.default_rng(0)
    true = np.where(draw.random(1200) < 0.05, 1, 0)
    said = ["x" if (draw.random() < 0.3) != bool(one) else "y" for one in true]
    given = LabelledTexts(said, true, np.full(1200, "de", object), np.full(1200, np.nan))
    found = train_baseline(given, given, Classes(("usual", "rare")))
    plain, balanced = found.plain.overall, found.balanced.overall
    assert plain.classes["rare"].recall == 0 and balanced.classes["rare"].recall > 0.5


def test_when_none_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert not is_installed()
    (problem,) = missing_library(Baseline.tfidf)
    assert "not installed" in problem.what and "baseline=none" in problem.fix
    assert missing_library(Baseline.auto) == missing_library(Baseline.none) == []
    assert reason_against(Baseline.auto, MOST_CHARACTERS, 3) is None
    assert "5 minutes" in str(reason_against(Baseline.auto, 5 * MOST_CHARACTERS, 3))
    assert "5 minutes" in str(reason_against(Baseline.auto, MOST_CHARACTERS, 15))
    assert reason_against(Baseline.tfidf, 5 * MOST_CHARACTERS, 150) is None


def test_each_of_several_classes_is_learned_by_itself(sklearn: None) -> None:
    def of(rows: int) -> LabelledTexts:
        sets = [
            ((), "geht so"),
            ((0,), "schlecht"),
            ((2,), "sehr gut"),
            ((0, 2), "schlecht, sehr gut"),
        ]
        chosen = [sets[n % 4] for n in range(rows)]
        true = np.array([[one in ids for one in range(3)] for ids, _ in chosen], bool)
        said = [f"{text} {n % 7}" for n, (_, text) in enumerate(chosen)]
        codes = np.array(["de"] * rows, object)
        return LabelledTexts(said, true, codes, np.full(rows, np.nan))

    found = train_baseline(of(120), of(60), CLASSES).balanced.overall
    assert found.accuracy == 1.0 and found.micro_f1 == 1.0
    assert found.classes["fair"].predicted == 0 and found.absent == ("fair",)
