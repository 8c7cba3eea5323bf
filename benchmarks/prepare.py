"""How fast data is prepared: ours against the article's recipe, interleaved, on generated reviews.

python benchmarks/prepare.py [--rows 100000] [--rounds 3] [--tokenizer FOLDER]

The article's recipe maps the tokenizer over the rows and saves them (`Dataset.map`, `save_to_disk`).
Each run is a process of its own; what is measured is its whole life, imports included, and its memory.
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
from pathlib import Path

from reviews import write_reviews, write_tokenizer

ARTICLE = """
import sys
from datasets import load_dataset
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[2])
stars = {1: 0, 2: 0, 3: 1, 4: 2, 5: 2}
rows = load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[3] + "/cache")
rows = rows.map(lambda batch: {"labels": [stars[s] for s in batch["stars"]]}, batched=True)
rows = rows.map(
    lambda batch: tokenizer(batch["review_body"], truncation=True, max_length=128), batched=True
)
rows.save_to_disk(sys.argv[3] + "/saved")
"""


OURS = """
import sys
from pathlib import Path
from lingotune.data.prepared.prepare import prepare
from lingotune.config.schema import ColumnsConfig, DataConfig, LabelConfig, ModelConfig, Source
stars = {"negative": ["1", "2"], "neutral": ["3"], "positive": ["4", "5"]}
labels = [LabelConfig(name, values) for name, values in stars.items()]
columns = ColumnsConfig(stars="stars", language="language")
data = DataConfig("files", Source.files, path=sys.argv[1], columns=columns, labels=labels, max_length=128)
if __name__ == "__main__":
    prepare(data, ModelConfig("m", sys.argv[2]), 42, Path(sys.argv[3], "prepared"), print)
"""


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and peak MB of a process and its children."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    program = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *command], check=True, capture_output=True
    )
    return time.monotonic() - begun, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Print medians, ratios and what 1.2 million rows would take."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokenizer", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        source, tokenizer = work / "reviews.jsonl", options.tokenizer or work / "tokenizer"
        write_reviews(source, options.rows)
        if options.tokenizer is None:
            write_tokenizer(tokenizer)
        out = work / "out"
        program = work / "ours.py"  # a file: its processes import it
        program.write_text(OURS, encoding="utf-8")
        ours = [sys.executable, str(program), str(source), str(tokenizer), str(out)]
        theirs = [sys.executable, "-c", ARTICLE, str(source), str(tokenizer), str(out)]
        seconds: dict[str, list[float]] = {"article": [], "lingotune": [], "again": []}
        memory: dict[str, float] = {}
        for _ in range(options.rounds):
            for name, command in (("article", theirs), ("lingotune", ours)):
                spent, peak = measured(command, out)
                seconds[name].append(spent)
                memory[name] = max(peak, memory.get(name, 0))
            begun = time.monotonic()
            subprocess.run(ours, check=True, capture_output=True)
            seconds["again"].append(time.monotonic() - begun)
        (manifest,) = (out / "prepared").glob("*/manifest.json")
        tokens = sum(s["tokens"] for s in json.loads(manifest.read_text())["splits"].values())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{options.rows} rows, {tokens / options.rows:.1f} tokens a row, {options.rounds} rounds")
    for name in ("article", "lingotune"):
        rate = options.rows / medians[name]
        between = f"({min(seconds[name]):.1f} to {max(seconds[name]):.1f})"
        speed = f"{rate:7.0f} rows/s  {memory[name]:6.0f} MB"
        print(f"{name:10} {medians[name]:7.1f} s {between}  {speed}")
    print(
        f"ratio {medians['article'] / medians['lingotune']:.2f}; second run {medians['again']:.2f} s"
    )
    print(f"1.2 million rows at this rate: {1.2e6 / options.rows * medians['lingotune']:.0f} s")


if __name__ == "__main__":
    main()
