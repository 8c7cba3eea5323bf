"""Compare what two checkouts do: requests, messages, and the weights of seeded runs.

    python tools/compare.py OLD [NEW] [--no-training]

A refactor changes none of it. What may differ is listed in `RENAMED`: digests of code and data, which
name jobs and folders, and words that were renamed on purpose. Prints each difference and exits with 1
where there is one.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ACCOUNT = (
    "aws.role=arn:aws:iam::111122223333:role/SageMakerRole aws.bucket=my-bucket"
    " aws.region=us-east-1"
)
CLUSTERS = (
    "p3_2xl", "p3_16xl", "p3dn_24xl", "p4d_24xl", "p4de_24xl", "p5_48xl", "g4dn_12xl", "g5_12xl",
    "g5_48xl", "g6_12xl", "g6e_12xl",
)  # fmt: skip
REQUESTS = (
    *(f"cluster={name}" for name in CLUSTERS),
    "experiment=blog",
    "cluster=p3_16xl per_device_bs=16 scaling=linear model=distilbert_multilingual"
    " data=amazon_reviews_multi",
    "cluster=p4d_24xl cluster.nodes=2 cluster.distribution=smdistributed",
    "cluster=g5_12xl cluster.spot=true cluster.environment.NCCL_DEBUG=INFO",
    "cluster=p3_16xl aws.network_isolation=true cluster.image.lane=pinned"
    " cluster.image.uri=111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1",
    "cluster=g6e_12xl hub=private hub.repo=me/model hub.token_secret=hub-token",
)
WRONG = (
    "lr=fast",
    "epochs=0",
    "per_device_bs=-1",
    "cluster=p3_99xl",
    "model=none_such",
    "data=files",
    "data=files data.path=nowhere.jsonl",
    "seed=x",
    "training.precision=fp8",
    "training.schedule=cosinus",
    "cluster=p3_16xl training.precision=bf16",
    "cluster=p3_16xl cluster.spot=true cluster.max_wait=10",
    "cluster=p4d_24xl cluster.nodes=0",
    "cluster=p3_16xl cluster.volume_gb=0",
    "cluster=p3_16xl budget.max_usd=1",
    "cluster=p3_16xl action=submit",
    "action=submit",
    "output=request",
    "hydra.run.dir=x",
    "+new.key=1",
    "~hub",
    "lr=1e-4,1e-3",
    "data.labels=[a]",
    "data.languages=[en,en]",
    "batching.mode=random batching.window=10",
    "training.shard=true",
    "training.warmup_ratio=2",
    "hub=public",
    "hub=private hub.repo=a/b/c",
    "name=a_b",
    "cluster=g5_12xl per_device_bs=4096 model=xlmr_base",
    "aws.role=me cluster=p3_16xl action=check",
    "learning_rate=1e-4",
    "instance_type=ml.p3.2xlarge",
    "data.path=a data.train=b data=files",
    "data.max_length=1",
    "data.validation_share=0.9 data.test_share=0.9",
    "rehearsal.steps=0",
    "attempt=0 cluster=p3_16xl",
    "evaluation.select=f1",
    "scaling.base_batch=0 scaling=linear",
)
RUNS = (
    "",
    "cluster.processes=2",
    "per_device_bs=4 scaling.accumulation=2 batching.padding_free=true data.balance=weights",
    "batching.mode=global training.layer_decay=0.9 training.label_smoothing=0.1 data.language_alpha=0.5",
)
RENAMED = (
    (r"\b[0-9a-f]{64}\b", "DIGEST64"),
    (r"\b[0-9a-f]{12}\b", "DIGEST12"),
    (r"(?<=-)[0-9a-f]{6,10}\b", "DIGEST"),
    (r"\bworks:", "fix:"),
    (r'"works":', '"fix":'),
    (r"python -m lingotune\.data", "python -m lingotune prepare"),
    (r"src/lingotune/(config/)?schema\.py", "schema.py"),
)


def run(checkout: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a checkout in a folder, with that checkout's package."""
    environment = {
        **os.environ, "PYTHONPATH": str(checkout / "src"), "AWS_EC2_METADATA_DISABLED": "true",
        "LINGOTUNE_CONFIG": "", "COLUMNS": "100",
    }  # fmt: skip
    script, *rest = command
    return subprocess.run(
        [sys.executable, str(checkout / script), *rest],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def plain(text: str, checkout: Path, folder: Path) -> list[str]:
    """Lines of an output, without what may differ."""
    text = text.replace(str(folder), "FOLDER").replace(str(checkout), "CHECKOUT")
    for pattern, name in RENAMED:
        text = re.sub(pattern, name, text)
    return text.splitlines()


def outputs(checkout: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with what it prints: requests, plans, messages."""
    for words in REQUESTS:
        for form in ("request", "page"):
            done = run(
                checkout, folder, "launch.py", *words.split(), *ACCOUNT.split(), f"output={form}"
            )
            text = f"{done.returncode}\n{done.stdout}\n{done.stderr}"
            yield f"launch.py {words} output={form}", plain(text, checkout, folder)
    for words in WRONG:
        for script in ("launch.py", "train.py"):
            if script == "train.py" and "cluster=" not in words and _trains(words):
                continue
            done = run(checkout, folder, script, *words.split())
            text = f"{done.returncode}\n{done.stderr}"
            yield f"{script} {words}", plain(text, checkout, folder)


def _trains(words: str) -> bool:
    """Tell whether train.py would start with what is wrong for launch.py alone."""
    return words in ("output=request", "action=submit", "lr=1e-4,1e-3") or words.startswith("name=")


def reviews(folder: Path) -> Path:
    """Write 900 short reviews of three languages, the same each time."""
    words = {
        "en": ("great", "okay", "awful", "the phone", "this book", "my order"),
        "de": ("toll", "mittel", "furchtbar", "das Handy", "dieses Buch", "meine Bestellung"),
        "ja": ("最高", "普通", "最悪", "この電話", "この本", "注文した品"),
    }
    path = folder / "reviews.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for n in range(900):
            code = ("en", "de", "ja")[n % 3]
            kind = n * 7 % 3
            noun, judgement = words[code][3 + n % 5 % 3], words[code][kind]
            text = f"{n}: {noun} {judgement} {' '.join([judgement] * (n * 11 % 17))}"
            row = {"review_body": text, "stars": (5, 3, 1)[kind], "language": code}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def trained(checkout: Path, folder: Path, source: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each seeded run with the digest of its weights, its losses, scores and predictions."""
    import pyarrow.parquet as parquet

    for number, words in enumerate(RUNS):
        runs = folder / f"runs{number}"
        done = run(
            checkout, folder, "train.py", "data=files", f"data.path={source}",
            "data.columns.stars=stars", "data.columns.language=language", "epochs=2", "seed=3",
            f"runs_dir={runs}", *words.split(),
        )  # fmt: skip
        found = [path.parent for path in runs.glob("*/metrics.json")]
        if not found:
            yield f"train.py {words}", [f"failed: {done.stderr[-2000:]}"]
            continue
        metrics = json.loads((found[0] / "metrics.json").read_text(encoding="utf-8"))
        history = [
            {k: v for k, v in json.loads(line).items() if "loss" in k or "f1" in k or k == "step"}
            for line in (found[0] / "history.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        weights = (found[0] / "model" / "model.safetensors").read_bytes()
        rows = parquet.read_table(found[0] / "predictions.parquet").to_pylist()
        yield (
            f"train.py {words}",
            [
                f"weights {hashlib.sha256(weights).hexdigest()}",
                *(json.dumps(entry, sort_keys=True) for entry in history),
                *(json.dumps(metrics[name], sort_keys=True) for name in ("validation", "test")),
                f"predictions {hashlib.sha256(repr(rows).encode()).hexdigest()}",
            ],
        )


def compare(old: Path, new: Path, *, training: bool) -> int:
    """Print every difference; returns how many outputs differ."""
    differing = count = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = reviews(root)
        found = {}
        for checkout, side in ((old, "old"), (new, "new")):
            folder = root / side
            folder.mkdir()
            found[side] = dict(outputs(checkout, folder))
            if training:
                found[side] |= trained(checkout, folder, source)
        for command, before in found["old"].items():
            count += 1
            after = found["new"][command]
            if before != after:
                differing += 1
                print(f"--- {command}")
                print("\n".join(difflib.unified_diff(before, after, "old", "new", "", "", 1)))
    print(f"{count} outputs compared, {differing} differ")
    return differing


def main() -> int:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("old", type=Path, help="a checkout before the change")
    parser.add_argument("new", type=Path, nargs="?", default=Path(__file__).resolve().parents[1])
    parser.add_argument("--no-training", action="store_true", help="requests and messages alone")
    options = parser.parse_args()
    differing = compare(
        options.old.resolve(), options.new.resolve(), training=not options.no_training
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
