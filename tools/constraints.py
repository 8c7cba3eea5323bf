"""Resolve the tested versions anew: constraints.txt from pyproject.toml, for Python 3.10 to 3.13.

Needs uv (pip install uv). torch stays where it is pinned here: its CPU build is not on every index,
and its CUDA packages pin themselves, so they are left out.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
BROUGHT_BY_TORCH = ("nvidia-", "cuda-", "triton")
HEADER = """\
# The tested set: exact versions for Python 3.10 to 3.13, made by `make constraints` from pyproject.toml.
"""


def main() -> None:
    """Write constraints.txt."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "pins.txt")
        pins.write_text(TORCH + "\n", encoding="utf-8")
        resolved = subprocess.run(
            ["uv", "pip", "compile", "--universal", "--python-version", "3.10", "--all-extras",
             "--no-header", "--no-annotate", "--constraint", str(pins), "pyproject.toml"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
    lines = [line for line in resolved.splitlines() if not line.startswith(BROUGHT_BY_TORCH)]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
