"""Objects to an S3 on loopback and back: whole, once, encrypted and tagged as asked."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from conftest import ROOT
from loopback import moto_server, point_boto_at, ready_account
from results import manifest_of
from seaweed import KEYS, client, s3  # noqa: F401  a fixture
from waiting import PATIENCE, wait_until

from lingotune.config.problems import ConfigError
from lingotune.config.schema import DataConfig, LabelConfig, ModelConfig, SampleConfig, Source
from lingotune.data.loader.store import Store
from lingotune.data.prepared.manifest import load_manifest
from lingotune.data.prepared.prepare import prepare
from lingotune.data.transfer import download, upload

BUCKET = "example-bucket"
LARGE = 20 << 20


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


def test_a_file_that_has_changed_since_the_plan_is_not_sent(wire: Wire, tmp_path: Path) -> None:
    """Its place is named by the digest of what it was: others would take it for that."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"planned")
    planned = {uri("model"): hashlib.sha256(b"planned").hexdigest()}
    path.write_bytes(b"changed")
    with pytest.raises(ConfigError, match="was changed after it had been planned with"):
        upload(wire.s3, {uri("model"): path, uri("other"): b"x"}, silent, planned=planned)
    assert wire.sent() == []
    path.write_bytes(b"planned")
    upload(wire.s3, {uri("model"): path, uri("other"): b"x"}, silent, planned=planned)
    assert body(wire, "model") == b"planned"


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
    with pytest.raises(ConfigError, match="NoSuchBucket"):
        upload(wire.s3, {"s3://no-such-bucket/a": b"a", "s3://no-such-bucket/b": b"b"}, silent)
    assert "b" not in wire.sent()


SEND = """
import boto3, pathlib, sys, time
from lingotune.data.transfer import upload
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
s3 = boto3.client("s3", region_name="us-east-1")
def slow(**_):
    while not pathlib.Path(sys.argv[2]).exists():
        time.sleep(0.05)
    time.sleep(0.3)
s3.meta.events.register("before-send.s3.UploadPart", slow)
print("begun", flush=True)
upload(s3, {f"s3://example-bucket/data/{p.name}": p for p in files}, lambda line: None)
"""


def parts_left(wire: Wire) -> list[Any]:
    found: list[Any] = wire.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return found


@pytest.mark.parametrize(
    "how", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_an_upload_that_was_ended_is_finished_by_the_next(
    wire: Wire, tmp_path: Path, how: signal.Signals
) -> None:
    files, go_on = tmp_path / "files", tmp_path / "go_on"
    files.mkdir()
    for n in range(4):
        (files / str(n)).write_bytes(os.urandom(24 << 20))
    command = [sys.executable, "-c", SEND, str(files), str(go_on)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as sender:
        wait_until(lambda: parts_left(wire), lambda: sender.poll() is None)
        sender.send_signal(how)
        go_on.touch()
        assert sender.wait(PATIENCE) != 0
    if how is signal.SIGINT:
        assert parts_left(wire) == [], "aborted on the way out"
    contents: dict[str, bytes | Path] = {uri(p.name): p for p in sorted(files.iterdir())}
    done = upload(wire.s3, contents, silent)
    assert done.objects + done.there == 4 and done.objects
    assert parts_left(wire) == [], "nothing half-sent is left to be billed"
    assert all(body(wire, p.name) == p.read_bytes() for p in files.iterdir())


def test_without_a_terminal_progress_is_told_in_lines(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lingotune.data.transfer.progress.PAUSE", 0.0)
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
    names += [shard.file for split in manifest.splits.values() for shard in split.shards]
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


# --- what may go wrong ---------------------------------------------------------------------------


def prepared(wire: Wire, contents: dict[str, bytes]) -> str:
    """A prefix with these files and a manifest of them."""
    shards = [
        {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    ]
    manifest = manifest_of(shards)
    for name, content in [*contents.items(), ("manifest.json", json.dumps(manifest).encode())]:
        wire.s3.put_object(Bucket=BUCKET, Key=f"data/{name}", Body=content)
    return uri("")


class Broken:
    """A body that ends too early, each time."""

    def __init__(self) -> None:
        self.status, self.headers = 200, {}

    def stream(self, *_: Any, **__: Any) -> Any:
        yield b"x"

    def read(self, *_: Any, **__: Any) -> bytes:
        return b""

    def close(self) -> None: ...


def test_a_download_that_always_breaks_off_is_told(wire: Wire, tmp_path: Path) -> None:
    prefix = prepared(wire, {"a": b"a" * 1000})

    def broken(request: Any, **_: Any) -> AWSResponse | None:
        if request.method == "GET" and request.url.endswith("/data/a"):
            return AWSResponse(request.url, 200, {"Content-Length": "1000", "ETag": "x"}, Broken())
        return None

    wire.s3.meta.events.register("before-send.s3.GetObject", broken)
    with pytest.raises(ConfigError):
        download(wire.s3, prefix, tmp_path / "here", silent)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside-of-it", "a/../../outside"])
def test_nothing_is_written_outside_of_the_folder(wire: Wire, tmp_path: Path, name: str) -> None:
    prefix = prepared(wire, {name: b"evil"})
    with pytest.raises(ConfigError, match="outside"):
        download(wire.s3, prefix, tmp_path / "here", silent)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b'{"format": 2}',
        b"no json",
        b"\xff",
        b'{"format": 2, "tokenizer": {"files": []}, "splits": {"train": {"shards": [{"file": 1}]}}}',
    ],
)
def test_a_manifest_that_is_none_is_refused(wire: Wire, tmp_path: Path, content: bytes) -> None:
    wire.s3.put_object(Bucket=BUCKET, Key="data/manifest.json", Body=content)
    with pytest.raises(ConfigError):
        download(wire.s3, uri(""), tmp_path / "here", silent)


def test_a_folder_that_cannot_be_written(wire: Wire, tmp_path: Path) -> None:
    prefix = prepared(wire, {"a": b"a"})
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"):
        download(wire.s3, prefix, tmp_path / "file" / "here", silent)


def test_a_file_that_is_gone(wire: Wire, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone"):
        upload(wire.s3, {uri("a"): tmp_path / "gone"}, silent)


def test_no_manifest_while_a_folder_changes(wire: Wire, tmp_path: Path) -> None:
    here = tmp_path / "here"
    download(wire.s3, prepared(wire, {"a": b"old", "b": b"old"}), here, silent)
    prefix = prepared(wire, {"a": b"new", "b": b"new"})
    wire.s3.put_object(Bucket=BUCKET, Key="data/b", Body=b"bad")
    with pytest.raises(ConfigError, match="/b: is not what its manifest says"):
        download(wire.s3, prefix, here, silent)
    assert (here / "a").read_bytes() == b"new" and not (here / "manifest.json").exists()


def test_all_that_is_damaged_is_told_at_once_and_the_rest_is_kept(
    wire: Wire, tmp_path: Path
) -> None:
    prefix = prepared(wire, {name: name.encode() * 100 for name in "abcd"})
    for name in "ac":
        wire.s3.put_object(Bucket=BUCKET, Key=f"data/{name}", Body=b"X" * 100)
    with pytest.raises(ConfigError) as refused:
        download(wire.s3, prefix, tmp_path / "here", silent)
    assert len(refused.value.problems) == 2
    assert (tmp_path / "here" / "b").exists() and (tmp_path / "here" / "d").exists()


FETCH = """
import sys, time, boto3, pathlib
from lingotune.data.transfer import download
s3 = boto3.client("s3", region_name="us-east-1")
def slow(request, **_):
    if not request.url.endswith("manifest.json"): time.sleep(float(sys.argv[3]))
s3.meta.events.register("before-send.s3.GetObject", slow)
print("begun", flush=True)
download(s3, sys.argv[1], pathlib.Path(sys.argv[2]), lambda line: None)
"""


def test_an_interrupted_download_ends_soon_and_is_gone_on_with(wire: Wire, tmp_path: Path) -> None:
    contents = {f"{n:03}": os.urandom(1000) for n in range(80)}
    prefix = prepared(wire, contents)
    here = tmp_path / "here"
    command = [sys.executable, "-c", FETCH, prefix, str(here), "2"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as fetcher:
        wait_until((here / "005").exists, lambda: fetcher.poll() is None)
        fetcher.send_signal(signal.SIGINT)
        fetcher.communicate(timeout=PATIENCE)
    assert fetcher.returncode != 0 and not (here / "manifest.json").exists()
    had = len([name for name in contents if (here / name).exists()])
    assert had < 80, "it went on to the end"
    done = download(wire.s3, prefix, here, silent)
    assert done.there >= had > 0 and done.objects == 80 - done.there
    left = {p.name for p in here.iterdir() if not p.name.startswith(".lock")}
    assert left == {*contents, "manifest.json"}


def test_processes_that_fetch_the_same_folder_at_once(wire: Wire, tmp_path: Path) -> None:
    contents = {f"{n:03}": os.urandom(200_000) for n in range(12)}
    prefix = prepared(wire, contents)
    here = tmp_path / "here"
    command = [sys.executable, "-c", FETCH, prefix, str(here), "0.05"]
    started = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ends = [process.communicate(timeout=PATIENCE)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ends
    assert all((here / name).read_bytes() == content for name, content in contents.items())


def test_what_a_killed_upload_left_is_cleared_even_if_the_object_is_there(
    wire: Wire, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(LARGE))
    files: dict[str, bytes | Path] = {uri("large"): tmp_path / "large"}
    upload(wire.s3, files, silent)
    wire.s3.create_multipart_upload(Bucket=BUCKET, Key="data/large")
    wire.s3.create_multipart_upload(Bucket=BUCKET, Key="data/large2")
    upload(wire.s3, files, silent)
    assert [found["Key"] for found in parts_left(wire)] == ["data/large2"], "only our own"


def test_who_may_not_look_for_parts_is_warned(wire: Wire, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(LARGE))

    def refuse(request: Any, **_: Any) -> AWSResponse:
        text = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        raw = type("Raw", (), {"stream": lambda *_: iter([text]), "status": 403})()
        return AWSResponse(request.url, 403, {}, raw)

    wire.s3.meta.events.register("before-send.s3.ListMultipartUploads", refuse)
    told: list[str] = []
    upload(wire.s3, {uri("large"): tmp_path / "large"}, told.append)
    assert any("s3:ListBucketMultipartUploads" in line for line in told)


def test_key_and_tags_are_in_the_headers_on_the_wire(wire: Wire) -> None:
    sent: list[dict[str, str]] = []

    def note(request: Any, **_: Any) -> None:
        sent.append({name.lower(): str(value) for name, value in request.headers.items()})

    for operation in ("PutObject", "CreateMultipartUpload"):
        wire.s3.meta.events.register(f"before-send.s3.{operation}", note)
    contents: dict[str, bytes | Path] = {uri("large"): bytes(LARGE), uri("small"): b"small"}
    upload(wire.s3, contents, silent, kms_key="alias/mine", tags={"team": "nlp"})
    assert len(sent) == 2
    for headers, content in zip(sent, contents.values()):
        assert isinstance(content, bytes)
        assert "aws:kms" in headers["x-amz-server-side-encryption"]
        assert "alias/mine" in headers["x-amz-server-side-encryption-aws-kms-key-id"]
        assert "team=nlp" in headers["x-amz-tagging"]
        assert hashlib.sha256(content).hexdigest() in headers["x-amz-meta-sha256"]


def test_no_thread_is_left(wire: Wire, tmp_path: Path) -> None:
    upload(wire.s3, {uri("a"): b"a", uri("b"): b"b"}, silent)
    with pytest.raises(ConfigError, match="NoSuchBucket"):
        upload(wire.s3, {"s3://no-such-bucket/a": b"a", "s3://no-such-bucket/b": b"b"}, silent)
    assert not [t for t in threading.enumerate() if "ThreadPoolExecutor" in t.name]


@pytest.mark.slow
def test_refusals_name_the_permission(s3: str) -> None:  # noqa: F811
    for name in ("reader", "stranger"):
        with pytest.raises(ConfigError, match="AWS refused") as refused:
            upload(client(s3, *KEYS[name][:2]), {f"s3://{BUCKET}/data/a": b"a"}, silent)
        (problem,) = refused.value.problems
        assert problem.where == f"s3://{BUCKET}/data/a"
        assert {"reader": "s3:PutObject", "stranger": "s3:GetObject"}[name] in problem.fix


@pytest.mark.slow
def test_there_and_back_where_signatures_are_checked(s3: str, tmp_path: Path) -> None:  # noqa: F811
    owner = client(s3, *KEYS["owner"][:2])
    content = os.urandom(LARGE)
    shard = {"file": "a", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = manifest_of([shard])
    prefix = f"s3://{BUCKET}/data/"
    contents = {f"{prefix}a": content, f"{prefix}manifest.json": json.dumps(manifest).encode()}
    assert upload(owner, contents, silent, tags={"team": "nlp"}).objects == 2
    assert upload(owner, contents, silent, tags={"team": "nlp"}).objects == 0
    download(client(s3, *KEYS["reader"][:2]), prefix, tmp_path / "here", silent)
    assert (tmp_path / "here" / "a").read_bytes() == content
    with pytest.raises(ConfigError) as refused:
        download(client(s3, *KEYS["stranger"][:2]), prefix, tmp_path / "not", silent)
    assert "s3:GetObject" in refused.value.problems[0].fix


@pytest.mark.slow
def test_two_who_send_the_same_do_not_disturb_each_other(s3: str) -> None:  # noqa: F811
    """Where parts of an aborted upload are refused as S3 does; moto answers 500."""
    files: dict[str, bytes | Path] = {f"s3://{BUCKET}/data/large": os.urandom(LARGE)}
    slow, quick = (client(s3, *KEYS["owner"][:2]) for _ in range(2))
    begun, go = threading.Event(), threading.Event()

    def hold(**_: Any) -> None:
        begun.set()
        go.wait(PATIENCE)

    slow.meta.events.register("before-send.s3.UploadPart", hold)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(upload, slow, files, silent)
        assert begun.wait(PATIENCE)
        upload(quick, files, silent)
        assert "Uploads" not in quick.list_multipart_uploads(Bucket=BUCKET)
        go.set()
        assert first.result(PATIENCE).objects == 1
    assert "Uploads" not in quick.list_multipart_uploads(Bucket=BUCKET)
