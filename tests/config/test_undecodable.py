"""Files whose names are no UTF-8 are renamed by the command that is offered."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lingotune.config.problems import ConfigError
from lingotune.config.undecodable import is_undecodable, renaming, with_bytes
from lingotune.data.sources.files import find_files

NAMES = {
    b"caf\xe9.csv": "café.csv",
    b'it\'s \\ a "b" \xfc$HOME.csv': 'it\'s \\ a "b" ü$HOME.csv',
    b"a\x81\x80 \xc3\xa9.csv": "a_€ é.csv",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_command_renames_it(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_text("text,label\na,b\n")
    assert is_undecodable(path.name) and not is_undecodable(NAMES[name])
    with pytest.raises(ConfigError) as caught:
        find_files(str(tmp_path), "data.path")
    (problem,) = caught.value.problems
    assert problem.where == with_bytes(str(path)) and problem.where.isprintable()
    assert problem.fix == renaming(path)
    subprocess.run(["bash", "-c", problem.fix], check=True)
    assert [file.name for file in find_files(str(tmp_path), "data.path")] == [NAMES[name]]
