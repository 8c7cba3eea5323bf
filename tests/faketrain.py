"""A process that does what the training of a job looks like from outside, in a tenth of a second.

python tests/faketrain.py PLAN --job FILE --run-dir DIR ...

PLAN is a JSON file: `jobs` says by learning rate what becomes of a job: "fail" ends with an error of exit
code 2, "fail8" of 8, "hang" evaluates once and waits for PLAN.go, a number is the score of the best of
three evaluations. `metrics` is a metrics.json to write, `pause` the seconds after each evaluation. Each
start and end is a line of PLAN.log.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

PLAN = Path(sys.argv[1])
FOLDER = Path(sys.argv[sys.argv.index("--run-dir") + 1])


def main() -> int:
    planned = json.loads(PLAN.read_text())
    head, _, body = (FOLDER / "job.yaml").read_text().partition("\n")
    lr = float(next(line[4:] for line in body.splitlines() if line.startswith("lr: ")))
    word = planned["jobs"].get(str(lr), 0.5)
    log("start")
    print(f"training with {lr}", flush=True)
    if str(word).startswith("fail"):
        (FOLDER / "failure").write_text("rank 0, training: it failed\nfor a reason")
        log("end")
        return int(word.removeprefix("fail") or 2)
    score = 0.5 if word == "hang" else float(word)
    with (FOLDER / "history.jsonl").open("w") as history:
        for step in (10, 20, 30):
            entry = {"step": step, "eval_loss": 1.0, "eval_macro_f1": score * step / 30}
            history.write(json.dumps(entry) + "\n")
            history.flush()
            while word == "hang" and not PLAN.with_suffix(".go").exists():
                time.sleep(0.02)
            time.sleep(planned["pause"])
    metrics = planned["metrics"]
    metrics["job_sha256"] = head.rpartition(" ")[2]
    metrics["validation"]["overall"]["macro_f1"] = score
    log("end")
    (FOLDER / "metrics.tmp").write_text(json.dumps(metrics))
    (FOLDER / "metrics.tmp").rename(FOLDER / "metrics.json")
    return 0


def log(what: str) -> None:
    with PLAN.with_suffix(".log").open("a") as file:
        file.write(f"{what} {FOLDER.name}\n")


if __name__ == "__main__":
    sys.exit(main())
