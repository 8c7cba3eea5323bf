"""The wheel in a fresh environment and an empty folder, without a checkout in reach."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import ROOT

from lingotune.launch.render.bundle import build_bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NOTEBOOK = """\
import lingotune as lt
job = lt.compose("training.max_steps=3", "data.sample.train_rows=40")
run = lt.train(job, quiet=True)
print(run.results.test.overall.macro_f1, lt.load(run.folder).predict(["Sehr gut"])[0].label)
"""
TYPED = """\
import lingotune as lt

run: lt.Run = lt.train(lt.compose("lr=1e-4"))
labels: list[str] = [one.label for one in lt.load(run.folder).predict(["Sehr gut"])]
reveal_type(lt.plan("cluster=p3_16xl").findings)
"""


class Home:
    """An environment with the wheel in it, and an empty folder to work in."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder

    def run(self, *arguments: str) -> str:
        """Standard output of the environment's Python; fails where it does."""
        hidden = ("PYTHONPATH", "LINGOTUNE_CONFIG")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The libraries are those of this environment, without an editable lingotune among them."""
    place = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(place),
    ]
    subprocess.run([*build, str(ROOT)], check=True)
    (wheel,) = place.glob("lingotune-*.whl")
    venv.create(place / "venv", symlinks=True)
    python = place / "venv" / "bin" / "python"
    own = next((place / "venv" / "lib").glob("python*")) / "site-packages"
    (own / "libraries.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n"
    )  # reads no .pth in there
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(own)]
    subprocess.run([*install, str(wheel)], check=True)
    folder = place / "empty"
    folder.mkdir()
    return Home(python, folder)


def test_the_wheel_is_what_is_imported(home: Home) -> None:
    found = Path(home.run("-c", "import lingotune; print(lingotune.__file__)").strip())
    assert found.is_relative_to(home.python.parent.parent) and (found.parent / "py.typed").is_file()
    conf = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    assert conf == {
        p.relative_to(found.parent / "conf") for p in (found.parent / "conf").rglob("*.yaml")
    }


def test_a_notebook_of_three_lines_trains(home: Home) -> None:
    score, label = home.run("-c", NOTEBOOK).split()
    assert 0 <= float(score) <= 1 and label in ("negative", "neutral", "positive")
    assert {path.name for path in home.folder.iterdir()} == {"prepared", "runs"}


def test_the_commands_work(home: Home) -> None:
    assert "prepare" in home.run("-m", "lingotune", "--help")
    assert "prepared" in home.run("-m", "lingotune", "prepare", "data.sample.train_rows=40")
    page = home.run("-m", "lingotune", "launch", "cluster=p3_16xl", "per_device_bs=16")
    assert "112.61 USD" in page and "python launch.py" not in page
    quick = ("training.max_steps=2", "data.sample.train_rows=40", "cluster.processes=2")
    assert "look further" in home.run("-m", "lingotune", "train", *quick, "cluster.threads=1")
    local = home.run("-m", "lingotune", "launch", "job_file=job.yaml", *quick)
    assert "-m lingotune.training --job job.yaml" in local


def test_the_bundle_is_that_of_the_checkout(home: Home) -> None:
    code = "from lingotune.launch.render.bundle import build_bundle; print(build_bundle().digest)"
    assert home.run("-c", code).strip() == build_bundle().digest


def test_type_checkers_know_the_library(home: Home) -> None:
    (home.folder / "typed.py").write_text(TYPED)
    checker = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(home.python)]
    done = subprocess.run(
        [*checker, "typed.py"], cwd=home.folder, capture_output=True, text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert "Success" in done.stdout, done.stdout
    assert "tuple[lingotune.config.problems.Problem" in done.stdout
