"""Digests of files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from unittest import mock

from lingotune.system import hashing


def test_a_file_is_read_once_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    long_ago = 1_000_000_000
    with mock.patch.object(hashing, "sha256_of", wraps=hashing.sha256_of) as read:
        for content, reads in ((b"first", 1), (b"other", 2), (b"longer", 3)):
            path.write_bytes(content)
            os.utime(path, (long_ago, long_ago))
            with mock.patch.object(hashing.time, "time", lambda: 2e9):  # the file has settled
                found = {hashing.sha256_once(path) for _ in range(3)}
            assert found == {hashlib.sha256(content).hexdigest()} and read.call_count == reads


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    for content in (b"one", b"two"):
        path.write_bytes(content)
        assert hashing.sha256_once(path) == hashlib.sha256(content).hexdigest()
