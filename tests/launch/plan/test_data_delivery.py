"""Plans of data that lies elsewhere: what is not seen is told, and nothing is asked."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import compose

from lingotune.config.problems import Severity
from lingotune.config.schema import Action, LaunchConfig
from lingotune.data.transfer import sources
from lingotune.launch.plan.data_delivery import deliver

ROWS = "".join(
    f'{{"text": "t{n}", "label": "{"ab"[n % 2]}", "language": "en"}}\n' for n in range(60)
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LaunchConfig:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path / "cache"))

    def no_network(*_: object) -> None:
        raise AssertionError("a plan asks no network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    columns = "{text: text, stars: null, label: label}"
    return compose(
        "data=files", "data.path=s3://b/r.jsonl", f"data.columns={columns}", "data.labels=[a,b]"
    )


def keep(pattern: str) -> None:
    """Put a copy where a fetch would."""
    with sources._incoming(pattern) as incoming:
        (incoming / "0").write_text(ROWS)
        sources._keep(incoming / "0", "s3", ["b", "r.jsonl"], pattern, "1")
        kept = sources._kept(pattern, "1")
        assert kept
        sources._write_record(pattern, [kept], incoming)


def test_a_source_that_is_not_here(config: LaunchConfig) -> None:
    found = deliver(config)
    assert (found.rows, found.folder, found.manifest) == (None, None, None)
    assert found.digest and found.is_made
    (problem,) = found.problems
    assert problem.severity is Severity.warning
    assert problem.where == "data.path=s3://b/r.jsonl"
    assert "is not on this machine yet" in problem.what
    assert deliver(replace(config, action=Action.check)).problems == ()


def test_a_copy_is_counted_and_its_age_told(config: LaunchConfig) -> None:
    keep("s3://b/r.jsonl")
    found = deliver(config)
    assert found.rows == {"train": 48, "validation": 6, "test": 6}
    (problem,) = found.problems
    assert "is planned with its copy of 20" in problem.what
    assert problem.fix == "action=check asks"
    assert deliver(replace(config, action=Action.submit)).problems == ()
