"""The files that follow from a run's results: writing them, and completing a run that was killed then."""

from __future__ import annotations

from pathlib import Path

from lingotune.config.console import say
from lingotune.config.jobfile import dump_job, job_digest
from lingotune.config.problems import CheckpointError, ConfigError, Problem
from lingotune.config.schema import JobConfig
from lingotune.contract.container import JOB_FILE
from lingotune.evaluation.predictions import FILE as PREDICTIONS
from lingotune.evaluation.predictions import VALIDATION_FILE
from lingotune.hub.allowlist import CURVES
from lingotune.runs.decision import AS_TRAINED
from lingotune.runs.decision_file import DECISION, write_decision
from lingotune.runs.folder import METRICS, MODEL, Folders, read_history, write_metrics
from lingotune.runs.inventory import changed_files, place_of, read_inventory, write_inventory
from lingotune.runs.remake import remake_command
from lingotune.runs.results import RunResults
from lingotune.serving.code_folder import write_code
from lingotune.system.files import replace_file
from lingotune.training.adapters import FILES as ADAPTER_FILES

PAGE = "report.html"
PICTURES = ("confusion_matrix.png", "class_distribution.png", "learning_curves.png")
_WEIGHTS = "model*.safetensors"


def write_charts(run: Path, results: RunResults) -> None:
    """Draw a run's pictures; a warning is enough where matplotlib is missing."""
    from lingotune.report.charts import draw_classes, draw_confusion, draw_curves

    confusion, classes, curves = (run / name for name in PICTURES)
    try:
        if results.test and not results.test.overall.several:
            draw_confusion(results.test, results.labels, confusion)
        draw_classes(results.data.rows, results.labels, classes, results.data.totals)
        draw_curves(read_history(run), curves)
    except ImportError as error:  # not every image includes matplotlib
        print(f"warning: no pictures: {error}")


def report(run: Path) -> None:
    """Write the report page; a failure only prints a warning."""
    try:
        from lingotune.report.run_page import write_run_report

        print(f"report: {write_run_report(run)}")
    except Exception as error:
        print(f"warning: no report: {type(error).__name__}: {error}")


def take_inventory(folders: Folders, job: JobConfig) -> None:
    """Let a finished run's model serve itself, and list the files; a failure only prints a warning."""
    try:
        write_code(folders.model, job, [folders.run])
    except (OSError, ConfigError) as error:
        print(f"warning: {folders.model}: no endpoint can serve it as it is: {error}")
    try:
        own = (JOB_FILE, PREDICTIONS, VALIDATION_FILE, PAGE, *PICTURES, *ADAPTER_FILES)
        write_inventory(folders, job_digest(job), own)
    except OSError as error:
        print(f"warning: {folders.run}: its files are not listed: {error}")


def complete(job: JobConfig, folders: Folders, results: RunResults) -> None:
    """Make what a finished run lacks: one that was killed after its results were written.

    CheckpointError, with the command that mends it, if its model or its predictions are missing or not as
    they were written.
    """
    inventory = read_inventory(folders, job_digest(job))
    wrong = dict(changed_files(folders, inventory)) if inventory else _missing(folders, results)
    lost = {name: why for name, why in wrong.items() if not _follows(name)}
    if lost:
        again = remake_command(folders.run)
        raise CheckpointError(
            [
                Problem(str(place_of(folders, name)), f"{why}; the run was finished", again)
                for name, why in lost.items()
            ]
        )
    if inventory and not wrong:
        return
    say(f"completing {folders.run}" + (f": {', '.join(wrong)}" if wrong else ""))
    _make_again(job, folders, results, wrong)
    take_inventory(folders, job)


def _missing(folders: Folders, results: RunResults) -> dict[str, str]:
    """Find what a run lacks that nobody has taken the inventory of: name -> what is wrong."""
    matrix = [] if results.validation.overall.several else [PICTURES[0]]
    needed = [JOB_FILE, PAGE, *PICTURES[1:], *([PREDICTIONS, *matrix] if results.test else [])]
    wrong = {name: "is missing" for name in needed if not (folders.run / name).is_file()}
    if not any(folders.model.glob(_WEIGHTS)):
        wrong[f"{MODEL}/model.safetensors"] = "is missing"
    return wrong


def _follows(name: str) -> bool:
    """Tell whether a file follows from the results and the curves, so that it can be made again."""
    copies = (f"{MODEL}/{JOB_FILE}", f"{MODEL}/{METRICS}", f"{MODEL}/{DECISION}")
    pictures = (*PICTURES, *(f"{MODEL}/{picture}" for picture in PICTURES))
    return name in (JOB_FILE, PAGE, *copies, *pictures) or name.startswith(f"{MODEL}/{CURVES}/")


def _make_again(
    job: JobConfig, folders: Folders, results: RunResults, wrong: dict[str, str]
) -> None:
    from lingotune.hub.model_folder import assemble

    if JOB_FILE in wrong:
        replace_file(folders.run / JOB_FILE, dump_job(job))
    if set(wrong) - {JOB_FILE, PAGE}:
        write_charts(folders.run, results)
        write_decision(results.decision or AS_TRAINED, folders.model)
        assemble(folders.model, job, results, folders.run, folders.tensorboard)
        write_metrics(results, folders)
    if PAGE in wrong:
        report(folders.run)
