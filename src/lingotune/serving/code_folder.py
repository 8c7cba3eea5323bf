"""The folder `code` of a model: what the inference image needs to serve it, without a download.

The image has torch, transformers and numpy. The modules listed here need nothing else; the job, which
says how texts are prepared, is stored as JSON, as the image has no OmegaConf either.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from lingotune import __version__
from lingotune.config.jobfile import plain
from lingotune.config.schema import JobConfig
from lingotune.plugins.source import bundle_folder, find_source
from lingotune.runs.folder import CODE
from lingotune.serving.served_model import model_digest

PACKED = "packed.json"
PROGRAM = "inference.py"
"""Name of the module that the inference toolkit imports."""
REQUIREMENTS = "requirements.txt"
"""File whose lines the inference toolkit installs at its start, for a model that needs more."""
PARTS = (
    "__init__.py", "catalog", "config", "contract",
    "data/__init__.py", "data/prepared", "data/rows", "evaluation", "modeling", "plugins", "runs",
    "serving", "system",
)  # fmt: skip
"""Files and folders of the package that a served model may import."""


@dataclass(frozen=True)
class Packed:
    """Contents of packed.json: the version of lingotune, the model's digest, and its job if it is known."""

    lingotune: str
    model: str
    job: JobConfig | None


def write_code(model: Path, job: JobConfig | None, runs: Sequence[Path] = ()) -> None:
    """Write the folder `code` of a model, in place of one that is there.

    runs: folders that may hold a copy of the job's own code. OSError if it cannot be written, ConfigError
    if the job's own code is not here.
    """
    unfinished = model / f".{CODE}.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        fill_code(unfinished, model, job, runs)
        shutil.rmtree(model / CODE, ignore_errors=True)
        unfinished.rename(model / CODE)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def fill_code(code: Path, model: Path, job: JobConfig | None, runs: Sequence[Path] = ()) -> None:
    """Write into the folder `code` what serves a model, of which nothing changes. See `write_code`."""
    package = Path(str(resources.files("lingotune")))
    for path in _files(package):
        target = code / "lingotune" / path.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(package / "serving" / PROGRAM, code / PROGRAM)
    values = {"lingotune": __version__, "model": model_digest(model), "job": job and plain(job)}
    (code / PACKED).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    _write_own_code(code, job, [*runs, model, model / CODE])
    needed = "".join(f"{line}\n" for line in _requirements(model, job))
    if needed:
        (code / REQUIREMENTS).write_text(needed, encoding="utf-8")


def _files(package: Path) -> Iterator[Path]:
    for part in PARTS:
        path = package / part
        yield from [path] if path.is_file() else _below(path)


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".json"))


def _write_own_code(code: Path, job: JobConfig | None, folders: Sequence[Path]) -> None:
    if job is not None and job.code.builder is not None:
        source = find_source(job.code, [*folders, bundle_folder()])
        if source is not None:
            source.keep_in(code)


def _requirements(model: Path, job: JobConfig | None) -> Iterator[str]:
    if job is not None and job.code.builder is not None:
        yield from job.code.requirements
    if any(model.glob("*.onnx")):
        yield "onnxruntime"
