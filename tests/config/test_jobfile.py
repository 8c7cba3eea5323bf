"""The job file: nothing is lost on the way, and a changed file is refused."""

from __future__ import annotations

import tempfile
import typing
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from conftest import compose
from described import on_clusters
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lingotune.config.jobfile import dump_job, job_digest, job_of, load_job
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, MachineConfig, Texts
from lingotune.config.settings import field_types


def test_round_trip_of_every_kind_of_cluster(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    named = on_clusters()
    several = [named[name] for name in ("p3_2xl", "g6e_2xl", "p6_b300_48xl", "c7i_2xl")]
    for config in [compose("cluster=local"), *several]:
        job = job_of(config)
        path.write_bytes(dump_job(job))
        assert load_job(path) == (job, job_digest(job))


TEXTS = st.one_of(
    # ${ and ??? are OmegaConf's own syntax, which composing resolves or refuses
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="$?"), max_size=8),
    st.sampled_from(
        ["", " a ", "a\nb\n", "1e-5", "1_000", "010", "0x1f", "null", "~", "on", "True"]
    ),
    st.sampled_from(
        ["- x", "a: b", "#", "'", '"', "2020-01-01", "<<", "=", "\u2028", "日本", "😀 " * 40]
    ),
)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type of the schema."""
    arguments = [k for k in typing.get_args(kind) if k is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        return st.none() | values(arguments[0])
    if kind is Texts:
        return st.none() | TEXTS | st.lists(TEXTS, max_size=3)
    if typing.get_origin(kind) is list:
        return st.lists(values(arguments[0]), max_size=3)
    if typing.get_origin(kind) is dict:
        return st.dictionaries(TEXTS, TEXTS, max_size=3)
    if is_dataclass(kind):
        return st.builds(kind, **{name: values(k) for name, k in field_types(kind).items()})
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    plain = {str: TEXTS, bool: st.booleans(), int: st.integers(), float: st.floats(allow_nan=False)}
    return plain[kind]


def test_numbers_without_end_survive_for_the_checks_to_refuse(tmp_path: Path) -> None:
    job = job_of(compose())
    job.lr, job.training.weight_decay = float("inf"), float("-inf")
    path = tmp_path / "job.yaml"
    path.write_bytes(dump_job(job))
    assert load_job(path)[0] == job


def leave_out_unused(section: Any, written: dict[Any, Any]) -> None:
    """Remove settings that came after the first version, where they are as they would be without them."""
    for setting in fields(section):
        value, factory = getattr(section, setting.name), setting.default_factory
        default = setting.default if factory is MISSING else factory()
        if setting.metadata.get("written") and value == default:
            del written[setting.name]
        elif is_dataclass(value):
            leave_out_unused(value, written[setting.name])


@settings(max_examples=20)
@given(values(JobConfig))
def test_the_body_is_what_omegaconf_writes_and_any_job_survives(job: JobConfig) -> None:
    cluster = job.cluster
    if cluster.fallback:  # the first is the job itself, by which it is written
        cluster.fallback[0] = MachineConfig(
            "first", cluster.instance_type, cluster.nodes or 1, cluster.gpus_per_node,
            job.per_device_bs, job.scaling.accumulation,
        )  # fmt: skip
        cluster.nodes = cluster.nodes or 1
    content = dump_job(job)
    written = OmegaConf.to_container(OmegaConf.structured(job), enum_to_str=True)
    assert isinstance(written, dict)
    leave_out_unused(job, written)
    written["epochs"] = job.epochs  # whole ones without a fraction, as ever
    assert content.split(b"\n", 1)[1] == OmegaConf.to_yaml(OmegaConf.create(written)).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.yaml"
        path.write_bytes(content)
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
    assert (
        job_digest(job) in message
        and job_digest(job_of(compose("seed=43", "data.split_seed=43"))) in message
    )


def test_files_that_are_no_job_files(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    assert "cannot be read" in refused(path)
    path.write_bytes(b"\xff\xfe")
    assert "cannot be read" in refused(path)
    path.write_text("lr: 1\n")
    assert "is not a job file" in refused(path)


def test_a_run_folder_in_place_of_its_job_file_is_told_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "my run"
    with pytest.raises(ConfigError) as none:
        load_job("none")
    run.mkdir(parents=True)
    (run / "job.yaml").write_bytes(dump_job(job_of(compose())))
    with pytest.raises(ConfigError) as missing:
        load_job("none")
    with pytest.raises(ConfigError) as folder:
        load_job(run)
    fixes = [found.value.problems[0].fix for found in (none, missing, folder)]
    assert fixes[0].endswith(" job_file=job.yaml") and fixes[1] == "ls runs/*/job.yaml"
    assert fixes[2] == f"--job '{run}/job.yaml'"
    assert "Errno" not in f"{none.value}{missing.value}{folder.value}"


def test_a_job_of_another_version_is_refused_in_words(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "job.yaml"
    body = dump_job(job_of(compose())).split(b"\n", 1)[1] + b"future_setting: 1\n"
    digest = hashlib.sha256(body).hexdigest()
    path.write_bytes(f"# lingotune job, sha256 of the lines below: {digest}\n".encode() + body)
    assert "does not fit this version's settings" in refused(path)
    assert isinstance(JobConfig(name="x"), JobConfig)
