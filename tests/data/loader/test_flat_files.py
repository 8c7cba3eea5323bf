"""What a training reads of prepared data at its start: not more with more rows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow

from lingotune.data.loader.flat_files import FlatFiles, rows_table

ROWS = 40_000


def shards(rows: int, *, targets: bool = False) -> list[pyarrow.Table]:
    """Two tables as shards have them, of texts in two languages."""
    number = np.arange(rows)
    columns = {
        "length": (number % 9 + 1).astype(np.int32),
        "label": (number % 3).astype(np.int8),
        "language": np.array(["ja", "de"], object)[number % 2],
        **({"targets": [[n % 2, 0.5, 0.25] for n in range(rows)]} if targets else {}),
    }
    whole = pyarrow.table(columns)
    return [whole.slice(0, rows // 2), whole.slice(rows // 2)]


def flat(folder: Path, rows: int) -> FlatFiles:
    """Flat files of so many rows; row n has the tokens 7, 14, 21 and so on."""
    folder.mkdir(exist_ok=True)
    files = FlatFiles(folder, "train", f"{rows:064}")
    lengths = np.arange(rows) % 9 + 1
    tokens = (np.arange(lengths.sum()) % 500 + 1) * 7
    files.make_unless_there(
        rows, len(tokens), lambda: rows_table(shards(rows), 3), lambda: iter([tokens])
    )
    return files


def allocated(work: Callable[[], object]) -> int:
    """Peak bytes of Python and numpy in a call."""
    work()  # what is imported and cached at the first time does not count
    tracemalloc.start()
    try:
        kept = work()
        assert kept is not None
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_opening_takes_no_memory_for_rows(tmp_path: Path) -> None:
    """8 bytes a row of one column would be 320 kB here."""
    few, many = flat(tmp_path / "few", 400), flat(tmp_path / "many", ROWS)
    before = pyarrow.total_allocated_bytes()
    small, large = (allocated(lambda of=of: (of.tokens(), of.rows())) for of in (few, many))
    columns, languages = many.rows()
    assert languages == ("de", "ja") and len(columns["place"]) == ROWS
    assert abs(large - small) < 20_000
    assert pyarrow.total_allocated_bytes() - before < 20_000
    assert not any(column.flags.writeable for column in columns.values()), "they are mapped"


def test_the_columns_are_those_of_the_shards(tmp_path: Path) -> None:
    columns, languages = flat(tmp_path, 401).rows()
    lengths = np.arange(401) % 9 + 1
    assert columns["lengths"].tolist() == lengths.tolist()
    assert columns["starts"].tolist() == (np.cumsum(lengths) - lengths).tolist()
    assert [languages[n] for n in columns["language"][:4]] == ["ja", "de", "ja", "de"]
    assert columns["label"].tolist() == [n % 3 for n in range(401)]
    assert columns["place"].tolist() == list(range(401))
    kinds = {name: column.dtype for name, column in columns.items()}
    assert kinds.pop("language") == np.int16 and set(kinds.values()) == {np.dtype(np.int64)}


def test_targets_stay_rows_of_classes(tmp_path: Path) -> None:
    files = FlatFiles(tmp_path, "train", "0" * 64)
    table = rows_table(shards(10, targets=True), 3)
    files.make_unless_there(10, 14, lambda: table, lambda: iter([np.arange(14)]))
    targets = files.rows()[0]["targets"]
    assert targets.dtype == np.float32
    assert targets.tolist() == [[n % 2, 0.5, 0.25] for n in range(10)]


def test_a_digest_is_computed_once_and_anew_for_anything_else(tmp_path: Path) -> None:
    files, computed = flat(tmp_path, 40), []

    def digest() -> str:
        computed.append(1)
        return str(len(computed)) * 64

    assert [files.known("tokens", ["de"], digest) for _ in range(3)] == ["1" * 64] * 3
    assert files.known("tokens", ["de", "ja"], digest) == "2" * 64
    path = next(tmp_path.glob("*.tokens.known"))
    path.write_bytes(path.read_bytes().replace(b"2222", b"2232"))
    assert files.known("tokens", ["de", "ja"], digest) == "3" * 64, "damaged"
    sums = next(tmp_path.glob("*.sha256"))
    sums.write_text(sums.read_text().replace('.rows": "', '.rows": "0'))
    assert files.known("tokens", ["de", "ja"], digest) == "4" * 64, "of other files"
