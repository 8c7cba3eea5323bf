"""Reader of text files that hold one text each and lie in a folder that names their class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lingotune.data.rows.findings import Faults, Located
from lingotune.data.sources.file_format import FileFormat
from lingotune.data.sources.lines import read_lines, undecoded_fix

ENDING = ".txt"
TEXT = "{text}"
"""Key under which the reader puts the content of the file."""
CLASS = "{class}"
"""Key under which the reader puts the name of the folder."""


def read_text(path: Path, name: str, faults: Faults, how: FileFormat) -> Iterator[Located]:
    """Yield the file as one record: its text, and the name of its folder as the class."""
    lines = list(read_lines(path, name, faults, how))
    text = "".join(line for _, line, _ in lines)
    location = f"{name}:1"
    fault = next((fault for _, _, fault in lines if fault), None)
    if fault:
        faults.note("not-utf8", location, fault, undecoded_fix(how), text)
    else:
        yield location, {TEXT: text.rstrip("\r\n"), CLASS: path.absolute().parent.name}
