"""Presentation of a deployment's plan: a page, or everything as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lingotune
from lingotune.config.problems import exit_code_for
from lingotune.config.program import program
from lingotune.config.quoting import for_shell
from lingotune.config.schema import DeployKind
from lingotune.evaluation.classifier import takes_pairs
from lingotune.launch.cost.prices import price_text, rate_text, unknown_text, usd_text
from lingotune.launch.deploy.plan import MONTH_HOURS, USE_OF, DeployPlan
from lingotune.launch.deploy.words import delete_of
from lingotune.launch.plan.page import Section, finding
from lingotune.launch.render.deployment_sdks import to_sdk_v2, to_sdk_v3

_LIMITS = {
    "realtime": "a request has at most 6 MB and 10 000 texts, and 60 s",
    "serverless": "a request has at most 4 MB and 10 000 texts, and 60 s, the start after a pause included",
    "async": "a request has at most 1 GB, and as long as whoever asks waits, at most an hour",
    "batch": "files of JSON lines and texts are cut into requests of 6 MB; CSV is sent whole, up to 100 MB",
}


def page_of(plan: DeployPlan) -> list[Section]:
    """Make the page: what is deployed, on what, for how much, the findings, and the next commands."""
    return [
        Section("deployment", rows=_rows(plan)),
        Section("machines", _machines(plan)),
        Section("money", money_lines(plan)),
        *([Section("findings", findings=plan.problems)] if plan.problems else []),
        Section("next", _next(plan)),
    ]


def _rows(plan: DeployPlan) -> list[list[str]]:
    one, served = plan.deployment, plan.served
    kind = plan.config.deploy.kind
    called = "job" if kind is DeployKind.batch else "endpoint"
    rows = [
        [called, f"{one.name} ({kind.value})"],
        [
            "model",
            f"{plan.model.trained.folder}: {served.model_type}, {served.weights_bytes / 1e6:.1f} MB",
        ],
        ["digest", f"{served.model}, which answers name"],
        ["parts", ", ".join(_parts(plan)) + _other_digits(plan)],
        ["archive", one.model_uri],
        ["typed", " ".join(map(for_shell, plan.wish.words)) or "nothing"],
    ]
    if one.input_uri:
        rows.append(["texts", f"{one.input_uri} ({one.content_type})"])
    if one.output_uri:
        rows.append(["answers", one.output_uri])
    if served.installs:
        rows.append(["installs", f"{', '.join(served.installs)}, when the container starts"])
    return rows


def _parts(plan: DeployPlan) -> list[str]:
    one = plan.deployment
    return [
        f"model {one.model_name}",
        *([f"configuration {one.config_name}"] if one.is_endpoint else []),
    ]


def _other_digits(plan: DeployPlan) -> str:
    """Tell that names will be others: they follow from what is not set yet."""
    aws = plan.config.aws
    named = {"aws.role": aws.role, "aws.region": aws.region}
    if plan.deployment.output_uri:
        named["aws.bucket"] = aws.bucket
    unset = [key for key, value in named.items() if not value]
    return f"; with other digits once {' and '.join(unset)} are set" if unset else ""


def _machines(plan: DeployPlan) -> list[str]:
    one, instance = plan.deployment, plan.instance
    needs = f"{plan.needed_mb} MB needed, about: {one.processes} x the model, and the server"
    if plan.is_serverless:
        size = f"serverless, {one.memory_mb} MB, at most {one.max_concurrency} requests at a time"
        lines = [size, f"memory: {needs}"]
    else:
        hardware = f": {instance.hardware}" if instance else ""
        memory = f" of {instance.ram_gib} GiB" if instance else ""
        lines = [f"{one.count} x {plan.instance_type}{hardware}", f"memory{memory}: {needs}"]
    release = f" (transformers {one.transformers})" if one.transformers else ""
    return [*lines, f"image: {one.image}{release}", f"limits: {_LIMITS[one.kind.value]}"]


def money_lines(plan: DeployPlan) -> list[str]:
    """Format what it costs, and until when."""
    one, region = plan.deployment, plan.config.aws.region
    if plan.is_serverless:
        return [
            "billed by the millisecond of its work, by its memory; nothing while nobody asks",
            f"price unknown: it is in no public list; {_serverless_prices(one.memory_mb, region)}",
        ]
    if plan.price is None:
        return [unknown_text(plan.instance_type, region, USE_OF[one.kind.value]), *_until(plan)]
    hour, month = usd_text(plan.hour_usd), usd_text(plan.month_usd)
    lines = [
        price_text(plan.price, region, plan.today),
        f"an hour {hour} = {rate_text(plan.price, one.count)}",
    ]
    if one.is_endpoint:
        lines.append(f"a month {month} = {hour} x {MONTH_HOURS} h")
    return [*lines, *_until(plan)]


def _serverless_prices(memory_mb: int, region: str | None) -> str:
    filters = f"Type=TERM_MATCH,Field=regionCode,Value={region or 'us-east-1'}"
    of = "Type=TERM_MATCH,Field=productFamily,Value='ML Serverless'"
    return (
        "aws pricing get-products --service-code AmazonSageMaker --region us-east-1"
        f" --filters {filters} {of}, at the usage type ServerlessInf:Mem-{max(1, memory_mb // 1024)}GB"
    )


def _until(plan: DeployPlan) -> list[str]:
    if not plan.deployment.is_endpoint:
        return [
            "billed from the start of its instances to its end; how long that takes is not known"
        ]
    return [f"billed until it is deleted, asked or not: {delete_command(plan)}"]


def delete_command(plan: DeployPlan) -> str:
    """Return the command that deletes everything that the deployment makes."""
    return delete_of(plan.deployment.family, plan.config.aws.region)


def deploy_command(plan: DeployPlan, *more: str) -> str:
    """Return the command that deploys the same."""
    words = [for_shell(word) for word in (*plan.wish.words, *more)]
    return " ".join([program("deploy"), for_shell(plan.run), *words])


def _next(plan: DeployPlan) -> list[str]:
    if any(one.severity.value == "error" for one in plan.problems):
        return ["mend, then plan again"]
    lacking = [
        f"{key}={shown}"
        for key, shown, value in (
            ("aws.role", "ARN", plan.config.aws.role),
            ("aws.bucket", "NAME", plan.config.aws.bucket),
        )
        if not value
    ]
    return [
        f"{program('rehearse-serving')} {for_shell(plan.run)}",
        deploy_command(plan, *lacking, "action=check"),
        deploy_command(plan, *lacking, "action=submit"),
        *([delete_command(plan)] if plan.deployment.is_endpoint else []),
    ]


def as_dict(plan: DeployPlan) -> dict[str, Any]:
    """Collect everything that a program may want from the plan, as plain values."""
    return {
        "lingotune": lingotune.__version__,
        "exit_code": exit_code_for(plan.problems),
        "findings": [finding(problem) for problem in plan.problems],
        "name": plan.deployment.name,
        "kind": plan.deployment.kind.value,
        "model": asdict(plan.served),
        "needed_mb": plan.needed_mb,
        "usd_per_hour": plan.hour_usd,
        "usd_per_month": plan.month_usd if plan.deployment.is_endpoint else None,
        "requests": plan.requests,
        "sdk_v2": to_sdk_v2(plan.deployment),
        "sdk_v3": to_sdk_v3(plan.deployment),
        "delete": delete_command(plan),
    }


def ask_lines(plan: DeployPlan) -> Sequence[str]:
    """Show how the endpoint is asked."""
    one = plan.deployment
    where = f"--endpoint-name {one.name} --region {one.region}"
    if one.kind is DeployKind["async"]:
        return [
            f"aws sagemaker-runtime invoke-endpoint-async {where} --content-type application/jsonlines"
            " --input-location s3://BUCKET/texts.jsonl",
            f"answers: {one.output_uri}",
        ]
    pairs = takes_pairs(plan.model.trained)
    asked = {"text": "Sehr gut", "text_pair": "Gerne wieder"} if pairs else "Sehr gut"
    body = shlex.quote(json.dumps({"inputs": [asked]}))
    return [
        f"aws sagemaker-runtime invoke-endpoint {where} --content-type application/json"
        f" --cli-binary-format raw-in-base64-out --body {body} /dev/stdout"
    ]
