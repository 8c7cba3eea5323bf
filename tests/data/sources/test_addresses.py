"""Addresses of sources that are refused before anything is asked, each with what works."""

from __future__ import annotations

import pytest

from lingotune.config.jobfile import job_of
from lingotune.config.schema import DataConfig, Source
from lingotune.data.sources.addresses import shown_address
from lingotune.data.sources.copies import copies_folder, place_of, shown_name
from lingotune.data.sources.patterns import setting_problems
from lingotune.preflight import check_secrets


def problems_of(path: str) -> list[tuple[str, str]]:
    data = DataConfig(name="x", source=Source.files, path=path)
    return [(problem.what, problem.fix) for problem in setting_problems(data)]


@pytest.mark.parametrize("path, what, fix", [
    ("gs://b/x.csv", "gs:// is not read",
     "gcloud storage cp -r gs://b/x.csv FOLDER, then data.path=FOLDER"),
    ("abfss://c@a.dfs.core.windows.net/x", "abfss:// is not read", "azcopy copy HTTPS-ADDRESS FOLDER"),
    ("ftp://h/d/x.csv", "ftp:// is not read", "curl -fo x.csv ftp://h/d/x.csv, then data.path=x.csv"),
    ("hdfs://n/x", "hdfs:// is not read", "hdfs dfs -get hdfs://n/x FOLDER"),
    ("odd://n/x", "odd:// is not read", "then data.path=FOLDER"),
    ("file:///a%20b/x.csv", "by their path", "'data.path=\"/a b/x.csv\"'"),
    ("s3a://b/x", "Hadoop", "'data.path=\"s3://b/x\"'"),
    ("S3://b/x", "small letters", "'data.path=\"s3://b/x\"'"),
    ("s3://", "no bucket", "data.path=s3://BUCKET/PREFIX/"),
    ("arn:aws:s3:::b/x.csv", "an ARN", "'data.path=\"s3://b/x.csv\"'"),
    ("http://example.com/x.csv", "not encrypted", "'data.path=\"https://example.com/x.csv\"'"),
    ("https:///x.csv", "no host", "data.path=https://HOST/FILE"),
    ("https://h/*.csv", "lists no files", "data.path=[https://HOST/A.csv"),
    ("https://github.com/o/r/blob/main/d/x.csv", "a page that shows the file",
     "'data.path=\"https://raw.githubusercontent.com/o/r/main/d/x.csv\"'"),
    ("https://huggingface.co/datasets/o/n/blob/main/x.csv", "a page that shows the file",
     "'data.path=\"https://huggingface.co/datasets/o/n/resolve/main/x.csv\"'"),
    ("https://huggingface.co/datasets/o/n/tree/main", "the page of a dataset",
     "data.path=hf://datasets/o/n/FILE"),
    ("https://gitlab.com/o/r/-/blob/main/x.csv", "a page that shows the file",
     "'data.path=\"https://gitlab.com/o/r/-/raw/main/x.csv\"'"),
    ("https://www.dropbox.com/s/1/x.csv?dl=0", "a page that shows the file",
     "'data.path=\"https://www.dropbox.com/s/1/x.csv?dl=1\"'"),
    ("https://eu-west-1.console.aws.amazon.com/s3/object/b?region=eu-west-1&prefix=d/x.csv",
     "AWS console", "'data.path=\"s3://b/d/x.csv\"'"),
])  # fmt: skip
def test_what_is_not_read_says_what_works(path: str, what: str, fix: str) -> None:
    ((found, offered),) = problems_of(path)
    assert what in found
    assert fix in offered


@pytest.mark.parametrize("path", [
    "s3://b/x.csv", "s3://b/d/*.parquet", "https://h/x.csv", "http://127.0.0.1:1/x.csv",
    "https://h/get?id=5", "reviews.csv", "C:/reviews.csv", "a:b.csv",
    "https://raw.githubusercontent.com/o/r/main/x.csv",
])  # fmt: skip
def test_what_is_read_is_let_through(path: str) -> None:
    assert path.startswith("C:") or problems_of(path) == []


_SIGNATURE = "8a3f0c1d2b4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"


@pytest.mark.parametrize("address, fix", [
    (f"https://b.s3.eu-west-1.amazonaws.com/d/x%20y.csv?X-Amz-Signature={_SIGNATURE}",
     "'data.path=\"s3://b/d/x y.csv\"', with AWS credentials that may read it"),
    (f"https://a.blob.core.windows.net/c/x.csv?sv=2024&sig={_SIGNATURE}", "curl -fLo x.csv ADDRESS"),
    (f"https://h/x.csv?token={_SIGNATURE}", "curl -fLo x.csv ADDRESS, then data.path=x.csv"),
    (f"https://user:{_SIGNATURE}@h/x.csv", "curl -fLo x.csv ADDRESS"),
    (f"https://{_SIGNATURE}@h/x.csv", "curl -fLo x.csv ADDRESS"),
])  # fmt: skip
def test_an_address_with_a_secret_is_refused_and_never_shown(address: str, fix: str) -> None:
    from conftest import compose

    config = compose("data=files", "data.path=reviews.csv")
    config.data.path = address
    (problem,) = check_secrets(config)
    assert "holds a password, a key or a signature" in problem.what
    assert fix in problem.fix
    assert _SIGNATURE not in f"{problem}"
    assert _SIGNATURE not in shown_address(address)
    assert problems_of(address) == []  # told once
    assert job_of(config).data.path == address


@pytest.mark.parametrize(
    "parts", [("b", "a", "x.csv"), ("b", "", "..", ".", "50%2F", "a%.csv"), ("b", "ä b", "x\0.csv")]
)
def test_a_copy_tells_its_address(parts: tuple[str, ...]) -> None:
    place = place_of("s3", parts)
    assert ".." not in place.parts
    assert shown_name(copies_folder() / "0" / place) == "s3://" + "/".join(parts)
