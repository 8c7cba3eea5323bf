"""A token that was typed by mistake is repeated nowhere."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONF, ROOT, compose, run

from lingotune.cli.publish import hub_typed
from lingotune.cli.train import check_train
from lingotune.config.console import format_error
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem, format_problems, without_secrets
from lingotune.config.schema import HubConfig, LabelConfig, LaunchConfig, Visibility
from lingotune.config.secret_values import HIDDEN, secrets_of
from lingotune.config.secrets import NO_TOKEN, redacted
from lingotune.config.settings import setting_types
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.help import Command
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.plan.page import problems_json
from lingotune.preflight import check_secrets
from lingotune.training.failure import paragraph

BODY = "canary" * 6
TOKEN = f"hf_{BODY}"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize("secret", [TOKEN, "AKIA" + "A1B2" * 4, KEY])
def test_what_looks_like_a_secret_is_starred(secret: str) -> None:
    assert redacted(f"before {secret}", {}) == f"before {HIDDEN}"


def test_secrets_of_the_environment_are_starred_in_any_form(tmp_path: Path) -> None:
    file = tmp_path / "a-file-with-a-token"
    file.touch()
    known = {
        "HF_TOKEN": "no-usual-form",
        "MY_TOKEN_FILE": str(file),
        "A_TOKEN": "short",
        "HOME": "x" * 20,
    }
    assert secrets_of(known) == {"no-usual-form"}
    assert redacted(f"hub.repo=no-usual-form {file}", known) == f"hub.repo={HIDDEN} {file}"


def test_no_suggestion_is_made_of_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "no_usual_form")
    said = without_secrets(Problem("name=no_usual_form", "is no name", "name=no-usual-form"))
    assert said == Problem(f"name={HIDDEN}", "is no name", NO_TOKEN)
    assert "usual" not in format_problems([Problem("x", "no_usual_form", "no-usual-form")])
    assert "usual" not in paragraph(ConfigError([Problem("x", "no_usual_form")]), 0)
    harmless = Problem("hub.repo", "looks like an access token", "hub.repo=NAME")
    assert without_secrets(harmless) == harmless


@pytest.mark.parametrize(
    ("script", "typed"),
    [
        ("train.py", f"hub.token={TOKEN}"),
        ("train.py", TOKEN),
        ("train.py", f"name={TOKEN}"),
        ("train.py", f"--token={TOKEN}"),
        ("launch.py", f"lr={TOKEN}"),
        ("launch.py", f"cluster={TOKEN}"),
        ("-m lingotune publish .", f"hub.repo={TOKEN}"),
        ("-m lingotune evaluate .", f"data.path={TOKEN}"),
        ("-m lingotune predict", TOKEN),
        ("-m lingotune predict .", f"--token={TOKEN}"),
    ],
)  # fmt: skip
def test_a_token_on_the_command_line_is_not_repeated(script: str, typed: str) -> None:
    done = run(*script.split(), typed)
    assert done.returncode == 2 and "lingotune: " in done.stderr, done.stderr
    assert BODY not in done.stdout + done.stderr


def test_a_token_is_not_repeated_to_programs_and_to_workers(tmp_path: Path) -> None:
    done = run("launch.py", "output=json", f"name={TOKEN}")
    assert done.returncode == 2 and BODY not in done.stdout + done.stderr
    assert json.loads(done.stdout)["findings"]
    done = run(str(ROOT / "train.py"), "--job", f"{tmp_path}/none.yaml", "--token", TOKEN)
    assert done.returncode == 2 and BODY not in done.stdout + done.stderr


def test_a_token_is_no_name_of_a_repository() -> None:
    job = job_of(compose())
    job.hub = HubConfig(visibility=Visibility.private)
    with pytest.raises(ConfigError) as caught:
        hub_typed(job, [f"hub.repo={TOKEN}"], CONF)
    assert [problem.check for problem in caught.value.problems] == ["secret-in-config"]
    with pytest.raises(ConfigError, match="out of range"):
        hub_typed(job, ["hub.timeout=1"], CONF)


def typed_texts() -> list[str]:
    """The token as the value, or as the name, of every text that can be set."""
    found = []
    for key, kind in setting_types().items():
        options = [kind, *typing.get_args(kind)]
        if typing.get_origin(kind) is dict:
            found += [f"{key}.A={TOKEN}", f"{key}.{TOKEN}=a"]
        elif kind == list[LabelConfig]:
            found.append(f"{key}=[{{name: {TOKEN}, values: [{TOKEN}]}}]")
        elif typing.get_origin(kind) is list and str in options:
            found.append(f"{key}=[{TOKEN}]")
        elif str in options:
            found.append(f"{key}={TOKEN}")
    return found


@pytest.mark.parametrize("output", ["page", "json", "request"])
@pytest.mark.parametrize(
    ("program", "check"), [("launch.py", check_launch), ("train.py", check_train)]
)
@pytest.mark.parametrize("more", [[], ["--cfg", "job"]])
def test_a_token_in_any_text_is_refused_and_not_repeated(
    program: str,
    check: Callable[[LaunchConfig], list[Problem]],
    more: list[str],
    output: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = typed_texts()
    assert len(typed) > 45
    with pytest.raises(ConfigError) as caught:
        composed_jobs([*typed, f"output={output}", *more], Command(program, ""), CONF, check)
    said = "".join([*capsys.readouterr(), format_error(caught.value)])
    said += problems_json(caught.value.problems, 2)
    assert BODY not in said and HIDDEN in said
    told = {p.key for p in caught.value.problems if p.check == "secret-in-config"}
    for text in typed:
        key = text.partition("=")[0]
        assert told & {key, key.removesuffix(f".{TOKEN}"), f"{key}[0].name", "data.labels.name"}, (
            text
        )


@pytest.mark.parametrize("typed", [f"prepared_dir={TOKEN}", f"rehearsal.keep={TOKEN}"])
@pytest.mark.parametrize("output", ["page", "json", "request"])
def test_a_plan_does_not_print_a_token(typed: str, output: str) -> None:
    done = run("launch.py", "cluster=p3_16xl", "action=plan", f"output={output}", typed)
    assert done.returncode == 2 and "secret-in-config" in done.stdout + done.stderr
    assert BODY not in done.stdout + done.stderr


def test_a_value_that_is_a_secret_by_its_name_is_refused() -> None:
    config = compose()
    config.cluster.environment = {"WANDB_API_KEY": "0123456789abcdef" * 2 + "01234567"}
    assert [p.key for p in check_secrets(config)] == ["cluster.environment.WANDB_API_KEY"]
