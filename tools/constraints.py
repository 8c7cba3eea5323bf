"""Resolve the tested versions anew, for Python 3.10 to 3.13: constraints.txt from pyproject.toml, and
the environment of the SageMaker SDK v3 from tests/v3/requirements.in.

Needs uv (pip install uv). torch stays where it is pinned here: its CPU build is not on every index,
and its CUDA packages pin themselves, so they are left out.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
EXTRAS = ("launch", "loopback", "sweep", "train", "lora", "dev", "docs")
BROUGHT_BY_TORCH = ("nvidia-", "cuda-", "triton")
HEADER = """\
# The tested set: exact versions for Python 3.10 to 3.13, made by `make constraints` from pyproject.toml.
"""


V3_HEADER = """\
# The SageMaker SDK v3 and what it needs, made by `make constraints` from requirements.in.
"""


def main() -> None:
    """Write constraints.txt and tests/v3/requirements.txt."""
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "pins.txt")
        pins.write_text(TORCH + "\n", encoding="utf-8")
        extras = [
            part for name in EXTRAS for part in ("--extra", name)
        ]  # never launch-v3 with launch
        resolved = resolve(*extras, "--constraint", str(pins), "pyproject.toml")
    lines = [line for line in resolved.splitlines() if not line.startswith(BROUGHT_BY_TORCH)]
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    v3 = ROOT / "tests" / "v3"
    found = resolve(str(v3 / "requirements.in"))
    (v3 / "requirements.txt").write_text(V3_HEADER + found, encoding="utf-8")


def resolve(*arguments: str) -> str:
    """Exact versions for every supported Python, one a line."""
    command = ["uv", "pip", "compile", "--universal", "--python-version", "3.10"]
    done = subprocess.run(
        [*command, "--no-header", "--no-annotate", *arguments],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


if __name__ == "__main__":
    main()
