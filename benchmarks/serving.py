"""Speed of a classifier of real size at work: predictions, their start, exports, and the endpoint.

    python benchmarks/serving.py TOKENIZER TEXTS [--only PART ...]

TOKENIZER: folder of a tokenizer, such as multilingual BERT's. TEXTS: one a line. The model has the size of
DistilBERT multilingual and random weights: speed does not depend on them. Interleaved, medians. PART: some
of predict, start, overhead, export; by default all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from lingotune.evaluation.classifier import Classifier, Trained, computes_bf16, trained_model
from lingotune.evaluation.predict import in_files, read_rows
from lingotune.serving.export_speed import compare_speed
from lingotune.serving.onnx_export import export_model
from lingotune.serving.served_model import ServedModel

LABELS = ("negative", "neutral", "positive")
ROUNDS = 50
TEXTS, STARTS = 3, 5
"""Rounds of all texts, and of starts."""
BATCH = 32
LIBRARIES = """
import sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1])
AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
"""
PARTS = ("predict", "start", "overhead", "export")


def make_model(tokenizer: Path, folder: Path) -> Trained:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    found = AutoTokenizer.from_pretrained(tokenizer)
    found.model_max_length = 128
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}
    config = DistilBertConfig(vocab_size=len(found), pad_token_id=found.pad_token_id, **names)
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    found.save_pretrained(folder)
    return trained_model(folder)


def overhead(trained: Trained, text: str) -> float:
    """Milliseconds of CPU time that a request takes beside those of the model, median."""
    served = ServedModel(trained)
    body, spent = json.dumps({"inputs": text}).encode(), []
    for _ in range(ROUNDS):
        started = time.process_time()
        served.answer(body, "application/json", None)
        asked = time.process_time()
        served.classifier.logits([text])
        spent.append((asked - started) - (time.process_time() - asked))
    return statistics.median(spent) * 1e3


def predict(trained: Trained, file: Path) -> None:
    """Compare predictions from a file with the pipeline's defaults, and with batches sorted by hand."""
    texts = file.read_text(encoding="utf-8").splitlines()
    folder, classifier = str(trained.folder), Classifier(trained)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    stock = pipeline("text-classification", model=model, tokenizer=tokenizer)

    def ours(classifier: Classifier) -> None:
        rows = list(read_rows(in_files(str(file), trained), trained, None))
        classifier.classify([text for _, text in rows])

    def by_hand() -> None:
        order = sorted(texts, key=len, reverse=True)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                given = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
                model(**given).logits.softmax(-1)

    bodies: dict[str, Callable[[], object]] = {
        "lingotune predict": lambda: ours(classifier),
        "sorted and batched by hand": by_hand,
        "pipeline, its defaults": lambda: stock(texts, truncation=True),
    }
    if computes_bf16():
        rounded = Classifier(trained, bf16=True)
        bodies["lingotune predict --bf16"] = lambda: ours(rounded)
    found = medians(bodies, TEXTS)
    report(found, lambda seconds: f"{len(texts) / seconds:7.1f} texts/s")


def start(trained: Trained, text: str) -> None:
    """Compare `predict` of one text with importing the libraries and loading the model."""
    folder = str(trained.folder)
    ours = [sys.executable, "-m", "lingotune", "predict", folder, text]
    theirs = [sys.executable, "-c", LIBRARIES, folder]

    def run(command: Sequence[str]) -> Callable[[], object]:
        return lambda: subprocess.run(command, check=True, capture_output=True)

    found = {"lingotune predict, one text": run(ours), "libraries and model": run(theirs)}
    report(medians(found, STARTS), lambda seconds: f"{seconds:7.2f} s")


def medians(bodies: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run all bodies in turn, round by round; returns the median seconds of each."""
    spent: dict[str, list[float]] = {name: [] for name in bodies}
    for _ in range(rounds):
        for name, body in bodies.items():
            started = time.perf_counter()
            body()
            spent[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds) for name, seconds in spent.items()}


def report(found: Mapping[str, float], shown: Callable[[float], str]) -> None:
    first = next(iter(found.values()))
    for name, seconds in found.items():
        print(f"{name:30} {shown(seconds)}  {seconds / first:.2f}x the first's time", flush=True)


def export(trained: Trained, texts: Sequence[str], work: Path) -> None:
    """Compare both exports with the model as trained, in size and speed."""
    before = Classifier(trained)
    for name in ("onnx", "onnx-int8"):
        folder = work / name
        started = time.perf_counter()
        export_model(trained, before, folder, quantize=name.endswith("int8"))
        size = (folder / "model.onnx").stat().st_size / 1e6
        print(
            f"{name}: {size:.1f} MB, written in {time.perf_counter() - started:.0f} s", flush=True
        )
        after = Classifier(trained_model(folder))
        for one in compare_speed(before, after, texts):
            per_second = [one.texts / seconds for seconds in (one.before, one.after)]
            print(
                f"{one.texts:>3} texts {one.threads} threads  PyTorch {per_second[0]:7.1f}/s"
                f"  {name} {per_second[1]:7.1f}/s  {one.before / one.after:.2f}x",
                flush=True,
            )
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    texts = options.texts.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as work:
        trained = make_model(options.tokenizer, Path(work, "model"))
        parts: dict[str, Callable[[], Any]] = {
            "predict": lambda: predict(trained, options.texts),
            "start": lambda: start(trained, texts[0]),
            "overhead": lambda: print(f"endpoint: {overhead(trained, texts[0]):.2f} ms a request"),
            "export": lambda: export(trained, texts, Path(work)),
        }
        for name in options.only:
            parts[name]()


if __name__ == "__main__":
    main()
