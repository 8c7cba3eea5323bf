"""Texts of several classes: assigned to splits, counted, prepared, described."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tables import TINY

from lingotune.config.problems import ConfigError
from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, LabelsMode, Source
from lingotune.data.loader.sampling import positive_weights
from lingotune.data.loader.store import Store
from lingotune.data.loader.training_split import training_split
from lingotune.data.prepared.manifest import load_manifest, misfits
from lingotune.data.prepared.prepare import prepare
from lingotune.data.rows.ids import rows_digest, targets_text
from lingotune.data.rows.label_sets import rarest_classes
from lingotune.data.rows.training_rows import count_trained
from lingotune.data.splits.counts import count_rows
from lingotune.data.splits.survey import Survey, survey
from lingotune.report.data_page import data_page, lines_of

NAMES = ("common", "usual", "rare")


def drawn(count: int = 400) -> list[dict[str, Any]]:
    draw = np.random.default_rng(3)
    has = draw.random((count, 3)) < [0.6, 0.3, 0.05]
    return [
        {
            "id": f"r{n}",
            "text": f"text number {n}",
            "topics": [name for name, one in zip(NAMES, row) if one],
            "lang": ("de", "ja")[n % 2],
        }
        for n, row in enumerate(has)
    ]


def config(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> DataConfig:
    path = folder / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ColumnsConfig(text="text", label="topics", language="lang", id="id")
    labels = [LabelConfig(name, []) for name in NAMES]
    given = {"labels": labels, "columns": columns, "labels_mode": LabelsMode.multi, **settings}
    return DataConfig("d", Source.files, path=str(path), max_length=16, **given)


def surveyed(data: DataConfig) -> tuple[Survey, dict[str, int]]:
    """The survey, and the split of each row by its id."""
    kept: list[Any] = []
    found = survey(data, 1, lambda rejected: None, kept.append)
    return found, {row.id: split for row, split in found.rows(kept)}


def test_every_class_has_its_share_of_every_split(tmp_path: Path) -> None:
    rows = drawn()
    found, splits = surveyed(config(tmp_path, rows))
    assert found.counts == {"train": 320, "validation": 40, "test": 40}
    for name in (*NAMES, ""):
        having = [
            row["id"] for row in rows if (name in row["topics"] if name else not row["topics"])
        ]
        for split in (1, 2):
            share = sum(splits[id] == split for id in having)
            assert abs(share - 0.1 * len(having)) <= 3, name
    rare = [row["id"] for row in rows if "rare" in row["topics"]]
    assert {splits[id] for id in rare} == {0, 1, 2}


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    rows = drawn()
    _, before = surveyed(config(tmp_path, rows))
    random.Random(1).shuffle(rows)
    assert surveyed(config(tmp_path, rows))[1] == before


def test_the_rarest_class_of_a_set() -> None:
    sets = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 1]], bool)
    assert rarest_classes(sets, np.array([7, 9, 4, 2])).tolist() == [3, 0, 1, 2]


def test_one_text_with_other_classes_is_told(tmp_path: Path) -> None:
    rows = drawn(60)
    rows[1] |= {"text": "twice", "topics": ["rare", "common"]}
    rows[5] |= {"text": "twice", "topics": []}
    kept: list[Any] = []
    found = survey(config(tmp_path, rows), 1, lambda rejected: None, kept.append, kept)
    (told,) = (line for line in found.warnings if "different classes" in line)
    assert "'twice' is common + rare in r1 and no class in r5" in told


def test_a_class_that_no_row_of_train_has_cannot_be_learned(tmp_path: Path) -> None:
    rows = [{**row, "topics": [n for n in row["topics"] if n != "usual"]} for row in drawn(200)]
    with pytest.raises(ConfigError) as caught:
        surveyed(config(tmp_path, rows))
    (problem,) = caught.value.problems
    assert problem.what == "no row of train has the class usual"
    assert problem.fix == "rows that have it, or 'data.labels=[common, rare]'"


def test_a_part_of_the_texts_is_chosen_by_their_rarest_class(tmp_path: Path) -> None:
    rows = drawn()
    data = config(tmp_path, rows)
    folder, _ = prepare(data, TINY, 1, tmp_path / "prepared", lambda line: None)
    manifest, store = load_manifest(folder), Store(folder)
    split, parts = store.split("train"), {}
    rarest = rarest_classes(split.true, np.ones(len(split), np.int64))
    counts = Counter(zip(split.codes, rarest.tolist()))
    names = [*NAMES, ""]
    assert manifest.training_rows == {
        code: {names[n]: counts[code, n] for n in range(4) if counts[code, n]}
        for code in split.languages
    }
    for most in (3, 20):
        part = replace(data, max_rows=most)
        chosen = training_split(store, split, part)
        kinds = Counter(zip(chosen.codes, rarest[chosen.place].tolist()))
        assert kinds == {kind: min(count, most) for kind, count in counts.items()}
        assert len(chosen) == count_trained(part, manifest.training_rows)
        assert count_rows(part, 1)[0] == {"train": len(chosen), "validation": 40, "test": 40}
        assert not misfits(manifest, part, 1)
        parts[most] = {*chosen.place.tolist()}
    assert parts[3] < parts[20]
    only = training_split(store, split, replace(data, max_rows=3, train_languages=["de"]))
    assert {*only.place.tolist()} == {p for p in parts[3] if split.codes[p] == "de"}
    (told,) = misfits(replace(manifest, rarest=None), replace(data, max_rows=3), 1)
    assert "is of an older version" in told.what and "data.max_rows=null" in told.fix


def test_prepared_rows_keep_their_classes(tmp_path: Path) -> None:
    rows = drawn()
    data = config(tmp_path, rows)
    folder, _ = prepare(data, TINY, 1, tmp_path / "prepared", lambda line: None)
    manifest, store = load_manifest(folder), Store(folder)
    split = store.split("train")
    ids, _ = store.ids_and_stars("train", split)
    topics = {row["id"]: row["topics"] for row in rows}
    for id, true in zip(ids, split.true):
        assert [name for name, one in zip(NAMES, true) if one] == topics[id]
    assert split.several and split.taught.dtype == np.float32
    batch = split.batch([0, 3])
    assert batch["labels"].tolist() == split.true[[0, 3]].astype(float).tolist()
    # counted for each of its classes, and once
    counts = split.class_rows(3)
    for place, code in enumerate(split.languages):
        figures = manifest.statistics["train"][code]
        assert [figures[name].rows for name in NAMES] == counts[place].tolist()
        assert manifest.by_language("train")[code].rows == (split.language == place).sum()
    assert sum(of.rows for of in manifest.by_language("train").values()) == 320
    assert {code: sum(of.values()) for code, of in manifest.training_rows.items()} == {
        "de": 160,
        "ja": 160,
    }
    assert positive_weights(split.true) == pytest.approx(
        (~split.true).sum(axis=0) / split.true.sum(axis=0)
    )
    texts = [row["text"] for row in rows]
    told = rows_digest(
        (id, code, targets_text(true.astype(float)), text)
        for id, code, true, text in zip(ids, split.codes, split.true, store.texts("train", split))
    )
    assert store.digest("train") == told and set(store.texts("train", split)) < set(texts)
    changed = split.select(range(len(split)))
    assert changed.targets is not None
    before = split.digest()
    changed.targets[0] = 1 - changed.targets[0]
    assert changed.digest() != before


def test_more_classes_than_a_byte_numbers(tmp_path: Path) -> None:
    names = [f"class {n}" for n in range(200)]
    rows = [{**row, "topics": [names[n % 200]]} for n, row in enumerate(drawn(800))]
    labels = [LabelConfig(name, []) for name in names]
    for mode in (LabelsMode.single, LabelsMode.multi):
        data = config(tmp_path, rows, labels=labels, labels_mode=mode, validation_share=0.2)
        folder, _ = prepare(data, TINY, 1, tmp_path / "prepared", lambda line: None)
        assert Store(folder).split("train").label.max() == 199


def test_the_description_counts_a_row_once(tmp_path: Path) -> None:
    data = config(tmp_path, drawn())
    folder, _ = prepare(data, TINY, 1, tmp_path / "prepared", lambda line: None)
    lines = "\n".join(lines_of(load_manifest(folder)))
    assert "train: 320 rows" in lines and "a row may have several, or none" in lines
    page = data_page(load_manifest(folder), folder)
    assert "no class" in page and "320 rows" in page


def test_data_of_one_class_fits_no_job_of_several(tmp_path: Path) -> None:
    rows = [{**row, "topics": row["topics"][:1] or ["usual"]} for row in drawn()]
    data = config(tmp_path, rows)
    folder, _ = prepare(data, TINY, 1, tmp_path / "prepared", lambda line: None)
    single = config(tmp_path, rows, labels_mode=LabelsMode.single)
    (problem,) = misfits(load_manifest(folder), single, 1)
    assert problem.where == "data.labels_mode=single" and "made with multi" in problem.what
    other, _ = prepare(single, TINY, 1, tmp_path / "prepared", lambda line: None)
    (problem,) = misfits(load_manifest(other), data, 1)
    assert problem.where == "data.labels_mode=multi" and "made with single" in problem.what
