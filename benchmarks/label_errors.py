"""How many wrong labels a run's label_errors.csv finds, of labels that are known to be wrong.

python benchmarks/label_errors.py FOLDER [SHARE] [OVERRIDE ...]

Changes the class of a share of generated reviews, trains on them, and compares the table with what was
changed. Needs cleanlab.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from pathlib import Path

from lingotune.config.schema import SampleConfig
from lingotune.data.sources.sample import sample_rows

CLASSES = ((1, 2), (3,), (4, 5))
ROWS = 900
"""Rows of each language."""


def main() -> None:
    """Print how many of the changed labels are in the table, and how many of its rows were changed."""
    folder, *rest = sys.argv[1:]
    share = float(rest.pop(0)) if rest and "=" not in rest[0] else 0.05
    home = Path(folder)
    home.mkdir(parents=True)
    changed = spoil(home / "spoilt.jsonl", share)
    data = ["data=files", f"data.path={home / 'spoilt.jsonl'}", "data.columns.id=review_id"]
    run = [sys.executable, "train.py", *data, f"runs_dir={home / 'runs'}", *rest]
    subprocess.run(run, check=True)
    (made,) = (home / "runs").glob("*/report.html")
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "lingotune", "report", str(made.parent)], check=True)
    print(f"report again: {time.monotonic() - started:.1f} s")
    compare(made.parent, changed)


def spoil(target: Path, share: float) -> set[str]:
    """Write reviews, with another class for a share of them; returns the ids of these."""
    draw, changed = random.Random(1), set()
    with target.open("w", encoding="utf-8") as out:
        for row in sample_rows(SampleConfig(train_rows=ROWS), "train"):
            if draw.random() < share:
                others = [of for of in CLASSES if row["stars"] not in of]
                row["stars"] = draw.choice(draw.choice(others))
                changed.add(row["review_id"])
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return changed


def compare(run: Path, changed: set[str]) -> None:
    """Compare the table of a run with the rows that were changed."""
    from pyarrow import parquet

    files = ("predictions.parquet", "validation_predictions.parquet")
    scored = {id for file in files for id in parquet.read_table(run / file)["id"].to_pylist()}
    with (run / "label_errors.csv").open(encoding="utf-8", newline="") as file:
        found = [row["id"] for row in csv.DictReader(file)]
    wrong = changed & scored
    print(f"{len(scored)} rows scored, {len(wrong)} of them with a changed label")
    for most in (len(wrong) // 2, len(wrong), len(found)):
        hits = len(wrong & set(found[:most]))
        print(f"first {most} of {len(found)}: {hits} changed, precision {hits / max(most, 1):.2f},"
              f" recall {hits / max(len(wrong), 1):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
