"""Every reader gives the same rows, and names file and line of what it cannot read."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet
from waiting import PATIENCE

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Quoting, Separator
from lingotune.data.rows.findings import Findings, summarise
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.files import find_files, read_file, read_files
from lingotune.data.sources.hub_reader import read_hub

ROWS = [
    {"review_body": "Très bien", "stars": "5", "language": "fr"},
    {"review_body": 'says "hm", and\nleaves', "stars": "3", "language": "en"},
    {"review_body": "最高\u2028です", "stars": "1", "language": "ja"},
    {"review_body": "NA", "stars": "2", "language": "en"},
    {"review_body": "null", "stars": "4", "language": "de"},
    {"review_body": "007", "stars": "4", "language": "de"},
]
JSON_LINE = 'one object a line: {"review_body": "...", "stars": 5}'
SKIP = "data.on_error=skip"
JSON_LIST = 'one list of objects: [{"review_body": "...", "stars": 5}, ...]'
RAGGED = (
    'data.on_error=skip, or texts with commas, quotes or line ends in "...", quotes in them doubled'
)
AGAIN = "write, copy or download it again"
KNOWN = (
    ".jsonl .ndjson .json .csv .tsv .parquet .arrow .feather .xlsx .xls .ods, the text ones also as .gz,"
    " .bz2, .xz or .zip, a save_to_disk folder, or a folder of .txt files for each class"
)
LOCAL = "local files in its place: data=files data.path=reviews.jsonl"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_jsonl(path: Path, rows: list[dict[str, Any]] = ROWS) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


def write_json(path: Path) -> None:
    path.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")


def write_wrapped(path: Path) -> None:
    path.write_text(json.dumps({"version": 1, "data": ROWS}), encoding="utf-8")


def write_delimited(path: Path) -> None:
    delimiter = "\t" if ".tsv" in path.name else ","
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def write_parquet(path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=2)


def write_arrow_stream(path: Path) -> None:
    table = pyarrow.Table.from_pylist(ROWS)
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table, max_chunksize=2)


def write_arrow_file(path: Path) -> None:
    feather.write_feather(pyarrow.Table.from_pylist(ROWS), str(path), compression="uncompressed")


def write_folder(path: Path) -> None:
    """As `datasets.Dataset.save_to_disk` does; the library itself is tried in a slower test."""
    path.mkdir()
    write_arrow_stream(path / "data-00000-of-00001.arrow")
    write_arrow_stream(path / "cache-0123456789abcdef.arrow")
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": None}
    (path / "state.json").write_text(json.dumps(state))
    (path / "dataset_info.json").write_text("{}")


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def zipped(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def write_zipped(path: Path) -> None:
        plain = path.with_suffix("")
        write(plain)
        path.write_bytes(COMPRESS[path.suffix](plain.read_bytes()))
        plain.unlink()

    return write_zipped


FORMATS: dict[str, Callable[[Path], None]] = {
    "reviews.jsonl": write_jsonl,
    "reviews.ndjson": write_jsonl,
    "REVIEWS.JSONL": write_jsonl,
    "reviews.json": write_json,
    "wrapped.json": write_wrapped,
    "lines.json": write_jsonl,
    "reviews.csv": write_delimited,
    "reviews.tsv": write_delimited,
    "reviews.parquet": write_parquet,
    "stream.arrow": write_arrow_stream,
    "file.arrow": write_arrow_file,
    "saved": write_folder,
    "reviews.jsonl.gz": zipped(write_jsonl),
    "reviews.json.gz": zipped(write_json),
    "reviews.csv.gz": zipped(write_delimited),
    "reviews.tsv.gz": zipped(write_delimited),
    "reviews.csv.bz2": zipped(write_delimited),
    "Reviews.jsonl.xz": zipped(write_jsonl),
}


def records(pattern: str) -> list[dict[str, Any]]:
    return [record for _, record in read_files(find_files(pattern, "data.path"))]


def problems(pattern: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        records(pattern)
    return caught.value.problems


def problem(pattern: str) -> Problem:
    (only,) = problems(pattern)
    return only


# --- what can be read ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(name: str) -> None:
    FORMATS[name](Path(name))
    assert records(name) == ROWS


def test_what_datasets_saves_is_read() -> None:
    code = (
        "import json, sys; from datasets import Dataset, ClassLabel;"
        "rows = json.load(sys.stdin); d = Dataset.from_list(rows);"
        "d = d.add_column('label', [0, 1, 1, 0, 0, 1]);"
        "d = d.cast_column('label', ClassLabel(names=['bad', 'good']));"
        "d.select([5, 4, 3]).save_to_disk('some'); d.to_parquet('all.parquet');"
        "d.save_to_disk('two', num_shards=2)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": "home"}
    subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(ROWS).encode(), check=True, env=environment
    )
    names = ["bad", "good", "good", "bad", "bad", "good"]
    labelled = [{**row, "label": name} for row, name in zip(ROWS, names)]
    assert records("two") == labelled
    assert records("all.parquet") == labelled, "numbers of named classes are given by name"
    assert records("some") == labelled[:2:-1]


def test_a_glob_a_folder_and_a_deep_glob_name_several_files() -> None:
    Path("in/deep").mkdir(parents=True)
    for name in ("in/b.jsonl", "in/a.csv", "in/deep/c.parquet"):
        FORMATS["reviews" + Path(name).suffix](Path(name))
    Path("in/notes.txt").write_text("no data")
    assert [f.name for f in find_files("in", "data.path")] == ["a.csv", "b.jsonl"]
    assert [f.name for f in find_files("in/*.jsonl", "data.path")] == ["b.jsonl"]
    assert [f.name for f in find_files("in/**/*.[cjp]*", "data.path")] == [
        "a.csv",
        "b.jsonl",
        "c.parquet",
    ]
    assert records("in") == ROWS * 2


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern() -> None:
    write_jsonl(Path("a[1].jsonl"))
    assert records("a[1].jsonl") == ROWS


def test_locations_are_the_lines_on_which_rows_start() -> None:
    write_delimited(Path("r.csv"))
    write_jsonl(Path("r.jsonl"))
    write_json(Path("r.json"))
    write_parquet(Path("r.parquet"))
    places = {path.name: [where for where, _ in read_file(path)] for path in Path().iterdir()}
    assert places["r.csv"][:3] == ["r.csv:2", "r.csv:3", "r.csv:5"]
    assert places["r.jsonl"][:3] == ["r.jsonl:1", "r.jsonl:2", "r.jsonl:3"]
    assert places["r.json"][:3] == ["r.json:2", "r.json:7", "r.json:12"]
    assert places["r.parquet"][:3] == ["r.parquet row 1", "r.parquet row 2", "r.parquet row 3"]


def test_byte_order_mark_blank_lines_and_windows_line_ends_are_no_content() -> None:
    Path("b.jsonl").write_bytes(b'\xef\xbb\xbf{"a": "x"}\r\n\r\n{"a": "y"}')
    Path("b.csv").write_bytes(b"\xef\xbb\xbfa,b\r\nx,1\r\n\r\ny,2\r\n")
    assert records("b.jsonl") == [{"a": "x"}, {"a": "y"}]
    assert records("b.csv") == [{"a": "x", "b": "1"}, {"a": "y", "b": "2"}]


def test_texts_longer_than_the_csv_modules_limit_are_read() -> None:
    Path("long.csv").write_text("a,b\n" + "x" * 200_000 + ",1\n")
    assert len(records("long.csv")[0]["a"]) == 200_000


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.fixed_dictionaries({"a": TEXTS, "b": TEXTS}), min_size=1, max_size=8))
@settings(max_examples=40)
def test_any_texts_survive_every_text_format(rows: list[dict[str, str]]) -> None:
    write_jsonl(Path("any.jsonl"), rows)
    Path("any.json").write_text(json.dumps(rows), encoding="utf-8")
    with Path("any.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["a", "b"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    parquet.write_table(pyarrow.Table.from_pylist(rows), "any.parquet")
    for name in ("any.jsonl", "any.json", "any.parquet"):
        assert records(name) == rows, name
    standard = FileFormat(quoting=Quoting.standard)
    assert [row for _, row in read_file(Path("any.csv"), how=standard)] == rows
    try:
        assert records("any.csv") == rows
    except ConfigError as error:  # lines of a text may look like rows; never is it read otherwise
        assert all("data.quoting=standard" in problem.fix for problem in error.problems[:1])


@pytest.mark.parametrize(
    "rows", [[(",\n", "")], [(",\n", "")] * 3, [("0,0\n0", "0")], [("x", "["), ("y,9\n", "[")]]
)
def test_lines_of_a_text_are_no_rows_where_too_little_shows_what_rows_look_like(
    rows: list[tuple[str, str]],
) -> None:
    with Path("a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])
    assert records("a.csv") == [{"a": a, "b": b} for a, b in rows]


@given(st.binary(max_size=60), st.sampled_from([".jsonl", ".json", ".csv", ".parquet", ".arrow"]))
@settings(max_examples=100)
def test_any_bytes_are_read_or_explained(content: bytes, ending: str) -> None:
    path = Path("any" + ending)
    path.write_bytes(content)
    try:
        records(str(path))
    except ConfigError as error:
        assert all(p.where and p.what for p in error.problems)


@pytest.mark.parametrize(
    "name", ["reviews.parquet", "reviews.jsonl.gz", "reviews.csv.bz2", "Reviews.jsonl.xz"]
)
def test_a_file_cut_anywhere_is_never_read_as_whole(name: str) -> None:
    FORMATS[name](Path(name))
    content = Path(name).read_bytes()
    for length in range(0, len(content), max(1, len(content) // 50)):
        Path(name).write_bytes(content[:length])
        assert problems(name)


# --- what cannot --------------------------------------------------------------------------------


def test_missing_file_names_the_nearest() -> None:
    write_jsonl(Path("reviews.jsonl"))
    assert problem("revews.jsonl") == Problem(
        "data.path=revews.jsonl",
        "there is no such file or folder",
        "data.path=reviews.jsonl",
    )
    assert problem("other/x.csv").fix == ". holds: reviews.jsonl"


def test_what_is_offered_can_be_pasted() -> None:
    write_jsonl(Path("my reviews.jsonl"))
    assert problem("my revews.jsonl").fix == """'data.path="my reviews.jsonl"'"""
    Path("a folder/deep").mkdir(parents=True)
    write_jsonl(Path("a folder/deep/a.jsonl"))
    assert problem("a folder").fix == """'data.path="a folder/**/*.jsonl"'"""


def test_empty_glob() -> None:
    write_jsonl(Path("reviews.jsonl"))
    assert problem("*.csv") == Problem(
        "data.path=*.csv", "no file matches the pattern", ". holds: reviews.jsonl"
    )


def test_folder_without_data() -> None:
    Path("in/deep").mkdir(parents=True)
    Path("in/notes.txt").touch()
    expected = Problem("in", "the folder holds no data files; it has: deep, notes.txt", KNOWN)
    assert problem("in") == expected
    write_jsonl(Path("in/deep/a.jsonl"))
    assert problem("in").fix == "'data.path=in/**/*.jsonl'"


def test_unknown_ending() -> None:
    for name in ("r.docx", "r.txt", "r.parquet.gz"):
        Path(name).touch()
        ending = name[1:]
        assert problem(name) == Problem(name, f"unknown file type {ending!r}", KNOWN)


@pytest.mark.parametrize("name", ["e.jsonl", "e.json", "e.csv", "e.tsv"])
def test_empty_file(name: str) -> None:
    Path(name).touch()
    assert problem(name) == Problem(name, "is empty (0 bytes)", "a file with rows")
    Path(name).write_text("\n \n" if "j" in name else "a,b\n" if "c" in name else "a\tb\n")
    assert problem(name) == Problem(name, "has no rows", "a file with rows")


def test_not_utf8_names_line_and_offset() -> None:
    latin1 = '{"a": "café"}\n'.encode("latin1")
    Path("l.jsonl").write_bytes(b'{"a": "x"}\n' + latin1 + '{"a": "é"}\n'.encode() + latin1)
    assert problem("l.jsonl") == Problem(
        "l.jsonl:2, :4",
        "is not UTF-8: byte 0xe9 at offset 21",
        "data.on_error=skip",
    )


def test_bad_json_lines_are_counted_by_kind() -> None:
    lines = ['{"a": 1}', '{"a": 1', "[1]", "x", '{"a": 2}', '{"a"', "y", "z"]
    Path("b.jsonl").write_text("\n".join(lines))
    assert problems("b.jsonl") == [
        Problem(
            "b.jsonl:2, :4, :6 and 2 more",
            "is not JSON: Expecting ',' delimiter at column 8",
            f"{SKIP}, or {JSON_LINE}",
        ),
        Problem("b.jsonl:3", "is a JSON list, not an object", f"{SKIP}, or {JSON_LINE}"),
    ]


def test_bad_json_list() -> None:
    Path("b.json").write_text('[\n {"a": 1},\n 7,\n {"a": ]')
    assert problems("b.json") == [
        Problem("b.json:3", "is a JSON number, not an object", f"{SKIP}, or {JSON_LIST}"),
        Problem("b.json:4", "is not JSON: Expecting value at column 8", JSON_LIST),
    ]
    Path("b.json").write_text('[{"a": 1} {"a": 2}]')
    assert problem("b.json").what == "is not JSON: Expecting ',' or ']' at column 11"
    Path("b.json").write_text('{"a": {"0": 1}, "b": [{"0": 2}], "c": [{}]}')
    assert problem("b.json") == Problem("b.json", "is one JSON object with: a, b, c", JSON_LIST)


def test_ragged_csv() -> None:
    Path("r.csv").write_text('a,b\nx,1\ny\nz,1,2\n"p\nq",2\nw\n')
    assert problems("r.csv") == [
        Problem("r.csv:3, :7", "has too few fields: 1, and the header 2", RAGGED),
        Problem("r.csv:4", "has too many fields: 3, and the header 2", RAGGED),
    ]


def test_unbalanced_quote() -> None:
    Path("q.csv").write_text('a,b\nx,1\n"y,2\nz,3\n')
    what = "the row that starts here has a quote that is never closed"
    fix = "data.quoting=none, or data.on_error=skip"
    assert problem("q.csv") == Problem("q.csv:3", what, fix)


def test_csv_headers() -> None:
    Path("t.csv").write_text("a,b,a\n1,2,3\n")
    assert problem("t.csv").what == "the header names a column twice: 'a'"
    Path("s.csv").write_text("a;b\n1;2\n")
    with pytest.raises(ConfigError) as caught:
        list(read_file(Path("s.csv"), how=FileFormat(separator=Separator.comma)))
    assert caught.value.problems == [
        Problem(
            "s.csv:1",
            "the header is one column, 'a;b': ';' looks like the separator",
            "data.separator=semicolon",
        )
    ]


def test_truncated_parquet() -> None:
    write_parquet(Path("t.parquet"))
    content = Path("t.parquet").read_bytes()
    Path("t.parquet").write_bytes(content[: len(content) // 2])
    found = problem("t.parquet")
    assert (found.where, found.fix) == ("t.parquet", AGAIN)
    assert found.what.startswith("is not a whole Parquet file: Parquet magic bytes not found")


def test_arrow_folder_without_its_files() -> None:
    write_folder(Path("saved"))
    Path("saved/data-00000-of-00001.arrow").unlink()
    what = "the Arrow folder lacks data-00000-of-00001.arrow"
    assert problem("saved") == Problem("saved", what, AGAIN)
    Path("saved/state.json").write_text("[]")
    assert problem("saved").where == "saved/state.json"


def test_problems_of_all_files_come_together() -> None:
    write_jsonl(Path("a.jsonl"))
    Path("b.jsonl").write_text("x\n")
    Path("c.csv").write_text("a,b\n1\n")
    assert [p.where for p in problems("*.*")] == ["b.jsonl:1", "c.csv:2"]


def test_pyarrow_is_asked_for_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(Path("p.parquet"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expected = Problem("p.parquet", "Parquet files need pyarrow", "pip install pyarrow")
    assert problem("p.parquet") == expected


def test_locations_are_shortened_within_a_file() -> None:
    assert summarise(["a:1", "a:2", "b:3"], 9) == "a:1, :2, b:3 and 6 more"
    assert summarise(["a row 1", "a row 2"], 2) == "a row 1, row 2"


def test_rows_that_nothing_else_mends_are_left_out_by_a_setting() -> None:
    found = Findings()
    for line in (3, 17):
        found.note("empty", f"my file.jsonl:{line}", "has no text")
    expected = Problem("my file.jsonl:3, :17", "has no text", "data.on_error=skip")
    assert found.problems() == [expected]


# --- the hub ------------------------------------------------------------------------------------

SHA = "0123456789abcdef0123456789abcdef01234567"
HUB_ROWS = {
    f"{language}/{split}.jsonl": [
        {"id": f"{language}-{n}", "text": f"{language} {split} {n}", "label": n % 5}
        for n in range(size)
    ]
    for language in ("en", "de")
    for split, size in (("train", 20), ("validation", 10), ("test", 10))
}


def converted(name: str) -> bytes:
    """A file of the hub's own conversion: its place in the repository is in its texts."""
    rows = [{"id": f"{name}-{n}", "text": f"{name} {n}", "label": n} for n in range(5)]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


CONVERTED = {
    f"{language}/{split}/{shard:04d}.parquet": converted(f"{language}/{split}/{shard}")
    for language in ("en", "de", "all_languages")
    for split, shards in (("train", 2), ("validation", 1), ("test", 1))
    for shard in range(shards)
}


class FakeHub(BaseHTTPRequestHandler):
    """What huggingface_hub asks for: what a revision is, then each file of that commit."""

    busy = 0
    asked: list[str] = []  # noqa: RUF012 - one server, one list

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        FakeHub.asked.append(path)
        if FakeHub.busy:
            FakeHub.busy -= 1
            self.answer(503, b"busy")
        elif path == "/api/datasets/me/reviews/revision/refs/convert/parquet":
            self.list_files("me/reviews", [*HUB_ROWS, "README.md"])
        elif path == "/api/datasets/me/converted/revision/refs/convert/parquet":
            self.list_files("me/converted", list(CONVERTED))
        elif path.startswith(f"/datasets/me/converted/resolve/{SHA}/"):
            self.answer(200, CONVERTED[path.split(SHA + "/")[1]])
        elif path.startswith(f"/datasets/me/reviews/resolve/{SHA}/"):
            rows = HUB_ROWS[path.split(SHA + "/")[1]]
            self.answer(200, "".join(json.dumps(row) + "\n" for row in rows).encode())
        elif path.startswith("/api/datasets/me/gated/"):
            self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def list_files(self, repo: str, names: list[str]) -> None:
        files = [{"rfilename": name} for name in names]
        self.answer(200, json.dumps({"id": repo, "sha": SHA, "siblings": files}).encode())

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        sent = {"Content-Length": str(len(body)), "ETag": f'"{hash(body)}"', "X-Repo-Commit": SHA}
        for key, value in {**sent, **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


READ = f"""
import json, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from tables import load_splits
from lingotune.data.splits.counts import count_rows
from lingotune.config.problems import ConfigError
from lingotune.config.schema import *
settings = json.loads(sys.argv[1])
labels = [LabelConfig("bad", ["1", "2"]), LabelConfig("fair", ["3"]), LabelConfig("good", ["4", "5"])]
columns = ColumnsConfig(text="text", stars="label", id="id")
settings["rows"] = RowCounts(**settings.get("rows", {{}}))
data = DataConfig(name="x", source=Source.hub, columns=columns, labels=labels, label_offset=1, **settings)
try:
    splits = load_splits(data, 1)
    answer = {{s: [r.text, r.label, r.language, r.stars, r.warnings] for s, r in splits.items()}}
    print(json.dumps({{"counts": count_rows(data, 1)[0], **answer}}))
except ConfigError as error:
    print(json.dumps([[p.where, p.what, p.fix] for p in error.problems]))
assert not {{m.split(".")[0] for m in sys.modules}} & {{"torch", "transformers", "datasets", "pandas"}}
"""


def read_hub_in_process(endpoint: str, **settings: Any) -> Any:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(Path("home").resolve())}
    command = [sys.executable, "-c", READ, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_hub_files_are_read_language_by_language(hub: str) -> None:
    root = "hf://datasets/me/reviews@refs/convert/parquet/{language}"
    FakeHub.busy = 1  # a server that is busy once is asked again
    read = read_hub_in_process(
        hub,
        train=f"{root}/train*.jsonl",
        validation=f"{root}/validation.jsonl",
        test=f"{root}/test.jsonl",
        languages=["en", "de"],
        rows={"train": 20, "validation": 9, "test": 10},
    )
    text, label, language, stars, warnings = read["train"]
    assert text == [f"{code} train {n}" for code in ("en", "de") for n in range(20)]
    assert language == ["en"] * 20 + ["de"] * 20
    assert stars == [1, 2, 3, 4, 5] * 8
    assert label == [0, 0, 1, 2, 2] * 8
    assert warnings == []
    assert read["validation"][4] == [
        "10 rows of validation in de, but data.rows.validation=9",
        "10 rows of validation in en, but data.rows.validation=9",
    ]
    assert read["counts"] == {"train": 40, "validation": 18, "test": 20}
    assert len([p for p in FakeHub.asked if p.startswith("/api")]) == 2, "one question, asked twice"


def test_training_files_of_languages_that_are_not_trained_on_are_not_fetched(hub: str) -> None:
    root = "hf://datasets/me/converted@refs/convert/parquet/{language}"
    patterns = {s: f"{root}/{s}/*.parquet" for s in ("train", "validation", "test")}
    part = {"languages": ["en", "de"], "train_languages": ["English"], "rows": {"train": 10}}
    FakeHub.asked.clear()
    read = read_hub_in_process(hub, **patterns, **part)
    assert isinstance(read, dict), read
    assert set(read["train"][2]) == {"en"} and set(read["test"][2]) == {"en", "de"}
    fetched = {path.split(f"{SHA}/")[1] for path in FakeHub.asked if "/resolve/" in path}
    assert not [name for name in fetched if name.startswith("de/train")]
    assert {name.split("/")[1] for name in fetched if name.startswith("de/")} == {
        "validation",
        "test",
    }
    # A split that is carved out of the training rows needs those of all languages.
    FakeHub.asked.clear()
    carved = {split: of for split, of in patterns.items() if split != "validation"}
    read_hub_in_process(hub, **carved, **part)
    assert [path for path in FakeHub.asked if "/de/train/" in path]


def test_a_path_on_the_hub_is_one_source_that_holds_no_other_split(hub: str) -> None:
    root = "hf://datasets/me/reviews@refs/convert/parquet/en"
    read = read_hub_in_process(hub, path=[f"{root}/train.jsonl"])
    assert sum(len(read[split][0]) for split in ("train", "validation", "test")) == 20
    (found,) = read_hub_in_process(hub, path=f"{root}/*.jsonl")
    assert found == [
        f"data.train={root}/*.jsonl",
        "also names test.jsonl, validation.jsonl: called after another split than train",
        "a pattern without them, or data.pool=true to read them as train",
    ]
    pooled = read_hub_in_process(hub, path=f"{root}/*.jsonl", pool=True)
    assert sum(len(pooled[split][0]) for split in ("train", "validation", "test")) == 40


def test_the_hubs_parquet_conversion_is_read_shard_by_shard(hub: str) -> None:
    root = "hf://datasets/me/converted@refs/convert/parquet/{language}"
    patterns = {s: f"{root}/{s}/*.parquet" for s in ("train", "validation", "test")}
    FakeHub.asked.clear()
    read = read_hub_in_process(hub, languages=["en", "de"], rows={"train": 10}, **patterns)
    text, label, language, stars, warnings = read["train"]
    shards = [f"{code}/train/{shard}" for code in ("en", "de") for shard in (0, 1)]
    assert text == [f"{shard} {n}" for shard in shards for n in range(5)]
    assert language == ["en"] * 10 + ["de"] * 10
    assert stars == [1, 2, 3, 4, 5] * 4
    assert label == [0, 0, 1, 2, 2] * 4
    assert warnings == []
    assert read["test"][0] == [f"{code}/test/0 {n}" for code in ("en", "de") for n in range(5)]
    assert not [path for path in FakeHub.asked if "all_languages" in path]
    resolved = {
        path.split("/resolve/")[1].split("/")[0] for path in FakeHub.asked if "/resolve/" in path
    }
    assert resolved == {SHA}, "files of the commit that the revision stood for"


def test_what_the_hub_refuses_is_said(hub: str) -> None:
    missing = "hf://datasets/me/reviews@refs/convert/parquet/fr/train.jsonl"
    read = read_hub_in_process(
        hub,
        train="hf://datasets/me/gated/a.jsonl",
        validation="hf://datasets/me/gone/a.jsonl",
        test=missing,
    )
    assert read == [
        [
            "hf://datasets/me/gated@main",
            "me/gated is gated: it needs HF_TOKEN of an account that was given access",
            LOCAL,
        ],
        [
            "hf://datasets/me/gone@main",
            "the hub shows no dataset me/gone: it is gone, or private and needs HF_TOKEN",
            LOCAL,
        ],
        [
            f"data.test={missing}",
            "me/reviews has no file fr/train.jsonl; it has: README.md, de/test.jsonl,"
            " de/train.jsonl, de/validation.jsonl, en/test.jsonl, en/train.jsonl,"
            " en/validation.jsonl",
            LOCAL,
        ],
    ]


def test_a_hub_pattern_of_another_form() -> None:
    with pytest.raises(ConfigError) as caught:
        list(read_hub("hf://me/reviews", "data.train"))
    fix = "data.train=hf://datasets/OWNER/NAME/train.jsonl"
    what = "does not name files of a hub dataset"
    assert caught.value.problems == [Problem("data.train=hf://me/reviews", what, fix)]


def test_a_dead_hub_is_one_problem() -> None:
    root = "hf://datasets/me/reviews/{language}"
    patterns = {s: f"{root}/{s}.jsonl" for s in ("train", "validation", "test")}
    read = read_hub_in_process("http://127.0.0.1:9", languages=["en", "de"], **patterns)
    ((where, what, fix),) = read
    assert where == "hf://datasets/me/reviews@main"
    assert what.startswith("needs a network line to the hub: ")
    assert fix == LOCAL
