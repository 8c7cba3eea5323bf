"""Sources in S3: which objects a pattern names, fetched once, whole, and anew where they have changed."""

from __future__ import annotations

import errno
import glob
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import ROOT
from loopback import Front, Reply, moto_server, refusal, s3_in_front
from waiting import PATIENCE, wait_until

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, Source
from lingotune.data.prepared.manifest import identify
from lingotune.data.sources.copies import copies_folder, shown_name
from lingotune.data.sources.files import read_files
from lingotune.data.sources.patterns import local_parts, not_here
from lingotune.data.transfer import fetch_sources, look_for_sources
from lingotune.data.transfer.s3_sources import matches

BUCKET = "example-bucket"
ROWS = b'{"text": "good", "label": "a"}\n{"text": "bad", "label": "b"}\n'


@pytest.fixture(scope="module")
def moto() -> Iterator[tuple[str, int]]:
    with moto_server() as upstream:
        yield upstream


@pytest.fixture
def front(
    moto: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Front]:
    with s3_in_front(moto, tmp_path, monkeypatch, BUCKET) as found:
        yield found


def put(key: str, body: bytes = ROWS, **more: Any) -> Any:
    return boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body, **more)


def data_of(path: str | list[str] | None, **more: Any) -> DataConfig:
    columns = ColumnsConfig(text="text", stars=None, label="label", language=None)
    labels = [LabelConfig("a", []), LabelConfig("b", [])]
    return DataConfig(
        name="x", source=Source.files, path=path, columns=columns, labels=labels, **more
    )


def fetched(path: str | list[str] | None, **more: Any) -> dict[str, list[str]]:
    """Split -> the files that it is read from, as messages call them."""
    data = data_of(path, **more)
    fetch_sources(data, lambda line: None)
    found: dict[str, list[str]] = {}
    for part in local_parts(data):
        assert list(read_files(part.files))
        found.setdefault(part.split, []).extend(map(shown_name, part.files))
    return found


def problems_of(path: str | list[str], **more: Any) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        fetched(path, **more)
    return caught.value.problems


def _get(key: str) -> str:
    return f"GET /{BUCKET}/{key}"


def s3(key: str) -> str:
    return f"s3://{BUCKET}/{key}"


# --- which objects ------------------------------------------------------------------------------


def test_an_object_a_pattern_a_prefix_and_a_list(front: Front) -> None:
    for key in ("a/one.jsonl", "a/two.csv.gz", "a/deep/three.jsonl", "b/four.jsonl"):
        put(key, gzip.compress(b"text,label\ngood,a\n") if key.endswith(".gz") else ROWS)
    put("a/", b"")
    put("a/notes.md")
    put("a/deep_$folder$", b"")
    both = [s3("a/one.jsonl"), s3("a/two.csv.gz")]
    assert fetched(s3("a/one.jsonl")) == {"all": both[:1]}
    assert fetched(s3("a/")) == fetched(s3("a")) == {"all": both}
    assert fetched(s3("?/*.jsonl")) == {"all": [s3("a/one.jsonl"), s3("b/four.jsonl")]}
    assert fetched(s3("a/**/*.jsonl")) == {"all": [s3("a/deep/three.jsonl"), s3("a/one.jsonl")]}
    assert fetched([s3("a/one.jsonl"), s3("b")]) == {"all": [s3("a/one.jsonl"), s3("b/four.jsonl")]}
    assert fetched(None, train=s3("a/one.jsonl"), test=s3("b/*")) == {
        "train": [s3("a/one.jsonl")],
        "test": [s3("b/four.jsonl")],
    }
    with_languages = fetched(s3("{language}/*.jsonl"), languages=["a", "b"])
    assert with_languages == {"all": [s3("a/one.jsonl"), s3("b/four.jsonl")]}


def test_files_called_after_splits_make_them_as_files_of_this_machine_do(front: Front) -> None:
    for key in ("train-data/train/x.jsonl", "train-data/test/x.jsonl"):
        put(key)
    assert fetched(s3("train-data/")) == {
        "train": [s3("train-data/train/x.jsonl")],
        "test": [s3("train-data/test/x.jsonl")],
    }
    put("c/train.jsonl")
    put("c/train-test.jsonl")
    (problem,) = problems_of(s3("c/*"))
    assert "which split is which is not plain" in problem.what
    assert s3("c/train.jsonl") in problem.fix


def test_texts_in_a_folder_for_each_class(front: Front) -> None:
    put("texts/a/1.txt", b"good")
    put("texts/b/1.txt", b"bad")
    data = data_of(s3("texts/"))
    fetch_sources(data, lambda line: None)
    (part,) = local_parts(data)
    assert [file.parent.name for file in part.files] == ["a", "b"]


def test_keys_that_are_no_paths(front: Front) -> None:
    for key in ("odd/ä ö (1).jsonl", "odd/a//b.jsonl", "odd/../up.jsonl", "odd/[x].jsonl",
                "odd/50%25.jsonl"):  # fmt: skip
        put(key)
        assert fetched(s3(key)) == {"all": [s3(key)]}
    outside = [p for p in copies_folder().parent.rglob("*.jsonl") if ".." in p.parts]
    assert not outside


def test_a_version_by_its_id(front: Front) -> None:
    client = boto3.client("s3")
    enabled = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=enabled)
    old = put("v.jsonl")["VersionId"]
    put("v.jsonl", ROWS * 2)
    data = data_of([s3("v.jsonl"), f"{s3('v.jsonl')}?versionId={old}"])
    fetch_sources(data, lambda line: None)
    (part,) = local_parts(data)
    assert [len(list(read_files([file]))) for file in part.files] == [4, 2]
    (problem,) = problems_of(f"{s3('v.jsonl')}?versionId=nosuchversion")
    assert problem.fix.endswith("for its newest version")


def test_objects_that_are_packed_otherwise_than_they_are_called(front: Front) -> None:
    put("p/a.jsonl.gz", gzip.compress(ROWS), ContentEncoding="gzip")
    put("p/b.jsonl", gzip.compress(ROWS), ContentEncoding="gzip")
    put("p/c.jsonl.gz", gzip.compress(gzip.compress(ROWS)), ContentEncoding="gzip")
    put("p/d.jsonl.gz", ROWS)
    data = data_of(s3("p/"))
    fetch_sources(data, lambda line: None)
    (part,) = local_parts(data)
    assert len(list(read_files(part.files))) == 8
    put("q/cut.jsonl", gzip.compress(ROWS)[:-9], ContentEncoding="gzip")
    (problem,) = problems_of(s3("q/cut.jsonl"))
    assert "cannot be unpacked" in problem.what


def test_more_objects_than_a_page_of_a_listing(front: Front) -> None:
    pages = [
        _page([f"m/{n:04}.jsonl" for n in range(start, start + 2)], more=start < 4)
        for start in range(0, 6, 2)
    ]
    front.tell("ListObjectsV2", *pages)
    for n in range(6):
        put(f"m/{n:04}.jsonl")
    assert len(fetched(s3("m/*.jsonl"))["all"]) == 6


def _page(keys: list[str], *, more: bool) -> Reply:
    etag = f'"{hashlib.md5(ROWS).hexdigest()}"'
    contents = "".join(
        f"<Contents><Key>{key}</Key><ETag>{etag}</ETag><Size>{len(ROWS)}</Size></Contents>"
        for key in keys
    )
    token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if more else ""
    return Reply(
        "<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
    )


@pytest.mark.parametrize("pattern, key, found", [
    ("a/*.csv", "a/x.csv", True), ("a/*.csv", "a/b/x.csv", False), ("a/**/*.csv", "a/x.csv", True),
    ("a/**/*.csv", "a/b/c/x.csv", True), ("a/**", "a/b/c", True), ("a/*", "a/.x.csv", False),
    ("**/*.csv", ".git/x.csv", False), ("a/[ab].csv", "a/b.csv", True), ("a/?.csv", "a/é.csv", True),
])  # fmt: skip
def test_globs_are_those_of_paths(pattern: str, key: str, found: bool, tmp_path: Path) -> None:
    assert matches(key, pattern) is found
    (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / key).touch()
    named = glob.glob(str(tmp_path / pattern), recursive=True)  # noqa: PTH207 - as find_files
    assert (str(tmp_path / key) in named) is found


# --- once, and anew -----------------------------------------------------------------------------


def test_what_is_unchanged_is_not_fetched_again_and_a_change_prepares_anew(front: Front) -> None:
    put("r/a.jsonl")
    put("r/b.jsonl")
    data = data_of(s3("r/"))
    told: list[str] = []
    fetch_sources(data, told.append)
    first = identify(data, 1, "t")
    assert told == [f"fetch {s3('r/')}: 2 of 2 objects, {2 * len(ROWS)} bytes"]
    front.calls.clear()
    fetch_sources(data, told.append)
    assert len(told) == 1
    assert set(front.operations()) == {"ListObjectsV2"}
    assert identify(data, 1, "t") == first
    put("r/b.jsonl", ROWS * 2)
    front.calls.clear()
    fetch_sources(data, told.append)
    assert told[1:] == [f"fetch {s3('r/')}: 1 of 2 objects, {2 * len(ROWS)} bytes"]
    assert [o for o in front.operations() if o.startswith("GET")] == [_get("r/b.jsonl")]
    assert identify(data, 1, "t").digest != first.digest
    assert {file.sha256 for file in first.source.files}


def test_a_copy_that_somebody_has_changed_is_told(front: Front) -> None:
    put("r/a.jsonl")
    data = data_of(s3("r/a.jsonl"))
    fetch_sources(data, lambda line: None)
    ((file,),) = (part.files for part in local_parts(data))
    file.write_bytes(ROWS.replace(b"good", b"evil"))
    with pytest.raises(ConfigError) as caught:
        identify(data, 1, "t")
    (problem,) = caught.value.problems
    assert problem.where == s3("r/a.jsonl")
    assert problem.fix == f"rm {file}, then the same command: it is fetched anew"
    file.unlink()
    assert not_here(data) == [s3("r/a.jsonl")]
    fetch_sources(data, lambda line: None)
    identify(data, 1, "t")
    assert file.read_bytes() == ROWS


def test_an_object_that_is_replaced_while_it_is_fetched(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = put("r/a.jsonl")["ETag"]
    asked: list[str] = []
    client = boto3.client("s3")
    client.meta.events.register(
        "before-call.s3.GetObject",
        lambda params, **_: asked.append(params["headers"]["If-Match"]),
    )
    monkeypatch.setattr(boto3, "client", lambda name: client)
    front.tell(_get("r/a.jsonl"), refusal("PreconditionFailed", status=412))
    (problem,) = problems_of(s3("r/*.jsonl"))
    assert asked == [etag]
    assert problem.what == "was replaced while it was fetched"
    assert problem.fix == "the same command once more"
    assert _left_behind() == []


def _left_behind() -> list[Path]:
    """What a fetch that failed has left, beside the locks."""
    return [p for p in copies_folder().rglob("*") if p.is_file() and p.name != ".lock"]


def test_a_full_disk_leaves_nothing_half_and_names_another_place(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("r/a.jsonl")
    from lingotune.data.transfer import sources

    with monkeypatch.context() as patched:
        patched.setattr(
            sources.shutil, "disk_usage", lambda path: sources.shutil._ntuple_diskusage(9, 9, 9)
        )
        (problem,) = problems_of(s3("r/a.jsonl"))
        assert "has room for 0 MB" in problem.what
    from s3transfer.utils import OSUtils

    def full(self: OSUtils, *args: Any, **more: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(OSUtils, "allocate", full)
        patched.setattr(OSUtils, "rename_file", full)
        (problem,) = problems_of(s3("r/a.jsonl"))
    assert "No space left on device" in problem.what
    assert problem.fix.startswith("LINGOTUNE_CACHE=FOLDER before the command")
    assert _left_behind() == []
    assert fetched(s3("r/a.jsonl")) == {"all": [s3("r/a.jsonl")]}


def test_processes_that_fetch_the_same_at_once(front: Front) -> None:
    for n in range(5):
        put(f"r/{n}.jsonl")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetched(s3("r/")), range(4)))
    assert found == [{"all": [s3(f"r/{n}.jsonl") for n in range(5)]}] * 4
    assert len([o for o in front.operations() if o.startswith("GET")]) == 5


_FETCH = """
import sys
from lingotune.config.schema import DataConfig, Source
from lingotune.data.transfer import fetch_sources
fetch_sources(DataConfig(name="x", source=Source.files, path=sys.argv[1]), print)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_fetch_that_is_ended_leaves_nothing_half(front: Front, number: int) -> None:
    put("r/a.jsonl")
    put("r/b.jsonl")
    begun: list[float] = []

    def slow(call: Any) -> Any:
        begun.append(time.monotonic())
        time.sleep(1.5)
        return refusal("SlowDown", status=503)

    front.tell(_get("r/a.jsonl"), slow)
    path = {"PYTHONPATH": str(ROOT / "src")}
    child = subprocess.Popen(
        [sys.executable, "-c", _FETCH, s3("r/")],
        env={**os.environ, **path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: bool(begun), lambda: child.poll() is None)
    child.send_signal(number)
    child.communicate(timeout=PATIENCE)
    assert child.returncode
    assert not [p for p in _left_behind() if ".incoming" not in p.parts]
    front.answers.clear()
    assert fetched(s3("r/")) == {"all": [s3("r/a.jsonl"), s3("r/b.jsonl")]}
    assert not [p for p in _left_behind() if ".incoming" in p.parts]


# --- what AWS says ------------------------------------------------------------------------------


def test_what_is_not_there_is_told_with_what_is(front: Front) -> None:
    put("reviews/train.jsonl")
    put("empty/", b"")
    cases = {
        s3("revews/trein.jsonl"): (
            "no such object",
            f"'data.path=\"{s3('reviews/train.jsonl')}\"'",
        ),
        s3("revews/other"): ("no such object", f"'data.path=\"{s3('reviews/')}\"'"),
        s3("reviews/trian.jsonl"): (
            "no such object",
            f"'data.path=\"{s3('reviews/train.jsonl')}\"'",
        ),
        s3("reviews/*.csv"): ("no object matches", f"{s3('reviews/')} holds: train.jsonl"),
        s3(""): ("no data files", f"'data.path=\"{s3('**/*.jsonl')}\"'"),
        "s3://exampel-bucket/x": ("NoSuchBucket", "'data.path=\"s3://example-bucket/x\"'"),
    }
    for path, (what, fix) in cases.items():
        (problem,) = problems_of(path)
        assert problem.where == f"data.path={path}"
        assert what in problem.what
        assert problem.fix == fix
    (problem,) = problems_of(s3("empty/"))
    assert s3("empty/") not in problem.fix
    assert len(problems_of([s3("x.csv"), s3("y.csv")])) == 2


def test_refusals_name_what_helps(front: Front) -> None:
    put("a.jsonl")
    denied = refusal("AccessDenied", status=403)
    front.tell(f"HEAD /{BUCKET}/a.jsonl", denied)
    front.tell("ListObjectsV2", denied)
    (problem,) = problems_of(s3("a.jsonl"))
    assert "s3:ListBucket on example-bucket and s3:GetObject" in problem.fix
    away = refusal("PermanentRedirect", status=301, x_amz_bucket_region="eu-west-1")
    front.tell("ListObjectsV2", away)
    (problem,) = problems_of(s3("*.jsonl"))
    assert problem.fix == "AWS_DEFAULT_REGION=eu-west-1 before the command"


def test_who_may_read_an_object_need_not_list_its_bucket(front: Front) -> None:
    put("a.jsonl")
    front.tell("ListObjectsV2", refusal("AccessDenied", status=403))
    assert fetched(s3("a.jsonl")) == {"all": [s3("a.jsonl")]}


def test_without_credentials(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    (problem,) = problems_of(s3("a.jsonl"))
    assert "Unable to locate credentials" in problem.what
    assert problem.fix.startswith("aws configure")


def test_a_look_fetches_nothing(front: Front) -> None:
    put("r/a.jsonl")
    data = data_of([s3("r/"), s3("nothing.csv")])
    seen, problems = look_for_sources(data)
    assert [(one.key, one.files, one.bytes, one.is_here) for one in seen] == [
        ("data.path", 1, len(ROWS), False)
    ]
    assert [problem.where for problem in problems] == [f"data.path={s3('nothing.csv')}"]
    assert not [o for o in front.operations() if o.startswith("GET")]
    fetched(s3("r/"))
    assert look_for_sources(data)[0][0].is_here
    put("r/b.jsonl")
    assert not look_for_sources(data)[0][0].is_here


def test_a_record_of_a_copy_names_no_address(front: Front) -> None:
    put("r/a.jsonl")
    fetched(s3("r/"))
    (record,) = copies_folder().glob("*.json")
    assert json.loads(record.read_bytes()).keys() == {"fetched", "files"}
