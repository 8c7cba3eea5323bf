"""benchmarks/gpu.py without a GPU: what it refuses, how it shares its time, what its table says."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

from lingotune.catalog import gpus
from lingotune.catalog.gpus import find_gpu
from lingotune.config.schema import Precision
from lingotune.estimate.step_time import paper_step

MODEL = "DistilBERT multilingual"


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_cells

    return gpu_cells


@pytest.fixture
def card(cells: ModuleType) -> Any:
    return cells.Card("NVIDIA H200", 140.0, 139.0, has_bf16=True, known=find_gpu("NVIDIA H200"))


def timed(cells: ModuleType, rate: float) -> Any:
    return cells.Timed(rate, 4096, 50.0, 4000.0, 54.0, 4200.0, 42_000, True, 20.0)


def test_a_card_that_is_too_small_is_refused_in_a_sentence(cells: ModuleType, card: Any) -> None:
    assert cells.checked(card) is card
    said = cells.checked(replace(card, name="Tesla T4", memory=15.0, free=3.0))
    assert said.startswith("Tesla T4 is too small: 3.0 of 15.0 GiB are free, 8 are needed")


def test_a_card_is_described_with_its_peaks(cells: ModuleType, card: Any) -> None:
    assert card.described() == (
        "NVIDIA H200, 140 GiB, bf16; peaks: bf16 989 TFLOPs, fp16 989 TFLOPs, fp32 494 TFLOPs"
    )
    assert cells.Card("X", 8, 8, False, None).described() == "X, 8 GiB, no bf16; peaks: unknown"


def test_a_card_without_bf16_trains_in_fp16(cells: ModuleType, card: Any) -> None:
    old = replace(card, has_bf16=False)
    assert [cells.precision_of(cells.OURS, one) for one in (card, old)] == ["bf16", "fp16"]


def test_time_is_shared_among_the_cells_that_are_left(
    cells: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(cells.time, "monotonic", lambda: now[0])
    budget = cells.Budget(100.0, 90.0)
    assert budget.share(10) == 100 / 10 - 2 * cells.SHORTEST
    with budget.spending(4.0):
        now[0] = (
            24.0  # 20 s beside what was timed: each further cell is expected to take some of them
        )
    assert budget.share(4) == 76 / 4 - 13
    assert budget.share(1) == cells.LONGEST
    assert budget.share(50) == cells.SHORTEST, "the first ones, then, for as long as there is time"
    assert budget.limit(5.0) == 76.0, "nothing outlasts the whole"
    now[0] = 90.0
    assert budget.share(1) is None


def test_the_table_has_every_cell_and_what_became_of_it(cells: ModuleType, card: Any) -> None:
    keys = [(MODEL, 256, way) for way in (cells.ARTICLE, cells.OURS, "ours, compiled")]
    found = {key: cells.Found(why="not begun: no time was left") for key in keys}
    found[keys[0]].add(timed(cells, 1000.0))
    for rate in (3900.0, 4100.0, 4000.0):
        found[keys[1]].add(timed(cells, rate))
    found[keys[2]].add("out of memory")
    lines = cells.table(found, card, tiny=False).splitlines()
    assert lines[0] == card.described()
    header, *rows = (
        line.split(" | ") for line in lines if line.startswith("| ") and "-" * 3 not in line
    )
    ours = dict(zip(header, rows[1]))
    assert ours["texts/s"] == "4000" and ours["useful tokens/s"] == "200000"
    assert ours["times the article's"] == "4.00" and ours["peak memory"] == "20.0 GiB"
    assert ours["ms an update"] == "64.00" and "3 |" in ours["rounds |"]
    assert rows[2][3].startswith("out of memory")


def test_what_is_measured_is_compared_with_paper_and_corrects_it(
    cells: ModuleType, card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that reaches half of its peak: paper is off until its entry says so, and then agrees."""
    size = cells.model_size(MODEL, tiny=False)
    given: dict[str, Any] = {
        "per_gpu": 256, "gpus": 1, "tokens": 54.0, "squares": 4200.0, "trained_rows": 42_000,
        "first_token_only": True,
    }  # fmt: skip
    real = paper_step(size, replace(card.known, share=0.5), Precision.bf16, **given)
    assert real
    key = (MODEL, 256, cells.OURS)
    found = {key: cells.Found([timed(cells, 256 / real.seconds)])}
    assert cells.measured_share(found, card, tiny=False) == pytest.approx(0.5)
    assert '"share": 0.50' in cells.advice(found, card, tiny=False)
    facts = gpus.load("gpus")
    entry = {**facts["gpus"]["H200"], "share": 0.5}
    corrected = {**facts, "gpus": {**facts["gpus"], "H200": entry}}
    monkeypatch.setattr(gpus, "load", lambda name: corrected)
    after = paper_step(size, find_gpu("NVIDIA H200"), Precision.bf16, **given)  # type: ignore[arg-type]
    assert after == real
    line = cells.table(found, replace(card, known=find_gpu("NVIDIA H200")), tiny=False)
    assert "| 1.00 | 1 |" in line


@pytest.mark.slow
def test_without_a_card_it_says_so(tmp_path: Path) -> None:
    """In a process that sees no GPU, whatever this machine has."""
    done = gpu("--out", str(tmp_path / "table.md"))
    assert done.returncode == 2 and "no GPU: torch" in done.stderr
    assert not (tmp_path / "table.md").exists()


@pytest.mark.slow
def test_a_rehearsal_goes_all_the_way(tmp_path: Path) -> None:
    """One model with a way of each kind; that which the model cannot do does not lose the others."""
    out = tmp_path / "table.md"
    ways = ["best stock: group_by_length, bf16, fused AdamW", "ours", "ours, no padding"]
    done = gpu(
        "--device", "cpu", "--tiny", "--minutes", "600", "--patience", "6000", "--rounds", "1",
        "--sizes", "16",
        "--models", MODEL, "mmBERT base (ModernBERT)", "--ways", *ways, "--out", str(out),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in out.read_text().splitlines() if " | 16 | " in line]
    measured = {(row[0].strip("| "), row[2]): row[3] for row in rows}
    lacking = measured.pop(("mmBERT base (ModernBERT)", "ours, no padding"))
    assert "none of DistilBERT's" in lacking
    assert len(measured) == 5 and all(int(rate) > 0 for rate in measured.values())


def gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
