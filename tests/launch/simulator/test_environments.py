"""Environments of the rehearsal: contents, choice of Python, and making one despite accidents."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pip
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from waiting import PATIENCE, wait_until

from lingotune.catalog.hardware import Image, images, python_version, runs_worker
from lingotune.config.problems import ConfigError
from lingotune.launch.render.bundle import build_bundle
from lingotune.launch.simulator.environments import (
    LIBRARIES,
    Recipe,
    cache_folder,
    make,
    pins_of,
    prepare_environment,
    recipe_here,
    recipe_of,
    torch_variables,
)
from lingotune.launch.simulator.interpreters import (
    Interpreter,
    choose_interpreter,
    dotted,
    find_interpreter,
)

LANES = [image for image in images() if runs_worker(image)]
LINE = f"{sys.version_info[0]}.{sys.version_info[1]}"
WITH_PIP = (str(Path(pip.__file__).parents[1]),)


# --- what goes in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("image", LANES, ids=str)
def test_every_lane_has_the_images_libraries_and_what_the_bundle_wants(image: Image) -> None:
    pins = pins_of(image)
    assert pins["transformers"] == image.transformers
    assert set(LIBRARIES) <= {name for name, pin in pins.items() if pin}
    for line in build_bundle().files["requirements.txt"].decode().splitlines():
        if not line.startswith("#"):
            wanted = Requirement(line)
            assert wanted.specifier.contains(pins[wanted.name]), line


@pytest.mark.parametrize("image", LANES, ids=str)
def test_a_lane_runs_on_the_python_of_its_image(image: Image, tmp_path: Path) -> None:
    wanted = python_version(image.python)
    full = f"{wanted[0]}.{wanted[1]}.99"
    fake_python(tmp_path / "versions" / full / "bin" / "python", f"echo {full}")
    recipe = recipe_of(image, {"PYENV_ROOT": str(tmp_path)})
    same = sys.version_info[:2] == wanted
    assert recipe.interpreter.version == (full if not same else dotted(sys.version_info[:3]))
    assert recipe.remark == "as in the image"


def test_nothing_of_this_python_is_replaced() -> None:
    recipe = recipe_here()
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    pinned = {line.split("==")[0] for line in recipe.requirements if "==" in line}
    assert "gevent" in pinned or "gevent" in installed
    assert not pinned & installed
    for name in ("torch", "transformers", "numpy", "protobuf"):
        assert f"{name}=={importlib.metadata.version(name)}" in recipe.constraints


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigError, match="torch, transformers, datasets"):
        recipe_here()


def test_torch_loads_what_the_torch_of_the_image_loads() -> None:
    forced = {image.pytorch: bool(torch_variables(image)) for image in LANES}
    assert forced == {
        "2.0.0": True, "2.1.0": True, "2.3.0": True, "2.5.1": True, "2.7.1": False, "2.8.0": False,
        "2.9.0": False,
    }  # fmt: skip


def test_other_contents_have_another_folder(tmp_path: Path) -> None:
    recipe = bare_recipe(tmp_path)
    other = Interpreter(recipe.interpreter.path, "3.10.0")
    folders = {
        recipe.folder,
        replace(recipe, requirements=("six==1.17.0",)).folder,
        replace(recipe, alone=("six==1.17.0",)).folder,
        replace(recipe, constraints=("six==1.17.0",)).folder,
        replace(recipe, under=("/elsewhere",)).folder,
        replace(recipe, interpreter=other).folder,
    }
    assert len(folders) == 6
    assert replace(recipe, remark="said otherwise").folder == recipe.folder


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"LINGOTUNE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/lingotune"),
        ({"LINGOTUNE_CACHE": "", "XDG_CACHE_HOME": ""}, str(Path.home() / ".cache" / "lingotune")),
    ],
)
def test_where_the_cache_is(environment: dict[str, str], folder: str) -> None:
    assert cache_folder(environment) == Path(folder)


# --- which Python -----------------------------------------------------------------------------------


def fake_python(path: Path, lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def test_the_newest_of_pyenv_is_taken(tmp_path: Path) -> None:
    for full in ("3.9.18", "3.7.9", "3.9.7"):
        fake_python(tmp_path / "versions" / full / "bin" / "python", f"echo {full}")
    found = find_interpreter((3, 9), {"PYENV_ROOT": str(tmp_path)})
    expected = tmp_path / "versions" / "3.9.18" / "bin" / "python"
    assert found == Interpreter(expected, "3.9.18")


def test_a_shim_without_its_python_is_passed_over(tmp_path: Path) -> None:
    fake_python(
        tmp_path / "shims" / "python3.9", "echo 'pyenv: python3.9: command not found' >&2; exit 127"
    )
    fake_python(tmp_path / "wrong" / "python3.9", "echo 3.8.1")
    right = fake_python(tmp_path / "right" / "python3.9", "echo 3.9.2")
    path = os.pathsep.join(str(tmp_path / name) for name in ("none", "shims", "wrong", "right"))
    environment = {"PATH": path, "HOME": str(tmp_path)}
    assert find_interpreter((3, 9), environment) == Interpreter(right, "3.9.2")
    assert find_interpreter((3, 8), environment) is None


def test_this_python_stands_in_for_a_missing_one(tmp_path: Path) -> None:
    found = choose_interpreter((3, 9), (3, 13), {"HOME": str(tmp_path)})
    assert found.path == Path(sys.executable)


@pytest.mark.skipif(LINE == "3.10", reason="this Python is one that the libraries run on")
def test_without_a_python_that_the_libraries_run_on(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": str(tmp_path)}
    with pytest.raises(ConfigError) as raised:
        choose_interpreter((3, 10), (3, 10), environment)
    assert "pyenv install 3.10" in raised.value.problems[0].fix
    fake = fake_python(tmp_path / "python3.10", "echo 3.10.4")
    assert choose_interpreter((3, 8), (3, 10), environment).path == fake


# --- making it --------------------------------------------------------------------------------------


def bare_recipe(folder: Path, before: str = "") -> Recipe:
    """Of an empty environment, without pip: made in a moment, each time with a line in made.txt."""
    lines = (
        f"echo made >> {folder}/made.txt; {before}\nexec {sys.executable} -m venv --without-pip $3"
    )
    program = fake_python(folder / "python", lines)
    return Recipe("bare", Interpreter(program, "3.9.0"), ())


def times_made(folder: Path) -> int:
    return (folder / "made.txt").read_text().count("made")


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    told: list[str] = []
    recipe = bare_recipe(tmp_path)
    folder = make(recipe, tmp_path / "cache", told.append)
    assert len(told) == 1 and str(folder) in told[0]
    assert make(recipe, tmp_path / "cache", told.append) == folder
    assert len(told) == 1 and times_made(tmp_path) == 1


@pytest.mark.parametrize("lost", [".ready", "bin/python"])
def test_a_broken_environment_is_made_anew(tmp_path: Path, lost: str) -> None:
    recipe = bare_recipe(tmp_path)
    folder = make(recipe, tmp_path / "cache", print)
    (folder / lost).unlink()
    (folder / "half-made").touch()
    assert make(recipe, tmp_path / "cache", print) == folder
    assert not (folder / "half-made").exists() and (folder / lost).exists()


@pytest.mark.parametrize(
    ("recipe", "what", "fix"),
    [
        ({"requirements": ("no-such-thing-as-this==1",)}, "No module named pip", "python3-pip"),
        ({"requirements": ("no-such-thing-as-this==1",), "under": WITH_PIP},
         "No matching distribution found for no-such-thing-as-this==1", "pip config list"),
        ({"check": "import no_such_module"}, "No module named 'no_such_module'", ""),
    ],
)  # fmt: skip
def test_what_failed_is_told_with_what_helps(
    recipe: dict[str, object], what: str, fix: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for _ in range(2):  # the second finds what the first left
        with pytest.raises(ConfigError) as raised:
            make(replace(bare_recipe(tmp_path), **recipe), tmp_path / "cache", print)
        assert what in raised.value.problems[0].what
        assert fix in raised.value.problems[0].fix
    assert times_made(tmp_path) == 2


MAKER = """
import sys; from pathlib import Path; sys.path[:0] = ["tests", "tests/launch/simulator"]
from lingotune.launch.simulator.environments import make
from test_environments import bare_recipe
folder = Path(sys.argv[1])
print(make(bare_recipe(folder, sys.argv[2]), folder / "cache", lambda line: print(line, flush=True)))
"""


def start_maker(folder: Path, before: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAKER, str(folder), before]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_makes_it(tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    before = f"while [ ! -e {go_on} ]; do sleep 0.02; done"
    with start_maker(tmp_path, before) as making:
        wait_until((tmp_path / "made.txt").exists, lambda: making.poll() is None)
        with start_maker(tmp_path, before) as other:
            assert other.stdout and other.stdout.readline().startswith("waiting")
            go_on.touch()
            assert "making an environment" not in other.communicate(timeout=PATIENCE)[0]
        told = making.communicate(timeout=PATIENCE)[0]
    assert told.startswith("making an environment")
    assert times_made(tmp_path) == 1


def test_what_a_killed_process_started_ends_before_another_makes_it(tmp_path: Path) -> None:
    go_on = tmp_path / "go_on"
    before = f"while [ ! -e {go_on} ]; do sleep 0.02; done"
    killed = start_maker(tmp_path, before)
    wait_until((tmp_path / "made.txt").exists, lambda: killed.poll() is None)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if line.startswith("waiting"):
            go_on.touch()

    folder = make(bare_recipe(tmp_path, before), tmp_path / "cache", tell)
    assert [line.split()[0] for line in told] == ["waiting", "making"]
    assert (folder / ".ready").exists() and times_made(tmp_path) == 2


# --- real ones --------------------------------------------------------------------------------------


def in_environment(python: Path, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_toolkit_over_the_libraries_of_this_machine(tmp_path: Path) -> None:
    before = sorted(str(d.name) for d in Path(recipe_here().under[0]).iterdir())
    made = prepare_environment(None, tmp_path, print)
    told: list[str] = []
    assert prepare_environment(None, tmp_path, told.append) == made and not told
    assert sorted(str(d.name) for d in Path(recipe_here().under[0]).iterdir()) == before
    assert made.versions == {name: importlib.metadata.version(name) for name in LIBRARIES}
    code = (
        "import sagemaker_training, sagemaker_pytorch_container, mpi4py;"
        "import google.protobuf, numpy, torch, transformers;"
        "print(google.protobuf.__file__, numpy.__file__, torch.__file__, transformers.__file__)"
    )
    files = in_environment(made.python, code).split()
    assert len(files) == 4 and all(file.startswith(made_under) for file in files
                                   for made_under in recipe_here().under[:1])  # fmt: skip


@pytest.mark.slow
def test_mpi_starts_ranks() -> None:
    made = prepare_environment(None, cache_folder(os.environ), print)
    code = "from mpi4py import MPI; print('rank', MPI.COMM_WORLD.rank, 'of', MPI.COMM_WORLD.size)"
    command = [
        made.python.with_name("mpirun"),
        "--allow-run-as-root",
        "--oversubscribe",
        "-np",
        "2",
    ]
    done = subprocess.run(
        [*command, made.python, "-c", code], capture_output=True, text=True, timeout=PATIENCE
    )
    assert sorted(done.stdout.split("\n")) == ["", "rank 0 of 2", "rank 1 of 2"], done.stderr


@pytest.mark.slow
def test_a_missing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/gcc")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    toolkit = replace(recipe_here(), requirements=(), alone=recipe_here().alone[-1:])
    with pytest.raises(ConfigError) as raised:
        make(toolkit, tmp_path, print)
    assert "C compiler" in raised.value.problems[0].fix


@pytest.mark.slow
def test_a_python_without_venv(tmp_path: Path) -> None:
    lines = f'[ "$2" = venv ] && {{ echo "No module named venv" >&2; exit 1; }}\nexec {sys.executable} "$@"'
    program = fake_python(tmp_path / "python", lines)
    recipe = Recipe("bare", Interpreter(program, "3.9.0"), (), check="import pip")
    folder = make(recipe, tmp_path / "cache", print)
    assert in_environment(folder / "bin" / "python", "import sys; print(sys.prefix)") == str(folder)
