"""The walls of the design, held against the imports of the code."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run

from lingotune.launch.render.bundle import stays

PACKAGE = ROOT / "src" / "lingotune"
STDLIB = set(sys.stdlib_module_names)
NUMERIC = {"torch", "transformers", "tokenizers", "datasets"}
AWS = {"sagemaker", "boto3", "botocore"}

# module: third-party packages that it may import, at its top or inside a function
IMPORTS: dict[str, set[str]] = {
    "schema": set(),
    "messages": set(),
    "redact": set(),
    "checksum": set(),
    "container": set(),
    "scaling": set(),
    "loglines": set(),
    "limits": set(),
    "hardware": set(),
    "memory": set(),
    "speed": set(),
    "servicemodel": {"regex"},
    "preflight.__init__": set(),
    "preflight.table": set(),
    "preflight.settings": set(),
    "preflight.data": set(),
    "preflight.speed": set(),
    "preflight.machines": set(),
    "preflight.sagemaker": set(),
    "preflight.steps": set(),
    "preflight.rendered": set(),
    "preflight.rehearsal": set(),
    "preflight.prepared": set(),
    "trainingjob": set(),
    "render": set(),
    "jobfile": {"omegaconf", "yaml"},
    "runfolder": set(),
    "environment": {"torch"},
    "trackers": set(),
    "training.tracking": {"transformers", "torch"},
    "bundle": set(),
    "settings": set(),
    "overrides": {"antlr4", "hydra"},
    "compose": {"hydra", "omegaconf", "yaml"},
    "command": set(),
    "plan": set(),
    "quote": set(),
    "page": {"rich"},
    "launcher": set(),
    "submit": {"boto3", "botocore"},
    "starters": {"sagemaker"},
    "account.__init__": set(),
    "account.calls": {"boto3", "botocore"},
    "account.quotas": set(),
    "account.resources": set(),
    "account.roles": set(),
    "loopback.__init__": set(),
    "loopback.account": set(),
    "loopback.backend": {"boto3"},
    "loopback.driver": set(),
    "loopback.jobs": set(),
    "loopback.logs": set(),
    "loopback.results": set(),
    "loopback.service": {"moto", "werkzeug"},
    "loopback.storage": set(),
    "loopback.watch": set(),
    "rehearsal.__init__": set(),
    "rehearsal.artifact": set(),
    "rehearsal.attempt": set(),
    "rehearsal.observed": set(),
    "rehearsal.rehearse": set(),
    "rehearsal.scope": set(),
    "rehearsal.stages": set(),
    "rehearsal.container": set(),
    "rehearsal.environments": set(),
    "rehearsal.host": set(),
    "rehearsal.init": set(),
    "rehearsal.interpreters": set(),
    "rehearsal.objects": set(),
    "rehearsal.toolkit": set(),
    "rehearsal.variables": set(),
    "local": set(),
    "scores": {"numpy"},
    "predictions": {"numpy", "pyarrow"},
    "classifier": {"numpy", "torch", "transformers"},
    "evaluate": {"numpy"},
    "predict": set(),
    "report": {"numpy", "matplotlib"},
    "runreport.__init__": set(),
    "runreport.page": set(),
    "runreport.figures": {"numpy"},
    "runreport.examples": {"numpy", "pyarrow"},
    "publishing.__init__": set(),
    "publishing.token": {"huggingface_hub", "boto3", "botocore"},
    "publishing.repository": {"huggingface_hub"},
    "publishing.contents": set(),
    "publishing.card": {"huggingface_hub", "jinja2"},
    "publishing.publish": set(),
    "publishing.later": set(),
    "publishing.assemble": set(),
    "publishing.meanwhile": {"transformers"},
    "throughput": set(),
    "cost": set(),
    "bill": set(),
    "prices": set(),
    "billing": {"botocore"},
    "__main__": set(),
    "batching": {"numpy"},
    "lengths": {"numpy"},
    "__init__": set(),
    "data.__init__": set(),
    "data.sample": set(),
    "data.phrases": set(),
    "data.choose": {"numpy"},
    "data.encode": {"numpy", "tokenizers"},
    "data.findings": set(),
    "data.characters": set(),
    "data.clean": set(),
    "data.columns": set(),
    "data.delimited": set(),
    "data.ids": set(),
    "data.languages": set(),
    "data.text": set(),
    "data.arrow": {"pyarrow"},
    "data.sources": set(),
    "data.__main__": set(),
    "data.manifest": set(),
    "data.prepare": {"numpy"},
    "data.sampling": {"numpy"},
    "data.scan": {"numpy"},
    "data.shards": {"numpy", "pyarrow"},
    "data.writer": {"numpy"},
    "data.store": {"numpy", "pyarrow"},
    "processes": set(),
    "data.loading": {"transformers"},
    "data.hub": {"huggingface_hub"},
    "data.labels": set(),
    "data.rejected": set(),
    "data.parts": set(),
    "data.delivery": set(),
    "data.supply": set(),
    "data.survey": {"numpy"},
    "data.transfer.__init__": set(),
    "data.transfer.fetching": {"boto3", "botocore"},
    "data.transfer.objects": {"s3transfer"},
    "data.transfer.progress": {"rich"},
    "data.transfer.refusals": {"botocore", "s3transfer"},
    "data.transfer.sending": {"botocore"},
    "data.splits": set(),
    "data.spool": set(),
    "data.look": set(),
    "data.page": {"jinja2"},
    "data.pictures": {"matplotlib"},
    "data.examples": {"numpy", "pyarrow"},
    "data.tokenizer": {"transformers", "tokenizers", "huggingface_hub"},
    "training.__init__": set(),
    "training.ranks": {"torch", "smdistributed"},
    "training.arguments": {"transformers", "torch"},
    "training.model": {"transformers", "torch"},
    "training.trainer": {"transformers", "torch", "tqdm", "safetensors"},
    "training.batches": {"transformers", "torch", "numpy"},
    "training.layers": set(),
    "training.fit": {"transformers", "torch", "datasets", "numpy"},
    "training.sharding": {"accelerate", "safetensors", "torch"},
    "training.timing": {"transformers", "torch", "numpy"},
    "training.checkpoints": set(),
    "training.failure": set(),
    "training.encoder": {"torch"},
    "training.figures": {"torch"},
    "training.exchange": {"torch"},
    "training.resume": {"transformers"},
    "training.vocabulary": {"torch", "numpy"},
    "training.worker": set(),
}
PURE = (
    "schema", "container", "scaling", "hardware", "memory", "speed", "servicemodel", "trainingjob",
    "render", "loglines", "limits", "cost", "bill", "preflight.__init__", "preflight.table",
    "preflight.settings", "preflight.data", "preflight.machines", "preflight.sagemaker",
    "preflight.steps", "preflight.rendered", "preflight.rehearsal", "preflight.prepared",
    "data.look", "data.sampling", "batching",
)  # fmt: skip
IMPURE = {"os", "time", "datetime", "random", "socket", "subprocess", "uuid", "sys", "urllib"}


def modules() -> dict[str, Path]:
    return {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path
        for path in PACKAGE.rglob("*.py")
    }


def imported(path: Path) -> set[str]:
    """Full names of everything imported anywhere in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_the_table_names_exactly_the_modules() -> None:
    assert set(modules()) == set(IMPORTS)


@pytest.mark.parametrize("module", IMPORTS)
def test_third_party_imports_are_those_of_the_table(module: str) -> None:
    roots = {name.split(".")[0] for name in imported(modules()[module])}
    assert roots - STDLIB - {"lingotune", "__future__"} <= IMPORTS[module]


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_reach_no_clock_environment_or_network(module: str) -> None:
    assert not {name.split(".")[0] for name in imported(modules()[module])} & IMPURE


def test_no_worker_module_imports_a_laptop_module() -> None:
    local = {name for name in modules() if stays(name.replace(".", "/"))}
    laptop = {f"lingotune.{name.removesuffix('.__init__')}" for name in local}
    for module, path in modules().items():
        if module not in local:
            assert not imported(path) & laptop, module


def test_no_forbidden_module_names() -> None:
    parts = {part for module in modules() for part in module.split(".")}
    assert not parts & {"utils", "util", "helpers", "common", "base", "misc"}


def loaded_by(script: str, *arguments: str) -> set[str]:
    """Top-level packages in sys.modules after a command has run."""
    code = (
        "import sys, json, runpy\n"
        f"sys.argv = [{script!r}, *{list(arguments)!r}]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('\\n' + json.dumps(sorted({name.split('.')[0] for name, m in sys.modules.items() if m})))\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.strip().splitlines()[-1]))


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
    loaded = loaded_by(
        "train.py", "training.max_steps=1", "data.sample.train_rows=10", "runs_dir=build/test-runs"
    )
    # accelerate imports boto3 on its own where it is installed
    assert not loaded & {"sagemaker", "evaluate", "sklearn", "moto"}
