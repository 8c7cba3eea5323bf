"""What a user should know about the scores of a run, each with the settings that help."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lingotune.config.problems import printable
from lingotune.config.schema import Balance, Decide, JobConfig, LabelsMode, selected_by
from lingotune.evaluation.fit_decision import FEWEST_FITTED
from lingotune.evaluation.score_rows import score_warnings
from lingotune.runs.results import Advice, LanguageScores, RunResults, Scores, TextFit

_LEVEL = 0.02
"""Accuracy this much above that of the most frequent class is still at its level."""
_RISE, _FALL = 0.01, 0.02
"""Changes of a validation score that are told."""
_CUT, _UNKNOWN = 0.05, 0.02
"""Shares of cut texts and unknown tokens that are told."""
_LONGEST = 512
"""Tokens that most encoders have positions for."""
_SHOWN = 4
_MOST_EPOCHS = 50
_UNEVEN = 1.5
"""Ratio of the rows of the most frequent class to those of the rarest from which weights matter."""
_BY_HOURS, _BY_PATIENCE = "training.max_hours", "training.patience"
"""Settings that end a training before its last step."""


def advice_on(
    job: JobConfig, results: RunResults, history: Sequence[Mapping[str, float]]
) -> list[Advice]:
    """List what to know about a finished run, what matters most first. history: the Trainer's log."""
    name, scores = results.scored
    where = "" if name == "test" else f"{name}: "
    level, course = _at_majority(scores), _course(job, results, history)
    # A score that was never above that of knowing nothing has not fallen: it has not risen yet.
    fallen = course is not None and level is None and course.fallen(results.training.steps)
    longer = () if fallen else _longer(job, results)
    return [
        *(
            Advice(where + what, _for_lost_class(job, results, longer))
            for what in score_warnings(scores)
        ),
        *_not_fitted(job, results),
        *_out_of_time(job, results, longer),
        *_one_class(scores),
        *([Advice(level, _better(job, longer))] if level else []),
        *_below_baseline(job, results, longer),
        *([_fallen(job, results, course)] if course and fallen else []),
        *([_rising(course, longer)] if course and course.rising else []),
        *(_texts(job, results.data.texts) if results.data.texts else ()),
    ]


def advice_of(results: RunResults) -> list[Advice]:
    """Return the advice that a run recorded; of one of an older version, what its scores tell."""
    if results.advice is not None:
        return list(results.advice)
    return [Advice(what) for what in score_warnings(results.scored[1])]


# --- scores ---------------------------------------------------------------------------------------


def _for_lost_class(
    job: JobConfig, results: RunResults, longer: tuple[str, ...]
) -> tuple[str, ...]:
    if job.evaluation.decide is Decide.argmax:
        return ("evaluation.decide=macro_f1",)
    if job.data.balance is Balance.none and _weights_differ(job, results):
        return ("data.balance=weights",)
    return longer


def _weights_differ(job: JobConfig, results: RunResults) -> bool:
    """Tell whether `data.balance=weights` would change anything: the rows of the classes are uneven, or
    those that have a class are weighed against those that have it not."""
    if job.data.labels_mode is LabelsMode.multi:
        return True
    counts: Counter[str] = Counter()
    for of_language in results.data.rows["train"].values():
        counts.update(of_language)
    return max(counts.values(), default=0) > _UNEVEN * min(counts.values(), default=0)


def _not_fitted(job: JobConfig, results: RunResults) -> Iterator[Advice]:
    """Tell that `evaluation.decide` and `evaluation.calibrate` had too few rows to be followed."""
    validation, evaluation = results.validation, job.evaluation
    rows, where = validation.overall.rows, ""
    if validation.zero_shot:
        seen = validation.zero_shot.seen
        rows, where = seen.rows if seen else 0, " in languages that are trained on"
    by_offsets = evaluation.decide in (Decide.macro_f1, Decide.prior)
    asked = [
        *([f"evaluation.decide={evaluation.decide.value}"] if by_offsets else []),
        *(["evaluation.calibrate=true"] if evaluation.calibrate else []),
    ]
    if rows < FEWEST_FITTED and asked:
        few = f"{rows} validation rows{where} are too few to fit on, {FEWEST_FITTED} are needed"
        yield Advice(f"nothing was fitted for {' and '.join(asked)}: {few}")


def _out_of_time(job: JobConfig, results: RunResults, longer: tuple[str, ...]) -> Iterator[Advice]:
    hours = job.training.max_hours
    if results.training.ended_by == _BY_HOURS and hours:
        what = f"training ended after {hours:g} h (training.max_hours), at step {results.training.steps}"
        yield Advice(what, longer)


def _one_class(scores: LanguageScores) -> Iterator[Advice]:
    """Tell of rows that are all of one class, whose scores anything that names it always has."""
    overall = scores.overall
    there = [name for name, of in overall.classes.items() if of.rows]
    if overall.rows and len(there) == 1 and not overall.several:
        what = f"all rows that were scored are {printable(there[0])}"
        yield Advice(f"{what}: their scores say nothing about the other classes")


def _at_majority(scores: LanguageScores) -> str | None:
    """Tell of scores that a model reaches which knows nothing; None of better ones."""
    overall = scores.overall
    if overall.several:
        everything = fmean(2 * c.rows / (c.rows + overall.rows) for c in overall.classes.values())
        if not overall.rows or overall.macro_f1 > everything + _LEVEL:
            return None
        than = f"giving every class to every text ({everything:.3f})"
        return f"macro-F1 {overall.macro_f1:.3f} is no better than {than}"
    if not overall.rows or overall.majority == 1 or not _is_at_majority(overall):
        return None
    than = f"always naming the most frequent class ({overall.majority:.3f})"
    return f"accuracy {overall.accuracy:.3f} is no better than {than}"


def _is_at_majority(of: Scores) -> bool:
    """Tell whether neither accuracy nor macro-F1 is above that of the most frequent class."""
    one_class = 2 * of.majority / (1 + of.majority) / len(of.classes)
    low = of.intervals.macro_f1[0] if of.intervals else of.macro_f1
    return of.accuracy <= of.majority + _LEVEL and low <= one_class + _LEVEL


def _below_baseline(
    job: JobConfig, results: RunResults, longer: tuple[str, ...]
) -> Iterator[Advice]:
    if results.baseline is None:
        return
    theirs, of = results.baseline.best().overall.macro_f1, results.scored[1].overall
    if theirs <= of.macro_f1:
        return
    ours, how = f"this model {of.macro_f1:.3f}", "better"
    if of.intervals:
        low, high = of.intervals.macro_f1
        ours += f" (95% interval {low:.3f} to {high:.3f})"
        how = "better" if theirs > high else "no worse"
    what = (
        f"TF-IDF with logistic regression is {how} on the same rows: macro-F1 {theirs:.3f}, {ours}"
    )
    yield Advice(what, _better(job, longer))


def _better(job: JobConfig, longer: tuple[str, ...]) -> tuple[str, ...]:
    """Settings that help a model that has learned too little."""
    if job.model.name_or_path is None or job.lr >= 1e-4:
        return longer
    return (f"lr={job.lr * 3:g}", *longer)


def _longer(job: JobConfig, results: RunResults) -> tuple[str, ...]:
    """Settings that train longer: more epochs, but not where something else ended the training."""
    training, ended_by = job.training, results.training.ended_by
    if ended_by == _BY_HOURS and training.max_hours:
        return (f"training.max_hours={2 * training.max_hours:g}",)
    if ended_by == _BY_PATIENCE and training.patience:
        return (f"training.patience={2 * training.patience}",)
    if training.max_steps is not None:
        return (f"training.max_steps={2 * training.max_steps}",)
    return (f"epochs={2 * job.epochs:g}",) if job.epochs < _MOST_EPOCHS else ()


# --- course of the training -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Course:
    """Validation score over a training: its name, the sign that makes more better, the best and the last.

    Each is (step, score); before: the one before the last.
    """

    name: str
    sign: int
    best: tuple[float, float]
    before: tuple[float, float]
    last: tuple[float, float]

    @property
    def rising(self) -> bool:
        """Whether the last score is the best, and clearly better than the one before."""
        gain = self.sign * (self.last[1] - self.before[1])
        return self.best[1] == self.last[1] and gain > _RISE * _unit(self.name, self.before[1])

    def fallen(self, steps: int) -> bool:
        """Tell whether it was best in the first half of these steps, and clearly worse at their end."""
        loss = self.sign * (self.best[1] - self.last[1])
        return self.best[0] <= steps / 2 and loss > _FALL * _unit(self.name, self.best[1])


def _course(
    job: JobConfig, results: RunResults, history: Sequence[Mapping[str, float]]
) -> _Course | None:
    """Find how the score that selects the checkpoint went; None without two evaluations."""
    name = selected_by(job)
    found = [(e["step"], e[f"eval_{name}"]) for e in history if f"eval_{name}" in e]
    if len(found) < 2:
        return None
    sign = -1 if name == "loss" or results.training.selected_by_cost else 1
    return _Course(name, sign, max(found, key=lambda of: sign * of[1]), *found[-2:])


def _rising(course: _Course, longer: tuple[str, ...]) -> Advice:
    change = f"{course.name} {course.before[1]:.3f}, then {course.last[1]:.3f}"
    return Advice(f"validation was still getting better at the end ({change})", longer)


def _fallen(job: JobConfig, results: RunResults, course: _Course) -> Advice:
    (step, best), (_, last) = course.best, course.last
    what = (
        f"validation was best at step {step:.0f} of {results.training.steps}, whose model was kept, and has"
        f" fallen since ({course.name} {best:.3f}, at last {last:.3f})"
    )
    return Advice(what, _shorter(job, results, step))


def _unit(name: str, value: float) -> float:
    return 1.0 if name != "loss" else abs(value)


def _shorter(job: JobConfig, results: RunResults, step: float) -> tuple[str, ...]:
    if job.training.max_steps is not None:
        return (f"training.max_steps={step:.0f}",)
    epochs = math.ceil(step / results.training.steps * results.training.epochs)
    return (f"epochs={epochs}",) if epochs < job.epochs else ()


# --- texts ----------------------------------------------------------------------------------------


def _texts(job: JobConfig, fit: TextFit) -> Iterator[Advice]:
    """Tell of languages whose texts are cut, or unknown to the tokenizer."""
    length = job.data.max_length
    if many := _over(fit.cut, _CUT):
        wanted = min(_LONGEST, -(-fit.whole // 16) * 16)
        helps = (f"data.max_length={wanted}",) if wanted > length else ()
        yield Advice(f"texts are cut at {length} tokens: {many}", helps)
    if many := _over(fit.unknown, _UNKNOWN):
        what = f"tokens are unknown to the model's vocabulary: {many}"
        yield Advice(f"{what}; a model that was pretrained on these languages helps")


def _over(shares: Mapping[str, float], most: float) -> str:
    """List the languages with larger shares, the largest first; empty if there are none."""
    over = sorted((-share, code) for code, share in shares.items() if share > most)
    listed = [f"{printable(code)} {-share:.0%}" for share, code in over]
    more = [f"and {len(listed) - _SHOWN} more"] if len(listed) > _SHOWN else []
    return ", ".join([*listed[:_SHOWN], *more])
