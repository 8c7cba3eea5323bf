"""Models of the hub, on a hub on loopback: what is read before a job is checked, and code that is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import CONF, ROOT, compose
from hubserver import Hub, Repo, hub_server
from waiting import PATIENCE

from lingotune.config.jobfile import dump_job, job_of
from lingotune.config.problems import ConfigError
from lingotune.config.remote_code import VARIABLE, is_permitted, not_typed, permit
from lingotune.config.schema import ModelConfig
from lingotune.data.prepared.foreign_code import NEVER, permission
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.render.training_job import Digests, describe
from lingotune.preflight import check_job
from lingotune.runs.folder import folders_in, resume_command, train_again_command

COMMIT = "a" * 20 + "1" * 20
PRETRAINED = ["model=pretrained", "model.name_or_path=me/own"]
EURO = {"model_type": "eurobert", "hidden_size": 768, "num_hidden_layers": 12, "vocab_size": 128256,
        "num_attention_heads": 12, "num_key_value_heads": 12, "intermediate_size": 3072}  # fmt: skip


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server("hf_none") as one:
        one.repos["me/euro"] = Repo(False, {"config.json": json.dumps(EURO).encode()})
        yield one


def read(hub: Hub | str, home: Path, name: str) -> list[str]:
    """What is told of a model whose config.json is asked for, in a process with that hub."""
    code = (
        "import sys; from lingotune.launch.hub_models import _read;"
        "from lingotune.catalog.models import model_size;"
        "from lingotune.config.schema import ModelConfig;"
        "m = ModelConfig('m', sys.argv[1]); p = _read(m); s = model_size(m);"
        "print(p.what if p else 'read'); print(s.layers if s else 'unknown')"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    endpoint = hub if isinstance(hub, str) else hub.endpoint
    clean |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        capture_output=True,
        text=True,
        env=clean,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_config_of_an_unknown_model_is_read_and_its_size_follows(
    hub: Hub, tmp_path: Path
) -> None:
    assert read(hub, tmp_path, "me/euro") == ["read", "12"]
    told, size = read(hub, tmp_path, "me/none")
    assert told.startswith("its config.json cannot be read") and size == "unknown"


# --- code of a model's own ----------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv(VARIABLE, "")
    return monkeypatch


def test_code_runs_where_its_commit_was_typed_and_nowhere_else(environment: object) -> None:
    model = ModelConfig("m", "me/own", remote_code=COMMIT)
    assert permission(replace(model, remote_code=None)) is NEVER
    with pytest.raises(ConfigError) as refused:
        permission(model)
    assert refused.value.problems == [not_typed(model)]
    permit("b" * 40)
    assert not is_permitted(model)
    compose(*PRETRAINED, f"model.remote_code={COMMIT}")
    assert permission(model) == {"trust_remote_code": True, "code_revision": COMMIT}


def test_a_file_asks_for_no_code(environment: object, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    body = f"name: own\nname_or_path: me/own\nremote_code: {COMMIT}\n"
    (tmp_path / "model" / "own.yaml").write_text(body)

    def composed(*typed: str) -> object:
        return compose_all(
            ["model=own", *typed], CONF, lambda config: [], multirun=False, extra_dir=tmp_path
        )

    with pytest.raises(ConfigError) as refused:
        composed()
    assert [p.check for p in refused.value.problems] == ["remote-code-typed"]
    assert os.environ[VARIABLE] == ""
    assert composed(f"model.remote_code={COMMIT}") and os.environ[VARIABLE] == COMMIT


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([*PRETRAINED, "model.remote_code=main"], "is no commit"),
        (["model=tiny", f"model.remote_code={COMMIT}"], "has no effect"),
        ([*PRETRAINED, f"model.remote_code={COMMIT}"], ""),
    ],
)
def test_only_a_commit_of_a_model_of_the_hub_is_code(
    environment: object, overrides: list[str], told: str
) -> None:
    found = [p for p in check_job(job_of(compose(*overrides))) if p.check == "remote-code"]
    assert bool(found) is bool(told) and all(told in p.what for p in found)


def test_the_permission_is_part_of_the_request(environment: object) -> None:
    """Whoever may describe the job sees it; the job file alone permits nothing."""
    config = compose("cluster=g5_12xl", *PRETRAINED, f"model.remote_code={COMMIT}")
    digests = Digests("a" * 64, "b" * 64)
    job = describe(job_of(config), config.aws, digests)
    assert dict(job.environment)[VARIABLE] == COMMIT
    plain = compose("cluster=g5_12xl", *PRETRAINED)
    assert VARIABLE not in dict(describe(job_of(plain), plain.aws, digests).environment)


def test_commands_that_go_on_with_such_a_run_have_its_commit(
    environment: object, tmp_path: Path
) -> None:
    job = job_of(compose(*PRETRAINED, f"model.remote_code={COMMIT}"))
    (tmp_path / "job.yaml").write_bytes(dump_job(job))
    typed = f" model.remote_code={COMMIT}"
    assert resume_command(tmp_path).endswith(f"--run-dir {tmp_path}{typed}")
    assert train_again_command(folders_in(tmp_path)).endswith(f"job.yaml{typed}")
    (tmp_path / "job.yaml").write_bytes(dump_job(job_of(compose(*PRETRAINED))))
    assert resume_command(tmp_path).endswith(f"--run-dir {tmp_path}")
