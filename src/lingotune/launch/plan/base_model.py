"""The model that a job on SageMaker begins with, where it is the user's own: a folder here, or in S3."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lingotune.config.problems import Problem, Severity, closest
from lingotune.config.quoting import for_shell, override_text
from lingotune.config.schema import ModelConfig
from lingotune.config.typed_json import parse_json
from lingotune.data.prepared.foreign_code import foreign_code, pickled_alone
from lingotune.data.prepared.tokenizer import has_tokenizer, names_tokenizer
from lingotune.launch.checks.places import BUCKET, place_in_s3
from lingotune.runs.folder import MODEL
from lingotune.system.hashing import sha256_once

_MODEL_FILES = re.compile(r"[^.].*\.(json|model|codes|spm|safetensors)|vocab.*\.txt|merges.*\.txt")
_NOT_THE_MODELS = re.compile(
    r"training_args\.(bin|json)|optimizer.*|scheduler.*|(trainer_state|metrics|manifest|.*_results|.*\.bin\.index)\.json"
)
_WEIGHTS = re.compile(r"(model|pytorch_model)\b.*\.safetensors")
_LARGE = 1_000_000_000
"""Bytes of a model from which reading them is told."""
ARCHIVES = (".tar.gz", ".tgz", ".zip", ".tar")
"""Ends of the names of archives."""
_SINGLE_FILES = (".safetensors", ".bin", ".json", ".pt", ".pth", ".ckpt", ".h5")
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
_HUB_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^?#]+).*|hf://(?:models/)?(.+)"
)
_NO_TOKENIZER = "holds no tokenizer"
_SAVED = "a folder that train.py or save_pretrained has written"


@dataclass(frozen=True)
class BaseModel:
    """A model of the user's own, which reaches its job as an input channel.

    digest: of its files; None in S3, where nobody looks before the job. folder: where it lies here,
    None = only in S3. uri: s3:// prefix with a slash at its end, where it lies in S3 already. sha256: name
    of each file that is uploaded -> its digest when the job was planned.
    """

    digest: str | None
    folder: Path | None
    uri: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> Iterator[Path]:
        """Yield the files that make up the model."""
        if self.folder is not None:
            yield from model_files(self.folder)


def deliver_model(
    model: ModelConfig,
    copy: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[BaseModel | None, list[Problem]]:
    """Find out how a job's model reaches its machines; None = it is made there, or comes from the hub.

    copy: folder with the files of a model in S3, where they are needed here. tell: takes a line where
    reading takes long. The problems name what would keep the job from loading it.
    """
    name = model.name_or_path
    if name is None:
        return None, []
    faults = model_faults(model)
    if name.startswith("s3://"):
        fix, where = f"{_SAVED}, uploaded to {name}", f"model.name_or_path={name}"
        found = _faults(copy) if copy else ()
        faults += [Problem(where, what, fix, check="model-in-s3") for what in found]
        return BaseModel(None, copy, name.rstrip("/") + "/"), faults
    if not Path(name).is_dir():
        return None, faults
    wrong = any(problem.check == "model-folder" for problem in faults)
    if wrong:
        return BaseModel(None, Path(name)), faults
    files = model_files(Path(name))
    size = sum(path.stat().st_size for path in files)
    if size > _LARGE:
        tell(f"reading the {size / 1e9:.1f} GB of {name}, for its digest")
    sha256 = {path.name: sha256_once(path) for path in files}
    return BaseModel(_digest(sha256), Path(name), sha256=sha256), faults


def model_faults(model: ModelConfig) -> list[Problem]:
    """List what would keep a job from loading its model, as far as that can be told without loading it."""
    name = model.name_or_path
    if name is None:
        return []
    where = f"model.name_or_path={name}"
    if name.startswith("s3://"):
        wrong = [Problem(where, what, fix, check="model-in-s3") for what, fix in _uri_faults(name)]
        return wrong + _revision(model)
    if name and Path(name).is_dir():
        usual = _model_below(Path(name)) or _SAVED
        faults = [*((what, usual) for what in _faults(Path(name))), *foreign_code(Path(name))]
        found = [Problem(where, what, fix, check="model-folder") for what, fix in faults]
        return found + _revision(model)
    if _ON_HUB.fullmatch(name) and not Path(name).exists():
        return _taken_for_hub(name)
    what = "is no folder of this machine, and no name that a model of the hub could have"
    what, fix = _meant(name) or (
        what,
        "a folder, s3://BUCKET/PREFIX, or a hub id: model.name_or_path=OWNER/NAME",
    )
    return [Problem(where, what, fix, check="model-folder")]


def _meant(name: str) -> tuple[str, str] | None:
    """Say what a name that cannot be used is, and what works instead; None for one of no known kind."""
    path, expanded = Path(name), Path(name).expanduser()
    if name and path.is_file():
        if name.endswith(ARCHIVES):
            folder = path.with_name(re.sub(r"(\.tar)?\.\w+$", "", path.name))
            fix = f"{_unpacking(name, str(folder))}, then {_typed(folder)}"
            return "is an archive; a model is loaded from the folder of its files", fix
        return "is one file of a model, not its folder", _typed(path.parent)
    if expanded != path and expanded.is_dir():
        return "is not expanded by the shell here", _typed(expanded)
    place = place_in_s3(name)
    if place:
        return "is no s3:// prefix", _typed(f"s3://{place[0]}/{place[1]}".rstrip("/"))
    page = _HUB_PAGE.fullmatch(name)
    if page:
        id = "/".join((page[1] or page[2]).split("/")[:2])
        id = id.partition("/")[0] if id.endswith(("/tree", "/blob", "/resolve", "/")) else id
        return "is an address; a model of the hub has an id", _typed(id)
    bare = name.strip().rstrip("/")
    if bare != name and (_ON_HUB.fullmatch(bare) or Path(bare).is_dir()):
        return "is no folder of this machine, and no model of the hub ends so", _typed(bare)
    near = _nearest_folder(path)
    return ("is no folder of this machine", _typed(near)) if near else None


def _unpacking(archive: str, folder: str) -> str:
    """Write the command that unpacks an archive into a folder."""
    zipped = archive.endswith(".zip")
    words = ["unzip", "-d", folder, archive] if zipped else ["tar", "xf", archive, "-C", folder]
    return f"mkdir -p {for_shell(folder)} && {shlex.join(words)}"


def _typed(place: Path | str) -> str:
    return override_text("model.name_or_path", str(place))


def _nearest_folder(path: Path) -> Path | None:
    """Find the folder beside a missing one that is spelled most like it."""
    with suppress(OSError):
        there = [one.name for one in path.parent.iterdir() if one.is_dir()]
        near = closest(path.name, there)
        return path.with_name(near) if near else None
    return None


def _model_below(folder: Path) -> str:
    """Write the override for the model in a run's folder, or in one of checkpoints; '' without one."""
    below = sorted(path.parent for path in folder.glob("*/config.json"))
    whole = [path for path in below if not any(_faults(path))]
    whole.sort(key=lambda path: int("0" + "".join(re.findall(r"\d", path.name))))
    own = [path for path in whole if path.name == MODEL] or whole[-1:]
    return _typed(own[0]) if own else ""


def _taken_for_hub(name: str) -> list[Problem]:
    """Warn of an id of the hub that looks like a folder of this machine."""
    first, _, rest = name.partition("/")
    if not rest or not Path(first).is_dir():
        return []
    near = _nearest_folder(Path(name))
    what = f"is taken for an id of the hub: the folder {first} is here, but no {rest} in it"
    fix = _typed(near) if near else f"a folder in {first}, if one is meant"
    return [Problem(f"model.name_or_path={name}", what, fix, Severity.warning, "model-not-here")]


def model_files(folder: Path) -> list[Path]:
    """List config, weights and tokenizer in a folder; weights in safetensors alone."""
    return sorted(path for path in folder.iterdir() if path.is_file() and is_model_file(path.name))


def is_model_file(name: str) -> bool:
    """Tell a file that a model is loaded from by its name."""
    return bool(_MODEL_FILES.fullmatch(name)) and not _NOT_THE_MODELS.fullmatch(name)


def _faults(folder: Path) -> Iterator[str]:
    names = [path.name for path in folder.iterdir() if path.is_file()]
    if "config.json" not in names:
        yield from lacking(names)
        return
    try:
        found: Any = parse_json((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not found.get("model_type"):
            yield "its config.json names no model_type"
    except (OSError, ValueError) as error:
        yield f"its config.json cannot be read: {error}"
    found_lacking = list(lacking(names))
    yield from found_lacking
    yield from _missing_parts(folder)
    if _NO_TOKENIZER not in found_lacking and not has_tokenizer(folder):
        yield _NO_TOKENIZER


def lacking(names: Collection[str]) -> Iterator[str]:
    """Yield what a model's folder lacks, by the names of the files in it."""
    if "config.json" not in names:
        yield "holds no model: there is no config.json in it"
        return
    if not any(_WEIGHTS.fullmatch(name) for name in names) and not pickled_alone(names):
        yield "holds no weights: there is no model*.safetensors"
    if not names_tokenizer(names):
        yield _NO_TOKENIZER


def _missing_parts(folder: Path) -> Iterator[str]:
    """Name the parts of weights that an index lists and the folder lacks."""
    for index in sorted(folder.glob("*.index.json")):
        try:
            parts = set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values())
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
    elif not BUCKET.fullmatch(bucket):
        yield (
            f"names no bucket: S3 has none called {bucket}",
            "model.name_or_path=s3://BUCKET/PREFIX",
        )
    elif prefix.endswith(ARCHIVES):
        what = "is an archive; a model is loaded from its single files"
        unpack = _unpacking(prefix.rpartition("/")[2], "own-model")
        command = f"aws s3 cp {for_shell(uri)} . && {unpack}"
        yield what, f"{command}, then model.name_or_path=own-model"
    elif prefix.endswith(_SINGLE_FILES):
        folder = uri.rpartition("/")[0]
        yield "is one file of a model", f"model.name_or_path={folder}"


def _revision(model: ModelConfig) -> list[Problem]:
    if model.revision is None:
        return []
    what = "has no effect: only models of the hub have revisions"
    return [Problem(f"model.revision={model.revision}", what, "model.revision=null",
                    check="model-revision-unused")]  # fmt: skip


def _digest(sha256: Mapping[str, str]) -> str:
    """Digest what is uploaded: names and contents."""
    digest = hashlib.sha256()
    for name, of_file in sha256.items():
        digest.update(f"{name}\0{of_file}\n".encode())
    return digest.hexdigest()
