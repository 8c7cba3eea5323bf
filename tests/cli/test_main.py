"""The command `lingotune`: its overview, its commands, and the modules that it imports."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import ROOT, run

import lingotune
from lingotune.cli.main import COMMANDS, main, module_of, overview
from lingotune.config import program
from lingotune.config.console import format_error
from lingotune.config.problems import ConfigError


def test_the_overview_has_a_line_for_each_command() -> None:
    lines = overview().splitlines()
    assert max(map(len, lines)) <= 80
    for command in COMMANDS:
        assert sum(line.startswith(f"  {command} ") for line in lines) == 1
        assert callable(module_of(command).main)


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lingotune {lingotune.__version__}\n"
    assert lingotune.__version__ == version("lingotune")


def test_an_unknown_command_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"trian: is no command; did you mean train\?"):
        main(["trian", "lr=1"])
    for typed, fix in (("--verison", "--version"), ("help", "--help"), ("version", "--version")):
        with pytest.raises(ConfigError) as found:
            main([typed])
        assert [problem.fix for problem in found.value.problems] == [fix]
    assert main([]) == 2


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_the_overview_loads_no_library(argument: str) -> None:
    code = (
        "import resource, sys, json\n"
        "from lingotune.cli.main import main\n"
        f"assert main([{argument!r}]) == 0\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, sorted(sys.modules)]))\n"
    )
    seconds = []
    for _ in range(5):  # a busy machine is slow in most of them
        taken, modules = json.loads(run("-c", code).stdout.splitlines()[-1])
        assert not {"hydra", "omegaconf", "torch", "numpy", "yaml", "transformers"} & set(modules)
        seconds.append(taken)
        if taken < 0.3:
            break
    assert min(seconds) < 0.3, seconds


@pytest.mark.parametrize(
    ("started", "command", "called"),
    [
        ("/usr/bin/lingotune", "train", "lingotune train"),
        ("/x/lingotune/__main__.py", "launch", "python -m lingotune launch"),
        ("train.py", "train", "python train.py"),
        ("train.py", "launch", "python launch.py"),
        ("../clone/train.py", "launch", "python ../clone/launch.py"),
        ("/x/my clone/train.py", "train", "python '/x/my clone/train.py'"),
        ("/x/pytest/__main__.py", "train", "python train.py"),
        ("pytest", "prepare", "python -m lingotune prepare"),
    ],
)
def test_a_command_is_called_as_it_was_started(
    started: str, command: str, called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", [started])
    assert program.program(command) == called


def test_without_a_checkout_no_script_of_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "in_checkout", lambda: False)
    monkeypatch.setattr("sys.argv", ["notebook"])
    assert program.program("train") == "python -m lingotune train"


def test_what_a_plan_offers_next_keeps_folder_and_job(tmp_path: Path) -> None:
    """Every word that made the plan is in the commands that it offers."""
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text("# @package _global_\nlr: 0.005\n")
    job = tmp_path / "job.yaml"
    made = run("launch.py", "seed=7", f"job_file={job}")
    assert made.returncode == 0, made.stderr
    typed = ["--config-dir", str(tmp_path / "own"), "--job", str(job), "experiment=mine"]
    done = run("-m", "lingotune", "launch", *typed, "cluster=p3_16xl")
    assert done.returncode == 0, done.stderr
    assert f"\n  group files  {tmp_path / 'own'} beside the shipped ones\n" in done.stdout
    offered = done.stdout[done.stdout.index("\nnext:") :].splitlines()[2:6]
    for line in offered:
        assert line.strip().startswith(f"python -m lingotune launch {' '.join(typed)} cluster=")


def test_programs_are_told_the_folder(tmp_path: Path) -> None:
    done = run("launch.py", "output=json", LINGOTUNE_CONFIG=str(tmp_path))
    assert json.loads(done.stdout)["config_dir"] == str(tmp_path)
    done = run("launch.py", "output=json", LINGOTUNE_CONFIG=str(tmp_path / "none"))
    assert (
        done.returncode == 2 and "is not a folder" in json.loads(done.stdout)["findings"][0]["what"]
    )


def test_the_console_script_is_declared() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert '[project.scripts]\nlingotune = "lingotune.cli.main:entry"' in text


@pytest.mark.parametrize(
    ("typed", "begins"),
    [
        (["training"], "training: Optimisation"),
        (["lr"], "lr: a number"),
        (["prepare"], "Prepare data: "),
        (["train", "data"], "data: The reviews "),
    ],
)
def test_help_takes_a_topic(
    typed: list[str], begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--help", "-h"):
        with pytest.raises(SystemExit) as ended:
            main([option, *typed])
        assert ended.value.code == 0 and capsys.readouterr().out.startswith(begins)


def test_help_of_an_unknown_topic_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--help trainig: .*did you mean training\?"):
        main(["--help", "trainig"])


def test_the_overview_is_for_users_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/venv/bin/lingotune"])
    page = overview()
    assert "\nusage: lingotune COMMAND ...\n" in page and "__all__" not in page


def test_an_unknown_command_is_answered_with_a_few(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="did you mean train") as caught:
        main(["trian"])
    lines = format_error(caught.value).splitlines()
    assert lines[3].startswith("      fix: train | ") and max(map(len, lines)) <= 100


def test_options_of_a_job_file_alone_are_told_what_stands_for_them() -> None:
    with pytest.raises(ConfigError) as caught:
        main(["train", "lr=1e-3", "--data=my data", "--prepared-dir", "p", "x=1"])
    assert [(p.where, p.fix) for p in caught.value.problems][:2] == [
        ("--data my data", "'data.prepared=\"my data\"'"),
        ("--prepared-dir p", "prepared_dir=p"),
    ]
    assert caught.value.problems[2].where == "x=1"


def test_a_run_folder_is_that_of_one_run() -> None:
    with pytest.raises(ConfigError, match="is the folder of one run") as caught:
        main(["train", "-m", "--run-dir", "my runs", "lr=1e-3,2e-3"])
    assert caught.value.problems[0].fix == "'runs_dir=\"my runs\"'"
    with pytest.raises(ConfigError, match="is about the checkpoints in a run folder"):
        main(["train", "resume=required"])
    with pytest.raises(ConfigError, match="is about a run folder of this machine"):
        main(["launch", "cluster=p3_16xl", "resume=never"])
