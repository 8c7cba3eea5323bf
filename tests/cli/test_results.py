"""The command `lingotune results`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import run
from sweep_folders import make_run, make_sweep

from lingotune.cli.results import main
from lingotune.config.problems import ConfigError
from lingotune.launch.sweeps.trial import State


def test_a_sweep_is_shown_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trials = [
        ({"lr": lr}, State.completed, score) for lr, score in (("1e-05", 0.5), ("3e-05", 0.7))
    ]
    make_sweep(tmp_path / "runs" / "lrs", trials)
    assert main(["lrs"]) == 0
    assert capsys.readouterr().out.endswith("\nwrote runs/lrs/results.csv\n")
    written = Path("runs/lrs/results.csv").read_text()
    assert main(["lrs", "--format", "csv"]) == 0
    assert capsys.readouterr().out == written
    assert main(["lrs", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "lrs"
    assert main(["--best", "lrs"]) == 0
    assert capsys.readouterr().out == "lr=3e-05\n"


@pytest.mark.parametrize("beside", [["--format", "json"], ["--compare", "1", "2"]])
def test_what_has_no_effect_beside_the_best_is_refused(beside: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=f"{' '.join(beside[:2]).partition(' 1')[0]}: does not go"
    ):
        main(["lrs", "--best", *beside])


def test_all_runs_are_compared_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="runs: holds no runs yet"):
        main([])
    for name, rate in (("one", "lr=1e-3"), ("two", "lr=2e-3")):
        make_run(tmp_path / "runs" / name, rate, validation=0.5)
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "runs/one" in shown and "runs/two" in shown, shown


def test_200_jobs_take_a_moment_and_no_training_library(tmp_path: Path) -> None:
    first = make_run(tmp_path / "runs" / "job-1", validation=0.5, rows=500)
    trials = [({"lr": str(n // 2), "seed": str(n % 2)}, State.completed, 0.5) for n in range(200)]
    for number in range(2, 201):
        shutil.copytree(first, tmp_path / "runs" / f"job-{number}")
    make_sweep(tmp_path / "runs" / "many", trials)
    code = (
        "import json, resource, sys\n"
        "from lingotune.cli.results import main\n"
        "assert main(['many', '--format', 'csv']) == 0\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(json.dumps([used.ru_utime + used.ru_stime, sorted(sys.modules)]))\n"
    )
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    seconds, modules = json.loads(last)
    assert len(table) == 201 and table[3].endswith(",0.0,0.0,0.0")
    assert not {"torch", "transformers", "pandas", "boto3", "hydra", "optuna"} & set(modules)
    assert seconds < 10, "one or two where nothing else runs"
