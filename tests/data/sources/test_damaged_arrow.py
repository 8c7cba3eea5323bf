"""Arrow files whose damage would kill the process that reads them are named instead."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from lingotune.config.problems import ConfigError
from lingotune.data.sources.arrow_check import arrow_fault, opened_arrow
from lingotune.data.sources.files import read_files

TABLE = pa.table({"text": [f"good product {n} ü" for n in range(200)], "stars": [3] * 200})


def written(path: Path, *, stream: bool) -> bytes:
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(path), TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=100)
    return path.read_bytes()


def beyond_the_end(path: Path) -> Path:
    """Write texts of which one ends far behind the file's last byte."""
    lengths = [len(text.encode()) for text in TABLE["text"].to_pylist()[:2]]
    offsets = [n.to_bytes(4, "little") for n in (0, lengths[0], sum(lengths), 2**30)]
    whole = written(path, stream=True)
    assert whole.count(b"".join(offsets[:3])) == 1
    bad = b"".join([offsets[0], offsets[3], offsets[2]])
    path.write_bytes(whole.replace(b"".join(offsets[:3]), bad))
    return path


def read_naively(path: str) -> int:
    with opened_arrow(Path(path)) as (_, batches):
        return sum(len(batch.to_pylist()) for batch in batches)


def test_what_kills_a_plain_reader_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = beyond_the_end(tmp_path / "bad.arrow"), tmp_path / "good.arrow"
    written(good, stream=True)
    with monkeypatch.context() as patch:  # the control
        patch.setattr("lingotune.data.sources.arrow_check._read_through", read_naively)
        assert arrow_fault(bad) == "reading it ends the process that reads"
    bad.touch()
    with pytest.raises(ConfigError) as caught:
        list(read_files([bad]))
    (problem,) = caught.value.problems
    assert problem.where == str(bad) and problem.what.startswith("is not a whole Arrow file: ")
    assert "ends the process" not in problem.what
    assert len(list(read_files([good]))) == len(TABLE)


@pytest.mark.parametrize("stream", [True, False])
def test_no_damage_ends_the_process(tmp_path: Path, stream: bool) -> None:
    """Rows may be other ones where a letter has changed; all else is an error that names the file."""
    whole = written(tmp_path / "whole.arrow", stream=stream)
    chance, refused = random.Random(7), 0
    for number in range(60):
        raw, at = bytearray(whole), chance.randrange(len(whole))
        if number % 3 == 0:
            del raw[at:]
        else:
            raw[at : at + 8] = chance.randbytes(8) if number % 3 == 1 else b"\xff\xff\xff\x7f" * 2
        path = tmp_path / f"reviews-{number}.arrow"
        path.write_bytes(raw)
        try:
            rows = list(read_files([path]))
        except ConfigError as error:
            assert str(path) in error.problems[0].where
            refused += 1
        else:
            assert len(rows) <= len(TABLE)
    assert refused > 20
