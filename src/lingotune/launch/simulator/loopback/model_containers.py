"""Containers of models in an account: from model.tar.gz in S3 to a program that answers here."""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from lingotune.launch.simulator.loopback.jobs import Fields
from lingotune.launch.simulator.loopback.storage import download, split_uri
from lingotune.launch.simulator.rehearsal.stages import StageFailed
from lingotune.launch.simulator.serving.endpoint import Answer, Endpoint, endpoint, lay_out
from lingotune.launch.simulator.serving.environment import inference_python

_PASSED_ON = ("LINGOTUNE_", "SAGEMAKER_MAX_PAYLOAD_IN_MB")
"""Beginnings of the variables that have an effect here; the others tell of a real container's machine."""
_MEGABYTE = 2**20


class ModelContainers:
    """Starts containers on this machine. s3, logs: boto3 clients of the account. tell: takes lines."""

    def __init__(self, s3: Any, logs: Any, tell: Callable[[str], None]) -> None:
        self._s3, self._logs, self._tell = s3, logs, tell
        self._environment = Lock()  # it is made once

    @contextmanager
    def start(self, model: Fields, batch: Fields | None) -> Iterator[Endpoint]:
        """Run the container of a model, for a batch if there is one, until the block ends.

        StageFailed or ConfigError if it does not start.
        """
        given = model["PrimaryContainer"]
        with self._environment:
            python = inference_python(self._tell)
        with TemporaryDirectory(prefix="lingotune-") as folder:
            root = Path(folder)
            found = download(self._s3, given["ModelDataUrl"], root / "s3")
            archive = found.get(given["ModelDataUrl"])
            if archive is None:
                raise StageFailed(f"Failed to download model data from {given['ModelDataUrl']}.")
            variables = _passed_on(given.get("Environment", {}), batch)
            try:
                laid_out = lay_out(archive, root)
            except tarfile.TarError as error:
                what = f"Failed to extract model data from {given['ModelDataUrl']}: {error}"
                raise StageFailed(what) from error
            with endpoint(python, laid_out, root, variables) as running:
                yield running

    def transform(self, request: Fields, ask: Callable[..., Answer]) -> None:
        """Answer every file of a batch, and put the answers beside each other under its output."""
        given, output = request["TransformInput"], request["TransformOutput"]
        uri = given["DataSource"]["S3DataSource"]["S3Uri"]
        with TemporaryDirectory(prefix="lingotune-") as folder:
            files = download(self._s3, uri, Path(folder))
            if not files:
                raise StageFailed(f"ClientError: No S3 objects found under {uri}.")
            for place, path in files.items():
                answers = [
                    _good(ask(piece, given["ContentType"], output["Accept"]))
                    for piece in _pieces(path, request)
                ]
                beside = place.removeprefix(uri).lstrip("/") or place.rpartition("/")[2]
                self._put(f"{output['S3OutputPath'].rstrip('/')}/{beside}.out", b"".join(answers))

    def answer_later(
        self, place: str, output: str, failed: str, ask: Callable[..., Answer]
    ) -> None:
        """Answer a request that lies in S3; why one is refused is put where the failures go."""
        bucket, key = split_uri(place)
        try:
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            self._put(output, _good(ask(body)))
        except (StageFailed, self._s3.exceptions.NoSuchKey) as error:
            told = json.dumps({"Message": str(error)}).encode()
            self._put(failed, told)

    def _put(self, uri: str, content: bytes) -> None:
        bucket, key = split_uri(uri)
        self._s3.put_object(Bucket=bucket, Key=key, Body=content)

    def log(self, group: str, stream: str, lines: list[str]) -> None:
        """Add lines to a stream of CloudWatch, which is made if it is not there."""
        where = {"logGroupName": group, "logStreamName": stream}
        with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_group(logGroupName=group)
        with suppress(self._logs.exceptions.ResourceAlreadyExistsException):
            self._logs.create_log_stream(**where)
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in lines if line.strip()]
        if events:
            self._logs.put_log_events(**where, logEvents=events)


def _passed_on(environment: Mapping[str, str], batch: Fields | None) -> dict[str, str]:
    found = {k: v for k, v in environment.items() if k.startswith(_PASSED_ON)}
    if batch is not None:
        found["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(batch.get("MaxPayloadInMB", 6))
    return found


def _good(answer: Answer) -> bytes:
    if answer.status != 200:
        text = answer.body.decode(errors="replace")
        raise StageFailed(f"ClientError: status {answer.status}: {text[:500]}")
    return answer.body


def _pieces(path: Path, request: Fields) -> Iterator[bytes]:
    """Cut a file at its lines into pieces of the batch's payload, or leave it whole."""
    content = path.read_bytes()
    if request["TransformInput"].get("SplitType", "None") != "Line":
        yield content
        return
    most, piece = request.get("MaxPayloadInMB", 6) * _MEGABYTE, bytearray()
    for line in content.splitlines(keepends=True):
        if piece and len(piece) + len(line) > most:
            yield bytes(piece)
            piece.clear()
        piece += line
    if piece:
        yield bytes(piece)
