"""The architecture's rules about imports, checked against the code."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from conftest import ROOT, run

from lingotune.launch.render.bundle import stays

PACKAGE = ROOT / "src" / "lingotune"
STDLIB = set(sys.stdlib_module_names)
NUMERIC = {"torch", "transformers", "tokenizers", "datasets"}
AWS = {"sagemaker", "boto3", "botocore"}

# From the ground up: a package imports itself and those named, inside functions too.
_ESTIMATE = {"config", "system", "catalog"}
_RUNS = {"config", "system", "contract"}
_EVALUATION = {"config", "system", "contract", "data", "modeling", "plugins", "runs"}
_WORKER = {
    *_ESTIMATE,
    *_RUNS,
    *_EVALUATION,
    *("estimate", "preflight", "evaluation", "serving", "report", "hub"),
}
_PLAN = {"launch.overrides", "launch.compose", "launch.cost", "launch.render", "launch.checks"}
OURS: dict[str, set[str]] = {
    "config": set(),
    "system": {"config"},
    "contract": {"config"},
    "catalog": {"config"},
    "estimate": _ESTIMATE,
    "data": {"config", "system"},
    "data.rows": set(),
    "data.sources": {"data.rows"},
    "data.splits": {"data.rows", "data.sources"},
    "data.prepared": {"data.rows", "data.sources", "data.splits"},
    "data.transfer": {"data.rows", "data.sources", "data.prepared"},
    "data.loader": {"data.rows", "data.prepared", "data.transfer"},
    "runs": _RUNS,
    "plugins": {"config"},
    "preflight": {"config", "catalog", "estimate", "data"},
    "modeling": {"config", "system", "catalog", "estimate", "data", "plugins"},
    "evaluation": _EVALUATION,
    "serving": {"config", "system", "contract", "data", "evaluation", "plugins", "runs"},
    "report": {"config", "system", "contract", "estimate", "data", "evaluation", "runs"},
    "hub": {"config", "system", "contract", "catalog", "data", "evaluation", "runs"},
    "training": _WORKER,
    "launch": {*_WORKER, "training"},
    "launch.overrides": set(),
    "launch.compose": {"launch.overrides"},
    "launch.cost": set(),
    "launch.render": set(),
    "launch.checks": {"launch.cost", "launch.render"},
    "launch.plan": _PLAN,
    "launch.aws": {"launch.cost", "launch.render", "launch.plan"},
    "launch.simulator": {"launch.render", "launch.checks", "launch.plan", "launch.aws"},
    "launch.sweeps": {
        "launch.overrides",
        "launch.compose",
        "launch.cost",
        "launch.render",
        "launch.checks",
        "launch.plan",
        "launch.aws",
    },
    "launch.deploy": {*_PLAN, "launch.plan", "launch.aws"},
    "launch.apps": {"launch.cost", "launch.render", "launch.aws", "launch.sweeps"},
    "launch.results": {"launch.cost", "launch.sweeps"},
    "launch.operations": {
        "launch.cost",
        "launch.render",
        "launch.checks",
        "launch.aws",
        "launch.sweeps",
    },  # checks: a resumed job is checked as a launched one
    "cli": {*_WORKER, "training", "launch"},
}
THIRD_PARTY: dict[str, set[str]] = {
    "config": {"omegaconf", "yaml"},
    "system": {"numpy"},
    "contract": set(),
    "catalog": {"huggingface_hub"},
    "estimate": {"numpy"},
    "data": {
        "numpy", "pyarrow", "tokenizers", "transformers", "huggingface_hub", "boto3", "botocore",
        "s3transfer", "rich", "charset_normalizer", "python_calamine", "py3langid",
    },
    "runs": {"torch"},
    "plugins": {"numpy"},
    "preflight": set(),
    "modeling": {"torch", "transformers", "numpy", "safetensors", "peft"},
    "evaluation": {
        "numpy", "pyarrow", "torch", "transformers", "onnxruntime", "sklearn", "cleanlab", "tqdm",
    },
    "serving": {"numpy", "pyarrow", "torch", "onnx", "onnxruntime"},
    "report": {"numpy", "pyarrow", "matplotlib", "jinja2"},
    "hub": {"huggingface_hub", "jinja2", "boto3", "botocore", "transformers"},
    "training": {
        "torch", "transformers", "accelerate", "safetensors", "tqdm", "smdistributed",
        "numpy",
    },
    "launch": {
        "hydra", "antlr4", "omegaconf", "yaml", "rich", "regex", "boto3", "botocore", "sagemaker",
        "moto", "mms", "werkzeug", "numpy", "optuna", "filelock", "pyarrow", "transformers",
        "huggingface_hub",
    },
    "cli": set(),
}  # fmt: skip
PURE = {"contract", "estimate", "preflight", "launch.render", "launch.checks"}
"""Packages that reach no clock, environment or network."""
IMPURE = {"os", "time", "datetime", "random", "socket", "subprocess", "uuid", "sys", "urllib"}
FILES = {"lingotune.estimate.throughput"}
"""Modules of pure packages that read or write a file, and so may know the machine."""


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name -> file; a package by its own name."""
    return {
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in PACKAGE.rglob("*.py")
    }


@functools.cache
def imports(path: Path) -> list[str]:
    """Full names of everything imported anywhere in the file."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, path
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    """The innermost package of the table that a module lies in; '' for lingotune itself."""
    parts = module.split(".")[1:]
    if len(parts) > 1 and ".".join(parts[:2]) in OURS:
        return ".".join(parts[:2])
    return parts[0] if parts and parts[0] in OURS else ""


@functools.cache
def graph() -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports."""
    return {
        name: {found for found in imports(path) if found in modules() and found != name}
        for name, path in modules().items()
    }


def test_every_package_has_its_row() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert packages == set(THIRD_PARTY) == {room for room in OURS if "." not in room}


@pytest.mark.parametrize("room", OURS)
def test_a_room_imports_what_its_row_names(room: str) -> None:
    for module in filter(lambda name: room_of(name) == room, graph()):
        outer = room.partition(".")[0]
        for other in map(room_of, graph()[module]):
            inside = other.partition(".")[0] == outer
            allowed = OURS[room] if inside and "." in room else OURS[outer]
            # what lies at the top of launch/ or data/ uses its rooms
            fits = other in {room, outer, ""} or other.partition(".")[0] in allowed
            assert fits or other in allowed or (inside and room == outer), (module, other)


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_third_party_imports_are_those_of_the_table(package: str) -> None:
    for module, path in modules().items():
        if room_of(module).partition(".")[0] == package:
            roots = {name.partition(".")[0] for name in imports(path)}
            assert roots - STDLIB - {"lingotune"} <= THIRD_PARTY[package], module


def test_no_import_goes_in_a_circle() -> None:
    done: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for other in graph()[module]:
                walk(other, (*way, module))
            done.add(module)

    for module in graph():
        walk(module, ())


def test_pure_packages_reach_no_clock_environment_or_network() -> None:
    for module, path in modules().items():
        if room_of(module) in PURE and module not in FILES:
            assert not {name.partition(".")[0] for name in imports(path)} & IMPURE, module


def test_what_travels_needs_nothing_that_stays() -> None:
    for module, others in graph().items():
        if not stays(module.partition(".")[2].replace(".", "/")):
            assert not [m for m in others if stays(m.partition(".")[2].replace(".", "/"))], module


def test_no_forbidden_module_names() -> None:
    parts = {part for module in modules() for part in module.split(".")}
    assert not parts & {"utils", "util", "helpers", "common", "base", "misc"}


def loaded_by(script: str, *arguments: str) -> set[str]:
    """Top-level packages in sys.modules after a command has run in a process of its own."""
    command = [sys.executable, "tests/loaded.py", script, *arguments]
    return told_by(subprocess.run(command, cwd=ROOT, capture_output=True, text=True))


def told_by(done: subprocess.CompletedProcess[str]) -> set[str]:
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_a_plan_loads_no_training_library_and_no_sdk() -> None:
    """numpy alone where prepared data tells the lengths of the texts: a tenth of a second."""
    loaded = loaded_by("launch.py", "cluster=p3_16xl", "prepared_dir=build/nothing-prepared")
    assert not loaded & (NUMERIC | AWS | {"numpy", "pandas"})
    loaded = loaded_by(
        "launch.py", "cluster=p3_16xl", "data=amazon_reviews_multi", "model=distilbert_multilingual"
    )
    assert "numpy" in loaded and not loaded & (NUMERIC | AWS | {"pandas"})


def test_help_loads_no_training_library() -> None:
    assert not loaded_by("train.py", "--help") & (NUMERIC | AWS)


def test_training_loads_no_sdk_and_no_unused_library() -> None:
    """Nor do the libraries that a warm process has imported before it."""
    typed = ["training.max_steps=1", "data.sample.train_rows=10", "runs_dir=build/test-runs"]
    loaded = told_by(run("tests/loaded.py", "train.py", *typed, **warm.WITHOUT_PICTURES))
    assert {"lingotune", "torch"} <= loaded
    # accelerate imports boto3 on its own where it is installed
    assert not loaded & {"sagemaker", "evaluate", "sklearn", "moto"}
