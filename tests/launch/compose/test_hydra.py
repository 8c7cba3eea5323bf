"""What users of Hydra type: every row of docs/hydra.md, and --env."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import CONF

from lingotune.config.problems import ConfigError, Problem, errors_only, format_problems
from lingotune.config.schema import LaunchConfig
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.overrides.hydra_names import known_names

ROOT = Path(__file__).parents[3]
LAUNCH = Command("lingotune launch", "Plan, check or submit.")
_ROW = re.compile(r"\| `(.+?)` \| (.+?) \| (.*)\|")
ROWS = [
    (found[1], found[2].strip("`"))
    for found in map(_ROW.fullmatch, (ROOT / "docs/hydra.md").read_text().splitlines())
    if found
]
OWN = {
    "experiment/mine.yaml": "# @package _global_\nseed: 3\n",
    "optimizer/adam.yaml": "# @package training\nweight_decay: 0.02\n",
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name, text in OWN.items():
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
    return tmp_path


def problems_of(words: Sequence[str]) -> list[Problem]:
    """Errors of a command; none where it composes, or prints and leaves."""
    try:
        composed_jobs(list(words), LAUNCH, CONF, check_launch, lambda config: False)
    except ConfigError as error:
        return errors_only(error.problems)
    except SystemExit as left:
        assert left.code == 0
    return []


def words_of(text: str) -> list[str]:
    """Words of a row, in which brackets and blanks of a list need no quotes."""
    return shlex.split(text) if "'" in text else re.findall(r"[^ ={]+(?:=\{[^}]*\}|[^ ]*)", text)


def pasted(words: Sequence[str], problem: Problem, fix: str) -> list[str]:
    """Words with a fix in the place of what was refused."""
    refused = problem.where.split()
    if fix.startswith("python -m"):
        return []  # another command
    if fix.startswith("--env"):
        return [*words, *shlex.split(fix)]
    kept = [w for w in words if w not in (*refused, problem.where)]
    kept = [w for w in kept if w.partition("=")[0] != refused[0]]
    if refused[0] == "--package":  # the fix names --cfg again
        kept = [w for w in kept if w not in ("--cfg", "job")]
    if fix.startswith(("leave it out", "without", "export")):
        return kept
    if '"' not in fix:
        return [*kept, *shlex.split(fix)]
    script = f'printf "%s\\n" {fix}'  # the shell fills in
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return [*kept, *done.stdout.splitlines()]


@pytest.mark.parametrize("typed, here", ROWS, ids=[typed for typed, _ in ROWS])
def test_every_row_is_answered_as_the_document_says(
    typed: str, here: str, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOO", "bar")
    monkeypatch.delenv("WHO", raising=False)
    typed, here = typed.replace("{own}", str(own)), here.replace("{own}", str(own))
    words = words_of(typed)
    found = problems_of(words)
    if here == "works":
        assert not found
        return
    (problem,) = found
    assert here in re.split(r", or ", problem.fix)
    if "RUN" in here:
        return
    short = {"-c": "--cfg", "-p": "--package", "-i": "--info"}
    words = [short.get(word, word) for word in words]
    assert not problems_of(pasted(words, problem, here))


# --- variables of this machine ------------------------------------------------------------------


def composed(*words: str, own: Path | None = None) -> LaunchConfig:
    given = ["--config-dir", str(own)] if own else []
    jobs = composed_jobs([*given, *words], LAUNCH, CONF, check_launch, lambda config: False)
    return jobs[-1].config


def test_a_variable_becomes_part_of_the_job(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "name: run-${oc.env:WHO,'no body'}\nseed: ${oc.env:SEED}\nlr: ${oc.env:LR,2e-5}\n"
    (own / "experiment/mine.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.setenv("SEED", "7")
    monkeypatch.setenv("WHO", "zoe")
    monkeypatch.delenv("LR", raising=False)
    given = ["--env", "SEED", "--env", "WHO", "--env", "LR"]
    config = composed("experiment=mine", *given, own=own)
    assert (config.name, config.seed, config.lr) == ("run-zoe", 7, 2e-5)
    (job,) = composed_jobs(
        ["--config-dir", str(own), "experiment=mine", *given], LAUNCH, CONF, check_launch
    )
    assert job.options == ("--config-dir", str(own), *given)  # the same job again
    swept = composed("-m", "lr=${oc.env:LR,1e-4},${oc.env:SEED}e-4", "--env", "SEED", "--env", "LR")
    assert swept.lr == 7e-4
    nested = composed('name="${oc.env:NOT_SET,${oc.env:WHO}}"', "--env", "WHO", "--env", "NOT_SET")
    assert nested.name == "zoe"


@pytest.mark.parametrize(
    "name, value, what",
    [
        ("HF_TOKEN", "short", "holds a secret"),
        ("WHO", "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1cD3f", "holds a secret"),
        ("WHO", "${oc.env:HF_TOKEN}", "read as a reference"),
        ("WHO=zoe", "", "is not the name of a variable"),
    ],
)
def test_what_is_no_value_of_a_job_is_not_read(
    name: str, value: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "=" not in name:
        monkeypatch.setenv(name, value)
    (problem,) = problems_of([f"name=${{oc.env:{name.partition('=')[0]}}}", "--env", name])
    assert what in problem.what
    assert not value or value not in format_problems([problem])


def test_a_variable_that_does_not_fit_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LR", "abc")
    (problem,) = problems_of(["lr=${oc.env:LR}", "--env", "LR"])
    assert problem.what == "${oc.env:LR} is 'abc', not a number"
    monkeypatch.delenv("LR")
    (problem,) = problems_of(["lr=${oc.env:LR}", "--env", "LR"])
    assert problem.what == "refers to LR, which is not set on this machine"
    (problem,) = problems_of(["model=${oc.env:LR}", "--env", "LR"])
    assert problem.what == "an option is chosen before references are read"


def test_no_setting_of_hydra_is_ignored_or_repeats_a_secret() -> None:
    """Any name below hydra is refused, with words that compose: often the same ones."""
    after = functools.cache(lambda *words: tuple(problems_of(words)))
    for name in [*known_names(), "hydra.nothing", "hydra/nothing", "hydra"]:
        for value in ("a", "3", "[a]", "{a: b}", "null", "''", "-1", "${now:%Y}"):
            (problem,) = problems_of([f"{name}={value}"])
            if not problem.fix.startswith("export"):
                assert not after(*pasted([f"{name}={value}"], problem, problem.fix)), problem
        token = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7xY9zA1cD3f"
        assert token not in format_problems(problems_of([f"{name}={token}"]))
