"""The HTTP front end of an inference container; `endpoint.py` runs this file with the container's Python.

    python front_end.py MODEL_DIR

Behind it are the Python backend of multi-model-server and SageMaker's Hugging Face inference toolkit, as
in the container. In front of these a container has multi-model-server's Java program, whose part this
file plays: GET /ping, POST /invocations, the limit on a request's size, the form of an error. It prints
its port once the model is loaded.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

HANDLER = "sagemaker_huggingface_inference_toolkit.handler_service"
MOST_BYTES = int(os.environ.get("SAGEMAKER_MAX_PAYLOAD_IN_MB", 0)) * 2**20 or 6_553_500
"""Size of a request: as the toolkit passes it on, by default that of multi-model-server."""
READY = "endpoint at port "


class Backend:
    """Model and handler as multi-model-server's worker holds them; one request at a time."""

    def __init__(self, model_dir: str) -> None:
        from mms.model_loader import ModelLoaderFactory

        loader = ModelLoaderFactory.get_model_loader(model_dir)
        self._service = loader.load("model", model_dir, HANDLER, None, 1)
        handler = self._service._entry_point.__self__
        if not handler.initialized:  # the worker logs why, and would try again at each request
            raise SystemExit("the handler could not load the model")
        self._lock = threading.Lock()

    def ask(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """Return status, media type and body of an answer."""
        named = [{"name": k.encode(), "value": v.encode()} for k, v in headers.items()]
        parameter = {"name": "body", "contentType": headers.get("Content-Type"), "value": body}
        request = {"requestId": b"1", "headers": named, "parameters": [parameter]}
        with self._lock:
            parts = _Parts(bytes(self._service.predict([request])))
        code, message = parts.number(), parts.bytes().decode()
        parts.bytes()  # the request's id
        kind, status = parts.bytes().decode(), parts.number()
        parts.bytes()  # the reason phrase
        for _ in range(parts.number()):  # headers
            parts.bytes(), parts.bytes()
        content = parts.bytes()
        if code != 200:
            return code, "application/json", _error(code, message)
        return status, kind, content


class _Parts:
    """Parts of a message from the backend: numbers, and bytes after their length."""

    def __init__(self, message: bytes) -> None:
        self._message, self._at = message, 0

    def number(self) -> int:
        (value,) = struct.unpack_from("!i", self._message, self._at)
        self._at += 4
        return int(value)

    def bytes(self) -> bytes:
        length = self.number()
        self._at += length
        return self._message[self._at - length : self._at]


def _error(code: int, message: str) -> bytes:
    told = {"code": code, "type": "InternalServerException", "message": message}
    return json.dumps(told, indent=2).encode()


class _Handler(BaseHTTPRequestHandler):
    backend: ClassVar[Backend]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer SageMaker's health check."""
        found = self.path == "/ping"
        self._send(200 if found else 404, "application/json", b"{}")

    def do_POST(self) -> None:
        """Answer a request to the model."""
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/invocations":
            self._send(404, "application/json", _error(404, "ResourceNotFoundException"))
        elif length > MOST_BYTES:
            for _ in self._pieces(length):  # or the client would fail to send
                pass
            self._send(413, "text/plain", b"")
        else:
            self._send(*self.backend.ask(self.rfile.read(length), dict(self.headers)))

    def _pieces(self, length: int) -> Iterator[bytes]:
        while length > 0 and (piece := self.rfile.read(min(length, 1 << 20))):
            length -= len(piece)
            yield piece

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def _as_transformers_4() -> str:
    """Give the toolkit the names that transformers 5 has no more; returns what was added."""
    from transformers import file_utils

    missing = [
        name for name in ("is_tf_available", "is_torch_available") if not hasattr(file_utils, name)
    ]
    for name in missing:
        setattr(file_utils, name, lambda: False)
    return ", ".join(missing)


def main(model_dir: str) -> None:
    """Load the model and serve it until the process is ended."""
    added = _as_transformers_4()
    if added:
        print(f"added to transformers.file_utils: {added}", flush=True)
    _Handler.backend = Backend(model_dir)
    import lingotune

    print(f"code at {Path(lingotune.__file__).parent}", flush=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(f"{READY}{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    # Do not import from the folder of this file.
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).parent]
    main(sys.argv[1])
