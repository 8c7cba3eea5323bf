"""The failure file of a container: one paragraph with rank, stage, cause and remedy.

SageMaker shows its first 1024 characters as FailureReason; without the file it shows whatever a launcher
printed last. The process that fails first writes it. Standard library only.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lingotune.config.problems import ConfigError, PublishError, without_secrets
from lingotune.config.secrets import redacted

LONGEST = 900
"""Maximum length in characters: SageMaker adds its own words at both ends, and truncates at 1024."""
_stage = "starting"


def enter(stage: str) -> None:
    """Note the stage that this process enters, for the message of a failure."""
    global _stage
    _stage = stage


@contextmanager
def reporting(rank: int, environment: Mapping[str, str]) -> Iterator[None]:
    """Write the exception that ends the block, if any, to the container's failure file."""
    output = environment.get("SM_OUTPUT_DIR")
    if output:
        _tell_termination(rank, Path(output))
    try:
        yield
    except Exception as error:
        text = paragraph(error, rank)
        if not isinstance(error, (ConfigError, PublishError)):  # the entry point prints these
            print(f"lingotune: {text}", file=sys.stderr, flush=True)
        if output:
            _write(Path(output), text)
        raise


def paragraph(error: BaseException, rank: int) -> str:
    """Format `rank 3, training, step 12 of 145: RuntimeError: ... (file:line). What helps: ...`"""
    if isinstance(error, ConfigError):
        found = [f"{p.where}: {p.what}" + (f"; fix: {p.fix}" if p.fix else "")
                 for p in map(without_secrets, error.problems)]  # fmt: skip
        return _cut(f"rank {rank}, {_stage}: {' | '.join(found)}")
    said = redacted(
        " ".join(str(error).split())
    )  # before it is cut, which could leave a part of a token
    what = f"{type(error).__name__}: {_short(said)}"
    return _cut(f"rank {rank}, {_stage}: {what} ({_place(error)}). {_hint(error)}")


def _hint(error: BaseException) -> str:
    text = f"{type(error).__name__} {error}"
    if re.search("out of memory", text, re.IGNORECASE):
        return "What helps: half the per_device_bs with twice the scaling.accumulation."
    if isinstance(error, MemoryError):
        return "What helps: an instance with more memory, or fewer rows."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "What helps: a larger cluster.volume_gb, or a smaller training.keep_checkpoints."
    if re.search(r"connection (closed|reset|refused)|nccl|gloo|broken pipe", text, re.IGNORECASE):
        return f"Another rank ended first; its own message says why. {_KILLED}"
    return "To see it on your machine: lingotune launch ... action=rehearse"


_KILLED = (
    "A rank that dies without a message was usually killed for memory: a smaller per_device_bs."
)


def _place(error: BaseException) -> str:
    """Find the innermost line of our own code in the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if re.search(r"/lingotune/|train\.py$", f.filename)] or list(frames)
    if not ours:
        return "no traceback"
    name = re.sub(r"^.*/(?=lingotune/|train\.py$)", "", ours[-1].filename)
    return f"{name}:{ours[-1].lineno}"


def _short(text: str, most: int = 500) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."


def _write(output: Path, text: str) -> None:
    """Write the file unless it is there; the toolkit does not overwrite it."""
    try:
        with (output / "failure").open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        pass  # another process was first, or the disk has failed; the text is in the log, too


def _tell_termination(rank: int, output: Path) -> None:
    """Write the file on SIGTERM too, even while this process waits for others inside a library.

    Python runs signal handlers only between two bytecodes, which may never happen there. The signal's byte
    arrives in the wakeup pipe at once, and a thread reads it.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.set_wakeup_fd(writing)

    def wait() -> None:
        while os.read(reading, 1) != bytes([signal.SIGTERM]):
            pass
        ended = "ended from outside (SIGTERM): another rank failed, or the job was stopped."
        _write(output, _cut(f"rank {rank}, {_stage}: {ended} {_KILLED}"))
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
