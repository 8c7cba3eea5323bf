"""The folders that a container gets, and what is read from them at the end."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from described import described

from lingotune.config.problems import ConfigError
from lingotune.config.schema import Distribution
from lingotune.launch.render.request import to_request
from lingotune.launch.simulator.container import (
    REASON_LENGTH,
    distribution_of,
    failure_reason,
    host_names,
    lay_out,
    pack,
)

FILES = ["data=files", "data.path=reviews.jsonl"]


def prefixes(request: dict) -> dict[str, str]:
    return {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in request["InputDataConfig"]
    }


def test_the_container_finds_what_the_request_says(tmp_path: Path) -> None:
    request = to_request(described("cluster=p4d_24xl", "cluster.nodes=2", *FILES))
    uri = prefixes(request)
    (tmp_path / "rows.jsonl").write_text("rows")
    objects: dict[str, bytes | Path] = {
        f"{uri['config']}job.yaml": b"job",
        f"{uri['data']}train/rows.jsonl": tmp_path / "rows.jsonl",
        f"{uri['data'][:-1]}-of-another-job/rows.jsonl": b"not ours",
    }
    container = lay_out(request, objects, tmp_path / "ml", hosts=("a", "b"), current_host="b")

    config = tmp_path / "ml" / "input" / "config"
    hyperparameters = json.loads((config / "hyperparameters.json").read_text())
    assert hyperparameters == request["HyperParameters"], "strings of JSON, as they were sent"
    assert json.loads((config / "resourceconfig.json").read_text()) == {
        "current_host": "b",
        "current_instance_type": "ml.p4d.24xlarge",
        "current_group_name": "homogeneousCluster",
        "hosts": ["a", "b"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.p4d.24xlarge",
                "hosts": ["a", "b"],
            }
        ],
        "network_interface_name": "lo",
    }
    channel = {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert json.loads((config / "inputdataconfig.json").read_text()) == {
        "config": channel,
        "data": channel,
    }
    data = tmp_path / "ml" / "input" / "data"
    files = {p.relative_to(data).as_posix(): p.read_text() for p in data.rglob("*") if p.is_file()}
    assert files == {"config/job.yaml": "job", "data/train/rows.jsonl": "rows"}
    assert container.model.is_dir() and container.checkpoints == tmp_path / "ml" / "checkpoints"


def test_a_container_cannot_change_the_files_it_was_given(tmp_path: Path) -> None:
    request = to_request(described("cluster=p3_16xl"))
    mine = tmp_path / "job.yaml"
    mine.write_text("mine")
    lay_out(request, {f"{prefixes(request)['config']}job.yaml": mine}, tmp_path / "ml")
    (tmp_path / "ml" / "input" / "data" / "config" / "job.yaml").write_text("changed")
    assert mine.read_text() == "mine"


def test_an_object_named_whole_keeps_its_name(tmp_path: Path) -> None:
    """As the code does that an isolated container gets as a channel."""
    job = described(
        "cluster=g5_12xl", "aws.network_isolation=true", "cluster.image.lane=pinned",
        "cluster.image.uri=111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1",
    )  # fmt: skip
    request = to_request(job)
    objects = {f"{prefixes(request)['config']}job.yaml": b"", job.code_uri: b"code"}
    container = lay_out(request, objects, tmp_path)
    named = json.loads(request["HyperParameters"]["sagemaker_submit_directory"])
    assert container.inside(named).read_bytes() == b"code"


def test_every_channel_without_objects_is_told(tmp_path: Path) -> None:
    request = to_request(described("cluster=p3_16xl", *FILES))
    objects = {f"{uri}": b"the folder's marker" for uri in prefixes(request).values()}
    with pytest.raises(ConfigError) as caught:
        lay_out(request, objects, tmp_path / "ml")
    text = str(caught.value)
    assert "channel config" in text and "channel data" in text and prefixes(request)["data"] in text
    assert not (tmp_path / "ml").exists()


def test_checkpoints_come_back_where_the_job_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "kept" / "checkpoint-5").mkdir(parents=True)
    (tmp_path / "kept" / "checkpoint-5" / "weights").write_text("w")
    for number, setting in enumerate(("true", "false")):
        request = to_request(described("cluster=p3_16xl", f"cluster.checkpoints={setting}"))
        objects = {f"{prefixes(request)['config']}job.yaml": b""}
        folder = tmp_path / str(number)
        container = lay_out(request, objects, folder, checkpoints=tmp_path / "kept")
        there = (container.checkpoints / "checkpoint-5" / "weights").exists()
        assert there == (setting == "true"), "SageMaker restores what CheckpointConfig names"


@pytest.mark.parametrize(
    ("overrides", "distribution", "hosts"),
    [
        (["cluster=p3_16xl"], Distribution.torch_distributed, ("algo-1",)),
        (["cluster=p3_2xl", "cluster.distribution=none"], Distribution.none, ("algo-1",)),
        (["cluster=p4d_24xl", "cluster.distribution=smdistributed"], Distribution.smdistributed,
         ("localhost",)),
        (["cluster=p3_16xl", "cluster.nodes=2"], Distribution.torch_distributed,
         ("127.0.0.1", "127.0.0.2")),
    ],
)  # fmt: skip
def test_how_it_is_started_shows_in_the_request(
    overrides: list[str], distribution: Distribution, hosts: tuple[str, ...]
) -> None:
    request = to_request(described(*overrides))
    assert (distribution_of(request), host_names(request)) == (distribution, hosts)


def test_the_reason_is_cut_where_sagemaker_cuts_it() -> None:
    assert failure_reason("what went wrong", 1) == "AlgorithmError: what went wrong, exit code: 1"
    assert failure_reason(None, 137) == "AlgorithmError: exit code: 137"
    long = failure_reason("x" * 3000, 1)
    assert len(long) == REASON_LENGTH and long.startswith("AlgorithmError: xxx")


def test_the_archive_names_files_relative_to_the_folder(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "code").mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "code" / "inference.py").write_text("pass")
    pack(model, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert tar.getnames() == ["code", "code/inference.py", "model.safetensors"]
        tar.extractall(tmp_path / "again", filter="data")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == b"weights"
