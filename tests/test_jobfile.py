"""The job file: nothing is lost on the way, and a changed file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CONF, compose
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.compose import config_groups
from lingotune.jobfile import dump_job, job_digest, job_of, load_job
from lingotune.schema import ConfigError, JobConfig, LabelConfig


@pytest.mark.parametrize("cluster", config_groups(CONF)["cluster"])
def test_round_trip_of_every_cluster(cluster: str, tmp_path: Path) -> None:
    job = job_of(compose(f"cluster={cluster}"))
    path = tmp_path / "job.yaml"
    path.write_bytes(dump_job(job))
    loaded, digest = load_job(path)
    assert loaded == job
    assert digest == job_digest(job)


PLAIN = dump_job(job_of(compose()))


@settings(max_examples=20)
@given(
    lr=st.floats(1e-9, 1, allow_nan=False),
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=3),
    name=st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
)
def test_any_value_survives(
    tmp_path_factory: pytest.TempPathFactory, lr: float, texts: list[str], name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(PLAIN)
    job, _ = load_job(path)
    job.lr, job.name = lr, name
    # a leading $ or ??? is OmegaConf's own syntax, which composing resolves or refuses
    job.data.labels = [LabelConfig("x", [t for t in texts if "$" not in t and t != "???"])]
    path.write_bytes(dump_job(job))
    assert load_job(path)[0] == job


def test_equal_jobs_have_equal_bytes_and_other_jobs_other_digests() -> None:
    assert dump_job(job_of(compose())) == dump_job(job_of(compose()))
    assert job_digest(job_of(compose())) != job_digest(job_of(compose("seed=1")))


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_job(path)
    return caught.value.problems[0].what


def test_a_changed_file_is_refused_with_both_digests(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    job = job_of(compose())
    path.write_bytes(dump_job(job).replace(b"seed: 42", b"seed: 43"))
    message = refused(path)
    assert "was changed after it was written" in message
    assert job_digest(job) in message and job_digest(job_of(compose("seed=43"))) in message


def test_files_that_are_no_job_files(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    assert "cannot be read" in refused(path)
    path.write_bytes(b"\xff\xfe")
    assert "cannot be read" in refused(path)
    path.write_text("lr: 1\n")
    assert "is not a job file" in refused(path)


def test_a_job_of_another_version_is_refused_in_words(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "job.yaml"
    body = dump_job(job_of(compose())).split(b"\n", 1)[1] + b"future_setting: 1\n"
    digest = hashlib.sha256(body).hexdigest()
    path.write_bytes(f"# lingotune job, sha256 of the lines below: {digest}\n".encode() + body)
    assert "does not fit this version's settings" in refused(path)
    assert isinstance(JobConfig(name="x"), JobConfig)
