"""What a command writes is its user's alone, unless somebody has said otherwise."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from lingotune.config.console import exit_code_of
from lingotune.config.private_files import _VARIABLE, allow_readers, private_files
from lingotune.config.schema import RunsMode


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(_VARIABLE, "")
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> tuple[str, str]:
    """Modes of a new folder and of a new file in it."""
    inner = folder / f"run-{len(list(folder.iterdir()))}"
    inner.mkdir()
    (inner / "predictions.parquet").write_text("texts")
    found = (inner, inner / "predictions.parquet")
    folder_mode, file_mode = (f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in found)
    return folder_mode, file_mode


@pytest.mark.parametrize(
    ("umask", "written"),
    [
        (0o022, ("0700", "0600")),
        (0o002, ("0700", "0600")),
        (0o077, ("0700", "0600")),
        (0o027, ("0750", "0640")),  # somebody's choice
        (0o007, ("0770", "0660")),
    ],
)
def test_files_are_private_where_the_umask_says_nothing(
    umask: int, written: tuple[str, str], tmp_path: Path
) -> None:
    os.umask(umask)
    with private_files():
        assert modes(tmp_path) == written
    assert os.umask(0) == umask


@pytest.mark.parametrize(
    ("mode", "written"),
    [
        (RunsMode.private, ("0700", "0600")),
        (RunsMode.group, ("0750", "0640")),
        (RunsMode.everyone, ("0755", "0644")),
    ],
)
def test_readers_are_allowed_here_and_in_processes_that_are_started(
    mode: RunsMode, written: tuple[str, str], tmp_path: Path
) -> None:
    def command() -> int:
        allow_readers(mode)
        assert modes(tmp_path) == written
        with private_files():  # as one that torchrun has started
            assert modes(tmp_path) == written
        return 0

    assert exit_code_of(command) == 0
    assert os.umask(0o022) == 0o022
