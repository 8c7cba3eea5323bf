"""Collecting what is known of a sweep or of a folder of runs: ledger, run folders, prices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lingotune.config.problems import ConfigError, Problem, closest, listed
from lingotune.config.program import program
from lingotune.config.quoting import hydra_value
from lingotune.config.schema import COSTS, EvaluationConfig
from lingotune.config.settings import default_of, is_setting
from lingotune.config.typed_json import parse_json
from lingotune.contract.container import JOB_FILE
from lingotune.launch.cost.cost import HOUR
from lingotune.launch.cost.prices import find_price, load_prices
from lingotune.launch.results.entries import Entry, Leaderboard, ranked, total
from lingotune.launch.results.learning_curve import with_told
from lingotune.launch.results.names import job_beginning, run_beginning
from lingotune.launch.results.run_files import (
    JobText,
    RunScores,
    evaluations_in,
    job_text,
    scores_in,
    varying,
)
from lingotune.launch.sweeps.ledger import (
    PIN,
    Attempt,
    Ledger,
    TrialRecord,
    is_sweep,
    runs_here,
    sweep_folder,
    sweeps_in,
)
from lingotune.launch.sweeps.metric import Metric
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, ranges
from lingotune.plugins.definitions import contents_of
from lingotune.plugins.source import stored_name

_DEFAULT = EvaluationConfig().select.value
_SELECT, _OWN_SELECT = "evaluation.select", "code.select"


def leaderboard(typed: Sequence[str], runs_dir: str = "runs") -> Leaderboard:
    """Collect a sweep, by its name in `runs_dir` or its folder, or run folders and folders of them.

    ConfigError tells everything that is neither.
    """
    places = [place_of(one, runs_dir) for one in typed]
    if len(places) == 1 and is_sweep(places[0]):
        return of_sweep(places[0])
    problems: list[Problem] = []
    folders: dict[Path, None] = {}
    for one, place in zip(typed, places):
        found = list(_runs_in(place))
        folders.update(dict.fromkeys(found))
        problems += [] if found else [_nothing(one, place, runs_dir)]
    if problems:
        raise ConfigError(problems)
    name = typed[0] if len(typed) == 1 else f"{len(folders)} runs"
    return of_runs(list(folders), name)


def place_of(typed: str, runs_dir: str) -> Path:
    """Find the folder of a sweep or of runs: a path, or a name in `runs_dir`, of a run also a beginning."""
    places = [Path(typed), Path(runs_dir, typed)]
    with_runs = (place for place in places if any(_runs_in(place)))
    found = sweep_folder(typed, runs_dir) or next(with_runs, None)
    return found or run_beginning(typed, runs_dir) or places[0]


def _runs_in(place: Path) -> Iterator[Path]:
    if (place / JOB_FILE).is_file():
        yield place
    elif place.is_dir() and not is_sweep(place):
        yield from (path.parent for path in sorted(place.glob(f"*/{JOB_FILE}")))


def _nothing(typed: str, place: Path, runs_dir: str) -> Problem:
    if is_sweep(place):
        what = "is a sweep, which is shown alone"
        return Problem(typed, what, f"{program('results')} {typed}")
    sweeps = [folder.name for folder in sweeps_in(Path(runs_dir))]
    if typed == runs_dir:
        what, fix = "holds no runs yet", program("train")
        if sweeps:
            what = "holds sweeps alone, each of which is shown by its name"
            fix = f"{program('results')} {listed('', sweeps)}"
        return Problem(typed, what, fix)
    what = f"is no sweep in {runs_dir}, no run folder and no folder of runs"
    known = closest(typed, sweeps) or listed(typed, sweeps)
    fix = f"{program('results')} {known}".rstrip()
    if not known and "/" not in typed:  # else it is a path, and of no job
        fix = f"{program('fetch')} {typed}"
    if job := job_beginning(typed, runs_dir):
        what, fix = f"the job {job} is not on this machine", f"{program('fetch')} {job}"
    return Problem(typed, what, fix)


# --- a sweep ------------------------------------------------------------------------------------


def of_sweep(folder: Path) -> Leaderboard:
    """Collect a sweep from its ledger, and from the run folders beside it as far as they are there."""
    with Ledger(folder) as ledger:
        records, about = ledger.records(), ledger.about()
    rates = _rates(folder, about)
    entries = [_of_record(record, folder.parent, rates) for record in records]
    keys = list(dict.fromkeys(key for record in records for key in record.trial.varies))
    fetched = [entry.folder for entry in entries if entry.folder]
    texts = [(text, run) for run in fetched if isinstance(text := job_text(run), JobText)]
    metric, notes = _metric(
        [(text.settings, run) for text, run in texts]
        or [(_settings(record.trial.overrides), None) for record in records]
    )
    if about.get("metric"):
        metric, notes = Metric(about["metric"], bool(about.get("greater_is_better", True))), []
    entries = [_with_scores(entry, metric) for entry in entries]
    board = Leaderboard(
        str(about.get("name") or folder.name),
        metric,
        tuple(keys),
        ranked(entries, metric),
        folder,
        (*notes, *_unfetched(entries, folder, local=runs_here(about))),
    )
    return with_told(board)


Rates = Callable[[int, JobState], "float | None"]
"""Tells USD per billed second of a trial's job, of all its machines together; None if unknown."""


def _of_record(record: TrialRecord, runs: Path, rates: Rates) -> Entry:
    trial, last = record.trial, record.last
    name = last.name if last else trial.name
    folder = runs / name
    return Entry(
        number=trial.number,
        varies=trial.varies,
        name=name,
        state=record.state,
        reason=_reason(last) if last else "",
        folder=folder if (folder / JOB_FILE).is_file() else None,
        overrides=trial.overrides,
        evaluations=record.evaluations,
        seconds=total([_seconds(attempt) for attempt in record.attempts]),
        usd=total([_usd(attempt, rates) for attempt in record.attempts]),
        expected_usd=trial.expected_usd,
    )


def _reason(attempt: Attempt) -> str:
    if attempt.job.state is State.pruned:
        return ""
    return attempt.job.reason or attempt.stop_reason or ""


def _seconds(attempt: Attempt) -> float | None:
    job = attempt.job
    if job.billable_seconds is not None:
        return job.billable_seconds
    return job.ended - job.started if job.ended and job.started else None


def _usd(attempt: Attempt, rates: Rates) -> float | None:
    seconds, rate = attempt.job.billable_seconds, rates(attempt.trial, attempt.job)
    return None if seconds is None or rate is None else seconds * rate


def _rates(folder: Path, about: Mapping[str, Any]) -> Rates:
    """Find what jobs cost: as the sweep was pinned, else by the price list; nothing on this machine."""
    if runs_here(about):
        return lambda number, job: None
    pinned: dict[int, float | None] = {}
    lists: dict[int, dict[str, float | None]] = {}
    with suppress(OSError, ValueError, KeyError, TypeError):
        trials = parse_json((folder / PIN).read_bytes())["trials"]
        pinned = {one["number"]: one["usd_per_hour"] for one in trials}
        lists = {one["number"]: one.get("rates", {}) for one in trials}
    own, region, nodes = about.get("usd_per_hour"), about.get("region"), about.get("nodes", 1)
    prices = load_prices(about.get("prices"))

    def rate(number: int, job: JobState) -> float | None:
        if number in pinned:
            hourly = lists.get(number, {}).get(job.instance_type or "", pinned[number])
            return None if hourly is None else hourly / HOUR
        price = find_price(prices, job.instance_type, region, own) if job.instance_type else None
        return None if price is None else price.usd_per_hour * nodes / HOUR

    return rate


def _with_scores(entry: Entry, metric: Metric) -> Entry:
    """Add the scores of a run folder; without one the best evaluation that is known."""
    if entry.completed and entry.folder:
        scores = scores_in(entry.folder)
        if isinstance(scores, RunScores):
            known = entry.evaluations or evaluations_in(entry.folder, scores.training.steps)
            return replace(
                entry,
                validation=scores.on_validation(),
                test=scores.on_test(),
                labels=scores.labels,
                evaluations=known,
                train_rows=scores.data.train_rows,
                seconds=scores.seconds if entry.seconds is None else entry.seconds,
            )
        entry = replace(entry, reason=scores)
    return replace(entry, validation=_best_of(entry.evaluations, metric))


def _best_of(evaluations: Sequence[Evaluation], metric: Metric) -> Mapping[str, float]:
    """Return the scores of the best evaluation: its checkpoint is kept."""
    known = [e.values for e in evaluations if metric.name in e.values]
    return min(known, key=lambda values: metric.rank(values[metric.name])) if known else {}


def _unfetched(entries: Sequence[Entry], folder: Path, *, local: bool) -> list[str]:
    absent = [e.number for e in entries if e.completed and e.test is None and not e.folder]
    if not absent:
        return []
    parts = ranges(absent).split(", ")
    numbers = ", ".join(parts if len(parts) <= 8 else [*parts[:3], f"... {parts[-1]}"])
    count = "1 run is" if len(absent) == 1 else f"{len(absent)} runs are"
    if local:
        told = f"{count} not in {folder.parent} any more ({numbers}): scores from the ledger"
        return [f"{told}; the command of the sweep trains again what is missing"]
    return [
        f"{count} not fetched yet ({numbers}): scores from their logs, none on test;"
        f" {program('fetch')} {folder.name}"
    ]


def _settings(overrides: Sequence[str]) -> dict[str, str]:
    return {key: value for key, _, value in (one.partition("=") for one in overrides)}


# --- folders of runs ----------------------------------------------------------------------------


def of_runs(folders: Sequence[Path], name: str) -> Leaderboard:
    """Collect run folders; what varies is what differs between their job files.

    Of runs of the same job the last that has ended counts.
    """
    read = {folder: job_text(folder) for folder in folders}
    texts, repeated = _distinct({f: text for f, text in read.items() if isinstance(text, JobText)})
    problems = [Problem(str(f), text) for f, text in read.items() if isinstance(text, str)]
    if problems:
        raise ConfigError(problems)
    shown = varying([text.settings for text in texts.values()])
    metric, notes = _metric([(text.settings, folder) for folder, text in texts.items()])
    entries = []
    for number, (folder, text) in enumerate(texts.items(), 1):
        varies = {name: _value(text, key) for key, name in shown.items()}
        entries.append(_of_run(number, folder, text, varies, metric))
    if repeated:
        notes = [*notes, f"runs that repeat another's job: {repeated}; the last one counts"]
    board = Leaderboard(
        name, metric, tuple(shown.values()), ranked(entries, metric), None, tuple(notes)
    )
    return with_told(board)


def _value(text: JobText, key: str) -> str:
    """Write a job's value of a setting; a job file leaves out some that have their default."""
    if key in text.settings:
        return _short(text.settings[key])
    return hydra_value(default_of(key)) if is_setting(key) else ""


def _short(text: str) -> str:
    """Write a number as it is typed: 3e-05 for 3.0e-05."""
    try:
        return text if text.lstrip("-").isdecimal() else hydra_value(float(text))
    except ValueError:
        return text


def _distinct(texts: Mapping[Path, JobText]) -> tuple[dict[Path, JobText], int]:
    """Keep one run of each job: the last by name of those that have ended."""
    kept: dict[str, Path] = {}
    for folder in sorted(texts, key=lambda f: (isinstance(scores_in(f), RunScores), f.name)):
        kept[texts[folder].digest] = folder
    chosen = {folder: text for folder, text in texts.items() if folder in kept.values()}
    return chosen, len(texts) - len(chosen)


def _of_run(
    number: int, folder: Path, text: JobText, varies: Mapping[str, str], metric: Metric
) -> Entry:
    scores = scores_in(folder)
    if isinstance(scores, RunScores) and scores.job_sha256 != text.digest:
        scores = f"its results were written by another job than {JOB_FILE}'s"
    overrides = ("--job", str(folder / JOB_FILE))
    if isinstance(scores, str):
        evaluations = evaluations_in(folder)
        return Entry(
            number, varies, folder.name, State.stopped, scores, folder, overrides,
            _best_of(evaluations, metric), None, evaluations,
        )  # fmt: skip
    return Entry(
        number, varies, folder.name, State.completed, "", folder, overrides,
        scores.on_validation(), scores.on_test(), evaluations_in(folder, scores.training.steps),
        scores.seconds, labels=scores.labels, train_rows=scores.data.train_rows,
    )  # fmt: skip


# --- the metric ---------------------------------------------------------------------------------


def _metric(jobs: Sequence[tuple[Mapping[str, str], Path | None]]) -> tuple[Metric, list[str]]:
    """Find the metric that chooses the jobs' checkpoints, and so the winner."""
    names = {_selects(settings) for settings, _ in jobs}
    if len(names) > 1:
        told = f"checkpoints were chosen by {', '.join(sorted(names))}; runs by {_DEFAULT}"
        return Metric(_DEFAULT), [told]
    name = next(iter(names), _DEFAULT)
    own = any(settings.get(_OWN_SELECT) == name for settings, _ in jobs)
    lower = name in {cost.value for cost in COSTS} or (
        own and any(_is_cost(name, *job) for job in jobs)
    )
    return Metric(name, not lower), []


def _selects(settings: Mapping[str, str]) -> str:
    own = settings.get(_OWN_SELECT, "null")
    return settings.get(_SELECT, _DEFAULT) if own == "null" else own


def _is_cost(name: str, settings: Mapping[str, str], folder: Path | None) -> bool:
    """Tell whether less of a metric of the user's own is better, by a run's results or by its code."""
    scores = scores_in(folder) if folder else ""
    if isinstance(scores, RunScores) and scores.training.selected_by_cost:
        return True
    digest, file = settings.get("code.sha256"), settings.get("code.file")
    places = [folder / stored_name(str(digest))] if folder else []
    for path in (*places, Path(file or "")):
        try:
            found = contents_of(path.read_bytes(), str(path)).definitions.get(name)
        except (OSError, ConfigError):
            continue
        return found is not None and not found.greater_is_better
    return False
