"""How many wrong labels a run's label_errors.csv finds, of labels that are known to be wrong.

python benchmarks/label_errors.py FOLDER [SHARE] [OVERRIDE ...]

Changes the class of a share of generated reviews, trains on them, and compares the table with what was
changed; then the same for other ways to come by probabilities of the training rows. Needs cleanlab.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from lingotune.config.schema import SampleConfig
from lingotune.data.sources.sample import sample_rows

CLASSES = ((1, 2), (3,), (4, 5))
ROWS = 900
"""Rows of each language."""
MOST = (27, 54, 108)
"""Rows from the top of a table."""


def main() -> None:
    """Print how many of the changed labels are in the table, and how many of its rows were changed."""
    folder, *rest = sys.argv[1:]
    share = float(rest.pop(0)) if rest and "=" not in rest[0] else 0.05
    home = Path(folder)
    home.mkdir(parents=True)
    changed = spoil(home / "spoilt.jsonl", share)
    data = ["data=files", f"data.path={home / 'spoilt.jsonl'}", "data.columns.id=review_id"]
    run = [sys.executable, "train.py", *data, f"runs_dir={home / 'runs'}",
           f"prepared_dir={home / 'prepared'}", *rest]  # fmt: skip
    subprocess.run(run, check=True)
    (made,) = (home / "runs").glob("*/report.html")
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "lingotune", "report", str(made.parent)], check=True)
    print(f"report again: {time.monotonic() - started:.1f} s")
    compare(made.parent, changed)
    (data,) = (home / "prepared").glob("*/manifest.json")
    compare_ways(made.parent, data.parent, changed)


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

    with (run / "label_errors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    files = ("predictions.parquet", "validation_predictions.parquet")
    scored = {id for file in files for id in parquet.read_table(run / file)["id"].to_pylist()}
    splits = {"all": changed, "validation and test": changed & scored, "train": changed - scored}
    for name, wrong in splits.items():
        own = [
            r["id"] for r in rows if name == "all" or (r["split"] == "train") == (name == "train")
        ]
        tell(f"label_errors.csv, {name}", own, wrong)


def tell(name: str, found: list[str], wrong: set[str]) -> None:
    """Print how many of the first rows that were found have a changed label."""
    print(f"{name}: {len(wrong)} rows have a changed label")
    for most in (*MOST, len(found)):
        hits = len(wrong & set(found[:most]))
        print(f"  first {most} of {len(found)}: {hits} changed, precision {hits / max(most, 1):.2f},"
              f" recall {hits / max(len(wrong), 1):.2f}")  # fmt: skip


def compare_ways(run: Path, data: Path, changed: set[str]) -> None:
    """Compare ways to come by probabilities of the training rows, by the same search."""
    from lingotune.evaluation.label_errors import find_label_errors
    from lingotune.evaluation.metrics import Predictions
    from lingotune.evaluation.out_of_fold import out_of_fold
    from lingotune.report.run_examples import read_column

    columns = ("text", "label", "id", "language")
    texts, label, ids, languages = (read_column(data, name, "train") for name in columns)
    true = np.array(label, np.int64)
    vectors, own = encoded(run, texts)
    ways = {
        "TF-IDF, out of fold": out_of_fold(texts, true, len(CLASSES)),
        "the model's vectors, a head out of fold": head_out_of_fold(vectors, true),
        "the model itself, which was trained on them": own,
    }
    ways["the mean of the first two"] = sum([*ways.values()][:2]) / 2
    for name, shares in ways.items():
        stars = np.full(len(ids), np.nan)
        rows = Predictions(true, shares, np.array(languages, object), stars)
        found = [ids[one.place] for one in find_label_errors(rows)]
        tell(f"training rows by {name}", found, changed & set(ids))


def encoded(run: Path, texts: list[str]) -> tuple[Any, Any]:
    """Compute a model's vectors of texts, mean and first token, and their probabilities."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    model = AutoModelForSequenceClassification.from_pretrained(run / "model").eval()
    vectors, shares = [], []
    for start in range(0, len(texts), 64):
        some = texts[start : start + 64]
        batch = tokenizer(some, padding=True, truncation=True, max_length=128, return_tensors="pt")
        known = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            out = model(**known, output_hidden_states=True)
        last, mask = out.hidden_states[-1], batch["attention_mask"][..., None]
        mean = (last * mask).sum(1) / mask.sum(1)
        vectors.append(torch.cat([mean, last[:, 0]], 1).numpy())
        shares.append(out.logits.double().softmax(-1).numpy())
    return np.concatenate(vectors), np.concatenate(shares)


def head_out_of_fold(vectors: Any, true: Any) -> Any:
    """Train a logistic head on vectors, each part of the rows by the others."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return cross_val_predict(head, vectors, true, cv=3, method="predict_proba")


if __name__ == "__main__":
    main()
