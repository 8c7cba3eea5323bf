"""What a run tells beside its scores, and whether what it offers can be typed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import compose
from results import results_for

from lingotune.config.jobfile import job_of
from lingotune.config.schema import Decide, JobConfig
from lingotune.evaluation.advice import advice_of, advice_on
from lingotune.evaluation.metrics import Classes, Predictions
from lingotune.runs.results import Advice, BaselineScores, RunResults, TextFit, ZeroShot


def results_of() -> RunResults:
    """Results of a model that is right about nine rows in ten."""
    true = np.arange(300) % 3
    said = np.where(np.arange(300) % 10 == 0, (true + 1) % 3, true)
    shares = np.where(said[:, None] == np.arange(3), 0.8, 0.1)
    found = Predictions(true, shares, np.full(300, "de", object), np.full(300, np.nan))
    return results_for(found, Classes(("negative", "neutral", "positive")), 50)


def job(*overrides: str) -> JobConfig:
    return job_of(compose(*overrides))


def told(job: JobConfig, results: RunResults, *history: dict[str, float]) -> list[Advice]:
    """The advice on a run; each override that it offers is composed in place of what the job has."""
    found = advice_on(job, results, history)
    for one in found:
        assert not one.helps or job_of(compose(*one.helps)) is not None
    return found


def course(*scores: float, name: str = "macro_f1") -> list[dict[str, float]]:
    return [{"step": 100.0 * n, f"eval_{name}": of} for n, of in enumerate(scores, 1)]


def about(found: list[Advice], word: str) -> Advice:
    (one,) = (advice for advice in found if word in advice.what)
    return one


def with_steps(steps: int, epochs: float = 5, ended_by: str | None = None) -> RunResults:
    results = results_of()
    trained = replace(results.training, steps=steps, epochs=epochs, ended_by=ended_by)
    return replace(results, training=trained)


def test_a_good_run_is_told_nothing() -> None:
    assert told(job(), with_steps(300), *course(0.5, 0.7, 0.705)) == []


def test_a_validation_that_still_rises() -> None:
    one = about(told(job("epochs=3"), with_steps(300), *course(0.4, 0.5, 0.6)), "still")
    assert "macro_f1 0.500, then 0.600" in one.what and one.helps == ("epochs=6",)
    steps = job("training.max_steps=300")
    assert about(told(steps, with_steps(300), *course(0.4, 0.6)), "still").helps == (
        "training.max_steps=600",
    )
    by_loss = job("evaluation.select=loss")
    assert about(told(by_loss, with_steps(300), *course(1.0, 0.5, name="loss")), "still")
    assert told(by_loss, with_steps(300), *course(0.5, 0.505, name="loss")) == []


def test_a_validation_that_has_long_fallen() -> None:
    falling = course(0.6, 0.7, 0.6, 0.55, 0.5)
    one = about(told(job("epochs=5"), with_steps(500), *falling), "fallen")
    assert "best at step 200 of 500" in one.what and one.helps == ("epochs=2",)
    assert told(job("epochs=5"), with_steps(500), *course(0.6, 0.7, 0.69, 0.69, 0.69)) == []


@pytest.mark.parametrize(
    ("ended_by", "helps"),
    [
        ("training.max_hours", "training.max_hours=4"),
        ("training.patience", "training.patience=6"),
        (None, "epochs=12"),
    ],
)
def test_what_ended_the_training_is_what_makes_it_longer(ended_by: str | None, helps: str) -> None:
    limited = job("epochs=6", "training.max_hours=2", "training.patience=3")
    found = told(limited, with_steps(300, 3, ended_by), *course(0.4, 0.5, 0.6))
    assert about(found, "still").helps == (helps,)
    assert [one for one in found if "training ended after 2 h" in one.what] == (
        [found[0]] if ended_by == "training.max_hours" else []
    )


def test_a_training_that_ended_early_was_best_after_so_many_of_its_own_epochs() -> None:
    falling = course(0.6, 0.7, 0.6, 0.55)
    early = with_steps(400, 4, "training.patience")
    one = about(told(job("epochs=10", "training.patience=2"), early, *falling), "fallen")
    assert "best at step 200 of 400" in one.what and one.helps == ("epochs=2",)


def test_scores_no_better_than_the_most_frequent_class() -> None:
    results = results_of()
    assert results.test is not None
    low = replace(results.test.overall, accuracy=0.41, majority=0.4, macro_f1=0.19, intervals=None)
    poor = replace(results, test=replace(results.test, overall=low))
    assert about(told(job("epochs=3"), poor), "most frequent").helps == ("epochs=6",)
    pretrained = job("model=pretrained", "model.name_or_path=x", "lr=5e-5", "epochs=3")
    helps = about(advice_on(pretrained, poor, ()), "most frequent").helps
    assert helps == ("lr=0.00015", "epochs=6")


def test_rows_of_one_class_are_told_as_such_and_not_as_a_poor_model() -> None:
    results = results_of()
    assert results.test is not None
    of_one = {
        name: replace(of, rows=results.test.overall.rows if name == "neutral" else 0)
        for name, of in results.test.overall.classes.items()
    }
    right = replace(
        results.test.overall,
        accuracy=1.0,
        majority=1.0,
        macro_f1=1 / 3,
        intervals=None,
        classes=of_one,
    )
    found = told(job(), replace(results, test=replace(results.test, overall=right)))
    one = about(found, "all rows that were scored are neutral")
    assert one.helps == () and not any("most frequent" in of.what for of in found)


def test_a_class_that_is_lost() -> None:
    results = results_of()
    assert results.test is not None
    count = results.test.overall.rows
    confusion = ((count // 2, 0, 0), (10, 0, 0), (0, 0, count - count // 2 - 10))
    classes = {
        name: replace(of, rows=sum(counts))
        for (name, of), counts in zip(results.test.overall.classes.items(), confusion)
    }
    overall = replace(results.test.overall, confusion=confusion, classes=classes)
    lost = replace(results, test=replace(results.test, overall=overall))
    by_argmax = job(f"evaluation.decide={Decide.argmax.value}")
    assert about(told(by_argmax, lost), "never").helps == ("evaluation.decide=macro_f1",)
    assert about(told(job("epochs=3"), lost), "never").helps == ("epochs=6",), "weights are equal"
    rows = {"train": {"de": {"negative": 90, "neutral": 30, "positive": 90}}}
    lost = replace(lost, data=replace(lost.data, rows=lost.data.rows | rows))
    one = about(told(job(), lost), "never")
    assert one.helps == ("data.balance=weights",)
    assert one.command("lingotune train --job 'a b/job.yaml'") == (
        "lingotune train --job 'a b/job.yaml' data.balance=weights"
    )
    assert [one.what for one in advice_of(replace(lost, advice=None))] == [one.what]


def test_a_better_baseline() -> None:
    results = results_of()
    assert results.test is not None
    better = replace(results.test, overall=replace(results.test.overall, macro_f1=0.99))
    baseline = BaselineScores(name="tfidf", seconds=1.0, plain=results.test, balanced=better)
    one = about(told(job(), replace(results, baseline=baseline)), "TF-IDF")
    assert "is better on the same rows: macro-F1 0.990" in one.what
    close = replace(better, overall=replace(better.overall, macro_f1=0.905))
    one = about(told(job(), replace(results, baseline=replace(baseline, balanced=close))), "TF-IDF")
    assert (
        "is no worse on the same rows: macro-F1 0.905" in one.what and "interval 0.86" in one.what
    )
    unsure = replace(results.test, overall=replace(results.test.overall, intervals=None))
    by_itself = replace(results, test=unsure, baseline=replace(baseline, balanced=close))
    assert "is better on the same rows" in about(told(job(), by_itself), "TF-IDF").what
    worse = replace(baseline, balanced=results.test)
    assert told(job(), replace(results, baseline=worse)) == []


def test_a_training_that_went_on_too_long_is_not_told_to_go_on_longer() -> None:
    results = with_steps(500)
    assert results.test is not None
    better = replace(results.test, overall=replace(results.test.overall, macro_f1=0.99))
    baseline = BaselineScores(name="tfidf", seconds=1.0, plain=better, balanced=better)
    falling = course(0.6, 0.7, 0.6, 0.55, 0.5)
    found = told(job("epochs=5"), replace(results, baseline=baseline), *falling)
    assert about(found, "fallen").helps == ("epochs=2",) and about(found, "TF-IDF").helps == ()


def test_a_model_that_knows_nothing_yet_has_not_fallen() -> None:
    results = with_steps(500)
    assert results.test is not None
    low = replace(results.test.overall, accuracy=0.4, majority=0.4, macro_f1=0.19, intervals=None)
    poor = replace(results, test=replace(results.test, overall=low))
    found = told(job("epochs=5"), poor, *course(0.2, 0.1, 0.1, 0.0, 0.0))
    assert [one.helps for one in found] == [("epochs=10",)]


def test_too_few_validation_rows_for_what_was_asked_for() -> None:
    results = results_of()
    few = replace(results.validation, overall=replace(results.validation.overall, rows=49))
    (one,) = told(job("evaluation.decide=prior"), replace(results, validation=few))
    assert one.what == (
        "nothing was fitted for evaluation.decide=prior and evaluation.calibrate=true: 49 validation rows"
        " are too few to fit on, 50 are needed"
    )
    asked_for_nothing = job("evaluation.decide=argmax", "evaluation.calibrate=false")
    assert told(asked_for_nothing, replace(results, validation=few)) == []
    unseen = ZeroShot(languages=("de",), seen=None, unseen=results.validation.overall)
    (one,) = told(job(), replace(results, validation=replace(results.validation, zero_shot=unseen)))
    assert "0 validation rows in languages that are trained on are too few" in one.what


@pytest.mark.parametrize(("whole", "helps"), [(100, ("data.max_length=112",)), (64, ())])
def test_texts_that_do_not_fit(whole: int, helps: tuple[str, ...]) -> None:
    fit = TextFit(
        cut={"de": 0.1, "ja": 0.16, "en": 0.01}, unknown={"de": 0.0, "ja": 0.3}, whole=whole
    )
    results = results_of()
    found = told(job("data.max_length=64"), replace(results, data=replace(results.data, texts=fit)))
    cut, unknown = about(found, "cut at"), about(found, "vocabulary")
    assert cut.what == "texts are cut at 64 tokens: ja 16%, de 10%" and cut.helps == helps
    assert "ja 30%" in unknown.what and "de" not in unknown.what.partition(":")[2].partition(";")[0]
