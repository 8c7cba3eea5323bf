"""Settings of the launcher: checked all at once, and turned into a request that SageMaker accepts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import fields
from itertools import pairwise

import pytest
from conftest import ROOT
from launcher_settings import GIVEN, problems, settings

from hydra_plugins.lingotune_launcher import sagemaker
from lingotune.config.problems import Problem
from lingotune.launch.apps.launching import App
from lingotune.launch.apps.settings import in_its_words, translated
from lingotune.launch.render.request import to_request
from lingotune.launch.render.service_model import mistakes
from lingotune.launch.sweeps.trial import State

PLUGIN = ROOT / "src" / "hydra_plugins" / "lingotune_launcher" / "sagemaker.py"


def test_what_is_missing_or_wrong_is_told_at_once() -> None:
    w = "hydra.launcher."
    assert problems(region="us-east-1") == [
        f"{w}role", f"{w}bucket", f"{w}instance_type", f"{w}image_uri"
    ]  # fmt: skip
    wrong = {**GIVEN, "role": "me", "instance_type": "g5.xlarge", "max_run": 0, "retries": -1}
    wrong |= {"spot": True, "keep_alive": 60, "metrics": {"loss": "loss=[0-9]+"}}
    assert problems(**wrong) == [
        f"{w}max_run=0", f"{w}retries=-1", f"{w}role=me", f"{w}instance_type=g5.xlarge",
        f"{w}keep_alive=60", f"{w}metrics.loss=loss=[0-9]+",
    ]  # fmt: skip
    assert problems(**GIVEN) == []
    assert problems(**GIVEN, max_wait=10) == [f"{w}max_wait=10"] * 2  # no spot, and too short
    assert problems(**{**GIVEN, "instance_type": "ml.new.xlarge"}, budget_usd=5.0) == [
        f"{w}budget_usd=5"
    ]


def test_every_setting_reaches_a_request_that_sagemaker_accepts() -> None:
    given = settings(
        spot=True, checkpoints=True, processes=sagemaker.Processes.torchrun, tags={"team": "x"},
        environment={"A": "b"}, instance_count=2, volume_gb=77, subnets=["subnet-1"],
        security_groups=["sg-1"], kms_key="k", volume_kms_key="v", metrics={"loss": "l=([0-9]+)"},
    )  # fmt: skip
    request = to_request(given.describe("n-1", "1" * 64, "2" * 64, (("lingotune:sweep", "n"),)))
    assert mistakes(request) == []
    text = json.dumps(request)
    for one in (
        "sagemaker_hydra_job.py",
        "subnet-1",
        "sg-1",
        '"k"',
        '"v"',
        "l=([0-9]+)",
        "team",
        "77",
    ):
        assert one in text
    assert request["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 3600,
        "MaxWaitTimeInSeconds": 7200,
    }
    assert request["HyperParameters"]["sagemaker_torch_distributed_enabled"] == "true"


@pytest.mark.parametrize(
    "retry, state", [("none", None), ("failed", State.failed), ("stopped", State.stopped)]
)
def test_limits_are_those_of_the_engine(retry: str, state: State | None) -> None:
    given = settings(retry=sagemaker.Retry(retry), max_parallel=3, retries=1, instance_count=2)
    app = App(given, None, None, None)  # type: ignore[arg-type]
    limits = app._limits({"ml.g5.xlarge for training job usage": 5.0})
    assert (limits.slots, limits.retries, limits.retried) == (3, 1, state)
    assert limits.quotas == {"ml.g5.xlarge for training job usage": 2}


def test_texts_of_the_engine_name_the_settings_of_the_launcher() -> None:
    said = "no further jobs: sweep.max_failures=3; then retry=failed, or fewer cluster.nodes"
    assert in_its_words(said) == (
        "no further jobs: hydra.launcher.max_failures=3; then hydra.launcher.retry=failed, or fewer"
        " hydra.launcher.instance_count"
    )
    one = translated(Problem("aws.role=x", "w", "aws.role=y; the sweep's region s3://aws.role/x"))
    assert (one.where, one.fix) == (
        "hydra.launcher.role=x", "hydra.launcher.role=y; the sweep's region s3://aws.role/x"
    )  # fmt: skip


def test_the_page_has_every_setting_with_its_default_and_its_text() -> None:
    page = (ROOT / "docs" / "hydra-launcher.md").read_text()
    for one in fields(sagemaker.SageMakerLauncherConf):
        if one.name != "_target_":
            assert f"| `{one.name}` |" in page, one.name
    for row in setting_rows():
        assert row in page


def setting_rows() -> list[str]:
    """Rows of the page's table, from the dataclass: name, default, text."""
    body = next(
        node for node in ast.parse(PLUGIN.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "SageMakerLauncherConf"
    ).body  # fmt: skip
    rows, texts = [], [n for n in body if isinstance(n, (ast.AnnAssign, ast.Expr))]
    for node, text in pairwise(texts):
        if isinstance(node, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(node.target, ast.Name) and isinstance(text.value, ast.Constant)
            words = " ".join(str(text.value.value).split())
            rows.append(f"| `{node.target.id}` | {_default(node.value)} | {words} |")
    return rows


def _default(value: ast.expr | None) -> str:
    if isinstance(value, ast.Constant):
        return (
            f"`{json.dumps(value.value)}`"
            if not isinstance(value.value, str)
            else f"`{value.value}`"
        )
    if isinstance(value, ast.Attribute):
        return f"`{value.attr}`"
    return "`{}`" if "dict" in ast.unparse(value) else "`[]`"  # type: ignore[arg-type]


def test_hydra_starts_with_the_plugin_and_nothing_heavy() -> None:
    """Hydra imports it at each start of every application of the machine, and registers it once."""
    script = (
        "import sys, json; from hydra.core.plugins import Plugins\n"
        "from hydra.plugins.launcher import Launcher\n"
        "found = [c.__name__ for c in Plugins.instance().discover(Launcher)]\n"
        "print(json.dumps([found, sorted({m.partition('.')[0] for m in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    found, loaded = json.loads(done.stdout)
    assert found.count("SageMakerLauncher") == 1, done.stderr
    assert not {"lingotune", "boto3", "botocore", "sagemaker", "torch", "optuna", "numpy"} & set(
        loaded
    )
