"""An inference container that runs here: started from a model.tar.gz, asked over HTTP, ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.launch.simulator.serving import front_end

_PATIENCE = 600.0
"""Seconds until an answer; SageMaker waits for a minute, but on a machine of its own."""
_LOG_LINES = 15


@dataclass(frozen=True)
class Answer:
    """Answer of the endpoint."""

    status: int
    kind: str
    body: bytes


class Endpoint:
    """Endpoint at a port of this machine. code: folder that its code was imported from. log: its lines."""

    def __init__(self, port: int, log: list[str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        self.log = log
        self.code = _found(r"code at (.*)", log)
        self.added = _found(r"added to (.*)", log)

    def ask(self, body: bytes, kind: str = "application/json", accept: str = "*/*") -> Answer:
        """Send a request; StageFailed if the endpoint does not answer at all."""
        headers = {"Content-Type": kind, "Accept": accept}
        return self._asked("POST", "/invocations", body, headers)

    def is_healthy(self) -> bool:
        """Tell whether the health check passes; StageFailed if there is no answer."""
        return self._asked("GET", "/ping").status == 200

    def _asked(self, *request: Any) -> Answer:
        try:
            self._connection.request(*request)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            what = f"the endpoint does not answer: {type(error).__name__}: {error}"
            raise StageFailed(what, tuple(self.log[-_LOG_LINES:])) from error
        return Answer(answer.status, answer.headers.get_content_type(), content)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def lay_out(archive: Path, root: Path) -> Path:
    """Unpack model.tar.gz as SageMaker does; returns the folder that stands for /opt/ml/model."""
    model = root / "opt" / "ml" / "model"
    model.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(model, filter="data")
    return model


@contextlib.contextmanager
def endpoint(
    python: Path, model: Path, root: Path, variables: Mapping[str, str] | None = None
) -> Iterator[Endpoint]:
    """Start the container's program on a model, until the block ends; StageFailed if it does not start.

    variables: further ones of the container.
    """
    process = subprocess.Popen(
        [python, front_end.__file__, model], cwd=root, text=True,
        env={**(variables or {}), **_variables(root)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
    )  # fmt: skip
    assert process.stdout is not None
    log: list[str] = []
    try:
        for line in process.stdout:
            log.append(line.rstrip())
            if line.startswith(front_end.READY):
                break
        else:
            raise StageFailed("the container's program ended before it served", _last(log))
        # A pipe that nobody reads would stop the program once it is full.
        threading.Thread(target=lambda: log.extend(process.stdout or ()), daemon=True).start()
        found = Endpoint(int(log[-1].removeprefix(front_end.READY)), log)
        yield found
        found.close()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _variables(root: Path) -> dict[str, str]:
    """Return the variables of a container without a network; one thread, as the server sets it."""
    nowhere = "http://127.0.0.1:9"
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(root),
        "SAGEMAKER_BASE_DIR": str(root / "opt" / "ml"),
        "SAGEMAKER_PROGRAM": "inference.py",
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": "1",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "HF_HUB_OFFLINE": "1",
    }


def _last(log: list[str]) -> tuple[str, ...]:
    """Return the last lines of a log that say what happened: those of our own error first."""
    told = next((n for n, line in enumerate(log) if "NotServed:" in line), None)
    lines = log[told:] if told is not None else log[-_LOG_LINES:]
    return tuple(lines[:_LOG_LINES])


def _found(pattern: str, log: list[str]) -> str:
    lines = (re.fullmatch(pattern, line) for line in log)
    return next((line[1] for line in lines if line), "")
