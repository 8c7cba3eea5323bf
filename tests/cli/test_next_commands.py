"""The commands that follow, pasted into a real shell: they keep all that was typed."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, run

LAUNCH = str(ROOT / "launch.py")
OWN = "my own (1)"
NAMES = ["--config-dir", OWN, "data=mine", "data.columns.text='Text (en), \"raw\"'"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with group files of the user's own, in a folder whose name needs quotes."""
    made = tmp_path_factory.mktemp("next")
    (made / OWN / "data").mkdir(parents=True)
    text = "defaults: [files]\nname: mine\npath: reviews.csv\n"
    (made / OWN / "data" / "mine.yaml").write_text(text)
    with (made / "reviews.csv").open("w", newline="") as file:
        rows = ([f"text number {n}", n % 5 + 1, "en"] for n in range(200))
        csv.writer(file).writerows([['Text (en), "raw"', "stars", "language"], *rows])
    return made


def words_of(command: str) -> list[str]:
    """The words that a shell makes of a command, which begins with `python`."""
    script = f"python() {{ printf '%s\\0' \"$@\"; }}; {command}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, text=True)
    return done.stdout.split("\0")[:-1]


def following(text: str) -> list[list[str]]:
    """The commands of a plan's last section."""
    lines = text[text.rindex("\nnext") :].splitlines()
    return [words_of(line.strip()) for line in lines if line.strip().startswith("python")]


def test_those_of_a_plan_are_for_the_same_job(folder: Path) -> None:
    typed = [*NAMES, "cluster=p3_16xl", "aws.tags.a='b c+d'", "rehearsal.rows=10"]
    done = run(LAUNCH, *typed, cwd=folder)
    assert done.returncode == 0, done.stderr
    request, *others = following(done.stdout)
    kept = typed[:-1]
    assert request == [LAUNCH, *kept, "output=request"]
    assert [command[: len(kept) + 1] for command in others] == [[LAUNCH, *kept]] * 3
    again = run(*request, cwd=folder)
    assert again.returncode == 0
    name = json.loads(again.stdout)["TrainingJobName"]
    assert name[:20] in done.stdout
    assert {"Key": "a", "Value": "b c+d"} in json.loads(again.stdout)["Tags"]


def test_those_of_a_sweep_are_for_all_its_jobs(folder: Path) -> None:
    typed = [*NAMES, "-m", "cluster=p3_16xl", "lr=1e-4,2e-4"]
    done = run(LAUNCH, *typed, "action=plan", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert following(done.stdout) == [
        [LAUNCH, *typed, f"action={action}"] for action in ("rehearse", "check", "submit")
    ]
    local = run(LAUNCH, *typed[:-2], "lr=1e-4,2e-4", cwd=folder)
    (train,) = following(local.stdout)
    assert train == [str(ROOT / "train.py"), *typed[:-2], "lr=1e-4,2e-4"]


@pytest.mark.parametrize(
    "started", [[LAUNCH], ["-m", "lingotune", "launch"], ["-m", "lingotune", "prepare"]]
)  # fmt: skip
def test_an_error_shows_the_help_of_the_same_command_with_the_same_groups(
    started: list[str], folder: Path
) -> None:
    done = run(*started, *NAMES, "nope=1", cwd=folder)
    assert done.returncode == 2
    words = words_of(done.stderr.splitlines()[-1].removeprefix("next: "))
    assert words == [*started, "--config-dir", OWN, "--help"]
    shown = run(*words, cwd=folder)
    assert shown.returncode == 0 and "mine" in shown.stdout
