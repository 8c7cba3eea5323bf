"""Files of another type than their name says are told, with what reads them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shlex
import subprocess
import zipfile
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from test_shapes import write_sheets

from lingotune.config.problems import ConfigError, Problem
from lingotune.data.sources.files import read_file

ROWS = [{"text": f"text {n}", "label": ("neg", "pos")[n % 2]} for n in range(9)]
CSV = "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS)
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problem(name: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        list(read_file(Path(name)))
    (only,) = caught.value.problems
    return only


COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


def write(kind: str, name: str) -> None:
    if kind in COMPRESS:
        Path(name).write_bytes(COMPRESS[kind](CSV.encode()))
    elif kind == "zip":
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("rows.csv", CSV)
    elif kind == "spreadsheet":
        write_sheets("s.xlsx", {"s": [["text", "label"], *(list(row.values()) for row in ROWS)]})
        with zipfile.ZipFile("s.xlsx") as book, zipfile.ZipFile(name, "w") as copy:
            copy.writestr("[Content_Types].xml", "<Types/>")  # Excel writes it first
            for entry in book.namelist():
                copy.writestr(entry, book.read(entry))
    elif kind == "Parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), name)
    else:
        Path(name).write_text(
            "".join(f'{{"text": "{r["text"]}", "label": "{r["label"]}"}}\n' for r in ROWS)
        )


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zip", "spreadsheet", "Parquet", "JSON"])
def test_the_command_that_is_offered_leads_to_the_rows(kind: str) -> None:
    write(kind, "my rows.csv")
    found = problem("my rows.csv")
    article = {"JSON": "", "xz": "an ", "Arrow": "an "}.get(kind, "a ")
    assert found.what.startswith(f"is {article}{kind}")
    command, _, rest = found.fix.partition(", ")
    assert rest == "and that file"
    subprocess.run(command, shell=True, check=True)
    copy = shlex.split(command)[2]
    assert [record for _, record in read_file(Path(copy))] == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.xlsx", "a.json"])
def test_a_pointer_of_git_lfs_is_no_data(name: str) -> None:
    Path(name).write_text(POINTER)
    what = "is a pointer of Git LFS, and not the file that it stands for"
    assert problem(name) == Problem(name, what, "git lfs pull")


def test_a_page_of_a_server_is_no_data() -> None:
    Path("a.csv").write_text("\n<!DOCTYPE html>\n<html><body>Not found</body></html>\n")
    assert problem("a.csv").what == "is an HTML page, such as a server sends with an error"
