"""A trained model as it is deployed: checked, described, and packed with the code that serves it."""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lingotune.config.jobfile import job_digest
from lingotune.config.problems import DATA_FAILED, DISK_FAILED, ConfigError, Problem
from lingotune.config.program import program
from lingotune.config.quoting import for_shell
from lingotune.config.typed_json import parse_json
from lingotune.evaluation.classifier import Trained, trained_model
from lingotune.launch.render.deployment import Served
from lingotune.runs.folder import CODE, MODEL, folders_in
from lingotune.runs.inventory import Inventory, changed_files, read_inventory
from lingotune.runs.remake import remake_command
from lingotune.serving.code_folder import PACKED, REQUIREMENTS, fill_code
from lingotune.serving.served_model import model_digest
from lingotune.system.hashing import sha256_of

_WEIGHTS = (".safetensors", ".onnx", ".onnx.data")


@dataclass(frozen=True)
class DeployedModel:
    """A model, what serves it, and its description. code: folder with the code."""

    trained: Trained
    code: Path
    served: Served

    def pack(self, archive: Path) -> None:
        """Write model.tar.gz; ConfigError if the disk refuses it."""
        try:
            with tarfile.open(archive, "w:gz", compresslevel=1) as tar:  # weights hardly compress
                for name, path in _contents(self.trained.folder, self.code):
                    tar.add(path, name, recursive=False)
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            raise ConfigError([Problem(str(archive), what, code=DISK_FAILED)]) from error


@contextmanager
def deployed_model(run: str) -> Iterator[DeployedModel]:
    """Read a run's model; ConfigError tells all that is missing or damaged.

    Nothing in the run folder changes: the code that serves it lies in a folder that ends with the block.
    """
    trained = trained_model(run)
    problems = list(_faults(trained))
    if problems:
        raise ConfigError(problems)
    with TemporaryDirectory(prefix="lingotune-") as folder:
        code = Path(folder, CODE)
        fill_code(code, trained.folder, trained.job, [Path(run)])
        yield DeployedModel(trained, code, _described(trained, code))


def _faults(trained: Trained) -> Iterator[Problem]:
    """Find files that are not as the training wrote them, and weights that end too early."""
    folder, fix = trained.folder, remake_command(trained.folder)
    damaged = dict(_changed(trained))
    weights = [path for path in folder.iterdir() if path.name.endswith(_WEIGHTS)]
    if not weights and not damaged:
        yield Problem(str(folder), "holds no weights: no model*.safetensors", fix, code=DATA_FAILED)
    for path in weights:
        if path.suffix == ".safetensors" and path.name not in damaged and (what := _cut(path)):
            damaged[path.name] = what
    for name, what in damaged.items():
        yield Problem(str(folder / name), what, fix, check="model-damaged", code=DATA_FAILED)
    if not damaged and _inventory(trained) is None and (what := _not_as_packed(folder)):
        meant = f"{program('package')} {for_shell(str(folder))}, if it was meant; or {fix}"
        yield Problem(str(folder), what, meant, check="model-damaged", code=DATA_FAILED)


def _not_as_packed(folder: Path) -> str:
    """Tell that a model is not the one that its code was packed with; '' if it is, or has no code."""
    try:
        packed = parse_json((folder / CODE / PACKED).read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    now = model_digest(folder)
    return (
        "" if now == packed else f"was changed since it was made: {packed:.12} then, {now:.12} now"
    )


def _changed(trained: Trained) -> Iterator[tuple[str, str]]:
    inventory = _inventory(trained)
    if inventory is not None:
        for name, what in changed_files(folders_in(trained.folder.parent), inventory):
            if name.startswith(f"{MODEL}/"):
                yield name.removeprefix(f"{MODEL}/"), what


def _inventory(trained: Trained) -> Inventory | None:
    """Read the list of the files that the model's run has written; None where there is none."""
    if trained.job is None or trained.folder.name != MODEL:
        return None
    return read_inventory(folders_in(trained.folder.parent), job_digest(trained.job))


def _cut(path: Path) -> str:
    """Tell what is wrong with the length of a safetensors file; '' if it is as its header says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length if length < size else 0))
        ends = [one["data_offsets"][1] for key, one in header.items() if key != "__metadata__"]
    except (OSError, ValueError, struct.error, AttributeError, KeyError, TypeError):
        return "is no safetensors file: its header cannot be read"
    expected = 8 + length + max(ends, default=0)
    return "" if size == expected else f"has {size} bytes, and its header tells of {expected}"


def _described(trained: Trained, code: Path) -> Served:
    config = parse_json((trained.folder / "config.json").read_text(encoding="utf-8"))
    needed = code / REQUIREMENTS
    is_run = trained.folder.name == MODEL
    folder = trained.folder.resolve()
    return Served(
        name=trained.job.name if trained.job else (folder.parent if is_run else folder).name,
        digest=_digest(trained.folder, code),
        model=model_digest(trained.folder),
        model_type=config.get("model_type"),
        transformers=config.get("transformers_version"),
        weights_bytes=sum(
            path.stat().st_size for path in trained.folder.iterdir() if path.name.endswith(_WEIGHTS)
        ),
        installs=tuple(needed.read_text("utf-8").split()) if needed.is_file() else (),
    )


def _contents(model: Path, code: Path) -> list[tuple[str, Path]]:
    """List the files of the archive by their names in it."""
    inside = ((path.relative_to(model), path) for path in model.rglob("*") if path.is_file())
    found = [
        (name.as_posix(), path)
        for name, path in inside
        if name.parts[0] != CODE and not name.name.startswith(".")
    ]
    found += [
        (f"{CODE}/{path.relative_to(code).as_posix()}", path)
        for path in code.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return sorted(found)


def _digest(model: Path, code: Path) -> str:
    lines = "".join(f"{sha256_of(path)}  {name}\n" for name, path in _contents(model, code))
    return hashlib.sha256(lines.encode()).hexdigest()
