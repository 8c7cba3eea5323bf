"""`lingotune launch`: plans, checks, rehearses or submits jobs on SageMaker."""

from __future__ import annotations

from collections.abc import Sequence

from lingotune.cli import brief  # noqa: F401 - acts as it is imported
from lingotune.config.private_files import allow_readers
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.schema import Action, LaunchConfig
from lingotune.launch.checks.launch import check_later, check_launch
from lingotune.launch.compose.config_dirs import shipped_dir
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.confirm import YES
from lingotune.launch.plan.code_bundle import bundle_of

PURPOSE = (
    "Plan (the default), check or submit SageMaker training jobs: one config, checked before it is"
    " billed."
)

_STAYING = ("--follow", "--detach")
OPTIONS = {
    "--follow": "stay until the submitted jobs have ended; default: with one job on a terminal,"
    " with a sweep while some wait for a slot",
    "--detach": "start the job, or those of a sweep for which there are slots, and leave",
    YES: "do not ask before money is spent (budget.confirm_usd)",
}


def main(argv: Sequence[str]) -> int:
    """Launch the jobs of a command; with `output=json` findings are JSON on standard output too."""
    try:
        return _launch(list(argv))
    except ConfigError as error:
        if "output=json" not in argv:
            raise
        from lingotune.launch.plan.page import problems_json

        print(problems_json(error.problems, error.exit_code))
        return error.exit_code


def command() -> Command:
    """Describe the command, for its help."""
    return Command(program("launch"), PURPOSE, options=OPTIONS)


def _fetches(config: LaunchConfig) -> bool:
    """Tell whether data elsewhere is fetched: a plan and a check leave it where it is."""
    return config.action not in (Action.plan, Action.check)


def _launch(argv: list[str]) -> int:
    """Compose and check every job of the command, then do what was asked for."""
    from lingotune.launch.actions import launch

    yes = YES in argv
    follow, words = following([word for word in argv if word != YES])
    composed = composed_jobs(words, command(), shipped_dir(), check_launch, _fetches, check_later)
    allow_readers(composed[0].config.runs_mode)
    return launch(composed, bundle_of([one.config for one in composed]), follow, yes=yes)


def following(argv: list[str]) -> tuple[bool | None, list[str]]:
    """Take --follow or --detach out of the arguments; None without either. ConfigError with both."""
    given = [option for option in _STAYING if option in argv]
    if len(given) > 1:
        what = "stay with the jobs, and do not stay"
        raise ConfigError([Problem(" ".join(given), what, " | ".join(given))])
    words = [word for word in argv if word not in _STAYING]
    return (given[0] == "--follow" if given else None), words
