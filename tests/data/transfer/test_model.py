"""A model from S3, of which a fetch was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from lingotune.data.transfer import model


class Bucket:
    """An object that has another ETag now than the file that is here."""

    def download_file(self, bucket: str, key: str, path: str) -> None:
        Path(path).write_text("new")


def test_a_fetch_that_is_cut_off_before_the_file_is_in_place_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    path.write_text("old")
    (tmp_path / ".config.json.etag").write_text("1")

    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            model._fetch(Bucket(), "b", "k/config.json", "2", path)
    model._fetch(Bucket(), "b", "k/config.json", "2", path)
    assert path.read_text() == "new"
