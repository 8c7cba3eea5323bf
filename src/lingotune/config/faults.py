"""Faults of the machine as problems that name what helps: full disks, lost folders, memory, damaged files.

Libraries raise them as errors of a dozen kinds. What is none of them is a fault of lingotune itself, and
becomes a file to attach to a report. Standard library only.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shlex
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from json import JSONDecodeError

from lingotune.config.problems import (
    CHECKPOINT_FAILED,
    CLOUD_FAILED,
    DATA_FAILED,
    DISK_FAILED,
    PEER_LOST,
    USER_ERROR,
    ConfigError,
    Problem,
)
from lingotune.config.secrets import redacted

LIKELY = "usually killed for memory: a smaller per_device_bs"
"""Why a rank dies without a message, and what helps."""
KILLED = f"A rank that dies without a message was {LIKELY}."
_PACKAGES = ("lingotune", "torch", "transformers", "accelerate", "datasets", "pyarrow", "sagemaker")
_FREE = "free some of it, then the same command goes on from the last checkpoint"
_BIGGER = "on SageMaker a larger cluster.volume_gb, or a smaller training.keep_checkpoints"
_RIGHTS = "a folder that this user may write to"
_DISK: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", f"{_FREE}; {_BIGGER}"),
    errno.EDQUOT: ("the quota of the disk is used up", _FREE),
    errno.EFBIG: ("the file would be larger than files may be here (ulimit -f)", "ulimit -f unlimited"),
    errno.EROFS: ("the disk is read-only", "a folder on a disk that can be written to"),
    errno.EACCES: ("may not be written or read", _RIGHTS),
    errno.EPERM: ("may not be changed", _RIGHTS),
    errno.ENOENT: ("was deleted or moved while it was in use", "the same command once more"),
    errno.ENOTDIR: ("lies below what is a file now", "the same command once more"),
    errno.EISDIR: ("is a folder now, where a file is written", "move that folder away"),
    errno.ENOTEMPTY: ("is written to by another process", "the same command once more"),
    errno.ENAMETOOLONG: ("has too long a name for this disk", "a shorter runs_dir or name"),
    errno.EIO: ("the disk gave an error; it may be failing", "another disk"),
    errno.EMFILE: ("too many files are open in this process", "ulimit -n 4096, then the same command"),
    errno.ENFILE: ("too many files are open on this machine", "end what has them open"),
    errno.ESTALE: ("the network disk has lost it", "the same command once more"),
    errno.ENODEV: ("the disk is gone", "mount it again"),
    errno.ENXIO: ("the disk is gone", "mount it again"),
    errno.ENOTCONN: ("the disk is gone", "mount it again"),
}  # fmt: skip
"""What is wrong and what helps, by error number."""
_OF_NAMES = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
"""Errors of a file or folder that is not what it should be, which need not be the disk's."""
_RUST = re.compile(r"\(os error (\d+)\)|Os \{ code: (\d+)")
"""Error number in the text of libraries in Rust: safetensors, tokenizers, the hub's."""
_FULL = r"no space left|os error 28\b|StorageFull|quota exceeded"
# torch tells a disk that takes no more as a position in its archive, as its stream's, or not at all.
_FULL_ARCHIVE = (
    r"PytorchStreamWriter|inline_container.*(unexpected pos|failed)|failed writing|iostream error"
)
_MEMORY = (
    r"out of memory|can(not|'t) allocate memory|alloc.* failed|DefaultCPUAllocator"
    r"|failed to map segment"  # of a library
    r"|could not create a (primitive|memory)"  # oneDNN
    r"|CU(BLAS|DNN)_STATUS_(ALLOC_FAILED|INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)"
)
_GPU = r"cuda|cublas|cudnn|\bgpu|\bhip\b"
_PEER = r"\b(nccl|gloo)\b|connection (closed|reset|refused)|TCPStore|socket timeout|ProcessGroup"
_IN_USE = r"EADDRINUSE|address already in use"
_PICKLES = ("UnpicklingError", "SafetensorError", "BadZipFile", "EOFError")
_READERS = (UnicodeError, JSONDecodeError, EOFError)


def understood(error: BaseException, stage: str = "") -> ConfigError | None:
    """Tell what a machine or its files have caused as a problem; None for a fault of lingotune.

    stage: what the process was doing. The error that caused another one counts first: libraries wrap those
    of the system in their own.
    """
    for one in reversed([*_causes(error)]):
        for kind in (_disk, _memory, _files, _port, _peers, _network):
            if problem := kind(one, stage):
                return ConfigError([problem])
    return None


def of_machine(error: BaseException) -> ConfigError | None:
    """Tell a disk or a memory that is used up, or rights that are lacking, as a problem; None otherwise.

    For callers that blame every other error on the file that was read or written.
    """
    for one in reversed([*_causes(error)]):
        if _number(one) in _OF_NAMES:
            continue
        if problem := _disk(one, "") or _memory(one, ""):
            return ConfigError([problem])
    return None


def is_memory(error: BaseException) -> bool:
    """Tell whether an error, or one that it was raised from, is of memory that is used up."""
    return any(_of_memory(one) for one in _causes(error))


def bug_report(error: BaseException) -> tuple[str, str]:
    """Write a file about a fault of lingotune; returns one paragraph that names it, and the traceback.

    Both are without secrets. Where no file can be written the paragraph says that the traceback follows.
    """
    trace = redacted("".join(traceback.format_exception(error)), os.environ)
    what = f"{type(error).__name__}: {one_line(error)}"
    try:
        descriptor, path = tempfile.mkstemp(prefix="lingotune-bug-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{_circumstances()}\n\n{trace}")
        attached = f"please attach {path}, which holds no secrets,"
    except OSError:
        attached = "please copy what this command prints"
    told = f"this is a fault of lingotune: {what} ({place(error)}); {attached} to a report of it"
    return told, trace


def one_line(error: BaseException, most: int = 500) -> str:
    """Return an error's message in one line that is not too long, without secrets: one that were cut would
    not be known any more."""
    text = redacted(" ".join(str(error).split()))
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def place(error: BaseException) -> str:
    """Find the innermost line of our own code in the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if re.search(r"/lingotune/|train\.py$", f.filename)] or list(frames)
    if not ours:
        return "no traceback"
    name = re.sub(r"^.*/(?=lingotune/|train\.py$)", "", ours[-1].filename)
    return f"{name}:{ours[-1].lineno}"


def _circumstances() -> str:
    found = [f"{name} {number}" for name in _PACKAGES if (number := _version(name))]
    typed = redacted(shlex.join(sys.argv), os.environ)
    return "\n".join(
        [typed, f"Python {platform.python_version()} on {platform.platform()}", *found]
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it was raised from or during, and so on."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _number(error: BaseException) -> int | None:
    """Find the error number of the system, also in the text of a library in Rust."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _RUST.search(str(error))
    return int(found[1] or found[2]) if found else None


def _disk(error: BaseException, stage: str) -> Problem | None:
    text, number = f"{type(error).__name__} {error}", _number(error)
    if number not in _DISK and re.search(_FULL, text, re.IGNORECASE):
        number = errno.ENOSPC
    if number in _DISK:
        what, fix = _DISK[number]
    elif isinstance(error, RuntimeError) and re.search(_FULL_ARCHIVE, text):
        what, fix = (
            f"a file could not be written whole, as on a full disk: {one_line(error, 160)}",
            _FREE,
        )
    else:
        return None
    where = (
        getattr(error, "filename2", None) or getattr(error, "filename", None) or stage or "the disk"
    )
    return Problem(os.fsdecode(where) if isinstance(where, bytes) else str(where), what, fix,
                   code=DISK_FAILED)  # fmt: skip


def _memory(error: BaseException, stage: str) -> Problem | None:
    if not _of_memory(error):
        return None
    if isinstance(error, OSError | MemoryError) or not re.search(_GPU, str(error), re.IGNORECASE):
        what = f"this machine has not enough memory: {one_line(error, 160) or 'MemoryError'}"
        fix = "an instance with more memory, a smaller per_device_bs, or fewer rows"
    else:
        what = f"the GPU has not enough memory: {one_line(error, 160)}"
        fix = "half the per_device_bs with twice the scaling.accumulation: the same global batch"
    if stage == "loading the model":
        fix = "a smaller model, or a machine with more memory"
    return Problem(stage or "memory", what, fix, key="per_device_bs", code=USER_ERROR)


def _of_memory(error: BaseException) -> bool:
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or bool(re.search(_MEMORY, text, re.IGNORECASE))


def _files(error: BaseException, stage: str) -> Problem | None:
    kind = type(error)
    if kind.__module__.startswith("pyarrow") and kind.__name__.startswith("Arrow"):
        what = f"a file is damaged: {one_line(error, 240)}"
        return Problem(stage or "the data", what, "the file as it was", code=DATA_FAILED)
    if stage == "reading the data" and isinstance(error, _READERS):
        what = f"cannot be read: {kind.__name__}: {one_line(error, 240)} ({place(error)})"
        return Problem("the data", what, "files that are whole, or other settings in data.*",
                       code=DATA_FAILED)  # fmt: skip
    if kind.__name__ not in _PICKLES:
        return None
    what = f"a file is damaged or of a foreign kind: {kind.__name__}: {one_line(error, 240)}"
    if "model" in stage:
        return Problem("model.name_or_path", what, "fetch or copy the model again")
    return Problem(stage or "a checkpoint", what, "an earlier checkpoint, or resume=never to start over",
                   code=CHECKPOINT_FAILED)  # fmt: skip


def _port(error: BaseException, stage: str) -> Problem | None:
    text = f"{type(error).__name__} {error}"
    if not re.search(_IN_USE, text, re.IGNORECASE):
        return None
    number = re.search(r"port: (\d+)", text)
    port = f"port {number[1]}" if number else "the port that is needed"
    what = f"another process of this machine listens on {port}"
    return Problem(stage or "the network", what, "the same command once more, or end that process",
                   code=CLOUD_FAILED)  # fmt: skip


def _peers(error: BaseException, stage: str) -> Problem | None:
    text = f"{type(error).__module__} {type(error).__name__} {error}"
    if not isinstance(error, RuntimeError) or not re.search(_PEER, text, re.IGNORECASE):
        return None
    what = f"Another rank ended first; its own message says why. {one_line(error, 240)}"
    fix = f"look there. {KILLED}"
    return Problem(stage or "the processes", what, fix, key="per_device_bs", code=PEER_LOST)


def _network(error: BaseException, stage: str) -> Problem | None:
    if not isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return None
    what = f"the network failed: {type(error).__name__}: {one_line(error, 240)}"
    return Problem(stage or "the network", what, "the same command once more", code=CLOUD_FAILED)
