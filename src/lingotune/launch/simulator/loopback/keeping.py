"""Keeping what an account holds in a folder, so that it is there again after a restart.

Each job is a file. Objects, logs and the rest are moto's, in memory; the calls that changed them are kept
and made again, in their order. Nothing needs an orderly end: after `kill -9` all is there, too.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from werkzeug.test import Client, run_wsgi_app
from werkzeug.wrappers import Request

from lingotune.config.problems import ConfigError, Problem
from lingotune.launch.simulator.loopback.jobs import Job, Jobs

Application = Callable[[dict[str, Any], Any], Any]
"""WSGI application."""
_READ_ONLY = ("Batch", "Describe", "Filter", "Get", "Head", "List", "Simulate", "Search")
"""Beginnings of operations that change nothing."""
_UPLOAD = re.compile(r"<UploadId>([^<]+)</UploadId>")
_INLINE = 50_000
"""Bytes of the largest body that is kept with its call."""
_HOP = {"connection", "content-length", "expect", "host", "transfer-encoding"}
_ENDED = "InternalServerError: the account was ended while the job ran"


class Keeper:
    """A folder that holds an account. keeps_jobs: False = the jobs in it stay as they are."""

    def __init__(self, folder: Path) -> None:
        self._jobs, self._bodies = folder / "jobs", folder / "bodies"
        self._calls = folder / "calls.jsonl"
        self._lock = Lock()
        self.lost = 0
        self.keeps_jobs = True
        for path in (self._jobs, self._bodies):
            path.mkdir(parents=True, exist_ok=True)
        self._cut_half_line()

    # --- jobs -----------------------------------------------------------------------------------

    def keep_job(self, job: Job) -> None:
        """Write a job as it is now."""
        if not self.keeps_jobs:
            return
        path = self._file_of(job.name)
        with job.lock:
            text = json.dumps(job.state())
            temporary = path.with_suffix(".new")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)

    def restore_jobs(self, jobs: Jobs, *, goes_on: bool = False) -> None:
        """Read all jobs; those that had not ended failed when the account did.

        goes_on: they are forgotten instead, so that their names are free again, or have stopped if they
        were asked to.
        """
        last = self._last_time()
        with self._readable():
            states = [json.loads(path.read_text("utf-8")) for path in self._jobs.glob("*.json")]
            for state in sorted(states, key=lambda state: state["created"]):
                if goes_on and state["ended"] is None and state["stop_asked_at"] is None:
                    self._file_of(state["request"]["TrainingJobName"]).unlink()
                    continue
                job = jobs.restore(state)
                if not job.over:
                    if goes_on:
                        job.end("Stopped", "Training job stopped")
                    else:
                        job.fail(_ENDED)
                    job.ended = job.transitions[-1]["StartTime"] = max(last, job.created)
                    self.keep_job(job)

    def _file_of(self, name: str) -> Path:
        return self._jobs / f"{name}.json"

    def _last_time(self) -> float:
        """Tell when anything was kept last, as while a job ran."""
        files = [*self._jobs.glob("*.json"), *([self._calls] if self._calls.exists() else [])]
        return max((path.stat().st_mtime for path in files), default=0.0)

    # --- everything else ------------------------------------------------------------------------

    def keeping(self, application: Application) -> Application:
        """Wrap moto's application: successful calls that change something are kept."""

        def call(environ: dict[str, Any], start_response: Any) -> Any:
            if not _changes(environ):
                return application(environ, start_response)
            body = Request(environ).get_data()
            environ["wsgi.input"] = BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
            answer, status, headers = run_wsgi_app(application, environ, buffered=True)
            content = b"".join(answer)
            if status.startswith("2"):
                self._keep_call(environ, body, content)
            start_response(status, headers.to_wsgi_list())
            return [content]

        return call

    def _keep_call(self, environ: Mapping[str, Any], body: bytes, answer: bytes) -> None:
        request = Request(dict(environ))
        headers = {name: value for name, value in request.headers if name.lower() not in _HOP}
        upload = _UPLOAD.search(answer[:5000].decode("utf-8", "replace"))
        kept = {
            "method": request.method,
            "path": environ.get("RAW_URI") or environ.get("REQUEST_URI") or request.full_path,
            "headers": headers,
            **self._kept_body(body),
            "upload": upload[1] if upload and "uploads" in request.args else None,
        }
        with self._lock, self._calls.open("a", encoding="utf-8") as calls:
            calls.write(f"{json.dumps(kept)}\n")

    def _kept_body(self, body: bytes) -> dict[str, str]:
        """Keep a body: with the call, or in a file if it is large."""
        if len(body) <= _INLINE:
            return {"body": base64.b64encode(body).decode()}
        file = self._bodies / hashlib.sha256(body).hexdigest()
        with self._lock:
            if not file.exists():
                temporary = file.with_suffix(".new")
                temporary.write_bytes(body)
                temporary.replace(file)
        return {"file": file.name}

    def _body(self, kept: Mapping[str, str]) -> bytes:
        if "file" in kept:
            return (self._bodies / kept["file"]).read_bytes()
        return base64.b64decode(kept["body"])

    def restore_calls(self, application: Application) -> None:
        """Make all kept calls again; `lost` counts those that are refused now."""
        client = Client(application)
        uploads: dict[str, str] = {}
        with self._readable():
            for kept in self._kept_calls():
                path = kept["path"]
                for before, now in uploads.items():
                    path = path.replace(before, now)
                answer = client.open(
                    path, method=kept["method"], headers=kept["headers"], data=self._body(kept)
                )
                found = _UPLOAD.search(answer.get_data(as_text=True)[:5000])
                if kept["upload"] and found:
                    uploads[kept["upload"]] = found[1]
                self.lost += answer.status_code >= 300

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Explain files that somebody else has written or changed."""
        try:
            yield
        except (ValueError, KeyError, TypeError, OSError) as error:
            what = f"holds files of an account that cannot be read: {error}"
            where = f"--dir {self._calls.parent}"
            raise ConfigError([Problem(where, what, "--dir with a new folder")]) from error

    def _kept_calls(self) -> Iterator[dict[str, Any]]:
        if not self._calls.exists():
            return
        with self._calls.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)

    def _cut_half_line(self) -> None:
        """Drop a last line that was not written to its end."""
        if self._calls.exists():
            content = self._calls.read_bytes()
            os.truncate(self._calls, content.rfind(b"\n") + 1)


def _changes(environ: Mapping[str, Any]) -> bool:
    """Tell whether a call may change something."""
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return False
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return not target.rpartition(".")[2].startswith(_READ_ONLY)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = Request(environ).get_data()  # type: ignore[arg-type]
        environ["wsgi.input"] = BytesIO(body)  # type: ignore[index]
        action = parse_qs(body.decode("utf-8", "replace")).get("Action", [""])[0]
        return not action.startswith(_READ_ONLY)
    return True


@contextmanager
def kept_in(folder: Path) -> Iterator[Keeper]:
    """Hold a folder for one account; ConfigError if it cannot be made or another account has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        what = f"nothing can be written there: {error.strerror}"
        raise ConfigError([Problem(f"--dir {folder}", what, "--dir with a new folder")]) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "is the folder of an account that runs"
            raise ConfigError([Problem(f"--dir {folder}", what, f"--dir {folder}-2")]) from None
        yield Keeper(folder)
