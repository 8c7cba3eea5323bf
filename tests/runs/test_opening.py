"""Opening a run folder: whose it is, and that a job file in whatever state wedges nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import compose

from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig
from lingotune.runs.folder import folders_in
from lingotune.runs.opening import job_in, opened, recovered
from lingotune.training.identity import changes_of


def job(*typed: str) -> JobConfig:
    return job_of(compose("per_device_bs=8", "scaling.accumulation=2", *typed))


def enter(run: Path, of: JobConfig) -> None:
    with opened(folders_in(run), of, changes_of):
        assert load_job(run / "job.yaml")[0] == of


@pytest.mark.parametrize("size", [0, 1, 30, 400, -1])
def test_a_half_written_job_file_is_written_again(size: int, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(dump_job(job())[:size])
    enter(tmp_path, job())
    assert not list(tmp_path.glob("job.yaml.*"))


def test_a_damaged_job_file_is_kept_and_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        (tmp_path / "job.yaml").write_bytes(b"damage %d" % number)
        enter(tmp_path, job())
    assert (tmp_path / "job.yaml.damaged").read_bytes() == b"damage 1"
    assert (tmp_path / "job.yaml.damaged-2").read_bytes() == b"damage 2"
    assert "it is kept as job.yaml.damaged-2" in capsys.readouterr().out


def test_the_folder_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    enter(tmp_path, job())
    before = (tmp_path / "job.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"is the folder of job .*: seed 42 there, 7 here"):
        enter(tmp_path, job("seed=7"))
    with pytest.raises(ConfigError, match="global batch 16 there, 32 here") as caught:
        enter(tmp_path, job("cluster.processes=2"))
    assert caught.value.problems[0].fix.startswith("scaling.accumulation=1,")
    assert (tmp_path / "job.yaml").read_bytes() == before


def test_a_run_goes_on_with_other_machines_and_the_same_batch(tmp_path: Path) -> None:
    enter(tmp_path, job())
    now = job("cluster.processes=2", "scaling.accumulation=1", "training.save_steps=5")
    assert changes_of(job(), now) == ([], "")
    assert job_in(folders_in(tmp_path), now, changes_of) == job()
    enter(tmp_path, now)
    (kept,) = tmp_path.glob("job-*.yaml")
    assert load_job(kept)[0] == job()


@pytest.mark.parametrize("damage", [b"", b"# lingotune job", b"a: [", None])
def test_a_job_file_comes_back_from_the_newest_checkpoint(
    damage: bytes | None, tmp_path: Path
) -> None:
    for step, seed in ((9, 1), (10, 2)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "job.yaml").write_bytes(dump_job(job(f"seed={seed}")))
    if damage is not None:
        (tmp_path / "job.yaml").write_bytes(damage)
    assert recovered(tmp_path / "metrics.json", "is not a job file") is None
    found = recovered(tmp_path / "job.yaml", "is half")
    assert found is not None and found[0].seed == 2
    (tmp_path / "checkpoints/checkpoint-10/job.yaml").write_bytes(b"half")
    again = recovered(tmp_path / "job.yaml", "is half")
    assert again is not None and again[0].seed == 1
    shutil.rmtree(tmp_path / "checkpoints")
    assert recovered(tmp_path / "job.yaml", "is half") is None
