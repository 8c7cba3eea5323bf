"""`lingotune distill`: trains a smaller model on the probabilities of a run's model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lingotune.cli.words import command_parser
from lingotune.config.console import Parser, say
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem, nearest
from lingotune.config.program import program
from lingotune.config.quoting import hydra_value
from lingotune.contract.container import JOB_FILE
from lingotune.evaluation.onnx_model import FILE as EXPORTED
from lingotune.launch.compose.config_dirs import shipped_dir
from lingotune.launch.overrides.keys import config_groups
from lingotune.launch.results.chosen import run_named

if TYPE_CHECKING:
    from lingotune.evaluation.classifier import Trained

FOLDER = "distillation"
"""Folder in a run folder that holds students made of the run's own layers."""
_LAYERS = re.compile(r"layers:(-?\d+)")
_KEY = re.compile(r"[+~]*([\w./@-]+)=")


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser(
        "distill",
        "Train a smaller model on the probabilities of a run's model, its teacher, and on the labels.",
    )
    made.add_argument(
        "run", help="the teacher: a run folder, SWEEP:best, or a saved model's folder"
    )
    made.add_argument(
        "settings",
        nargs="*",
        help="student=layers:N, that many of the teacher's own; student=NAME of the group model; or"
        " student=FOLDER or a model of the hub. distillation.texts=FILE: texts without labels. All"
        " settings of train go with it, and those of launch with cluster=... or action=...",
    )
    made.add_argument(
        "--alone", action="store_true", help="first train the student without a teacher, to compare"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Train the student here, or plan or submit it; returns the exit code."""
    if not argv or {"-h", "--help"} & {*argv}:
        parser().parse_args(list(argv))
    # Options of train and launch, and their values, stay where they are.
    named, *typed = [word for word in argv if word != "--alone"] or [""]
    if named.startswith("-") or "=" in named:
        what = "the run comes first"
        raise ConfigError(
            [Problem(f"distill {named}", what, f"{program('distill')} RUN student=layers:1")]
        )
    run, alone = run_named(named), "--alone" in argv
    from lingotune.evaluation.classifier import trained_model

    wanted = _wanted(Path(run), trained_model(run), typed)
    if not wanted.launches:
        return _train(wanted, alone=alone)
    if alone:
        what = "trains on this machine, and the student on another"
        fix = "leave it out: the same command without distillation.* launches the student alone"
        raise ConfigError([Problem("--alone", what, fix)])
    return _launch(wanted)


@dataclass(frozen=True)
class _Wanted:
    """Words for train or launch. base: the teacher's job. teacher: what makes it a distillation. others:
    the student, and what was typed."""

    base: tuple[str, ...]
    teacher: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """All words."""
        return [*self.base, *self.teacher, *self.others]

    @property
    def alone(self) -> list[str]:
        """The words of the same student without a teacher."""
        kept = (word for word in self.others if not word.lstrip("+~").startswith("distillation"))
        return [*self.base, *kept]

    @property
    def launches(self) -> bool:
        """Whether they are about another machine, or a plan."""
        keys = dict(word.partition("=")[::2] for word in self.others)
        return "action" in keys or keys.get("cluster", "local") != "local"


def _wanted(run: Path, trained: Trained, typed: Sequence[str]) -> _Wanted:
    """Turn what was typed into words for train or launch; ConfigError without a student."""
    students = [word for word in typed if word.startswith("student=")]
    others = [word for word in typed if word not in students]
    if len(students) != 1 or not students[0].partition("=")[2]:
        what = "which smaller model is to be trained?" if not students else "there is one student"
        fix = "student=layers:1, student=distilbert_multilingual, or a folder or model of the hub"
        raise ConfigError([Problem(" ".join(students) or "student", what, fix)])
    keys = {found[1] for word in others if (found := _KEY.match(word))}
    file = run / JOB_FILE
    base = ("--job", str(file)) if trained.job and file.is_file() else ()
    made = [*_student(students[0], run, trained), *_fresh(trained)]
    left_out = keys | ({"epochs"} if _counts_updates(trained, others) else set())
    kept = tuple(word for word in made if word.partition("=")[0] not in left_out)
    teacher = f"distillation.teacher={hydra_value(str(run))}"
    return _Wanted(base, (teacher,), (*kept, *others))


def _counts_updates(trained: Trained, typed: Sequence[str]) -> bool:
    """Tell whether the student's training has a number of updates, beside which epochs are refused."""
    key = "training.max_steps="
    steps = [word.removeprefix(key) for word in typed if word.startswith(key)]
    if steps:
        return steps[-1] != "null"
    return trained.job is not None and trained.job.training.max_steps is not None


def _fresh(trained: Trained) -> Iterator[str]:
    """Yield what is the teacher's own in its job: its machine, its repository, its code."""
    if trained.job is None:
        return
    yield "cluster=local"
    yield "hub=none"
    if trained.job.code.builder:
        yield "code.builder=null"


def _student(word: str, run: Path, trained: Trained) -> list[str]:
    """Return the settings of the student's model, which is made if it is of the teacher's layers."""
    name = word.partition("=")[2]
    if layers := _LAYERS.fullmatch(name):
        return _shallower(int(layers[1]), run, trained)
    options = config_groups(shipped_dir())["model"]
    if name in options and name not in ("pretrained", "tiny"):
        return [f"model={name}"]
    if name in ("pretrained", "tiny") or ("/" not in name and not Path(name).exists()):
        what = f"is no model to start from{nearest(name, options)}"
        raise ConfigError(
            [Problem(word, what, "student=layers:1, student=mmbert_small, or a folder")]
        )
    return _pretrained(re.sub(r"[^a-zA-Z0-9]+", "-", Path(name).name).strip("-"), name)


def _pretrained(name: str, place: str) -> list[str]:
    return ["model=pretrained", f"model.name={name}", f"model.name_or_path={hydra_value(place)}"]


def _shallower(layers: int, run: Path, trained: Trained) -> list[str]:
    """Make the student of some of the teacher's layers; it is trained at the teacher's own rate."""
    job = trained.job
    if job and job.code.builder:
        what = f"the model of code.builder={job.code.builder} is not known to have layers"
        raise ConfigError([Problem(f"student=layers:{layers}", what, "student=mmbert_small")])
    if (trained.folder / EXPORTED).is_file():
        what = f"{trained.folder} is an exported model, whose layers cannot be taken"
        fix = "the run that it was exported from; or another student, which it can teach"
        raise ConfigError([Problem(f"student=layers:{layers}", what, fix)])
    from lingotune.serving.served_model import model_digest

    folder = run / FOLDER / f"layers-{layers}-{model_digest(trained.folder)[:12]}"
    if not (folder / "config.json").is_file():
        from lingotune.modeling.shallower import write_shallower  # torch from here on

        places = write_shallower(trained.folder, layers, folder)
        say(f"student {folder}: the teacher's layers {', '.join(map(str, places))}")
    name = job.model.name if job else trained.folder.resolve().name
    words = _pretrained(f"{name}-layers-{layers}", str(folder.resolve()))
    if job:
        rates = (("lr", job.lr), ("per_device_bs", job.per_device_bs), ("epochs", job.epochs))
        words += [f"{key}={hydra_value(value)}" for key, value in rates]
    return words


def _train(wanted: _Wanted, *, alone: bool) -> int:
    from lingotune.cli.train import main as train

    if alone:
        say("the student alone, without a teacher:")
        train(wanted.alone)
        say("\nthe student with its teacher:")
    return train(wanted.words)


def _launch(wanted: _Wanted) -> int:
    """Ask the teacher, whose probabilities travel with the prepared data, then plan or submit."""
    from lingotune.cli.launch import main as launch

    words = [word for word in wanted.words if word != "cluster=local"]
    several = {"-m", "--multirun"} & {*words}  # their data is prepared where each is planned
    if several or any(word.startswith("data.prepared=") for word in words):
        return launch(words)
    return launch([*words, f"data.prepared={hydra_value(str(_prepared(words)))}"])


def _prepared(words: Sequence[str]) -> Path:
    from lingotune.cli.launch import OPTIONS, command
    from lingotune.config.console import say_aside
    from lingotune.data.transfer import fetch_sources
    from lingotune.launch.checks.launch import check_launch
    from lingotune.launch.compose.options import composed_jobs
    from lingotune.serving.teacher import prepare_job

    settings = [word for word in words if word not in OPTIONS]
    config = composed_jobs(settings, command(), shipped_dir(), check_launch)[0].config
    job = job_of(config)
    fetch_sources(job.data, say_aside)
    return prepare_job(job, Path(config.prepared_dir), say_aside)[0]
