"""Checks of a job's results: its scores, and a prediction from its packed model."""

from __future__ import annotations

import math
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from lingotune.config.typed_json import from_json, parse_json
from lingotune.evaluation.own_code import TRUST
from lingotune.launch.simulator.container import Container, pack
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.runs.folder import METRICS
from lingotune.runs.results import RunResults

TEXT, SECOND = "Great product, works perfectly", "It broke after a week"
"""Text that is predicted, and the second one of a model of pairs."""
_PROGRAM = """\
import gc, sys
from pathlib import Path
from lingotune.runs.remake import load_job_of
from lingotune.system.lean_imports import allow_lean, lean
gc.disable()  # the imports are most of its work
allow_lean(load_job_of(Path(sys.argv[1]))[0], None)
with lean():
    import transformers.models.auto.modeling_auto
from lingotune.data.rows.pairs import joined
from lingotune.evaluation.classifier import takes_pairs, trained_model
from lingotune.evaluation.predict import predict_lines
trained, texts = trained_model(sys.stdin.readline().rstrip("\\n")), sys.argv[2:]
text = joined(*texts) if takes_pairs(trained) else texts[0]
print(*predict_lines(trained, [({}, text)]))
"""
UNPACKED = "model"
"""Folder in that of a rehearsal with what was in the model's archive."""
_LOG_LINES = 15


def check_scores(container: Container) -> str:
    """List the files of the model in one line; StageFailed if a score is missing or not a number."""
    path = container.model / METRICS
    if not path.is_file():
        raise StageFailed(f"the job ended without {path.name} beside the model")
    try:
        read = from_json(RunResults, parse_json(path.read_text(encoding="utf-8")))
        _, scored = read.scored
    except ValueError as error:
        raise StageFailed(f"{path.name}: {error}") from error
    scores = {"loss": scored.loss, **scored.headline()}
    bad = [f"{name} is {value!r}" for name, value in scores.items() if not math.isfinite(value)]
    if bad:
        raise StageFailed(f"{path.name}: {', '.join(bad)}: not a number")
    files = sorted(path.name for path in container.model.iterdir())
    return f"{len(files)} files: {', '.join(files)}"


def through_archive(container: Container, folder: Path) -> int:
    """Pack the model as SageMaker does, and unpack it as `UNPACKED`; returns the archive's bytes."""
    archive, unpacked = folder / "model.tar.gz", folder / UNPACKED
    pack(container.model, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter="data")
    return archive.stat().st_size


class Predictor:
    """A process of the job's own code and libraries, which waits for a packed model to label `TEXT`, or the
    pair, with it.

    It is started while the job still runs: its imports take as long as all that the job does at its end. As
    a context manager it leaves no process behind.
    """

    def __init__(
        self, python: Path, container: Container, model: Path, variables: Mapping[str, str]
    ) -> None:
        """container: that of the job, with its code and job file. model: where its folder will be."""
        self._model = model
        self._process = subprocess.Popen(
            [str(python), "-c", _PROGRAM, str(container.job_file), TEXT, SECOND],
            cwd=container.folder / "code",
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(model),
                "HF_HUB_OFFLINE": "1",
                "CUDA_VISIBLE_DEVICES": "-1",
                "OMP_NUM_THREADS": "1",
                TRUST: "1",  # the job's own code, which has just run
                **variables,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def predict(self) -> str:
        """Label the text with the model that is there now; StageFailed if that is not possible."""
        said, errors = self._process.communicate(f"{self._model}\n")
        if self._process.returncode:
            lines = tuple(errors.splitlines()[-_LOG_LINES:])
            raise StageFailed("the packed model cannot be loaded and asked", lines)
        return said.strip()
