"""Make src/lingotune/catalog/facts/architectures.json anew: which transformers knows which architecture.

    python tools/architectures.py

The wheels of the images' versions, and of the one that is tested here, are fetched from the package index;
of each only its table of classifiers is read. Needs network.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from lingotune.catalog.hardware import images, runs_worker, version

FILE = (
    Path(__file__).parent.parent / "src" / "lingotune" / "catalog" / "facts" / "architectures.json"
)
TABLE, CLASSIFIERS = (
    "transformers/models/auto/modeling_auto.py",
    "SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
)


def releases() -> list[str]:
    """List the versions to read, oldest first: the images' and the tested one."""
    found = {one.transformers for one in images() if runs_worker(one)}
    return sorted({*found, metadata.version("transformers")}, key=version)


def classifiers(source: str) -> set[str]:
    """Read the model types that transformers' own table lists as classifiers of texts."""
    for node in ast.walk(ast.parse(source)):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id == f"MODEL_FOR_{CLASSIFIERS}":
            assert isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            return {str(pair[0]) for pair in ast.literal_eval(node.value.args[0])}
    raise ValueError(f"no {CLASSIFIERS} in transformers' table")


def in_wheel(release: str, folder: Path) -> set[str]:
    """Fetch a wheel of transformers, and read its classifiers."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(folder),
    ]
    subprocess.run([*command, f"transformers=={release}"], check=True)
    (wheel,) = folder.glob(f"transformers-{release}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return classifiers(archive.read(TABLE).decode())


def rows(known: Mapping[str, set[str]], order: Sequence[str]) -> dict[str, list[str]]:
    """Map each architecture to the first release that has it and, where later ones have not, the last."""
    return {
        name: _span([release for release in order if name in known[release]], order)
        for name in sorted(set().union(*known.values()))
    }


def _span(having: Sequence[str], order: Sequence[str]) -> list[str]:
    first, last = having[0], having[-1]
    assert list(having) == list(order)[order.index(first) : order.index(last) + 1], having
    return [first] if last == order[-1] else [first, last]


def text(table: Mapping[str, Iterable[str]], order: Sequence[str]) -> str:
    """Write the file, a row for each architecture."""
    source = f"{TABLE} in the wheels of {', '.join(order)} (made by tools/architectures.py)"
    lines = [f"    {json.dumps(name)}: {json.dumps([*row])}" for name, row in table.items()]
    head = f'{{\n  "sources": {json.dumps(source)},\n  "architectures": {{\n'
    return head + ",\n".join(lines) + "\n  }\n}\n"


def main() -> None:
    """Write the file."""
    order = releases()
    with tempfile.TemporaryDirectory() as folder:
        known = {release: in_wheel(release, Path(folder)) for release in order}
    FILE.write_text(text(rows(known, order), order), encoding="utf-8")


if __name__ == "__main__":
    main()
