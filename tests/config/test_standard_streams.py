"""Standard streams that were closed, or whose encoding lacks characters."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lingotune.config.standard_streams import prepare_streams

CLOSED = """
import subprocess, sys
from pathlib import Path
from lingotune.config.standard_streams import prepare_streams

assert (sys.stdin, sys.stdout, sys.stderr) == (None, None, None)
prepare_streams()
print("to nobody", flush=True)
sys.stderr.write("to nobody")
with Path("written").open("w") as file:
    subprocess.run(["sh", "-c", "echo from a child; echo and more >&2"], check=True)
    file.write(f"{file.fileno() > 2} {sys.stdout.isatty()} {sys.stdin.read()!r}")
"""


def test_what_was_closed_is_open_on_nothing(tmp_path: Path) -> None:
    """Otherwise the file would get number 0, 1 or 2, and what children print."""
    command = ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, CLOSED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "written").read_text() == "True False ''"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
@given(text=st.text(st.characters(exclude_categories=())))
def test_json_stays_json_in_any_encoding(encoding: str, text: str) -> None:
    bytes_written = io.BytesIO()
    stream = io.TextIOWrapper(bytes_written, encoding, write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        prepare_streams()
        print(json.dumps(text, ensure_ascii=False), end="")
    written = json.loads(bytes_written.getvalue().decode(encoding))
    # JSON joins two halves that stand beside each other, as does UTF-16.
    assert written == json.loads(json.dumps(text))
