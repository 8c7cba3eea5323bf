"""Plans of deployments: what is typed, checked, rendered and shown, without AWS."""

# ruff: noqa: F811 - fixtures are imported, and named by the tests

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deployed import ACCOUNT, SERVED, Command, command, run_folder, small_run  # noqa: F401  fixtures
from served import job_of_model

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.settings import is_setting
from lingotune.launch.checks.deployment import DEPLOYMENT, Wanted
from lingotune.launch.cost.prices import HOSTING, TRANSFORM, find_price, load_prices
from lingotune.launch.deploy.settings import read_wish
from lingotune.launch.render.deployment import (
    Deployment,
    Served,
    describe,
    needed_mb,
    processes_for,
)
from lingotune.launch.render.deployment_requests import to_requests
from lingotune.launch.render.deployment_sdks import to_sdk_v2
from lingotune.launch.render.inference_image import inference_images, newest_image
from lingotune.launch.render.service_model import mistakes
from lingotune.serving.code_folder import write_code

LARGE = replace(SERVED, weights_bytes=2_240_000_000)
BATCH = ("kind=batch", "input=s3://a-bucket/texts.jsonl")
KEY = "arn:aws:kms:us-east-1:111122223333:key/1"


def found(words: Sequence[str], served: Served = SERVED) -> list[Problem]:
    """All that the checks find with these words."""
    return DEPLOYMENT.run(Wanted(served, read_wish([*ACCOUNT, *words]).config))


def planned(*words: str, served: Served = SERVED) -> Deployment:
    config = read_wish([*ACCOUNT, *words]).config
    return describe(served, config.deploy, config.aws, config.attempt)


# check, words that trip it, where it is told, a part of what is told, a part of the fix, words that work
TRIPS: list[tuple[str, tuple[str, ...], str, str, str, tuple[str, ...]]] = [
    ("deploy-unused", ("memory_mb=2048",), "deploy.memory_mb=2048", "no effect with deploy.kind=realtime",
     "deploy.kind=serverless", ("kind=serverless", "memory_mb=2048")),
    ("deploy-unused", ("kind=serverless", "count=2"), "deploy.count=2", "no effect",
     "deploy.kind=realtime", ("count=2",)),
    ("deploy-unused", ("kind=serverless", "budget.usd_per_hour=3"), "budget.usd_per_hour=3", "no effect",
     "budget.usd_per_hour=null", ("kind=serverless",)),
    ("deploy-unused", ("input=s3://a-bucket/t.csv",), "deploy.input=s3://a-bucket/t.csv", "no effect",
     "deploy.kind=batch", ("kind=batch", "input=s3://a-bucket/t.csv")),
    ("deploy-unused", ("attempt=2",), "attempt=2", "no effect", "deploy.kind=batch", (*BATCH, "attempt=2")),
    ("deploy-range", ("count=0",), "deploy.count=0", "out of range", "deploy.count=1", ("count=1",)),
    ("deploy-range", ("kind=serverless", "memory_mb=3000"), "deploy.memory_mb=3000", "is none of 1024",
     "deploy.memory_mb=3072", ("kind=serverless", "memory_mb=3072")),
    ("deploy-range", ("kind=async", "timeout=7200"), "deploy.timeout=7200", "out of range",
     "deploy.timeout=3600", ("kind=async", "timeout=3600")),
    ("deploy-name", ("name=my_endpoint",), "deploy.name=my_endpoint", "is no name",
     "deploy.name=my-endpoint", ("name=my-endpoint",)),
    ("deploy-instance", ("instance_type=ml.m5.xlrge",), "deploy.instance_type=ml.m5.xlrge",
     "serves no endpoint; did you mean ml.m5.xlarge", "deploy.instance_type=ml.m5.xlarge",
     ("instance_type=ml.m5.xlarge",)),
    ("deploy-instance", ("instance_type=ml.c7g.xlarge",), "deploy.instance_type=ml.c7g.xlarge",
     "no image of ours", "ml.c7i.xlarge", ("instance_type=ml.c7i.xlarge",)),
    ("deploy-instance", (*BATCH, "instance_type=ml.r5.xlarge"), "deploy.instance_type=ml.r5.xlarge",
     "no batch transform", "deploy.instance_type=ml.", (*BATCH, "instance_type=ml.g5.xlarge")),
    ("deploy-one-gpu", ("instance_type=ml.g5.12xlarge",), "deploy.instance_type=ml.g5.12xlarge", "4 GPUs",
     "deploy.instance_type=ml.g5.xlarge deploy.count=4", ("instance_type=ml.g5.xlarge", "count=4")),
    ("deploy-memory", ("instance_type=ml.m5.large", "processes=8"), "deploy.processes=8", "8 GiB of memory",
     "deploy.processes=null", ("instance_type=ml.m5.large",)),
    ("deploy-memory", ("kind=serverless", "memory_mb=1024"), "deploy.memory_mb=1024",
     "too little: about 2040 MB", "deploy.memory_mb=2048", ("kind=serverless", "memory_mb=2048")),
    ("deploy-serverless", ("kind=serverless", "aws.subnets=[subnet-0123456789abcdef0]"),
     "aws.subnets=[subnet-0123456789abcdef0]", "cannot go", "aws.subnets=[]", ("kind=serverless",)),
    ("deploy-volume-key", ("instance_type=ml.g5.xlarge", f"aws.volume_kms_key='{KEY}'"),
     f"aws.volume_kms_key={KEY}", "local disk", "aws.volume_kms_key=null",
     (f"aws.volume_kms_key='{KEY}'",)),
    ("deploy-places", ("kind=batch",), "deploy.input", "is needed", "deploy.input=s3://", BATCH),
    ("deploy-places", ("kind=batch", "input=s3://a-bucket/t.parquet"), "deploy.input=s3://a-bucket/t.parquet",
     "none of .jsonl, .csv, .txt", "a prefix", ("kind=batch", "input=s3://a-bucket/t/")),
    ("deploy-places", ("kind=async", "answers=/tmp/x"), "deploy.answers=/tmp/x", "no place in S3",
     "deploy.answers=s3://", ("kind=async", "answers=s3://a-bucket/x")),
    ("deploy-request", ("aws.role=admin",), "aws.role", "does not match", "aws.role=arn:", ()),
    ("deploy-request", ("aws.tags.team='a,b'",), "aws.tags", "does not match", "letters, digits",
     ("aws.tags.team=ab",)),
]  # fmt: skip


@pytest.mark.parametrize("trip", TRIPS, ids=lambda t: f"{t[0]} {' '.join(t[1])}"[:60])
def test_a_check_trips_and_is_mended(
    trip: tuple[str, tuple[str, ...], str, str, str, tuple[str, ...]],
) -> None:
    check, words, where, what, fix, works = trip
    told = [
        one for one in found(words) if (one.check, one.where) == (check, where) and what in one.what
    ]
    assert len(told) == 1, found(words)
    assert fix in told[0].fix and told[0].why
    assert check not in [one.check for one in found(works)]


MODELS: list[tuple[str, Served, tuple[str, ...], str]] = [
    ("deploy-architecture", replace(SERVED, model_type="axk2"), (), "image lacks"),
    ("deploy-older-image", replace(SERVED, transformers="6.1.0"), (), "was written by transformers 6.1.0"),
    ("deploy-isolated", replace(SERVED, installs=("onnxruntime",)), ("aws.network_isolation=true",),
     "installing onnxruntime"),
    ("deploy-image-gpu", SERVED, ("instance_type=ml.g7e.2xlarge",), "which needs CUDA 12.8"),
]  # fmt: skip


@pytest.mark.parametrize("check, served, words, what", MODELS, ids=lambda t: str(t)[:30])
def test_a_check_of_the_model_trips(
    check: str, served: Served, words: tuple[str, ...], what: str
) -> None:
    (told,) = [one for one in found(words, served) if one.check == check]
    assert what in told.what and told.fix
    if check != "deploy-image-gpu":
        assert check not in [one.check for one in found(words, SERVED)]
    else:
        assert check not in [one.check for one in found(["instance_type=ml.g5.xlarge"])]


def test_every_check_has_a_test_that_trips_it() -> None:
    assert set(DEPLOYMENT.checks) == {t[0] for t in TRIPS} | {t[0] for t in MODELS}


def test_the_fixes_name_settings_that_exist() -> None:
    for _, words, *_ in TRIPS:
        for problem in found(words):
            for word in problem.fix.split():
                if word.startswith(("deploy.", "aws.")):
                    assert is_setting(word.partition("=")[0].rstrip(",;:")), word


@pytest.mark.parametrize(
    "words, what",
    [
        (["knd=async"], "is no setting of a deployment"),
        (["lr=1e-4"], "is no setting of a deployment"),
        (["aws.queue=q"], "is of training jobs"),
        (["action=sbmit"], "is no action; did you mean submit?"),
        (["kind=asyn"], "deploy.kind"),
        (["count=two"], "deploy.count"),
        (["budget.max_usd=-1"], "out of range"),
        (["count=2", "action=delete"], "has no effect"),
        (["output=json", "action=submit"], "goes with action=plan"),
    ],
)
def test_words_that_mean_nothing_here_are_refused(words: list[str], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_wish(words)
    assert what in str(caught.value) + str(caught.value.problems)


# --- requests -----------------------------------------------------------------------------------

KINDS = {
    "realtime": ("count=2", f"aws.volume_kms_key='{KEY}'", "aws.tags.team=search"),
    "serverless": ("memory_mb=4096", "max_concurrency=20"),
    "async": ("instance_type=ml.g5.xlarge", f"aws.kms_key='{KEY}'", "timeout=900"),
    "batch": ("input=s3://a-bucket/texts.jsonl", "instance_type=ml.c5.2xlarge"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_requests_of_a_kind(kind: str, golden: Callable[[str, str], None]) -> None:
    requests = to_requests(planned(f"kind={kind}", *KINDS[kind]))
    for operation, request in requests.items():
        assert mistakes(request, operation) == []
    golden(f"deploy-{kind}.json", json.dumps(requests, indent=2) + "\n")


@pytest.mark.parametrize("kind", KINDS)
def test_the_sdk_v2_sends_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own code, with a client that notes what it is asked to send."""
    one = planned(f"kind={kind}", *KINDS[kind])
    monkeypatch.setenv("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
    sent = _sent_by_v2(to_sdk_v2(one))
    requests = to_requests(one)
    assert list(sent) == [name.removeprefix("Create") for name in requests]
    for operation, request in requests.items():
        theirs = sent[operation.removeprefix("Create")]
        assert mistakes(theirs, operation) == []
        ours = {key: value for key, value in request.items() if key not in _NAMED_BY_V2}
        assert {key: theirs[key] for key in ours} == ours | _added(theirs, ours), operation


_NAMED_BY_V2 = ("EndpointConfigName",)
"""v2 names the configuration as the endpoint."""


def _added(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """What v2 writes out that means the same when it is left out."""
    added: dict[str, Any] = {}
    if "PrimaryContainer" in ours:
        added["PrimaryContainer"] = {
            **ours["PrimaryContainer"],
            **{
                k: v
                for k, v in theirs["PrimaryContainer"].items()
                if k not in ours["PrimaryContainer"]
            },
        }
    return added


def _sent_by_v2(rendered: dict[str, Any]) -> dict[str, dict[str, Any]]:
    import boto3
    from sagemaker.async_inference import AsyncInferenceConfig
    from sagemaker.model import Model
    from sagemaker.serverless import ServerlessInferenceConfig
    from sagemaker.session import Session

    sent: dict[str, dict[str, Any]] = {}
    session = boto3.Session("key", "secret", region_name="us-east-1")
    client = session.client("sagemaker")

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        sent[model.name.removeprefix("Create")] = params

    client.meta.events.register("provide-client-params.sagemaker.*", note)
    client.meta.events.register("before-call.sagemaker.*", lambda **_: (_Ok(), {}))
    sdk = Session(boto_session=session, sagemaker_client=client, sagemaker_config=_NO_TELEMETRY)
    sdk._default_bucket = "a-bucket"  # or it would ask whose account it is
    model = Model(**rendered["model"], sagemaker_session=sdk)
    if "deploy" in rendered:
        kinds = {
            "serverless_inference_config": ServerlessInferenceConfig,
            "async_inference_config": AsyncInferenceConfig,
        }
        given = {
            name: kinds[name](**value) if name in kinds else value
            for name, value in rendered["deploy"].items()
        }
        model.deploy(**given)
    else:
        model.transformer(**rendered["transformer"]).transform(**rendered["transform"])
    return sent


_NO_TELEMETRY = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


class _Ok:
    """HTTP answer of a call that is not made."""

    status_code = 200


def test_names_follow_from_what_is_deployed() -> None:
    one, same = planned("count=2"), planned("count=2")
    assert (one.model_name, one.config_name) == (same.model_name, same.config_name)
    assert one.name == "reviews" and planned("name=shop").name == "shop"
    smaller = planned("count=1")
    assert smaller.model_name == one.model_name and smaller.config_name != one.config_name
    retrained = planned("count=2", served=replace(SERVED, digest="c" * 64))
    assert retrained.model_name != one.model_name and retrained.name == one.name
    batch, again, other = (
        planned(*BATCH), planned(*BATCH, "attempt=2"), planned("kind=batch", "input=s3://a-bucket/b.txt")
    )  # fmt: skip
    assert again.name == f"{batch.name}-2" and other.name != batch.name


def test_a_table_is_sent_whole_and_lines_are_cut() -> None:
    table = to_requests(planned("kind=batch", "input=s3://a-bucket/t.csv"))["CreateTransformJob"]
    assert (table["TransformInput"]["SplitType"], table["MaxPayloadInMB"]) == ("None", 100)
    assert table["MaxConcurrentTransforms"] == 1, "SageMaker takes 100 MB of requests at a time"
    lines = to_requests(planned(*BATCH))["CreateTransformJob"]
    assert (lines["TransformInput"]["SplitType"], lines["BatchStrategy"]) == ("Line", "MultiRecord")
    assert lines["MaxConcurrentTransforms"] * lines["MaxPayloadInMB"] <= 100


def test_workers_fit_into_memory_and_share_the_cores() -> None:
    config = read_wish(["instance_type=ml.c5.2xlarge"]).config.deploy  # 8 vCPUs, 16 GiB
    assert processes_for(SERVED, config) == 8
    assert processes_for(LARGE, config) == 5 and needed_mb(LARGE, config) <= 16 * 1024
    variables = dict(planned("instance_type=ml.c5.2xlarge", served=LARGE).environment)
    assert (
        variables["SAGEMAKER_MODEL_SERVER_WORKERS"] == "5" and variables["OMP_NUM_THREADS"] == "1"
    )
    assert dict(planned("instance_type=ml.g5.xlarge").environment)["OMP_NUM_THREADS"] == "4"


def test_images_are_those_of_the_sdk() -> None:
    from sagemaker import image_uris

    for image in inference_images():
        if "v2" in image.sdks:
            for gpu, machine in ((False, "ml.m5.xlarge"), (True, "ml.g5.xlarge")):
                listed = image_uris.retrieve(
                    "huggingface", "eu-west-1", version=image.transformers, instance_type=machine,
                    base_framework_version=f"pytorch{image.pytorch}", py_version=image.python,
                    container_version=image.containers["gpu" if gpu else "cpu"], image_scope="inference",
                )  # fmt: skip
                assert image.uri("eu-west-1", gpu=gpu) == listed
    assert newest_image().transformers == "5.5.3"


def test_prices_are_those_of_the_use() -> None:
    prices = load_prices()
    price = find_price(prices, "ml.m5.xlarge", "us-east-1", use=HOSTING)
    assert price is not None and price.usd_per_hour == 0.23 and price.date and price.source
    assert find_price(prices, "ml.m5.xlarge", "us-east-1", use=TRANSFORM) is None
    assert find_price(prices, "ml.m5.xlarge", "eu-west-1", use=HOSTING) is None


# --- the command --------------------------------------------------------------------------------


def test_a_plan_tells_what_it_costs_and_how_it_ends(run_folder: Path, command: Command) -> None:
    before = sorted(path for path in run_folder.rglob("*"))
    code, out, err = command("deploy", "small-run", "name=shop", *ACCOUNT)
    assert (code, err) == (0, "")
    assert "a month 167.90 USD = 0.23 USD x 730 h" in out and "1 x ml.m5.xlarge" in out
    assert "billed until it is deleted" in out and "deploy shop action=delete" in out
    assert sorted(path for path in run_folder.rglob("*")) == before, "nothing in the run changes"


def test_a_plan_says_where_its_names_are_not_yet_those_of_the_submit(
    run_folder: Path, command: Command
) -> None:
    _, out, _ = command("deploy", "small-run")
    assert "; with other digits once aws.role and aws.region are set" in out
    _, out, _ = command("deploy", "small-run", *ACCOUNT)
    assert "other digits" not in out


def test_a_price_that_no_list_has_is_unknown(run_folder: Path, command: Command) -> None:
    code, out, _ = command("deploy", "small-run", "kind=async", "aws.region=eu-west-1")
    assert code == 0 and "price unknown" in out
    assert "prices --region eu-west-1 --instance ml.m5.xlarge --use async" in out
    code, out, _ = command("deploy", "small-run", "kind=serverless")
    assert "price unknown" in out and "ServerlessInf:Mem-3GB" in out
    code, _, err = command("deploy", "small-run", "budget.max_usd=100")
    assert code == 2 and "[budget-exceeded]" in _ + err and "budget.max_usd=168" in _ + err


@pytest.mark.parametrize("words", [("kind=serverless",), BATCH])
def test_a_budget_that_nothing_can_be_compared_with_has_a_way_out(
    words: tuple[str, ...], run_folder: Path, command: Command
) -> None:
    code, out, _ = command("deploy", "small-run", *words, "budget.max_usd=1")
    assert code == 2 and "[budget-unknown-price]" in out and "fix: budget.max_usd=null\n" in out
    assert command("deploy", "small-run", *words, "budget.max_usd=null")[0] == 0


def test_a_plan_as_json(run_folder: Path, command: Command) -> None:
    code, out, _ = command("deploy", "small-run", "output=json", *ACCOUNT)
    told = json.loads(out)
    assert code == told["exit_code"] == 0 and told["usd_per_hour"] == 0.23
    assert list(told["requests"]) == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    code, out, _ = command("deploy", "small-run", "output=request", *ACCOUNT)
    assert json.loads(out) == told["requests"]


@pytest.mark.parametrize(
    "damage, what, exit_code",
    [
        (
            lambda model: (model / "model.safetensors").write_bytes(b"x" * 100),
            "no safetensors file",
            3,
        ),
        (lambda model: _cut(model / "model.safetensors"), "and its header tells of", 3),
        (lambda model: (model / "model.safetensors").unlink(), "holds no weights", 3),
        (lambda model: (model / "tokenizer.json").unlink(), "holds no tokenizer", 2),
        (lambda model: (model / "config.json").unlink(), "holds no trained model", 2),
        (
            lambda model: _newer(model.parent / "job.yaml"),
            "does not fit this version's settings",
            2,
        ),
    ],
    ids=["weights", "cut", "no weights", "no tokenizer", "no config", "newer"],
)
def test_a_damaged_model_is_not_deployed(
    damage: Callable[[Path], object], what: str, exit_code: int, run_folder: Path, command: Command
) -> None:
    damage(run_folder / "model")
    code, _, err = command("deploy", "small-run")
    assert code == exit_code and what in err


def test_an_export_that_was_changed_is_not_deployed(
    run_folder: Path, command: Command, tmp_path: Path
) -> None:
    """What an endpoint would refuse at its start, after it was billed."""
    export = Path(shutil.copytree(run_folder / "model", run_folder / "exports" / "onnx-int8"))
    (export / "model.safetensors").rename(export / "model.onnx")
    (export / "export.json").write_text('{"quantized": true}')
    write_code(export, job_of_model())
    assert command("deploy", str(export))[0] == 0
    _cut(export / "model.onnx")
    code, _, err = command("deploy", str(export))
    assert code == 3 and "was changed since it was made" in err
    assert f"mv {export} {export}.damaged && lingotune export {run_folder}" in err
    assert f"format=onnx quantize=int8 output={export}" in err
    write_code(export, job_of_model())  # as lingotune package does
    assert command("deploy", str(export))[0] == 0


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _newer(path: Path) -> None:
    """Write a job file as a later version would: with a setting that this one does not have."""
    import hashlib

    first, _, body = path.read_bytes().partition(b"\n")
    body += b"telepathy: 3\n"
    head = first.decode().rpartition(" ")[0]
    path.write_bytes(f"{head} {hashlib.sha256(body).hexdigest()}\n".encode() + body)


def test_other_commands_have_no_such_settings(run_folder: Path, command: Command) -> None:
    code, _, err = command("launch", "cluster=p3_2xl", "deploy.count=2")
    assert code == 2 and "lingotune deploy RUN deploy.count=2" in err


def test_an_unknown_run(run_folder: Path, command: Command) -> None:
    code, _, err = command("deploy", "no-such-run")
    assert code == 2 and "no run in runs begins so" in err
