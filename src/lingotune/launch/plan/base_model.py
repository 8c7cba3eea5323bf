"""The model that a job on SageMaker begins with, where it is the user's own: a folder here, or in S3."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.config.problems import Problem
from lingotune.config.schema import ModelConfig
from lingotune.data.prepared.tokenizer import has_tokenizer
from lingotune.system.hashing import sha256_of

_MODEL_FILES = re.compile(r"[^.].*\.(json|txt|model|codes|safetensors|bin)")
_NOT_THE_MODELS = re.compile(
    r"training_args\.bin|optimizer.*|scheduler.*|trainer_state\.json|metrics\.json"
)
_WEIGHTS = re.compile(r"(model|pytorch_model)\b.*\.(safetensors|bin)")
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_SAVED = "a folder that train.py or save_pretrained has written"


@dataclass(frozen=True)
class BaseModel:
    """A model of the user's own, which reaches its job as an input channel.

    digest: of its files; None in S3, where nobody looks before the job. folder: where it lies here,
    None = only in S3. uri: s3:// prefix with a slash at its end, where it lies in S3 already.
    """

    digest: str | None
    folder: Path | None
    uri: str | None = None

    def files(self) -> Iterator[Path]:
        """Yield the files that make up the model."""
        if self.folder is not None:
            yield from model_files(self.folder)


def deliver_model(
    model: ModelConfig, copy: Path | None = None
) -> tuple[BaseModel | None, list[Problem]]:
    """Find out how a job's model reaches its machines; None = it is made there, or comes from the hub.

    copy: folder with the files of a model in S3, where they are needed here. The problems name what
    would keep the job from loading it.
    """
    name = model.name_or_path
    if name is None:
        return None, []
    where = f"model.name_or_path={name}"
    if name.startswith("s3://"):
        wrong = [Problem(where, what, fix, check="model-in-s3") for what, fix in _uri_faults(name)]
        return BaseModel(None, copy, name.rstrip("/") + "/"), wrong + _revision(model)
    if Path(name).is_dir():
        faults = [
            Problem(where, what, _SAVED, check="model-folder") for what in _faults(Path(name))
        ]
        digest = None if faults else _digest(Path(name))
        return BaseModel(digest, Path(name)), faults + _revision(model)
    if _ON_HUB.fullmatch(name):
        return None, []
    what = "is no folder of this machine, and no name that a model of the hub could have"
    fix = "a folder, s3://BUCKET/PREFIX, or a hub id: model.name_or_path=OWNER/NAME"
    return None, [Problem(where, what, fix, check="model-folder")]


def model_files(folder: Path) -> list[Path]:
    """List config, weights and tokenizer in a folder; of weights in two formats safetensors alone."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and is_model_file(path.name))
    if any(path.suffix == ".safetensors" for path in found):
        found = [path for path in found if path.suffix != ".bin" and ".bin.index" not in path.name]
    return found


def is_model_file(name: str) -> bool:
    """Tell a file that a model is loaded from by its name."""
    return bool(_MODEL_FILES.fullmatch(name)) and not _NOT_THE_MODELS.fullmatch(name)


def _faults(folder: Path) -> Iterator[str]:
    config = folder / "config.json"
    if not config.is_file():
        yield "holds no model: there is no config.json in it"
        return
    try:
        found: Any = json.loads(config.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not found.get("model_type"):
            yield "its config.json names no model_type"
    except (OSError, ValueError) as error:
        yield f"its config.json cannot be read: {error}"
    weights = [path for path in model_files(folder) if _WEIGHTS.fullmatch(path.name)]
    if not weights:
        yield "holds no weights: neither model*.safetensors nor pytorch_model*.bin"
    yield from _missing_parts(folder)
    if not has_tokenizer(folder):
        yield "holds no tokenizer"


def _missing_parts(folder: Path) -> Iterator[str]:
    """Name the parts of weights that an index lists and the folder lacks."""
    for index in sorted(folder.glob("*.index.json")):
        try:
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            yield f"its {index.name} cannot be read"
            continue
        missing = sorted(part for part in parts if not (folder / part).is_file())
        if missing:
            yield f"lacks {', '.join(missing[:3])}, which its {index.name} names"


def _uri_faults(uri: str) -> Iterator[tuple[str, str]]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not bucket or not prefix.strip("/"):
        yield "names no folder in a bucket", "model.name_or_path=s3://BUCKET/PREFIX"
    elif prefix.endswith((".tar.gz", ".tgz", ".zip", ".tar")):
        what = "is an archive; a model is loaded from its single files"
        yield what, f"aws s3 cp {uri} - | tar xz -C FOLDER, then model.name_or_path=FOLDER"
    elif prefix.endswith((".safetensors", ".bin", ".json")):
        folder = uri.rpartition("/")[0]
        yield "is one file of a model", f"model.name_or_path={folder}"


def _revision(model: ModelConfig) -> list[Problem]:
    if model.revision is None:
        return []
    what = "has no effect: only models of the hub have revisions"
    return [Problem(f"model.revision={model.revision}", what, "model.revision=null",
                    check="model-revision-unused")]  # fmt: skip


def _digest(folder: Path) -> str:
    """Digest what is uploaded: names and contents."""
    digest = hashlib.sha256()
    for path in model_files(folder):
        digest.update(f"{path.name}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()
