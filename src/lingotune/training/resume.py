"""Finding the checkpoint to go on from, the same step on all ranks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lingotune.config.problems import CheckpointError, Problem
from lingotune.config.run_settings import differences
from lingotune.config.schema import JobConfig, Resume
from lingotune.data.loader.store import Split
from lingotune.estimate.batch import BatchPlan, processes_per_node
from lingotune.training import distributed
from lingotune.training.aside import aside_in, set_aside
from lingotune.training.checkpoints import (
    UNFINISHED_SAVE,
    Checkpoint,
    Manifest,
    OtherFormat,
    best_in,
    checkpoints_in,
    fault,
    name_of,
    read,
)
from lingotune.training.distributed import Rank
from lingotune.training.identity import GLOBAL, SPLIT, WORLD, Identity, same_batch


def digest_of(splits: Mapping[str, Split]) -> str:
    """Hash the tokens of all splits: SHA-256, 64 hexadecimal digits."""
    digests = "\n".join(f"{name} {split.digest()}" for name, split in splits.items())
    return hashlib.sha256(digests.encode()).hexdigest()


def node_folder(job: JobConfig, checkpoints: Path, rank: Rank) -> Path:
    """Return this node's folder of checkpoints; each has its own, as SageMaker copies all to one place."""
    if job.cluster.nodes == 1:
        return checkpoints
    return checkpoints / f"node-{rank.rank // processes_per_node(job.cluster)}"


def micro_batch_before(root: Path, batch: BatchPlan) -> int | None:
    """Read the examples in a pass of the newest checkpoint in a node's folder; None without one of the same
    global batch on as many processes."""
    there = checkpoints_in(root) if root.is_dir() else {}
    for _, folder in sorted(there.items(), reverse=True):
        try:
            was = read(folder)
        except (OSError, ValueError):
            continue  # damaged, which `find_start` tells
        size = int(was.circumstances.get(SPLIT, "0").partition(" x ")[0])
        alike = was.world == batch.world_size and was.settings.get(GLOBAL) == str(
            batch.global_batch
        )
        share = batch.per_device_batch * batch.accumulation
        return size if alike and size and share % size == 0 else None
    return None


@dataclass(frozen=True)
class Found:
    """The checkpoints that a node has. whole: by step. bad: step -> why it is not used."""

    whole: dict[int, Checkpoint] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)


def find_start(
    root: Path, identity: Identity, rank: Rank, mode: Resume = Resume.auto
) -> Checkpoint | None:
    """Find the newest checkpoint that is complete on every node; None = start at step 0.

    Returns the same step on every rank, in the folder of the rank's node, or of a node of before if their
    number has changed. Checkpoints that are damaged, unfinished or newer are moved out of the way, with a
    warning. CheckpointError on every rank if they belong to another run, or if mode is `required` and there
    is none.
    """
    found, problems = Found(), []
    if rank.local_rank == 0:
        root.mkdir(parents=True, exist_ok=True)
        try:
            found = _all_earlier(root) if mode is Resume.never else survey(root, identity)
        except CheckpointError as error:
            problems = error.problems
    everyone = distributed.gather(rank, (rank.local_rank, sorted(found.whole), found.bad, problems))
    if any(problems for *_, problems in everyone):
        raise CheckpointError([problem for *_, problems in everyone for problem in problems])
    steps = [set(whole) for local_rank, whole, *_ in everyone if local_rank == 0]
    step = max(set.intersection(*steps), default=0)
    bad = {k: v for _, _, bad, _ in everyone for k, v in bad.items()}
    if not step and mode is Resume.required:
        raise CheckpointError([_nothing(root, bad)])
    if rank.local_rank == 0:
        _move_away(root, found, step)
    if rank.first:
        print(*_told(root, bad, step), sep="\n", end="\n" if bad or aside_in(root) else "")
    chosen: list[Checkpoint | None] = distributed.gather(rank, found.whole.get(step))
    start = chosen[rank.rank - rank.local_rank]
    for line in start.not_exact if start and rank.first else ():
        print(f"warning: not exact: {line}", flush=True)
    return start


def survey(root: Path, identity: Identity) -> Found:
    """Read the checkpoints in a node's folder, and those of other nodes if their number has changed.

    CheckpointError if one belongs to another run, or was written by another version.
    """
    found = Found()
    for step, folder in checkpoints_in(root).items():
        _look(folder, step, identity, found)
    newest = max(found.whole, default=0)
    for other in _other_nodes(root):
        for step, folder in checkpoints_in(other).items():
            if step > newest and step not in found.whole and _of_other_nodes(folder, identity):
                _look(folder, step, identity, found)
    return found


def _look(folder: Path, step: int, identity: Identity, found: Found) -> None:
    try:
        why = fault(folder)
    except OtherFormat:
        raise CheckpointError([_other_version(folder)]) from None
    if why:
        found.bad[step] = why
    else:
        manifest = read(folder)
        _check_run(folder, manifest, identity)
        notes = (*manifest.not_exact, *_changes(manifest, identity))
        found.whole[step] = Checkpoint(
            step, folder, best_in(folder, manifest), notes, manifest.ended, manifest.seconds or 0.0,
            manifest.touched_rows_only if manifest.world == identity.world else None,
        )  # fmt: skip


def _other_nodes(root: Path) -> Iterator[Path]:
    top = root.parent if root.name.startswith("node-") else root
    yield from (path for path in (top, *sorted(top.glob("node-*"))) if path != root)


def _of_other_nodes(folder: Path, identity: Identity) -> bool:
    """Tell whether a checkpoint was written by another number of nodes than there are now."""
    try:
        before = read(folder).circumstances
    except (OSError, ValueError):
        return False
    return before.get("nodes") != identity.circumstances.get("nodes")


def _changes(manifest: Manifest, identity: Identity) -> Iterator[str]:
    now = identity.circumstances
    changes = differences(manifest.circumstances, now, "{0} {2} instead of {1}")
    if changes:
        yield f"it went on at step {manifest.step} with {', '.join(changes)}"


# --- refusing -----------------------------------------------------------------------------------


_BOUND = {
    "training.shard": ([WORLD], "there is a piece of the optimizer for each process"),
    "batching.longest_first": (
        [WORLD, SPLIT],
        "the order of the updates follows from the processes",
    ),
}
"""Settings with which a run cannot go on in some other circumstances: which, and why."""


def _check_run(folder: Path, manifest: Manifest, identity: Identity) -> None:
    """Raise CheckpointError, with all that differs, for a checkpoint of another run."""
    strict = differences(manifest.settings, identity.settings)
    changes = differences(manifest.circumstances, identity.circumstances)
    bound = [
        f"{setting}=true: {why}"
        for setting, (keys, why) in _BOUND.items()
        if manifest.settings.get(setting) == "true"
        and any(change.startswith(tuple(keys)) for change in changes)
    ]
    if strict:
        what = f"is of another run: {'; '.join(strict + changes)}"
    elif bound:
        what = f"cannot be gone on with: {'; '.join(bound + changes)}"
    else:
        return
    raise CheckpointError([Problem(str(folder), what, _remedy(strict, manifest, identity))])


def _remedy(strict: list[str], manifest: Manifest, identity: Identity) -> str:
    """Find what works instead: a batch that is the same, or the settings as they were."""
    wanted = int(manifest.settings.get(GLOBAL, "0"))
    batch = int(identity.circumstances[SPLIT].partition(" x ")[0])
    if fix := same_batch(strict, wanted, identity.world, batch):
        return fix
    if not strict:
        return "the machines as they were; another --run-dir; or resume=never, to start over"
    return "the run's own job.yaml and data; another --run-dir; or resume=never, to start over"


def _other_version(folder: Path) -> Problem:
    what = "was written by another version of lingotune"
    fix = "that version, to end the run; or resume=never, to start over"
    return Problem(str(folder), what, fix)


def _nothing(root: Path, bad: Mapping[int, str]) -> Problem:
    found = "; ".join(f"{name_of(step)} {why}" for step, why in sorted(bad.items()))
    what = f"no checkpoint in {root} is whole" + (f": {found}" if found else ": there is none")
    return Problem("resume=required", what, "resume=auto, to start over at step 0")


# --- what is in the way -------------------------------------------------------------------------


def _all_earlier(root: Path) -> Found:
    for folder in checkpoints_in(root).values():
        set_aside(folder, "earlier")
    return Found()


def _move_away(root: Path, found: Found, step: int) -> None:
    """Set aside what is damaged, unfinished, or newer than the chosen step, in this node's folder."""
    there = checkpoints_in(root)
    for bad, why in found.bad.items():
        if bad in there:
            set_aside(there[bad], "unfinished" if why == UNFINISHED_SAVE else "damaged")
    for newer in found.whole:
        if newer > step and newer in there:
            set_aside(there[newer], "ahead")


def _told(root: Path, bad: Mapping[int, str], step: int) -> Iterator[str]:
    for number, why in sorted(bad.items()):
        yield f"warning: {name_of(number)} {why}; it is not used"
    if bad and not step:
        yield f"warning: no checkpoint in {root} is whole: training starts over, at step 0"
    if aside := aside_in(root):
        names = ", ".join(path.name for path in aside)
        yield f"set aside in {root}, never used nor deleted: {len(aside)} ({names})"
