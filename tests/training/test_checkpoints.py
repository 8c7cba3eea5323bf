"""The format of checkpoints, without a training: what is whole, what is refused, what is deleted."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.config.problems import CheckpointError
from lingotune.config.schema import Resume
from lingotune.config.typed_json import SEAL, sealed
from lingotune.training.aside import aside_in
from lingotune.training.checkpoints import (
    BEST,
    MANIFEST,
    begin,
    checkpoints_in,
    commit,
    fault,
    read,
    rotate,
)
from lingotune.training.distributed import Rank
from lingotune.training.identity import Identity
from lingotune.training.resume import find_start, survey

SETTINGS = {"lr": "0.001", "seed": "42", "data": "b" * 64, "global batch": "16"}
HERE = {"world size": "1", "nodes": "1", "batch per process": "8 x 2", "threads": "1", "torch": "2"}
IDENTITY = Identity(SETTINGS, HERE)
ALONE = Rank(0, 0, 1)


@pytest.fixture(autouse=True)
def _without_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here pulls a plug, and flushing is what takes the time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def checkpoint(
    root: Path, step: int, best: int | None = None, identity: Identity = IDENTITY
) -> Path:
    folder = root / f"checkpoint-{step}"
    root.mkdir(exist_ok=True)
    begin(folder)
    for name in ("model.safetensors", "optimizer.pt", "trainer_state.json", "config.json"):
        (folder / name).write_bytes(f"{name} {step}".encode() * 9)
    commit(folder, identity, best and f"checkpoint-{best}", job_file=b"job")
    return folder


def whole(root: Path) -> list[int]:
    return list(survey(root, IDENTITY).whole)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def mutate(folder: Path, choose: random.Random) -> str:
    """Damage one file in one of the ways that kills, disks and copies do."""
    path = choose.choice(sorted(p for p in folder.rglob("*") if p.is_file()))
    content = bytearray(path.read_bytes())
    kind = choose.choice(["flip", "cut", "longer", "zeros", "gone", "empty", "extra"])
    if kind == "flip":
        content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
    elif kind == "cut":
        del content[choose.randrange(len(content)) :]
    elif kind == "longer":
        content += b"\0"
    elif kind == "zeros":
        start = choose.randrange(len(content))
        content[start:] = b"\0" * (len(content) - start)
    if kind == "gone":
        path.unlink()
    elif kind == "extra":
        path.with_name("pytorch_model.bin").write_bytes(b"x")
    else:
        path.write_bytes(b"" if kind == "empty" else bytes(content))
    return f"{kind} {path.name}"


@pytest.mark.parametrize("seed", range(100))
def test_every_damage_is_seen(seed: int, tmp_path: Path) -> None:
    checkpoint(tmp_path, 10, 10)
    newest = checkpoint(tmp_path, 20, 10)
    before = {p: p.read_bytes() for p in newest.rglob("*") if p.is_file()}
    what = mutate(newest, random.Random(seed))
    same = {p: p.read_bytes() for p in newest.rglob("*") if p.is_file()} == before
    found = survey(tmp_path, IDENTITY)
    assert (20 in found.whole) == same, what
    assert 10 in found.whole and (same or found.bad[20]), what


# --- whole by itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "best", [[1, 1, 1, 1, 1], [1, 2, 3, 4, 5], [1, 1, 3, 3, 5], [1, 2, 2, 2, 2]]
)
def test_a_flip_anywhere_costs_one_interval_at_most(best: list[int], tmp_path: Path) -> None:
    """After each commit, the newest is also the best or is not: one damaged file leaves the one before."""
    for step, so_far in enumerate(best, 1):
        checkpoint(tmp_path, step, so_far)
        rotate(tmp_path, 2, IDENTITY.run)
        if step == 1:
            continue
        assert whole(tmp_path) == [step - 1, step]
        for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
            content = path.read_bytes()
            damage(path)
            found = survey(tmp_path, IDENTITY).whole
            newest = found[max(found)]
            assert newest.step >= step - 1, path
            assert newest.best and newest.best.name == f"checkpoint-{best[newest.step - 1]}"
            assert (
                (newest.best / "model.safetensors")
                .read_bytes()
                .startswith(f"model.safetensors {best[newest.step - 1]}".encode())
            )
            path.write_bytes(content)


def test_the_best_weights_come_from_a_whole_copy(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10, 10)
    second = checkpoint(tmp_path, 20, 10)
    damage(second / BEST / "checkpoint-10" / "model.safetensors")
    third = checkpoint(tmp_path, 30, 10)
    assert fault(third) is None and read(third).best == "checkpoint-10"
    damage(tmp_path / "checkpoint-10" / "model.safetensors")
    damage(third / BEST / "checkpoint-10" / "model.safetensors")
    fourth = checkpoint(tmp_path, 40, 10)
    assert fault(fourth) is None and read(fourth).best is None and not (fourth / BEST).exists()


def test_the_state_of_the_training_is_not_copied_with_the_best_weights(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10, 10)
    held = checkpoint(tmp_path, 20, 10) / BEST / "checkpoint-10"
    assert sorted(p.name for p in held.iterdir()) == ["config.json", "model.safetensors"]


# --- names and manifests ------------------------------------------------------------------------


def test_a_renamed_or_copied_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path, 15).rename(tmp_path / "checkpoint-30")
    assert fault(tmp_path / "checkpoint-30") == (
        "is a copy, or was renamed: its manifest says checkpoint-15"
    )
    assert find_start(tmp_path, IDENTITY, ALONE) is None
    assert [path.name for path in aside_in(tmp_path)] == ["damaged-checkpoint-30"]


def test_extra_files_are_noticed_and_hidden_ones_do_no_harm(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 10)
    (folder / ".DS_Store").write_bytes(b"x")
    assert fault(folder) is None
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert fault(folder) == "holds pytorch_model.bin, which does not belong to it"


@pytest.mark.parametrize(
    "name", ["checkpoint-007", "checkpoint-٣", "checkpoint-backup", "checkpoint-0"]
)
def test_other_names_are_no_checkpoints(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    assert checkpoints_in(tmp_path) == {}
    assert find_start(tmp_path, IDENTITY, ALONE) is None and (tmp_path / name).is_dir()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KEYS = [
    "format",
    "step",
    "run",
    "world",
    "writer",
    "settings",
    "circumstances",
    "best",
    "not_exact",
]


def misshapen(manifest: dict[str, Any], data: Any) -> Any:
    """A manifest with another value, without a key, or something else altogether."""
    kind = data.draw(st.sampled_from(["value", "gone", "file", "other"]))
    if kind == "value":
        manifest[data.draw(st.sampled_from([*KEYS, "files"]))] = data.draw(JSON)
    elif kind == "gone":
        manifest.pop(data.draw(st.sampled_from([*KEYS, "files"])))
    elif kind == "file":
        name = data.draw(st.sampled_from(["/etc/passwd", "../x", "a\0b", "model.safetensors", ""]))
        manifest["files"][name] = data.draw(JSON | st.just([1, "f" * 64]))
    return data.draw(JSON) if kind == "other" else manifest


@settings(max_examples=200)
@given(data=st.data())
def test_a_manifest_of_any_shape_is_a_message(tmp_path: Path, data: Any) -> None:
    """Sealed anew, so that the shape is looked at, or not. It is refused or harmless, and never raises
    anything else."""
    folder = tmp_path / "checkpoint-10"
    if not folder.exists():  # the first example
        checkpoint(tmp_path, 10)
        (folder / MANIFEST).rename(tmp_path / MANIFEST)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest.pop("sha256")
    before = json.dumps(manifest, sort_keys=True)
    changed = misshapen(manifest, data)
    if isinstance(changed, dict) and data.draw(st.booleans()):
        changed = sealed({key: value for key, value in changed.items() if key != SEAL})
    (folder / MANIFEST).write_text(json.dumps(changed))
    try:
        found = survey(tmp_path, IDENTITY)
    except CheckpointError as error:
        assert error.problems[0].what and error.problems[0].fix
        return
    assert found.bad.get(10) or _loads_alike(changed, json.loads(before))


def _loads_alike(changed: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Tell whether only what does not decide about the checkpoint differs."""
    free = {"writer", "world", "circumstances", "not_exact", "sha256", "run", "best"}
    return {k: v for k, v in changed.items() if k not in free} == {
        k: v for k, v in before.items() if k not in free
    }


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"", b"null", b"1" * 10_000, b'{"step": NaN}'],
)
def test_what_is_no_manifest_is_a_message(text: bytes, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 10)
    (folder / MANIFEST).write_bytes(text)
    assert fault(folder) == "has a damaged manifest.json"


def test_a_manifest_of_another_version_is_refused_and_kept(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 10)
    old = {"job": "a", "data": "b", "best": None, "files": {}}
    (folder / MANIFEST).write_text(json.dumps(sealed(old)))
    with pytest.raises(CheckpointError, match="another version"):
        find_start(tmp_path, IDENTITY, ALONE)
    assert folder.is_dir()


# --- what is deleted, and what is not -----------------------------------------------------------


def test_only_committed_checkpoints_of_this_run_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-backup").mkdir()
    (tmp_path / "checkpoint-1").mkdir()  # a user's
    checkpoint(tmp_path, 2, identity=Identity({**SETTINGS, "lr": "1"}, HERE))
    checkpoint(tmp_path, 3).rename(tmp_path / "checkpoint-4")
    for step in (10, 20, 30, 40):
        checkpoint(tmp_path, step, 10)
    os.utime(tmp_path / "checkpoint-40", (0, 0))  # times say nothing
    rotate(tmp_path, 2, IDENTITY.run)
    left = {f"checkpoint-{name}" for name in ("backup", 1, 2, 4, 30, 40)}
    assert {p.name for p in tmp_path.iterdir()} == left
    rotate(tmp_path, 1, IDENTITY.run)  # one damaged file must not cost the run
    assert {p.name for p in tmp_path.iterdir()} == left


def test_what_is_in_the_way_is_set_aside_once_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint(tmp_path, 10) / MANIFEST).unlink()
    (checkpoint(tmp_path, 20) / "optimizer.pt").write_bytes(b"")
    (tmp_path / "checkpoint-30").mkdir()
    (tmp_path / "checkpoint-30" / "mine.txt").write_text("a user's")
    assert find_start(tmp_path, IDENTITY, ALONE) is None
    said = capsys.readouterr().out
    assert "checkpoint-20 has a damaged optimizer.pt; it is not used" in said
    assert "training starts over, at step 0" in said and "never used nor deleted: 3" in said
    (tmp_path / "checkpoint-30").mkdir()
    (tmp_path / "checkpoint-30" / "half").touch()
    begin(tmp_path / "checkpoint-30")  # the Trainer comes to this step
    assert {path.name for path in aside_in(tmp_path)} == {
        "unfinished-checkpoint-10", "damaged-checkpoint-20", "unfinished-checkpoint-30",
        "unfinished-checkpoint-30-2",
    }  # fmt: skip
    assert (tmp_path / "unfinished-checkpoint-30" / "mine.txt").read_text() == "a user's"


def test_a_deletion_that_was_killed_is_ended_by_the_next(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10).rename(tmp_path / ".deleted-checkpoint-10")
    checkpoint(tmp_path, 20)
    assert whole(tmp_path) == [20]
    rotate(tmp_path, 2, IDENTITY.run)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-20"]


# --- which run, and how it goes on --------------------------------------------------------------


def test_another_runs_checkpoint_is_refused_with_all_that_differs(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    other = Identity({**SETTINGS, "lr": "0.1", "data": "c" * 64}, {**HERE, "threads": "4"})
    with pytest.raises(CheckpointError) as raised:
        find_start(tmp_path, other, ALONE)
    said = raised.value.problems[0].what
    assert "lr 0.001 there, 0.1 here; data bbbbbbbbbbbb there, cccccccccccc here" in said
    assert "threads 1 there, 4 here" in said
    assert checkpoints_in(tmp_path)  # it is another's: left as it is


def test_another_global_batch_is_refused_with_what_makes_it_the_same(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    one = {**HERE, "world size": "2", "batch per process": "8 x 2"}
    with pytest.raises(CheckpointError) as raised:
        find_start(tmp_path, Identity({**SETTINGS, "global batch": "32"}, one, world=2), ALONE)
    problem = raised.value.problems[0]
    assert "global batch 16 there, 32 here" in problem.what
    assert problem.fix.startswith("scaling.accumulation=1,")


@pytest.mark.parametrize("key", ["world size", "threads", "torch", "batch per process"])
def test_other_circumstances_are_told_and_remembered(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(tmp_path, 10)
    now = Identity(SETTINGS, {**HERE, key: "3"})
    start = find_start(tmp_path, now, ALONE)
    assert start is not None
    note = f"it went on at step 10 with {key} 3 instead of {HERE[key]}"
    assert start.not_exact == (note,) and f"not exact: {note}" in capsys.readouterr().out
    begin(tmp_path / "checkpoint-20")
    commit(tmp_path / "checkpoint-20", now, None, not_exact=start.not_exact)
    again = find_start(tmp_path, now, ALONE)
    assert again is not None and again.step == 20 and again.not_exact == (note,)


@pytest.mark.parametrize("setting", ["training.shard", "batching.longest_first"])
def test_some_settings_are_bound_to_the_processes(setting: str, tmp_path: Path) -> None:
    settings = {**SETTINGS, setting: "true"}
    checkpoint(tmp_path, 10, identity=Identity(settings, HERE))
    with pytest.raises(CheckpointError, match=f"{setting}=true: .*; world size 1 there, 2 here"):
        find_start(tmp_path, Identity(settings, {**HERE, "world size": "2"}), ALONE)
    assert find_start(tmp_path, Identity(settings, {**HERE, "threads": "2"}), ALONE)


def test_another_number_of_nodes_finds_the_checkpoints_of_before(tmp_path: Path) -> None:
    two = Identity(SETTINGS, {**HERE, "nodes": "2", "world size": "2"})
    for node in ("node-0", "node-1"):
        checkpoint(tmp_path / node, 10, 10, two)
    start = find_start(tmp_path, IDENTITY, ALONE)
    assert start is not None and start.folder == tmp_path / "node-0" / "checkpoint-10"
    assert "nodes 1 instead of 2" in start.not_exact[0]
    checkpoint(tmp_path, 20)
    back = find_start(tmp_path / "node-1", two, ALONE)
    assert back is not None and back.folder == tmp_path / "checkpoint-20"


def test_required_stops_and_never_starts_over(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is whole: there is none"):
        find_start(tmp_path, IDENTITY, ALONE, Resume.required)
    (checkpoint(tmp_path, 10) / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="checkpoint-10 was not finished"):
        find_start(tmp_path, IDENTITY, ALONE, Resume.required)
    assert checkpoints_in(tmp_path), "nothing is moved by what is refused"
    checkpoint(tmp_path, 20)
    start = find_start(tmp_path, IDENTITY, ALONE, Resume.required)
    assert start is not None and start.step == 20
    assert find_start(tmp_path, IDENTITY, ALONE, Resume.never) is None
    assert "earlier-checkpoint-20" in {path.name for path in aside_in(tmp_path)}
