"""Run the demo in fp32 and put its figures into the README: the scores, and the picture of its report.

`python tools/readme_figures.py` needs Chromium (`apt-get install chromium`) and a few minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "images" / "report.png"
ROWS = 2
"""Rows of the score table that the README shows."""
WINDOW = (1400, 4200)
"""Width and height of the browser's window, in pixels; the report is longer."""
CROP = (0, 980, 1400, 1980)
"""Left, top, right and bottom of the part that is kept: the curves and the scores."""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def main() -> None:
    """Train the demo in a folder of its own and renew what the README shows of it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), "training.precision=fp32"]
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        write_scores(done.stdout)
        (report,) = Path(folder, "runs").glob("*/report.html")
        take_picture(report, Path(folder))


def write_scores(output: str) -> None:
    """Replace the first text block of the README by the head of the score table."""
    table = output[re.search(r"^ +rows +accuracy", output, re.MULTILINE).start() :]  # type: ignore[union-attr]
    lines = "\n".join(line.rstrip() for line in table.splitlines()[: 1 + ROWS])
    text = README.read_text(encoding="utf-8")
    start = text.index("```text\n") + len("```text\n")
    end = text.index("\n```", start)
    README.write_text(text[:start] + lines + text[end:], encoding="utf-8")


def take_picture(report: Path, folder: Path) -> None:
    """Draw the report with Chromium and keep its middle."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium found; install it: apt-get install chromium")
    shot = folder / "report.png"
    size = ",".join(map(str, WINDOW))
    where = [
        f"--user-data-dir={folder / 'chromium'}",
        f"--window-size={size}",
        f"--screenshot={shot}",
    ]
    subprocess.run([browser, *FLAGS, *where, report.as_uri()], check=True, capture_output=True)
    Image.open(shot).crop(CROP).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
