"""Prepared data: what is in it, when it is made anew, and that an interruption loses nothing."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, run
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from results import manifest_of
from tables import TINY, load_splits, star_labels, write
from waiting import PATIENCE, wait_until

from lingotune.config.problems import ConfigError
from lingotune.config.schema import (
    SPLITS,
    ColumnsConfig,
    DataConfig,
    LabelConfig,
    ModelConfig,
    OnError,
    Quoting,
    Source,
)
from lingotune.data.loader.store import Split, Store
from lingotune.data.loader.tokenizer import tokenizer_of
from lingotune.data.loader.training_split import training_split
from lingotune.data.prepared import manifest as manifests
from lingotune.data.prepared import prepare as preparing
from lingotune.data.prepared import shard_writer as module
from lingotune.data.prepared import shards
from lingotune.data.prepared.manifest import format_manifest, identify, load_manifest, misfits
from lingotune.data.prepared.prepare import prepare
from lingotune.data.prepared.spool import Spool
from lingotune.data.prepared.tokenizer import load_tokenizer
from lingotune.data.rows.cleaner import Row
from lingotune.data.rows.findings import Counts
from lingotune.data.rows.training_rows import count_trained
from lingotune.data.splits.counts import count_rows
from lingotune.report.data_page import PAGE, write_report
from lingotune.system import verified
from lingotune.system.hashing import sha256_of

LABELS = star_labels("bad", "fair", "good")
WORDS = [
    "gut", "schlecht", "sehr", "nicht", "das", "ist", "ein", "Gerät", "とても", "良い", "商品",
    "质量", "不错", "物流", "the", "of", "very", "good", "bad",
]  # fmt: skip


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    choose = np.random.default_rng(7)
    return [
        {
            "id": f"r{n}",
            "text": f"{n} " + " ".join(choose.choice(WORDS, choose.integers(1, 30))),
            "stars": n % 5 + 1,
            "lang": ("de", "ja", "zh")[n % 3],
        }
        for n in range(start, start + count)
    ]


def config(path: Path, **settings: Any) -> DataConfig:
    columns = ColumnsConfig(text="text", stars="stars", language="lang", id="id")
    given = {"path": str(path), "labels": LABELS, "columns": columns, "max_length": 16, **settings}
    return DataConfig("d", Source.files, **given)


def made(data: DataConfig, root: Path, seed: int = 1) -> Path:
    folder, new = prepare(data, TINY, seed, root, lambda line: None)
    assert new
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "reviews.jsonl", rows(300))


def table(folder: Path, split: str) -> dict[str, list[Any]]:
    found = sorted(folder.glob(f"{split}-*.parquet"))
    parts = [parquet.read_table(path).to_pydict() for path in found]
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def test_the_shards_hold_the_splits_and_their_tokens(source: Path, tmp_path: Path) -> None:
    data = config(source)
    folder = made(data, tmp_path / "prepared")
    tokenizer = load_tokenizer(ModelConfig("x", str(folder / "tokenizer")))
    for split, expected in load_splits(data, 1).items():
        found = table(folder, split)
        assert found["text"] == expected.text and found["label"] == expected.label
        assert found["language"] == expected.language and found["id"] == expected.id
        assert found["stars"] == expected.stars
        ids = tokenizer(found["text"], truncation=True, max_length=16)["input_ids"]
        assert found["input_ids"] == ids and found["length"] == [len(row) for row in ids]


def test_the_manifest_counts_what_is_there(source: Path, tmp_path: Path) -> None:
    folder = made(config(source), tmp_path / "prepared")
    manifest = load_manifest(folder)
    assert (folder / "manifest.json").read_text(encoding="utf-8") == format_manifest(manifest)
    for split, told in manifest.splits.items():
        found = table(folder, split)
        assert told.rows == len(found["text"]) and told.tokens == sum(found["length"])
        cells = [c for of in manifest.statistics[split].values() for c in of.values()]
        assert sum(cell.rows for cell in cells) == told.rows
        assert sum(cell.tokens for cell in cells) == told.tokens
        longer = sum(sum(of[17:]) for of in manifest.lengths[split].values())
        assert sum(cell.cut for cell in cells) == longer > 0
        for shard in told.shards:
            assert (folder / shard.file).stat().st_size == shard.bytes
    assert manifest.inputs["all"] == Counts(read=300, kept=300, rejected={}, filtered=0)


def test_pandas_and_datasets_read_the_shards(source: Path, tmp_path: Path) -> None:
    import datasets
    import pandas  # type: ignore[import-untyped]

    folder = made(config(source), tmp_path / "prepared")
    files = [str(path) for path in folder.glob("train-*.parquet")]
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"][0]["text"] == pandas.read_parquet(files[0])["text"][0]


CHANGES: dict[str, Any] = {
    "the labels": {
        "labels": [LabelConfig("bad", ["1", "2", "3"]), LabelConfig("good", ["4", "5"])]
    },
    "the languages": {"languages": ["de", "ja"]},
    "the length": {"max_length": 12},
    "a share": {"test_share": 0.2},
    "the form of characters": {"normalize": False},
    "what becomes of bad rows": {"on_error": OnError.skip},
}


def test_the_same_is_made_once_and_another_beside_it(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "prepared"
    folders = [made(config(source), root)]
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy(source, tmp_path / "elsewhere")
    again, new = prepare(config(Path(moved)), TINY, 1, root, lambda line: None)
    assert again == folders[0] and not new, "where a file lies is no content"
    for change in CHANGES.values():
        folders.append(made(config(source, **change), root))
    folders.append(made(config(source), root, seed=2))
    other = ModelConfig("tiny", None)
    other.scratch.vocab_size = 200
    folders.append(prepare(config(source), other, 1, root, lambda line: None)[0])
    write(source, rows(301))
    folders.append(made(config(source), root))
    assert len(set(folders)) == len(CHANGES) + 4
    assert sorted(path.name for path in root.iterdir()) == sorted(f.name for f in folders)


def test_what_is_wrong_is_told_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    write(source, [*rows(50), '{"id": "x"', {"id": "y", "text": " ", "stars": 9, "lang": "de"}])
    with pytest.raises(ConfigError) as raised:
        prepare(config(source), TINY, 1, tmp_path / "prepared", lambda line: None)
    assert len(raised.value.problems) >= 2
    assert not list((tmp_path / "prepared").glob("*/*"))


def test_rejected_rows_are_kept_with_their_reasons(source: Path, tmp_path: Path) -> None:
    broken = ['{"id": "x"', {"id": "y", "text": " ", "stars": 1, "lang": "de"}]
    write(source, [*rows(100), *broken, *rows(98, start=100)])
    data = config(source, on_error=OnError.skip, max_rejected=0.02)
    folder = made(data, tmp_path / "prepared")
    lines = (folder / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    rejected = [json.loads(line) for line in lines]
    assert [entry["line"] for entry in rejected] == [101, 102]
    counts = load_manifest(folder).inputs["all"]
    assert (counts.read, counts.kept, sum(counts.rejected.values())) == (200, 198, 2)
    with pytest.raises(ConfigError, match="max_rejected"):
        prepare(
            config(source, on_error=OnError.skip, max_rejected=0.005), TINY, 2,
            tmp_path / "other", lambda line: None,
        )  # fmt: skip


def of_products(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows of which six are of a product, and each tenth of none."""
    return [
        {**row, "product": None if n % 10 == 0 else f"B{n // 6}"}
        for n, row in enumerate(rows(count, start), start)
    ]


def grouped(path: Path, **settings: Any) -> DataConfig:
    data = config(path, **settings)
    return replace(data, columns=replace(data.columns, group="product"))


def test_what_is_carved_shares_no_product(tmp_path: Path) -> None:
    found = of_products(600)
    found += [{**row, "id": f"again {row['id']}", "product": "B0"} for row in found[300:310]]
    source = write(tmp_path / "reviews.jsonl", found)
    product_of = {row["id"]: row["product"] for row in found}
    folder = made(grouped(source), tmp_path / "prepared")
    held = {split: table(folder, split) for split in ("train", "validation", "test")}
    products = [{product_of[name] for name in of["id"]} - {None} for of in held.values()]
    texts = [set(of["text"]) for of in held.values()]
    for sets in (products, texts):
        assert sum(map(len, sets)) == len(set.union(*sets))
    manifest = load_manifest(folder)
    removed = sum(manifest.duplicates.values())
    assert sum(len(of["id"]) for of in held.values()) + removed == 610
    assert abs(len(held["test"]["id"]) - 61) <= 12 >= abs(len(held["validation"]["id"]) - 61)
    assert not [warning for warning in manifest.warnings if "groups" in warning]
    other = made(config(source), tmp_path / "prepared")
    of_train, of_test = (
        {product_of[name] for name in table(other, split)["id"]} for split in ("train", "test")
    )
    assert of_train & of_test - {None}, "without the column they are not kept together"


def test_a_source_that_changes_while_it_is_read_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = preparing.survey

    def changes_it(*given: Any) -> Any:
        found = survey(*given)
        write(source, rows(120))
        return found

    monkeypatch.setattr(preparing, "survey", changes_it)
    with pytest.raises(ConfigError, match="were changed while they were read"):
        prepare(config(source), TINY, 1, tmp_path / "prepared", lambda line: None)
    monkeypatch.undo()
    assert made(config(source), tmp_path / "prepared").is_dir()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
spooled = st.builds(
    Row,
    texts,
    st.integers(-1, 4),
    texts,
    texts,
    st.none() | st.integers(1, 5),
    st.none() | texts,
    st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
)


@given(st.lists(spooled, max_size=9), st.integers(1, 4))
def test_rows_come_back_from_disk_as_often_as_they_are_asked_for(
    found: list[Row], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patched, Spool(Path(tempfile.gettempdir())) as spool:
        patched.setattr("lingotune.data.prepared.spool._BLOCK", block)
        for row in found:
            spool.add(row)
        assert list(spool) == found and list(spool) == found


def test_a_tokenizer_is_the_same_wherever_it_is_loaded(source: Path, tmp_path: Path) -> None:
    """Here, where this process has transformers already, and in a process of its own."""
    import transformers  # noqa: F401

    here = made(config(source), tmp_path / "here")
    typed = [
        "data=files", f"data.path={source}", "data.columns.text=text", "data.columns.stars=stars",
        "data.columns.language=lang", "data.columns.id=id", "data.columns.label=null",
        "data.max_length=16", "data.split_seed=1",
    ]  # fmt: skip
    done = run("-m", "lingotune", "prepare", *typed, f"prepared_dir={tmp_path}/there")
    assert done.returncode == 0 and done.stderr == ""
    (there,) = (tmp_path / "there").glob("files-*")
    for path in (here / "tokenizer").iterdir():
        assert (there / "tokenizer" / path.name).read_bytes() == path.read_bytes()
    ids = [sorted(zip(*(table(f, "test")[c] for c in ("id", "input_ids")))) for f in (here, there)]
    assert ids[0] and ids[0] == ids[1]


def test_products_in_two_given_splits_are_in_the_manifest(tmp_path: Path) -> None:
    files = {
        "train": str(write(tmp_path / "train.jsonl", of_products(63))),
        "test": str(write(tmp_path / "test.jsonl", of_products(27, start=63))),
    }
    told: list[str] = []
    data = replace(grouped(tmp_path, **files), path=None)
    folder, _ = prepare(data, TINY, 1, tmp_path / "prepared", told.append)
    warning = "test: 1 of its 5 groups (data.columns.group) is also in train: its scores flatter the model"
    assert load_manifest(folder).warnings == (warning,)
    assert not [line for line in told if "warning" in line], "the caller tells them, once"
    assert len(table(folder, "test")["id"]) == 27, "they stay where they were given"


# --- interruptions -------------------------------------------------------------------------------


def test_finished_shards_are_used_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 50)
    monkeypatch.setattr(module, "_MOST_PROCESSES", 1)
    whole = made(config(source), tmp_path / "whole")
    written: list[str] = []
    write_shard = shards.write_shard

    def fails_at_the_third(folder: Path, name: str, *rest: Any) -> Any:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(name)
        return write_shard(folder, name, *rest)

    monkeypatch.setattr(module, "write_shard", fails_at_the_third)
    with pytest.raises(ConfigError, match="No space left"):
        prepare(config(source), TINY, 1, tmp_path / "again", lambda line: None)
    assert len(written) == 3 and not list((tmp_path / "again").glob("d-*"))
    more: list[str] = []

    def noted(folder: Path, name: str, *rest: Any) -> Any:
        more.append(name)
        return write_shard(folder, name, *rest)

    monkeypatch.setattr(module, "write_shard", noted)
    again = made(config(source), tmp_path / "again")
    assert not set(more) & set(written) and more
    assert contents(again) == contents(whole)


def contents(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    manifest = replace(load_manifest(folder), seconds={})
    return {**found, "manifest": manifest}


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again(tmp_path: Path) -> None:
    source = write(tmp_path / "reviews.jsonl", rows(60_000))
    typed = [
        "data=files", f"data.path={source}", "data.columns.text=text", "data.columns.stars=stars",
        "data.columns.language=lang", "data.columns.id=id", "data.columns.label=null",
    ]  # fmt: skip
    command = [sys.executable, "-m", "lingotune", "prepare", *typed]
    root, kills = tmp_path / "killed", 0
    for seconds in (1.5, 3, 4, 5, 6, 7):
        with subprocess.Popen([*command, f"prepared_dir={root}"], cwd=ROOT) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        finished = list(root.glob("files-*"))
        assert all((folder / "manifest.json").exists() for folder in finished)
    assert kills and run(*command[1:], f"prepared_dir={root}").returncode == 0
    assert run(*command[1:], f"prepared_dir={tmp_path}/whole").returncode == 0
    (killed,), (whole,) = root.glob("files-*"), (tmp_path / "whole").glob("files-*")
    assert contents(killed) == contents(whole)


STOPS = """
import os, signal, sys
if "--multiprocessing-fork" in sys.orig_argv:
    number = 1
    while True:
        try:
            os.close(os.open(f"{folder}/helper-{{number}}", os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            number += 1
    if number == {which}:
        os.kill(os.getpid(), signal.SIGSTOP)
"""
"""A sitecustomize: the helper process of that number stops itself as it begins."""


@pytest.mark.slow
@pytest.mark.parametrize("which", [1, 2], ids=["the tokenizer's", "one that tokenises"])
def test_a_killed_helper_is_told_and_the_next_command_goes_on(which: int, tmp_path: Path) -> None:
    source = write(tmp_path / "reviews.jsonl", rows(60_000))
    command = [
        "-m", "lingotune", "prepare", "data=files", f"data.path={source}", "data.columns.text=text",
        "data.columns.language=lang", "data.columns.label=null", f"prepared_dir={tmp_path}/p",
    ]  # fmt: skip
    (tmp_path / "sitecustomize.py").write_text(STOPS.format(folder=tmp_path, which=which))
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'src'}"}
    with subprocess.Popen(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        (helper,) = wait_until(lambda: stopped(process.pid), lambda: process.poll() is None)
        os.kill(helper, signal.SIGKILL)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and "Traceback" not in told
    assert "was ended from outside" in told and "finished shards are kept" in told
    assert not list((tmp_path / "p").glob("files-*"))
    assert run(*command).returncode == 0


def stopped(pid: int) -> list[int]:
    """Children of a process that have stopped."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = [word for thread in threads for word in read(thread).split()]
    return [int(one) for one in children if b") T " in read(Path(f"/proc/{int(one)}/stat"))]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # what it tells of has ended
        return b""


@pytest.mark.slow
def test_two_processes_make_it_once(source: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "lingotune", "prepare", "data.sample.train_rows=50",
        f"prepared_dir={tmp_path}/prepared",
    ]  # fmt: skip
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=PATIENCE)[0] for process in started]
    assert sorted("prepared already" in text for text in told) == [False, True]
    assert len(list((tmp_path / "prepared").glob("sample-*"))) == 1


# --- reading it ----------------------------------------------------------------------------------


def test_ids_and_ratings_of_rows(source: Path, tmp_path: Path) -> None:
    store = Store(made(config(source), tmp_path / "prepared"))
    found, some = table(store.folder, "test"), store.split("test").longest_first().select([3, 0])
    ids, stars = store.ids_and_stars("test", some)
    assert ids == [found["id"][place] for place in some.place.tolist()]
    assert stars.tolist() == [found["stars"][place] for place in some.place.tolist()]
    unrated = config(source, labels=[*star_labels("a", "b", "c")])
    columns = replace(unrated.columns, stars=None, label="lang", language=None)
    labels = [LabelConfig("de"), LabelConfig("ja"), LabelConfig("zh")]
    folder = made(replace(unrated, columns=columns, labels=labels), tmp_path / "prepared")
    assert np.isnan(Store(folder).ids_and_stars("test", Store(folder).split("test"))[1]).all()


def test_where_rows_come_from_is_kept_beside_them(tmp_path: Path) -> None:
    every = rows(120)
    names = [
        write(tmp_path / name, part)
        for name, part in (("a.jsonl", every[:60]), ("b.jsonl", every[60:]))
    ]
    several = replace(config(names[0]), path=[*map(str, names)])
    store = Store(made(several, tmp_path / "prepared"))
    split = store.split("train")
    some = split.longest_first()
    found = store.sources("train", some)
    ids, _ = store.ids_and_stars("train", some)
    assert found is not None and {*found} == {"a.jsonl", "b.jsonl"}
    expected = {str(row["id"]): "a.jsonl" if n < 60 else "b.jsonl" for n, row in enumerate(every)}
    assert found.tolist() == [expected[id] for id in ids]
    digest = store.digest("train")
    alone = write(tmp_path / "all.jsonl", every)
    one = Store(made(config(alone), tmp_path / "prepared"))
    assert "source" not in table(one.folder, "train")
    assert one.sources("train", one.split("train")) is None
    assert one.digest("train") == digest  # the rows are the same, wherever they come from


def test_a_part_of_the_training_rows_is_of_the_same_prepared_data(
    source: Path, tmp_path: Path
) -> None:
    whole = config(source)
    part = replace(whole, train_languages=["de", "zh"], max_rows=7)
    assert identify(part, 1, "t").digest == identify(whole, 1, "t").digest
    store = Store(made(whole, tmp_path / "prepared"))
    split = store.split("train")
    chosen = training_split(store, split, part)
    assert set(chosen.codes) == {"de", "zh"} and chosen.place.tolist() == sorted(chosen.place)
    counts = Counter(zip(chosen.codes, chosen.label.tolist()))
    assert max(counts.values()) == 7
    assert len(chosen) == count_trained(part, store.manifest.training_rows)
    assert len(chosen) == (count_rows(part, 1)[0] or {})["train"]
    assert training_split(store, split, whole) is split


def test_batches_are_padded_rows(source: Path, tmp_path: Path) -> None:
    folder = made(config(source), tmp_path / "prepared")
    found, split = table(folder, "train"), Store(folder).split("train")
    assert split.tokens.dtype == np.uint16 and len(split) == len(found["text"])
    assert split.lengths.tolist() == found["length"]
    assert [split.languages[n] for n in split.language] == found["language"]
    for at in ([0], [5, 3, 3, 200], list(range(64))):
        batch = split.batch(at, multiple=8)
        width = -(-max(found["length"][n] for n in at) // 8) * 8
        for row, n in enumerate(at):
            ids = found["input_ids"][n]
            padding = width - len(ids)
            assert batch["input_ids"][row].tolist() == ids + [split.padding_id] * padding
            assert batch["attention_mask"][row].tolist() == [1] * len(ids) + [0] * padding
        assert batch["labels"].tolist() == [found["label"][n] for n in at]


def test_a_store_of_a_folder_that_cannot_be_written_to(source: Path, tmp_path: Path) -> None:
    folder = made(config(source), tmp_path / "prepared")
    split = Store(folder, tmp_path / "cache").split("test")
    assert len(split) == len(table(folder, "test")["text"])
    assert not (folder / "flat").exists() and list((tmp_path / "cache").glob("*.tokens"))


def test_a_seed_changes_nothing_where_nothing_is_carved(tmp_path: Path) -> None:
    files = {
        split: str(write(tmp_path / f"{split}.jsonl", rows(30, start)))
        for split, start in (("train", 0), ("validation", 30), ("test", 60))
    }
    data = replace(config(tmp_path), path=None, **files)
    folder = made(data, tmp_path / "prepared", seed=1)
    assert prepare(data, TINY, 2, tmp_path / "prepared", lambda line: None) == (folder, False)
    assert misfits(load_manifest(folder), data, 2) == []
    write_report(folder)
    assert "None" not in (folder / PAGE).read_text()


def test_data_prepared_for_another_job_is_refused(source: Path, tmp_path: Path) -> None:
    manifest = load_manifest(made(config(source), tmp_path / "prepared"))
    assert misfits(manifest, config(tmp_path / "elsewhere.jsonl"), 1) == []
    other = config(source, max_length=12, languages=["de"])
    found = [problem.where for problem in misfits(manifest, other, 2)]
    assert found == ["data.languages=['de']", "data.max_length=12", "data.split_seed=2"]


def test_settings_that_are_newer_than_the_data_had_their_defaults(
    source: Path, tmp_path: Path
) -> None:
    manifest = load_manifest(made(config(source), tmp_path / "prepared"))
    newer = ("pool", "encoding", "separator", "quoting", "sheet")
    older = replace(manifest, data={k: v for k, v in manifest.data.items() if k not in newer})
    assert len(older.data) == len(manifest.data) - len(newer)
    assert misfits(older, config(source), 1) == []
    found = misfits(older, config(source, encoding="cp1252", quoting=Quoting.none), 1)
    assert [problem.where for problem in found] == ["data.encoding=cp1252", "data.quoting=none"]


def test_how_files_are_read_and_the_folders_of_texts_belong_to_the_identity(
    tmp_path: Path,
) -> None:
    for label in ("bad", "good"):
        (tmp_path / label).mkdir()
        for n in range(3):
            (tmp_path / label / f"{n}.txt").write_text(f"{label} {n}")
    first = identify(config(tmp_path), 1, "")
    assert [file.name for file in first.source.files] == ["all/bad/*.txt", "all/good/*.txt"]
    named = identify(config(tmp_path, encoding="utf-8"), 1, "")
    pooled = identify(config(tmp_path, pool=True), 1, "")
    (tmp_path / "good").rename(tmp_path / "fair")
    renamed = identify(config(tmp_path), 1, "")
    assert len({one.digest for one in (first, named, pooled, renamed)}) == 4


def test_the_tokenizer_is_the_one_that_made_the_ids(source: Path, tmp_path: Path) -> None:
    folder = made(config(source), tmp_path / "prepared")
    store = Store(folder)
    texts, ids = store.probe("validation", 20)
    same = tokenizer_of(TINY, store)
    assert same(texts, truncation=True, max_length=16)["input_ids"] == ids
    assert (same.pad_token_id, same.model_max_length) == (store.split("test").padding_id, 16)
    tokenizer_of(ModelConfig("x", str(folder / "tokenizer")), store)
    small = ModelConfig("tiny", None)
    small.scratch.vocab_size = 60
    other = prepare(config(source), small, 1, tmp_path / "prepared", lambda line: None)[0]
    with pytest.raises(ConfigError, match=r"makes other ids of .* prepared texts"):
        tokenizer_of(ModelConfig("x", str(other / "tokenizer")), store)


def test_a_damaged_folder_is_told(source: Path, tmp_path: Path) -> None:
    folder = made(config(source), tmp_path / "prepared")
    (folder / "train-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="is not as it was prepared"):
        Store(folder).split("train")
    (folder / "train-00000.parquet").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        Store(folder).split("train")
    (folder / "manifest.json").unlink()
    with pytest.raises(ConfigError, match="no folder of prepared data"):
        Store(folder)


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer/tokenizer.json"])
def test_no_flipped_bit_of_what_the_rows_stand_on_is_read(
    name: str, source: Path, tmp_path: Path
) -> None:
    """Labels, padding, digests and the tokenizer that is saved with the model."""
    folder = made(config(source), tmp_path / "prepared")
    whole = (folder / name).read_bytes()
    for place in random.Random(1).sample(range(len(whole)), 20):
        (folder / name).write_bytes(flipped(whole, place))
        with pytest.raises(ConfigError, match=name) as raised:
            tokenizer_of(TINY, Store(folder))
        assert f"mv {folder} {folder}.damaged" in raised.value.problems[0].fix
    (folder / name).write_bytes(whole)
    tokenizer_of(TINY, Store(folder))


def test_a_shard_with_a_note_of_any_shape_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "train-00000.parquet").write_bytes(b"1234")
    for note in ('{"bytes": 4}', '{"bytes": 4, "counts": {"de": 1}}', "[]", "[" * 100_000, "1"):
        (tmp_path / "train-00000.json").write_text(note)
        assert shards.finished_shard(tmp_path, "train-00000") is None, note


def flipped(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1 << place % 8
    return bytes(damaged)


def test_no_flipped_bit_of_a_shard_gives_other_tokens(source: Path, tmp_path: Path) -> None:
    """Parquet itself reads some of them as if nothing were wrong."""
    folder = made(config(source), tmp_path / "prepared")
    path = folder / "train-00000.parquet"
    whole, count = path.read_bytes(), len(table(folder, "train")["input_ids"])
    for place in random.Random(1).sample(range(len(whole)), 60):
        path.write_bytes(flipped(whole, place))
        with pytest.raises(ConfigError, match=r"train-00000\.parquet"):
            Store(folder).split("train")
    path.write_bytes(whole)
    assert len(Store(folder).split("train")) == count


def test_a_damaged_flat_file_is_made_anew(source: Path, tmp_path: Path) -> None:
    folder = made(config(source), tmp_path / "prepared")
    digest = Store(folder).split("train").digest()
    for path in sorted((folder / "flat").glob("train-*")):
        path.write_bytes(flipped(path.read_bytes(), 1))
        assert Store(folder).split("train").digest() == digest, path


def test_what_was_opened_before_is_opened_without_reading_its_rows(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path / "cache"))
    folder = made(config(source), tmp_path / "prepared")

    def opened() -> list[str]:
        store = Store(folder)
        return [
            digest
            for split in SPLITS
            for digest in (store.split(split).digest(), store.digest(split))
        ]

    first = opened()
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))  # long ago
    assert opened() == first
    read: list[Any] = []
    monkeypatch.setattr(parquet, "read_table", lambda *a, **k: read.append(a))
    monkeypatch.setattr(verified, "sha256_of", lambda path: read.append(path))
    monkeypatch.setattr(Split, "_digest", lambda self: read.append(self))
    assert opened() == first and not read
    Store(folder).split("train").select([0]).digest()
    assert len(read) == 1, "a selection is hashed, not taken for the whole"
    (folder / "test-00000.parquet").write_bytes(b"other")
    with pytest.raises(ConfigError, match="is not as it was prepared"):
        opened()


def test_digests_of_selected_and_changed_splits_are_their_own(source: Path, tmp_path: Path) -> None:
    split = Store(made(config(source), tmp_path / "prepared")).split("train")
    every = split.select(range(len(split)))
    assert every.digest() == split.digest() == replace(split, known=None).digest()
    labelled = replace(split, labelled=np.arange(len(split)) > 0)
    digests = [split.digest(), split.select([1, 0]).digest(), labelled.digest()]
    assert len({*digests, replace(split, first=split.lengths).digest()}) == 4


def test_a_large_source_is_hashed_once_on_a_machine_and_again_when_it_changes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(manifests, "_LARGE", source.stat().st_size)
    os.utime(source, (1, 1))
    hashed: list[Path] = []
    monkeypatch.setattr(verified, "sha256_of", lambda p: hashed.append(p) or sha256_of(p))
    first = identify(config(source), 1, "t").digest
    assert identify(config(source), 1, "t").digest == first and hashed == [source]
    source.write_bytes(flipped(source.read_bytes(), 10))
    os.utime(source, (1, 1))  # the time is set back, and the size is the same
    assert identify(config(source), 1, "t").digest != first and len(hashed) == 2


def test_a_file_is_hashed_once_on_a_machine_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path / "cache"))
    path, hashed = tmp_path / "shard", []
    path.write_bytes(b"a shard")
    os.utime(path, (1, 1))  # long ago
    digest = hashlib.sha256(b"a shard").hexdigest()
    monkeypatch.setattr(verified, "sha256_of", lambda p: hashed.append(p) or sha256_of(p))
    assert [verified.is_as_written(path, digest) for _ in range(3)] == [True] * 3
    assert len(hashed) == 1
    path.write_bytes(b"A shard")
    assert not verified.is_as_written(path, digest) and len(hashed) == 2
    path.write_bytes(b"a shard")  # a moment ago: nobody can tell a further change from its time
    assert verified.is_as_written(path, digest) and verified.is_as_written(path, digest)
    assert len(hashed) == 4
    (tmp_path / "file").touch()
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path / "file"))  # no folder: nothing is kept
    os.utime(path, (1, 1))
    assert verified.is_as_written(path, digest) and len(hashed) == 5


def test_a_file_is_no_prepared_data_and_stays_where_it_is(tmp_path: Path) -> None:
    rows = tmp_path / "my rows.csv"
    rows.write_text("text,stars\n")
    with pytest.raises(ConfigError) as raised:
        load_manifest(rows)
    (problem,) = raised.value.problems
    assert problem.what == "is a file, and no folder of prepared data"
    assert f"data=files data.path='{rows}'" in problem.fix


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"splits": {}}, "splits.train is missing"),
        ({"data": {"labels": 3}}, "data.labels is no list"),
        ({"warnings": None}, "warnings is None"),
        ({"max_length": "16"}, "max_length is '16'"),
        ({"tokenizer": {}}, "tokenizer.name is missing"),
        ({"format": 1}, "was prepared in format 1; this version reads 2"),
    ],
)
def test_a_hand_edited_manifest_is_told(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest_of([])))
    assert load_manifest(tmp_path).labels == ("bad", "good")
    path.write_text(json.dumps({**manifest_of([]), **change}))
    with pytest.raises(ConfigError) as caught:
        load_manifest(tmp_path)
    (problem,) = caught.value.problems
    assert problem.where in (str(path), str(tmp_path))
    assert said in problem.what and "prepare" in problem.fix
    path.write_text("[]")
    with pytest.raises(ConfigError, match="list where an object is needed"):
        load_manifest(tmp_path)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 16), min_size=1, max_size=30), st.integers(1, 8))
def test_the_store_for_any_lengths(lengths: list[int], multiple: int) -> None:
    sizes = np.array(lengths)
    zeros = np.zeros(len(lengths), np.int64)
    tokens = np.arange(1, sizes.sum() + 1) ** 2
    mapped = np.arange(sizes.sum(), dtype=np.uint16)
    starts = np.cumsum(sizes) - sizes
    places = np.arange(len(lengths))
    language = zeros.astype(np.int16)
    split = Split(mapped, tokens, starts, sizes, zeros, language, places, ("de",), 0)
    every = range(len(lengths))
    assert split.select(every).digest() == split.digest()
    sorted_ = split.longest_first()
    assert sorted_.lengths.tolist() == sorted(lengths, reverse=True)
    assert np.array_equal(sorted_.select(np.argsort(sorted_.place)).lengths, sizes)
    turned = split.select(every[::-1])
    assert turned.lengths.tolist() == lengths[::-1]
    assert (turned.digest() == split.digest()) == (len(lengths) == 1)
    assert turned.select(every[::-1]).digest() == split.digest()
    batch = split.batch(every, multiple)
    assert batch["input_ids"][batch["attention_mask"] == 1].tolist() == tokens.tolist()
    assert batch["attention_mask"].sum(1).tolist() == lengths
    assert not batch["input_ids"][batch["attention_mask"] == 0].any()
    assert batch["input_ids"].shape[1] == max(lengths)
    sizes_of = [1] * (len(every) // 3) + [len(every) - len(every) // 3]
    ends = np.cumsum(sizes_of)
    for end, size, made in zip(
        ends, sizes_of, split.batches(every, sizes_of, multiple), strict=True
    ):
        alone = split.batch(every[end - size : end], multiple)
        rounded = -(-max(lengths[end - size : end]) // multiple) * multiple
        assert made["input_ids"].shape == (size, min(rounded, max(lengths)))
        assert alone.keys() == made.keys()
        assert all(np.array_equal(alone[name], made[name]) for name in alone)


# --- as a user types it --------------------------------------------------------------------------


def test_a_setting_that_has_no_effect_is_refused(tmp_path: Path) -> None:
    done = run("-m", "lingotune", "prepare", "lr=1e-4", "cluster=p3_16xl", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("has no effect on prepared data") == 2


def test_the_second_command_says_so(tmp_path: Path) -> None:
    typed = ["-m", "lingotune", "prepare", "data.sample.train_rows=30"]
    first, second = (run(*typed, cwd=tmp_path) for _ in range(2))
    assert "prepared 1680 rows" in first.stdout, first.stderr
    (folder,) = (tmp_path / "prepared").glob("sample-*")
    page = f"prepared/{folder.name}/report/data.html"
    assert second.stdout.endswith(f"prepared already: prepared/{folder.name}; see {page}\n")
    assert (tmp_path / page).is_file()
