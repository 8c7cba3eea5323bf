"""How ordered classes are best decided: each decision on the same predictions of finished runs.

python train.py data=sample_stars evaluation.decide=argmax evaluation.calibrate=false seed=1
python benchmarks/ordinal.py RUN...

Each decision is fitted on the validation predictions of a run, and scored on its test predictions.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

from lingotune.config.jobfile import load_job
from lingotune.config.schema import Decide, EvaluationConfig
from lingotune.data.rows.scale import scale_of
from lingotune.evaluation.decisions import decided
from lingotune.evaluation.fit_decision import fit_decision
from lingotune.evaluation.metrics import Scores, classes_of, scores
from lingotune.evaluation.predictions import FILE, VALIDATION_FILE
from lingotune.report.run_examples import read_predictions

WAYS = (Decide.argmax, Decide.macro_f1, Decide.prior, Decide.expected, Decide.median)


def scored(run: Path, how: Decide) -> Scores:
    """Score the test predictions of a run by a decision."""
    job, _ = load_job(run / "job.yaml")
    classes = classes_of(job.data)
    found = (read_predictions(run / file, classes.names)[0] for file in (VALIDATION_FILE, FILE))
    validation, test = (replace(one, decided=None) for one in found)
    wanted = EvaluationConfig(decide=how)
    fitted = fit_decision(validation, classes.names, wanted, job.seed, scale=scale_of(job.data))
    return scores(decided(test, fitted.decision, classes.names), classes)


def main() -> None:
    """Print a row for each decision: means over the runs, with their standard deviation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    runs = parser.parse_args().runs
    names = ("mean_absolute_error", "quadratic_kappa", "accuracy", "macro_f1", "lowest recall")
    print(f"{'':10}" + "".join(f"{name:>24}" for name in names))
    for how in WAYS:
        found = [scored(run, how) for run in runs]
        lowest = [min(one.recall for one in of.classes.values()) for of in found]
        columns = [[getattr(of, name) for of in found] for name in names[:-1]] + [lowest]
        cells = (f"{statistics.mean(of):.3f} ± {statistics.pstdev(of):.3f}" for of in columns)
        print(f"{how.value:10}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    main()
