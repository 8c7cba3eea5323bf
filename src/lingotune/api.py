"""The library: functions of `import lingotune as lt` for notebooks and scripts.

Data files, `prepared/` and `runs/` are relative to the current folder, as for the commands. Nothing
here exits the program, reads its arguments or changes its folder; environment variables, warning
filters and the libraries' logging are restored when a call returns. torch, Hydra and the AWS
libraries are imported by the calls that need them.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from lingotune.config.console import format_error, say
from lingotune.config.jobfile import check_types, job_of
from lingotune.config.private_files import private_files
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import DataConfig, JobConfig, LaunchConfig
from lingotune.runs.folder import read_results

if TYPE_CHECKING:
    from lingotune.evaluation.classifier import Classifier, Trained
    from lingotune.evaluation.evaluate import Evaluation
    from lingotune.launch.compose.compose import Composed
    from lingotune.launch.plan.planner import Plan
    from lingotune.runs.results import RunResults

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Shown(ConfigError):
    """ConfigError that shows every problem in a traceback, as in a terminal."""

    def __str__(self) -> str:
        return format_error(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return ConfigError, (self.problems, self.next_command)


_Shown.__module__, _Shown.__qualname__ = "lingotune", "ConfigError"


def _public(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make a function show problems in full, without the frames in which they were found."""

    @functools.wraps(call)
    def shown(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return call(*args, **kwargs)
        except ConfigError as error:
            # a next command would be for a shell
            found = _Shown([_as_called(problem) for problem in error.problems])
        raise found

    return shown


# --- jobs and plans -----------------------------------------------------------------------------


@_public
def compose(
    *settings: JobConfig | str, config_dir: str | Path | None = None, env: Sequence[str] = ()
) -> JobConfig:
    """Compose a job for this machine from overrides, as `lingotune train` takes them.

    settings: overrides such as `model=xlmr_base` or `lr=3e-5`; a job that comes first is changed by
    them. config_dir: folder with group files of your own; default: LINGOTUNE_CONFIG, or
    ~/.config/lingotune. env: names of variables of this machine that settings and files may refer to, as
    with --env NAME: `${oc.env:NAME}`. ConfigError lists everything that is wrong with them.

        job = lt.compose("data=files", "data.path=reviews.jsonl", "epochs=2")
        other = lt.compose(job, "lr=1e-4")
    """
    given = [_typed_key(setting) for setting in settings if isinstance(setting, str)]
    others = [Problem(key, "is no setting of a job", hint) for key, hint in _not_of_a_job(given)]
    try:
        config = _composed(settings, config_dir, env, _check_job, fetches=True).config
    except ConfigError as error:
        raise ConfigError([*others, *error.problems], error.next_command) from error
    if others:
        raise ConfigError(others)
    return job_of(config)


@_public
def plan(
    *settings: JobConfig | str, config_dir: str | Path | None = None, env: Sequence[str] = ()
) -> Plan:
    """Plan a job without starting it: its request, its time and money, and all that is wrong.

    settings: overrides such as `cluster=p4d_24xl`, as `lingotune launch` takes them; a job that comes
    first is changed by them. config_dir, env: as for `compose`. Reads the data files, but asks neither AWS
    nor the Hugging Face Hub.

    Of the plan: `request` is the CreateTrainingJob request and `estimator` what the SageMaker SDK v2
    takes, both None for a job of this machine; `cost` is in US dollars, None where no price is known;
    `findings` are the problems, warnings included. ConfigError where no plan can be made.

        plan = lt.plan("cluster=p4d_24xl", "per_device_bs=16")
        print(plan.cost.worst_usd, [finding.what for finding in plan.findings])
    """
    from lingotune.launch.checks.launch import check_launch
    from lingotune.launch.cost.quote import CostEstimator
    from lingotune.launch.plan.code_bundle import bundle_of
    from lingotune.launch.plan.planner import Planner

    composed = _composed(settings, config_dir, env, check_launch, fetches=False)
    sweep = Planner(bundle_of([composed.config]), CostEstimator(date.today())).sweep([composed])
    return replace(sweep.plans[0], problems=sweep.problems)


def _composed(
    settings: Sequence[JobConfig | str],
    config_dir: str | Path | None,
    env: Sequence[str],
    check: Callable[[LaunchConfig], list[Problem]],
    *,
    fetches: bool,
) -> Composed:
    from lingotune.launch.compose.compose import compose_all
    from lingotune.launch.compose.config_dirs import shipped_dir
    from lingotune.launch.compose.labels import with_found_labels
    from lingotune.launch.compose.looked_up import with_looked_up
    from lingotune.launch.compose.variables import Variables

    names = _list_of_texts(env, 'env is a list of names: env=["NAME"]')
    first = settings[0] if settings else None
    base = job_of(_job(first)) if isinstance(first, JobConfig) else None
    overrides = [setting for setting in settings if isinstance(setting, str)]
    if len(overrides) + (base is not None) < len(settings):
        raise TypeError("settings are overrides such as 'lr=3e-5'; a job can only come first")
    composed = compose_all(
        overrides, shipped_dir(), check, multirun=False, extra_dir=_own_groups(config_dir), base=base,
        variables=Variables.of(names, os.environ),
    )  # fmt: skip
    return with_looked_up(with_found_labels(composed, fetches=fetches), fetches=fetches)[0]


def _own_groups(config_dir: str | Path | None) -> Path | None:
    from lingotune.launch.compose.config_dirs import user_dir

    typed = None if config_dir is None else _path(config_dir, "config_dir")
    return user_dir(typed, os.environ)


def _check_job(config: LaunchConfig) -> list[Problem]:
    """Check a job for this machine."""
    from lingotune.preflight import check_job
    from lingotune.training.trackers import missing_trackers

    problems = [*check_job(job_of(config)), *missing_trackers(config.training.report_to)]
    if config.cluster.instance_type is not None:
        where = f"cluster={config.cluster.name}"
        what = "is a cluster on SageMaker; lt.train trains on this machine"
        problems.append(Problem(where, what, f"lt.plan(..., {where!r}), or cluster=local"))
    return problems


def _typed_key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _not_of_a_job(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys that only a launch knows, each with what to use here instead."""
    here = {
        "runs_dir": "lt.train(job, runs_dir=...)",
        "prepared_dir": "lt.train(job, prepared_dir=...)",
        "data.prepared": "lt.train(job, data=...)",
        "runs_mode": "os.umask(0o027), and lt.train(job)",
    }
    launch = LaunchConfig.__annotations__.keys() - JobConfig.__annotations__.keys()
    for key in keys:
        if key in here:
            yield key, here[key]
        elif key.partition(".")[0] in launch or key == "cluster.backend":
            yield key, "lt.plan(job, ...)"


# --- training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, with the model, the scores and report.html in it."""

    folder: Path

    @cached_property
    def results(self) -> RunResults:
        """Scores and figures of metrics.json, e.g. `results.test.overall.macro_f1` (0 to 1)."""
        return read_results(self.folder)

    @property
    def report(self) -> Path:
        """Path of the report page."""
        return self.folder / "report.html"


@_public
def train(
    job: JobConfig,
    *,
    runs_dir: str | Path = "runs",
    prepared_dir: str | Path = "prepared",
    data: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Train a job on this machine, evaluate it on its test split and save it in a new run folder.

    A job with several processes is started through torchrun. runs_dir: where the run folder is made.
    prepared_dir: where the data is prepared, if it is not there. data: folder of prepared data instead.
    quiet: print nothing but warnings. ConfigError for what the user can mend, PublishError where the
    model is trained but could not be published.

        run = lt.train(lt.compose("training.max_steps=20"))
        print(run.folder, run.results.test.overall.accuracy)
    """
    from lingotune.launch.local import train_here

    own = job_of(_job(job))
    folders = {
        "runs_dir": _path(runs_dir, "runs_dir"),
        "prepared_dir": _path(prepared_dir, "prepared_dir"),
    }
    given = None if data is None else _path(data, "data")
    with _untouched(), _printing(quiet) as tell:
        folder = train_here(
            own,
            **folders,
            data=given,
            tell=tell,
            quiet=quiet,
        )
    return Run(folder)


@_public
def prepare(job: JobConfig, *, prepared_dir: str | Path = "prepared", quiet: bool = False) -> Path:
    """Prepare the data of a job, if that has not been done: read, check, split and tokenise it.

    Returns the folder, named by the digest of what it was made of; `lt.train` of the same job finds it.
    ConfigError lists what is wrong with the source.

        folder = lt.prepare(lt.compose("data=files", "data.path=reviews.jsonl"))
    """
    from lingotune.data.transfer import fetch_sources
    from lingotune.serving.teacher import prepare_job

    folder = Path(_path(prepared_dir, "prepared_dir"))
    with _printing(quiet) as tell:
        fetch_sources(_job(job).data, tell)
        return prepare_job(job, folder, tell)[0]


# --- trained models -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction:
    """Prediction for a text: its class, and the probabilities of all classes, which sum to 1.

    The class is decided as `evaluation.decide` of the training says, so it may be another than the
    likeliest. expected: of ordered classes, the expected value on their scale, such as 3.7 stars; None of
    others. With data.labels_mode=multi each class has a probability of its own, labels are those that the
    text was given, and label is the likeliest of them; "" for none.
    """

    label: str
    probabilities: dict[str, float]
    labels: tuple[str, ...] = ()
    expected: float | None = None


def _prediction(
    probabilities: dict[str, float], named: Sequence[str], expected: float | None
) -> Prediction:
    likeliest = max(named, key=lambda name: probabilities[name], default="")
    return Prediction(likeliest, probabilities, tuple(named), expected)


class Model:
    """A trained model in memory, on a GPU where there is one."""

    def __init__(self, trained: Trained, classifier: Classifier) -> None:
        self._trained, self._classifier = trained, classifier

    @property
    def folder(self) -> Path:
        """Folder of the model's files, in the format of `transformers`."""
        return self._trained.folder

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, by their ids."""
        return self._trained.labels

    @_public
    def predict(
        self,
        texts: Sequence[str | tuple[str, str]],
        languages: Sequence[str | None] | None = None,
    ) -> list[Prediction]:
        """Classify texts, or pairs of texts; returns one prediction for each, in their order.

        Texts are cleaned and cut as those of the training. languages: their codes, as the training had
        them; without one, a text is decided as texts of all languages are. ConfigError names the text that
        cannot be used, such as an empty one or None.

            model.predict(["Sehr gut", "Une catastrophe"])[0].label
            model.predict([("The battery lasts a day", "It is soon empty")])  # trained on pairs
        """
        from lingotune.evaluation.predict import read_texts

        texts = _list_of(texts, 'texts is a list of texts: predict(["Sehr gut"])')
        if languages is not None:
            languages = _list_of(
                languages, 'languages is a list, with a code for each text: ["de"]'
            )
            if len(languages) != len(texts):
                raise ValueError(f"{len(languages)} codes in languages, and {len(texts)} in texts")
        _check_texts(texts)
        given = (
            (f"texts[{place}]", (*text,) if isinstance(text, list) else text)
            for place, text in enumerate(texts)
        )
        cleaned = list(read_texts(given, self._trained, None))
        if not cleaned:
            return []
        classes, shares = self._classifier.classify(cleaned, languages)
        expected = self._trained.expected(shares)
        return [
            _prediction(dict(zip(self.labels, row)), named, value)
            for named, row, value in zip(self._classifier.named(classes), shares.tolist(), expected)
        ]


@_public
def load(
    folder: str | Path, *, batch: int | None = None, argmax: bool = False, bf16: bool = False
) -> Model:
    """Load the model of a run.

    folder: a run folder, or a folder with a saved model. batch: texts of the full length that the model
    sees at once; None = as many as are quickest here. argmax: predict the likeliest class with the
    probabilities as trained, without the run's decision. bf16: compute in bf16, see `Classifier`.
    ConfigError if there is no model in it, not one that is whole, or no bf16 here.

        model = lt.load(run.folder)
    """
    from lingotune.evaluation.classifier import Classifier, trained_model

    _check_batch(batch)
    trained = trained_model(_path(folder, "folder"))
    trained = trained.as_trained() if argmax else trained
    with _untouched():
        return Model(trained, Classifier(trained, batch, bf16=bf16))


@_public
def evaluate(
    folder: str | Path,
    data: Sequence[str] | DataConfig | None = None,
    *,
    output: str | Path | None = None,
    batch: int | None = None,
    argmax: bool = False,
    config_dir: str | Path | None = None,
) -> Evaluation:
    """Score the model of a run, overall and by language, with predictions row by row in a new folder.

    data: overrides that name the data (`["data=files", "data.path=more.jsonl"]`), or the data of a
    job; None = the run's own test split. output: where the folder is made; default: in the run. batch:
    as of `load`. argmax: score the likeliest class, without the run's decision. config_dir: as for
    `compose`. ConfigError lists what is wrong, before the model is loaded.

        lt.evaluate(run.folder).results.overall.macro_f1
    """
    from lingotune.cli.evaluate import data_typed, typed_length
    from lingotune.evaluation.evaluate import evaluate as score
    from lingotune.launch.compose.config_dirs import shipped_dir

    run = _path(folder, "folder")
    target = None if output is None else _path(output, "output")
    _check_batch(batch)
    typed: list[str] = []
    if data is None or isinstance(data, DataConfig):
        wanted = data
    else:
        typed = _list_of_texts(data, 'data is job.data, or a list of overrides: ["data.path=..."]')
        wanted = data_typed(run, typed, shipped_dir(), _own_groups(config_dir))
    length = typed_length(wanted, typed)
    with _untouched():
        return score(run, wanted, max_length=length, output=target, batch=batch, argmax=argmax)


@_public
def publish(folder: str | Path, *settings: str, config_dir: str | Path | None = None) -> str:
    """Push the model of a finished run to the Hugging Face Hub; returns its link.

    settings: overrides such as `hub=private` or `hub.repo=NAME`; default: those of the run. config_dir: as
    for `compose`. The token comes from the environment, HF_TOKEN. ConfigError for what the user can mend,
    PublishError if the push fails.

        lt.publish(run.folder, "hub=private")
    """
    from lingotune.cli.publish import hub_typed
    from lingotune.hub.publish_run import finished_run, publish_run
    from lingotune.launch.compose.config_dirs import shipped_dir

    _list_of_texts(settings, "settings are overrides such as 'hub=private', each an argument")
    run = finished_run(_path(folder, "folder"))
    hub = hub_typed(run.job, settings, shipped_dir(), _own_groups(config_dir))
    with _untouched():
        return publish_run(run, hub, [str(folder), *settings])


# --- arguments, and messages about them ----------------------------------------------------------


def _job(job: object) -> JobConfig:
    if not isinstance(job, JobConfig):
        raise TypeError(f"job is what lt.compose returns, not of type {type(job).__name__}")
    check_types(job)
    return job


def _path(path: object, name: str) -> str:
    """Return a path as text; TypeError for anything else, as None would be a folder of that name."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} is a path, not of type {type(path).__name__}")
    return os.fsdecode(path)


def _list_of(items: Iterable[_T], form: str) -> list[_T]:
    """Return items as a list; TypeError with the form for one text, whose items would be its letters."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(form)
    return list(items)


def _list_of_texts(items: Iterable[str], form: str) -> list[str]:
    found = _list_of(items, form)
    if not all(isinstance(item, str) for item in found):
        raise TypeError(form)
    return found


def _check_texts(texts: Sequence[object]) -> None:
    """Refuse what is neither a text nor several, such as None and the NaN of a data frame."""
    wrong = [place for place, text in enumerate(texts) if not _is_given(text)]
    if wrong:
        count = f"; {len(wrong)} of the {len(texts)} are none" if len(wrong) > 1 else ""
        what = f"is of type {type(texts[wrong[0]]).__name__}, not a text{count}"
        fix = "[text for text in texts if isinstance(text, str)]"
        raise ConfigError([Problem(f"texts[{wrong[0]}]", what, fix)])


def _is_given(text: object) -> bool:
    parts = text if isinstance(text, (tuple, list)) else [text]
    return isinstance(text, dict) or all(isinstance(part, str) for part in parts)


def _check_batch(batch: int | None) -> None:
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        raise ConfigError(
            [Problem(f"batch={batch!r}", "is not a whole number from 1", "batch=None")]
        )


def _as_called(problem: Problem) -> Problem:
    """Write the options of the commands that a problem names as arguments of a call."""
    return replace(problem, where=_in_python(problem.where), fix=_in_python(problem.fix))


def _in_python(text: str) -> str:
    def variables(options: re.Match[str]) -> str:
        names = options[0].replace("--env ", "").split()
        return f"env=[{', '.join(map(json.dumps, names))}]"

    text = re.sub(r"--env \S+(?: --env \S+)*", variables, text)
    for option, argument in _ARGUMENTS.items():
        text = re.sub(option, argument, text)
    return text


_ARGUMENTS = {
    r"^--config-dir (.+)": r"config_dir='\1'",
    r"^--output FOLDER$": "output=...",
    r"^--output (.+)": r"output='\1'",
    r"^-m [^;]+": "a call for each value",
    r"^--help, --cfg .*; or ": "",
    r"; --file FILE .*": "",
    r"^(?:python -m )?lingotune prepare \.\.\.$": "lt.prepare(job)",
    r"^(?:python -m )?lingotune publish .* (hub=\w+)$": r"lt.publish(..., '\1')",
}
"""Options, as fixes name them -> what a call takes instead."""


# --- as if nothing had been called --------------------------------------------------------------


@contextlib.contextmanager
def _printing(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Print as the commands do, or nothing."""
    if not quiet:
        yield say
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield lambda line: None


@contextlib.contextmanager
def _untouched() -> Iterator[None]:
    """Restore environment variables, warning filters, the umask and the libraries' logging at the end."""
    import logging
    import warnings

    import datasets
    from transformers.utils import logging as library

    before = dict(os.environ)
    tracing = logging.getLogger("torch.fx._symbolic_trace")
    level, verbosity = tracing.level, library.get_verbosity()
    bars = library.is_progress_bar_enabled(), _shows_bars(datasets)
    try:
        with warnings.catch_warnings(), private_files():
            yield
    finally:
        tracing.setLevel(level)
        library.set_verbosity(verbosity)
        for module, shown in zip((library, datasets), bars):
            _show_bars(module, shown)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _shows_bars(datasets: Any) -> bool:
    if hasattr(datasets, "is_progress_bar_enabled"):  # until 3.0
        return bool(datasets.is_progress_bar_enabled())
    return not datasets.are_progress_bars_disabled()


def _show_bars(module: Any, shown: bool) -> None:
    name = "enable_progress_bar" if shown else "disable_progress_bar"
    (getattr(module, f"{name}s", None) or getattr(module, name))()
