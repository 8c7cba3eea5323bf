"""Pages as a browser shows them, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from waiting import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


def in_chromium(path: Path, home: Path, *options: str) -> tuple[str, str]:
    """The document after its script has run, and what the browser says in its log."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
        f"--user-data-dir={home / 'profile'}", "--dump-dom", *options, path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout, done.stderr
