"""A token that was typed by mistake is nowhere repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import CONF, ROOT, compose, run

from lingotune.cli.publish import hub_typed
from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError, Problem, format_problems, without_secrets
from lingotune.config.schema import HubConfig, Visibility
from lingotune.config.secrets import HIDDEN, NO_TOKEN, redacted, secrets_of
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
