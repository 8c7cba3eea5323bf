"""Files whose names are no UTF-8 are renamed by the command that is offered."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lingotune.config.problems import ConfigError
from lingotune.config.schema import DataConfig, Source
from lingotune.config.undecodable import check_decodable, is_undecodable, renaming, with_bytes
from lingotune.data.sources.files import find_files
from lingotune.data.sources.patterns import local_parts
from lingotune.evaluation.classifier import trained_model
from lingotune.launch.results.chosen import run_named

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
        check_decodable(find_files(str(tmp_path), "data.path"), "data.path")
    (problem,) = caught.value.problems
    assert problem.where == with_bytes(str(path)) and problem.where.isprintable()
    assert problem.fix == renaming(path)
    subprocess.run(["bash", "-c", problem.fix], check=True)
    found = find_files(str(tmp_path), "data.path")
    check_decodable(found)
    assert [file.name for file in found] == [NAMES[name]]


def test_a_folder_above_it_is_renamed(tmp_path: Path) -> None:
    path = tmp_path / "d\udce9" / "caf\udce9.csv"
    path.parent.mkdir()
    path.touch()
    subprocess.run(["bash", "-c", renaming(path)], check=True)
    assert [one.name for one in tmp_path.iterdir()] == ["dé"]


def test_data_of_all_such_files_are_refused_at_once(tmp_path: Path) -> None:
    for name in ("d\udce9/a.csv", "b\udce9.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text,label\na,b\n")
    data = DataConfig(name="x", source=Source.files, path=str(tmp_path / "**/*.csv"))
    with pytest.raises(ConfigError) as caught:
        local_parts(data)
    assert len(caught.value.problems) == 2 and caught.value.problems[0].key == "data.path"


def test_a_run_in_such_a_folder_is_not_trained_again(tmp_path: Path) -> None:
    """By a path below another folder its model loads."""
    run = tmp_path / "d\udce9" / "run"
    run.mkdir(parents=True)
    for find in (run_named, trained_model):
        with pytest.raises(ConfigError) as caught:
            find(str(run))
        assert caught.value.problems[0].fix == renaming(run)
