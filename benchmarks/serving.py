"""Speed of a classifier of real size as trained and as exported, and what the endpoint adds.

    python benchmarks/serving.py TOKENIZER TEXTS

TOKENIZER: folder of a tokenizer, such as multilingual BERT's. TEXTS: one a line. The model has the size of
DistilBERT multilingual and random weights: speed does not depend on them. Interleaved, medians.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from lingotune.evaluation.classifier import Classifier, Trained, trained_model
from lingotune.serving.export_speed import compare_speed
from lingotune.serving.onnx_export import export_model
from lingotune.serving.served_model import ServedModel

LABELS = ("negative", "neutral", "positive")
ROUNDS = 50


def make_model(tokenizer: Path, folder: Path) -> Trained:
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertForSequenceClassification

    found = AutoTokenizer.from_pretrained(tokenizer)
    found.model_max_length = 128
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}
    config = DistilBertConfig(vocab_size=len(found), pad_token_id=found.pad_token_id, **names)
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    found.save_pretrained(folder)
    return trained_model(folder)


def overhead(trained: Trained, text: str) -> float:
    """Milliseconds that a request takes beside those of the model, median."""
    served = ServedModel(trained)
    body, spent = json.dumps({"inputs": text}).encode(), []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        served.answer(body, "application/json", None)
        asked = time.perf_counter()
        served.classifier.logits([text])
        spent.append((asked - started) - (time.perf_counter() - asked))
    return statistics.median(spent) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("texts", type=Path)
    options = parser.parse_args()
    texts = options.texts.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as work:
        trained = make_model(options.tokenizer, Path(work, "model"))
        before = Classifier(trained)
        for name in ("onnx", "onnx-int8"):
            folder = Path(work, name)
            started = time.perf_counter()
            export_model(trained, before, folder, quantize=name.endswith("int8"))
            size = (folder / "model.onnx").stat().st_size / 1e6
            print(
                f"{name}: {size:.1f} MB, written in {time.perf_counter() - started:.0f} s",
                flush=True,
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
        print(f"endpoint: {overhead(trained, texts[0]):.2f} ms beside the model")


if __name__ == "__main__":
    main()
