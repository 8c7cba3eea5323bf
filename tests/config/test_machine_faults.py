"""What a machine can cause is told in a sentence, with an exit code by its kind; only the rest is a bug."""

from __future__ import annotations

import errno
import pickle
import re
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest

from lingotune.config.console import exit_code_of
from lingotune.config.faults import of_machine, understood
from lingotune.config.problems import (
    DATA_FAILED,
    CheckpointError,
    ConfigError,
    Preempted,
    Problem,
    PublishError,
)


def wrapped() -> None:
    """As libraries do: the error of the system is the context of their own."""
    try:
        raise OSError(errno.ENOSPC, "No space left on device", "/x/model.bin")
    except OSError:
        raise RuntimeError(
            "[enforce fail at inline_container.cc:603] . unexpected pos 64"
        ) from None


def raises(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


CODES = [
    (ConfigError([Problem("lr=x", "is no number")]), 2),
    (ConfigError([Problem("a.csv:3", "has no text", code=DATA_FAILED)]), 3),
    (ConfigError([Problem("a.csv:3", "x", code=DATA_FAILED), Problem("lr=x", "y")]), 2),
    (pyarrow.ArrowInvalid("not an Arrow file"), 3),
    (CheckpointError([Problem("runs/a", "holds no whole checkpoint")]), 4),
    (pickle.UnpicklingError("invalid load key"), 4),
    (zipfile.BadZipFile("no central directory"), 4),
    *((OSError(number, "x", "/x/y"), 5) for number in (
        errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO, errno.EDQUOT, errno.EMFILE)),
    (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), 5),
    (RuntimeError("basic_ios::clear: iostream error"), 5),
    (RuntimeError("Error while serializing: IoError(Os { code: 28, kind: StorageFull })"), 5),
    (MemoryError(), 2),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 2),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), 6),
    (OSError(errno.EADDRINUSE, "Address already in use"), 6),
    (RuntimeError("The server socket has failed to listen. port: 29500, name: EADDRINUSE"), 6),
    (PublishError("the hub has refused it"), 7),
    (RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:3"), 9),
    (KeyError("a bug"), 70),
    (Preempted("preempted at step 3"), 75),
    (KeyboardInterrupt(), 130),
]  # fmt: skip


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda one: str(one)[:30])
def test_each_cause_has_its_exit_code_and_no_traceback(
    error: BaseException, code: int, capfd: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert exit_code_of(raises(error)) == code
    told = capfd.readouterr().err
    assert told.startswith("lingotune: ") and "Traceback" not in told


def test_a_bug_is_one_paragraph_and_a_file_to_attach_without_secrets(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "hf_" + "aBcD1234" * 4
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert exit_code_of(raises(KeyError(token))) == 70
    told = capfd.readouterr().err
    (path,) = tmp_path.glob("lingotune-bug-*.txt")
    assert told.count("\n") == 1 and str(path) in told
    text = path.read_text(encoding="utf-8")
    assert (
        "Traceback" in text and "test_machine_faults.py" in text and re.search("torch [0-9]", text)
    )
    assert token not in told + text
    assert path.stat().st_mode & 0o077 == 0


def test_in_a_container_the_log_has_the_traceback(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert exit_code_of(raises(KeyError("x"))) == 70
    assert "Traceback" in capfd.readouterr().err


def test_the_error_that_caused_another_one_is_told() -> None:
    with pytest.raises(RuntimeError) as raised:
        wrapped()
    known = understood(raised.value, "training, step 3 of 9")
    assert known and known.problems[0].where == "/x/model.bin" and "disk is full" in str(known)


def test_a_thread_that_ends_for_the_machine_is_a_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threading.excepthook", threading.excepthook)

    def body() -> int:
        error = OSError(errno.ENOSPC, "No space left on device", "/x/events")
        thread = threading.Thread(target=raises(error))
        thread.start()
        thread.join()
        return 0

    assert exit_code_of(body) == 0
    told = capfd.readouterr().err
    assert told == "warning: a thread has ended: /x/events: the disk is full\n"


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), KeyError("x"), OSError(errno.EINVAL, "x"), TypeError()]
)  # fmt: skip
def test_what_is_none_of_them_is_not_explained_away(error: Exception) -> None:
    assert understood(error, "training, step 3 of 9") is None


def test_by_the_stage_a_damaged_file_is_the_models_or_a_checkpoints() -> None:
    error = pickle.UnpicklingError("invalid load key")
    loading = understood(error, "loading the model")
    assert loading and loading.exit_code == 2 and "model.name_or_path" in str(loading)
    resuming = understood(error, "looking for checkpoints")
    assert resuming and resuming.exit_code == 4


def test_a_fault_with_half_a_surrogate_pair_is_reported_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code_of(raises(LookupError("caf\udce9"))) == 70
    told = capsys.readouterr().err
    report = Path(re.findall(r"attach (\S+),", told)[0])
    assert "caf\\udce9" in report.read_text(encoding="utf-8")
    report.unlink()


class SafetensorError(Exception):
    """As in safetensors, which is written in Rust."""


MACHINES = {
    "Error while serializing: I/O error: File too large (os error 27)": "larger than files may be",
    "IoError(Os { code: 122, kind: FilesystemQuotaExceeded })": "the quota of the disk",
    "Permission denied (os error 13)": "may not be written or read",
}


@pytest.mark.parametrize("text", MACHINES)
def test_a_library_in_rust_tells_the_disks_error_by_its_number(text: str) -> None:
    known = understood(SafetensorError(text), "training, step 2 of 9")
    assert known and known.exit_code == 5 and MACHINES[text] in known.problems[0].what


MEMORY: list[tuple[Exception, str]] = [
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "this machine"),
    (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "this machine"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "this machine"),
    (RuntimeError("std::bad_alloc: out of memory"), "this machine"),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "the GPU"),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "the GPU"),
    (RuntimeError("HIP out of memory"), "the GPU"),
]


@pytest.mark.parametrize(("error", "whose"), MEMORY)
def test_it_is_told_whose_memory_is_used_up(error: Exception, whose: str) -> None:
    known = understood(error)
    assert known and known.problems[0].what.startswith(f"{whose} has not enough memory")


def test_a_full_disk_is_no_fault_of_what_was_read() -> None:
    """For those who tell every other error as a damaged model, and offer to train it again."""
    for number in (errno.ENOSPC, errno.EFBIG, errno.EACCES, errno.EMFILE):
        with pytest.raises(RuntimeError) as raised:
            try:
                raise OSError(number, "x", "model.safetensors")
            except OSError as error:
                raise RuntimeError("failed to load") from error
        known = of_machine(raised.value)
        assert known and known.problems[0].where == "model.safetensors"
    assert of_machine(FileNotFoundError(errno.ENOENT, "x", "config.json")) is None
    assert of_machine(SafetensorError("No such file or directory (os error 2)")) is None
    assert of_machine(ValueError("damaged")) is None
