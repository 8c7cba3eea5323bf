"""S3 on loopback, just enough for a container to fetch its code: objects to read, nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


@contextmanager
def serve(objects: Mapping[str, bytes | Path]) -> Iterator[str]:
    """Serve the objects (by s3:// URI) during the block; yields the server's address.

    Every other call, to S3 or to another service of AWS, is refused.
    """

    class Handler(_Handler):
        served = objects

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Mapping[str, bytes | Path]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        found = self.served.get(f"s3:/{unquote(url.path)}")
        if url.query.startswith("list-type") or not url.path.strip("/"):
            self.do_POST()
        elif found is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            content = found.read_bytes() if isinstance(found, Path) else found
            self._answer(*_part(content, self.headers.get("Range")))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        text = "a rehearsal reaches no service of AWS"
        if "X-Amz-Target" in self.headers:
            body = json.dumps({"__type": "AccessDeniedException", "message": text})
        else:
            body = f"<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>"
            if "urlencoded" in self.headers.get("Content-Type", ""):  # not S3
                body = f"<ErrorResponse>{body}</ErrorResponse>"
        self._answer(403, body.encode())

    do_PUT = do_DELETE = do_POST

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _part(content: bytes, asked: str | None) -> tuple[int, bytes]:
    matched = _RANGE.match(asked or "")
    if not matched:
        return 200, content
    first, last = int(matched[1]), int(matched[2] or len(content) - 1)
    return 206, content[first : last + 1]
