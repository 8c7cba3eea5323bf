"""Every file that would be published is searched, whatever its name, and no link is followed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lingotune.config.problems import ConfigError
from lingotune.config.secrets import looks_secret, text_in
from lingotune.hub.allowlist import contents_of, with_secrets

OURS = "hf_" + "canary" * 6
THEIRS = "glp" + "at-" + "Ab3dEf6hIj9kLm2n" * 2
KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n" + "b3BlbnNzaC1rZXktdjEAAAAA\n" * 3
ORDINARY = {
    "config.json": '{"model_type": "bert", "name": "hf_reviews"}',
    "special_tokens_map.json": '{"pad_token": "[PAD]"}',
    "vocab.txt": "[PAD]\n[UNK]\ngood\nAKIA\nsk-\n",
    "bpe.codes": "g o\n",
}


def metadata(path: Path) -> None:
    save_file({"w": torch.zeros(2)}, str(path), metadata={"format": "pt", "note": THEIRS})


PLANTED: dict[str, Callable[[Path], object]] = {
    "special_tokens_map.json": lambda p: p.write_text(json.dumps({"pad_token": THEIRS})),
    "added_tokens.json": lambda p: p.write_bytes(base64.b64encode(THEIRS.encode())),
    "bpe.codes": lambda p: p.write_text(f"a b\n{THEIRS}\n"),
    "vocab.txt": lambda p: p.write_text(KEY),
    "merges.txt": lambda p: p.write_text(f"{OURS[:3]} {OURS}\n"),
    "model.safetensors": metadata,
    "model-00002-of-00002.safetensors": lambda p: save_file({OURS: torch.zeros(2)}, str(p)),
    "spiece.model": lambda p: p.write_bytes(b"\n\x05\xff" + THEIRS.encode() + b"\x15\x00"),
    "confusion_matrix.png": lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\ntEXt" + OURS.encode()),
    "runs/events.out.tfevents.0.1": lambda p: p.write_bytes(b"\x18\x00\n\x24" + THEIRS.encode()),
    "README.md": lambda p: p.write_text(f"curl -H 'Authorization: Bearer {OURS}'"),
    "tokenizer.json": lambda p: p.write_bytes(OURS.encode().hex().encode()),
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "runs").mkdir(parents=True)
    for name, text in ORDINARY.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", PLANTED)
def test_a_secret_is_found_in_every_file(model: Path, name: str) -> None:
    assert with_secrets(contents_of(model)[0], "hf_" + "x" * 34) == []
    PLANTED[name](model / name)
    assert with_secrets(contents_of(model)[0], OURS) == [name]


def test_no_secret_is_seen_in_what_is_no_text(model: Path) -> None:
    """Compressed as a picture is: in 13 of these, bytes would look like an address with a password."""
    for seed in range(200):
        content = b"\x89PNG\0" + random.Random(seed).randbytes(60_000)
        assert not looks_secret(text_in(content)), seed
    (model / "confusion_matrix.png").write_bytes(content)
    assert with_secrets(contents_of(model)[0], OURS) == []


@pytest.mark.parametrize("name", ["vocab.txt", "runs/events.out.tfevents.0.1", "runs"])
def test_no_link_is_followed(model: Path, name: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "events.out.tfevents.7.7").write_text("mine")
    target = (
        tmp_path / "elsewhere" if name == "runs" else tmp_path / "elsewhere/events.out.tfevents.7.7"
    )
    if (model / name).is_dir():
        (model / name).rmdir()
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(target)
    if name == "runs":  # a folder: what is in it is no part of this one
        assert "runs/events.out.tfevents.7.7" not in contents_of(model)[0]
        return
    with pytest.raises(ConfigError) as caught:
        contents_of(model)
    (problem,) = caught.value.problems
    assert problem.where == str(model / name)
    assert problem.what == f"is a link to {target}; links are not followed"


def test_the_folder_itself_may_be_a_link(model: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(model)
    assert sorted(contents_of(tmp_path / "linked")[0]) == sorted(ORDINARY)
