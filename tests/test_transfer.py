"""Objects to an S3 on loopback and back: whole, once, encrypted and tagged as asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import ROOT
from loopback import moto_server, point_boto_at, ready_account

from lingotune.data.manifest import load_manifest
from lingotune.data.prepare import prepare
from lingotune.data.store import Store
from lingotune.data.transfer import download, upload
from lingotune.schema import ConfigError, DataConfig, LabelConfig, ModelConfig, SampleConfig, Source

BUCKET = "example-bucket"


class Wire:
    """A client of S3 that notes what it asks."""

    def __init__(self) -> None:
        self.s3: Any = boto3.client("s3", region_name="us-east-1")
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.s3.meta.events.register("before-parameter-build.s3.*", self._note)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((model.name, dict(params)))

    def sent(self) -> list[str]:
        """Keys of what was put, in the order of the requests."""
        return [
            params["Key"]
            for name, params in self.calls
            if name in ("PutObject", "CreateMultipartUpload")
        ]


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, int]]:
    with moto_server() as upstream:
        yield upstream


@pytest.fixture
def wire(
    moto: tuple[str, int], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Wire:
    nowhere = tmp_path_factory.mktemp("nowhere")
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    point_boto_at("http://{}:{}".format(*moto), monkeypatch, nowhere, **keys)

    front = SimpleNamespace(calls=[], tell=lambda *_: None)
    ready_account(front, moto, BUCKET)  # type: ignore[arg-type]
    return Wire()


def uri(key: str) -> str:
    return f"s3://{BUCKET}/data/{key}"


def silent(line: str) -> None: ...


def body(wire: Wire, key: str) -> bytes:
    content: bytes = wire.s3.get_object(Bucket=BUCKET, Key=f"data/{key}")["Body"].read()
    return content


def test_only_what_is_missing_or_differs_is_sent(wire: Wire, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("a", "b", "manifest.json")}
    for name, path in files.items():
        path.write_bytes(name.encode() * 1000)
    contents: dict[str, bytes | Path] = {uri(name): path for name, path in files.items()}
    contents = {uri("code"): b"code", **contents}
    first = upload(wire.s3, contents, silent)
    assert (first.objects, first.there) == (4, 0) and first.bytes == 4 + 1000 + 1000 + 13000
    assert sorted(wire.sent()) == sorted(f"data/{name}" for name in ("code", *files))
    assert wire.sent()[-1] == "data/manifest.json", "a prefix with a manifest is whole"
    wire.calls.clear()
    again = upload(wire.s3, contents, silent)
    assert (again.objects, again.there) == (0, 4) and wire.sent() == []
    files["a"].write_bytes(b"A" * 1000)  # as long as before
    wire.s3.delete_object(Bucket=BUCKET, Key="data/b")
    assert upload(wire.s3, contents, silent).objects == 2
    assert sorted(wire.sent()) == ["data/a", "data/b"] and body(wire, "a") == b"A" * 1000


def test_key_and_tags_are_in_the_request(wire: Wire, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20 << 20))
    contents: dict[str, bytes | Path] = {uri("large"): large, uri("small"): b"small"}
    upload(wire.s3, contents, silent, kms_key="alias/mine", tags={"team": "nlp + co", "x": "1"})
    asked = {n: p for n, p in wire.calls if n in ("PutObject", "CreateMultipartUpload")}
    assert set(asked) == {"PutObject", "CreateMultipartUpload"}
    for params in asked.values():
        assert params["ServerSideEncryption"] == "aws:kms" and params["SSEKMSKeyId"] == "alias/mine"
        assert params["Tagging"] == "team=nlp+%2B+co&x=1"
        assert params["ChecksumAlgorithm"] == "SHA256"
    assert body(wire, "large") == large.read_bytes()
    tags = wire.s3.get_object_tagging(Bucket=BUCKET, Key="data/large")["TagSet"]
    assert {"Key": "team", "Value": "nlp + co"} in tags


def test_a_refusal_is_raised_and_the_manifest_stays_away(wire: Wire) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        upload(wire.s3, {"s3://no-such-bucket/a": b"a", "s3://no-such-bucket/b": b"b"}, silent)
    assert "b" not in wire.sent()


SEND = """
import boto3, pathlib, sys
from lingotune.data.transfer import upload
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
s3 = boto3.client("s3", region_name="us-east-1")
def slow(**_):
    import time; time.sleep(0.15)
s3.meta.events.register("before-send.s3.UploadPart", slow)
print("begun", flush=True)
upload(s3, {f"s3://example-bucket/data/{p.name}": p for p in files}, lambda line: None)
"""


def parts_left(wire: Wire) -> list[Any]:
    found: list[Any] = wire.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_upload_that_was_ended_is_finished_by_the_next(
    wire: Wire, tmp_path: Path, how: signal.Signals
) -> None:
    for n in range(4):
        (tmp_path / str(n)).write_bytes(os.urandom(24 << 20))
    command = [sys.executable, "-c", SEND, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as sender:
        deadline = time.monotonic() + 60
        while not parts_left(wire):
            assert time.monotonic() < deadline and sender.poll() is None
            time.sleep(0.02)
        sender.send_signal(how)
        assert sender.wait(30) != 0
    if how is signal.SIGINT:
        assert parts_left(wire) == [], "aborted on the way out"
    contents: dict[str, bytes | Path] = {uri(p.name): p for p in sorted(tmp_path.iterdir())}
    done = upload(wire.s3, contents, silent)
    assert done.objects + done.there == 4 and done.objects
    assert parts_left(wire) == [], "nothing half-sent is left to be billed"
    assert all(body(wire, p.name) == p.read_bytes() for p in tmp_path.iterdir())


def test_without_a_terminal_progress_is_told_in_lines(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lingotune.data.transfer._PAUSE", 0.0)
    (tmp_path / "large").write_bytes(bytes(20 << 20))
    told: list[str] = []
    upload(wire.s3, {uri("large"): tmp_path / "large"}, told.append)
    assert told[0] == f"upload {uri('large')} (20971520 bytes)"
    assert any(" of 21 MB, " in line and line.endswith(" s left") for line in told)


# --- prepared data, there and back ---------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sample = SampleConfig(train_rows=20, validation_rows=5, test_rows=5)
    labels = [
        LabelConfig("bad", ["1", "2"]),
        LabelConfig("fair", ["3"]),
        LabelConfig("good", ["4", "5"]),
    ]
    data = DataConfig("s", Source.sample, labels=labels, max_length=16, sample=sample)
    data.columns.stars, data.columns.language = "stars", "language"
    root = tmp_path_factory.mktemp("prepared")
    return prepare(data, ModelConfig("tiny", None), 1, root, silent)[0]


def there(wire: Wire, folder: Path) -> str:
    manifest = load_manifest(folder)
    names = ["tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"]
    names += [s["file"] for split in manifest["splits"].values() for s in split["shards"]]
    upload(wire.s3, {uri(name): folder / name for name in [*names, "manifest.json"]}, silent)
    return uri("").rstrip("/")


def test_what_comes_back_is_what_was_sent(wire: Wire, folder: Path, tmp_path: Path) -> None:
    prefix = there(wire, folder)
    fetched = download(wire.s3, prefix, tmp_path / "here", silent)
    assert fetched.objects == 5 and fetched.there == 0
    for split in ("train", "validation", "test"):
        ours, theirs = Store(tmp_path / "here").split(split), Store(folder).split(split)
        assert ours.digest() == theirs.digest()
    (tmp_path / "here" / "test-00000.parquet").write_bytes(b"damaged")
    again = download(wire.s3, prefix, tmp_path / "here", silent)
    assert (again.objects, again.there) == (1, 4)


def test_other_bytes_than_the_manifest_says_are_refused(
    wire: Wire, folder: Path, tmp_path: Path
) -> None:
    prefix = there(wire, folder)
    wire.s3.put_object(Bucket=BUCKET, Key="data/train-00000.parquet", Body=b"other")
    with pytest.raises(ConfigError, match="other bytes"):
        download(wire.s3, prefix, tmp_path / "here", silent)
    assert not (tmp_path / "here" / "manifest.json").exists()
    assert not (tmp_path / "here" / "train-00000.parquet").exists()


def test_a_prefix_without_a_manifest(wire: Wire, tmp_path: Path) -> None:
    wire.s3.put_object(Bucket=BUCKET, Key="data/train-00000.parquet", Body=b"x")
    with pytest.raises(ConfigError, match="holds no prepared data"):
        download(wire.s3, uri(""), tmp_path / "here", silent)
    wire.s3.put_object(Bucket=BUCKET, Key="data/manifest.json", Body=json.dumps({"format": 0}))
    with pytest.raises(ConfigError, match="format 0"):
        download(wire.s3, uri(""), tmp_path / "here", silent)
