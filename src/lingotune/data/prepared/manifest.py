"""What prepared data is made of, and its identity: a digest of all that it follows from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lingotune.config.jobfile import plain
from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import DataConfig, Source
from lingotune.data.sources.patterns import expanded, given_patterns, local_parts
from lingotune.data.splits.rules import is_carved
from lingotune.system.hashing import sha256_of

if TYPE_CHECKING:
    from lingotune.data.prepared.shards import Shard

FILE = "manifest.json"
"""Written last: a folder that has it is whole."""
FORMAT = 2
TOKENIZER = "tokenizer"
"""Folder of the tokenizer's files beside the shards."""
_NO_PART = ("name", "rows", "path", "train", "validation", "test", "language_alpha", "balance")
"""Settings that the rows do not follow from; the files themselves are part of the source."""


_CODE = ("sources", "rows", "splits", "prepared")
"""Packages that rows go through until they are shards; what only reads shards is none of them."""


@dataclass(frozen=True)
class Identity:
    """All that prepared data follows from, as plain values, and its digest (64 hexadecimal digits)."""

    parts: Mapping[str, Any]
    digest: str


def identify(data: DataConfig, seed: int, tokenizer: str) -> Identity:
    """The identity of a source prepared for a tokenizer; reads every byte of local files.

    `tokenizer` is what `tokenizer_identity` tells.
    """
    parts = {
        "format": FORMAT,
        "code": _code_digest(),
        "source": _source(data),
        "data": _settings(data),
        "seed": seed if is_carved(data) else None,
        "tokenizer": tokenizer,
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return Identity(parts, hashlib.sha256(text.encode()).hexdigest())


def folder_of(root: str | Path, data: DataConfig, identity: Identity) -> Path:
    """Where data of an identity is kept: `<root>/<name>-<12 digits>`."""
    return Path(root, f"{data.name}-{identity.digest[:12]}")


def misfits(manifest: Mapping[str, Any], data: DataConfig, seed: int) -> list[Problem]:
    """Settings of a job that its prepared data was not prepared with."""
    wanted, found = _settings(data), dict(manifest["data"])
    if manifest["seed"] is not None:
        wanted["seed"], found["seed"] = seed, manifest["seed"]
    problems = []
    for key in sorted({*wanted, *found}):
        if wanted.get(key) != found.get(key):
            name = key if key == "seed" else f"data.{key}"
            what = f"the prepared data {manifest['digest'][:12]} was made with {found.get(key)}"
            fix = "the same settings, or data prepared with these: python -m lingotune prepare ..."
            problems.append(Problem(f"{name}={wanted.get(key)}", what, fix))
    return problems


def _settings(data: DataConfig) -> dict[str, Any]:
    settings = plain(data)
    return {f.name: settings[f.name] for f in fields(DataConfig) if f.name not in _NO_PART}


def _code_digest() -> str:
    """Digest the modules that make prepared data: other code may make other rows."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(path for package in _CODE for path in root.joinpath(package).glob("*.py")):
        name = path.relative_to(root).as_posix()
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _source(data: DataConfig) -> dict[str, Any]:
    if data.source is Source.sample:
        return {"kind": "sample", "files": []}
    if data.source is Source.hub:
        from lingotune.data.sources.hub_reader import hub_files

        patterns = [
            (pattern, f"data.{split}")
            for split, given in given_patterns(data).items()
            for _, pattern in expanded(data, given)
        ]
        names = [name for pattern, key in patterns for name in hub_files(pattern, key)]
        return {"kind": "hub", "files": [{"name": name} for name in names]}
    found = [(part, file) for part in local_parts(data) for file in part.files]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(_source_digest, (file for _, file in found))
    return {
        "kind": "files",
        "files": [
            {
                "name": "/".join(filter(None, [part.split, part.language, file.name])),
                "bytes": file.stat().st_size,
                "sha256": digest,
            }
            for (part, file), digest in zip(found, digests)
        ],
    }


def _source_digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise ConfigError([Problem(str(path), what)]) from error


# --- what came of it ----------------------------------------------------------------------------


def describe_splits(splits: Mapping[str, Sequence[Shard]], labels: Sequence[str]) -> dict[str, Any]:
    """The manifest's `splits`, `statistics` and `lengths`, from the figures of all shards."""
    described: dict[str, Any] = {"splits": {}, "statistics": {}, "lengths": {}}
    for split, shards in splits.items():
        described["splits"][split] = {
            "rows": sum(shard.rows for shard in shards),
            "tokens": sum(shard.tokens for shard in shards),
            "shards": [
                {k: getattr(shard, k) for k in ("file", "rows", "tokens", "bytes", "sha256")}
                for shard in shards
            ],
        }
        described["statistics"][split] = _statistics(shards, labels)
        described["lengths"][split] = _added_lengths(shards)
    return described


def _statistics(shards: Sequence[Shard], labels: Sequence[str]) -> dict[str, Any]:
    sums: dict[str, dict[int, list[int]]] = {}
    for shard in shards:
        for language, classes in shard.counts.items():
            for class_id, figures in classes.items():
                before = sums.setdefault(language, {}).get(class_id, [0, 0, 0, 0])
                sums[language][class_id] = [a + b for a, b in zip(before, figures)]
    names = ("rows", "tokens", "cut", "unknown")
    return {
        language: {labels[n]: dict(zip(names, figures)) for n, figures in sorted(classes.items())}
        for language, classes in sorted(sums.items())
    }


def _added_lengths(shards: Sequence[Shard]) -> dict[str, list[int]]:
    sums: dict[str, list[int]] = {}
    for shard in shards:
        for language, counts in shard.lengths.items():
            before = sums.get(language, [0] * len(counts))
            sums[language] = [a + b for a, b in zip(before, counts)]
    return dict(sorted(sums.items()))


def folder_files(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every file that belongs to prepared data but the manifest: file (its path in the folder), bytes,
    sha256."""
    shards = [shard for split in manifest["splits"].values() for shard in split["shards"]]
    return [*manifest["tokenizer"]["files"], *shards]


def load_manifest(folder: str | Path, name: str = FILE) -> dict[str, Any]:
    """The manifest of prepared data; ConfigError if the folder holds none that this version reads."""
    path = Path(folder, name)
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = f"is no folder of prepared data: {FILE}: {error}"
        raise ConfigError(
            [Problem(str(folder), what, "python -m lingotune prepare ...")]
        ) from error
    if manifest.get("format") != FORMAT:
        what = f"was prepared in format {manifest.get('format')}; this version reads {FORMAT}"
        raise ConfigError([Problem(str(folder), what, "python -m lingotune prepare ...")])
    return manifest
