"""An HTTP server for a model on this machine: the endpoint's contract, and a page to try it.

POST /invocations and GET /ping are those of the endpoint. No text is logged or kept.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from lingotune.config.problems import ConfigError
from lingotune.data.rows.findings import Unfit
from lingotune.data.rows.language_detection import LanguageDetector
from lingotune.data.rows.pairs import parts_of
from lingotune.serving.limits import MOST_BYTES, MOST_WAITING, SECONDS, Rate
from lingotune.serving.payloads import JSON, BadRequest
from lingotune.serving.served_model import ServedModel
from lingotune.serving.words import words_that_mattered

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_A_TEXT = '{"inputs": "a text"}'
_A_PAIR = '{"inputs": {"text": "a text", "text_pair": "another"}}'
_BUSY = f"{MOST_WAITING} requests are waiting already: try again in a moment"
OnRequest = Callable[[str], None]


class ModelServer(ThreadingHTTPServer):
    """Server of one model, asked by one request at a time.

    rate: requests a second. tell: is called with a line for each request, which holds nothing of its text.
    OSError if the address cannot be had.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], model: ServedModel, rate: float, tell: OnRequest
    ) -> None:
        super().__init__(address, _Handler)
        self.model, self.tell, self.rate = model, tell, Rate(rate)
        self.is_loopback = address[0] in LOOPBACK
        self._turn, self._room = threading.Lock(), threading.Semaphore(MOST_WAITING)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has left in the middle of an answer."""

    @functools.cached_property
    def _detector(self) -> LanguageDetector | None:
        try:
            return LanguageDetector()
        except ConfigError:  # not installed
            return None

    def ask(self, call: Callable[[], Any]) -> Any:
        """Run a call of the model when its turn comes; BadRequest if too many are waiting."""
        if not self._room.acquire(blocking=False):
            raise BadRequest(_BUSY, 503)
        try:
            with self._turn:
                return call()
        finally:
            self._room.release()

    def describe(self) -> Mapping[str, Any]:
        """Describe the model for the page."""
        model = self.model
        return {
            "name": model.name,
            "model": model.digest,
            "labels": model.labels,
            "tokens": model.classifier.max_length,
            "pairs": model.pairs,
        }

    def explain(self, body: bytes) -> Mapping[str, Any]:
        """Answer for one text, or pair of texts, with its language and the words that mattered; BadRequest
        for another."""
        try:
            given = json.loads(body)["inputs"]
            if not isinstance(given, dict if self.model.pairs else str):
                raise TypeError
            text = self.model.prepared(given)
        except (ValueError, TypeError, KeyError) as error:
            raise BadRequest(f"a request is {_A_PAIR if self.model.pairs else _A_TEXT}") from error
        except Unfit as fault:
            raise BadRequest(f"inputs {fault.what}") from None
        words, left_out = words_that_mattered(self.model, text)
        return {
            **self.model.predict([text])[0],
            "text": text,
            "language": self._detector.language(parts_of(text)[0]) if self._detector else None,
            "words": [vars(word) for word in words],
            "left_out": left_out,
        }


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = SECONDS
    server_version, sys_version = "lingotune", ""

    def do_GET(self) -> None:
        """Answer with the page, the description of the model, or that it is healthy."""
        self._started = time.monotonic()
        if not self._is_from_here():
            self._refuse(BadRequest("this server answers on this machine alone", 403))
        elif self.path == "/":
            self._send(200, "text/html; charset=utf-8", _page(), _policy())
        elif self.path == "/model":
            self._send(200, JSON, _dumped(self.server.describe()))
        elif self.path == "/ping":
            self._send(200, JSON, b"{}")
        else:
            self._refuse(BadRequest("GET knows /, /ping and /model", 404))

    def do_POST(self) -> None:
        """Answer a request to the model."""
        self._started = time.monotonic()
        try:
            body = self._body()
            if self.path == "/invocations":
                kinds = self.headers.get("Content-Type"), self.headers.get("Accept")
                text, kind = self.server.ask(lambda: self.server.model.answer(body, *kinds))
                self._send(200, kind, text.encode())
            elif self.path == "/explain":
                self._send(200, JSON, _dumped(self.server.ask(lambda: self.server.explain(body))))
            else:
                raise BadRequest("POST knows /invocations and /explain", 404)
        except BadRequest as error:
            self._refuse(error)
        except (ConnectionError, TimeoutError):  # the client has left, or sends nothing
            self.close_connection = True
        except Exception as error:
            self._refuse(BadRequest(f"a fault of lingotune: {type(error).__name__}", 500))

    def _body(self) -> bytes:
        """Read the request's body; BadRequest if it is not to be read."""
        length = self.headers.get("Content-Length", "")
        wrong = self._fault(length)
        if wrong:
            self.close_connection = True  # what was not read would be taken for the next request
            self._leave_out(int(length) if length.isdecimal() else 0)
            raise wrong
        return self.rfile.read(int(length))

    def _leave_out(self, length: int) -> None:
        """Read what a client is sending, up to a limit: it would not see the answer before."""
        left = min(length, 10 * MOST_BYTES)
        while left > 0 and (piece := self.rfile.read(min(left, 1 << 16))):
            left -= len(piece)

    def _fault(self, length: str) -> BadRequest | None:
        if not self._is_from_here():
            return BadRequest("this server answers on this machine alone", 403)
        if not self.server.rate.allows():
            return BadRequest("too many requests: wait a second", 429)
        if not length.isdecimal():
            return BadRequest("Content-Length is missing", 411)
        if int(length) > MOST_BYTES:
            return BadRequest(f"a request of {length} bytes, at most {MOST_BYTES}", 413)
        return None

    def _is_from_here(self) -> bool:
        """Tell whether a request was meant for this server: other pages may give it other names."""
        if not self.server.is_loopback:
            return True
        named = self.headers.get("Host", ""), self.headers.get("Origin", "http://localhost")
        return all(re.sub(r"^http://|:\d+$", "", one).strip("[]") in LOOPBACK for one in named)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request, or has another method, as all else is refused."""
        self._started, self.close_connection = time.monotonic(), True
        self._refuse(BadRequest(message or explain or "no request", code))

    def _refuse(self, error: BadRequest) -> None:
        told = _dumped({"code": error.status, "message": str(error)})
        self._send(error.status, JSON, told, {"Retry-After": "1"} if error.status == 429 else {})

    def _send(
        self, status: int, kind: str, content: bytes, more: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        closing = {"Connection": "close"} if self.close_connection else {}
        length = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in {**_HEADERS, **length, **closing, **(more or {})}.items():
            self.send_header(name, value)
        spent = (time.monotonic() - self._started) * 1e3
        typed = getattr(self, "path", "")  # a line that is no request has none
        path = typed if typed in ("/", "/ping", "/model", "/invocations", "/explain") else "?"
        self.server.tell(f"{self.command} {path} {status} {spent:.0f} ms")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: `_send` tells what may be told."""


def _dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@functools.cache
def _page() -> bytes:
    return (resources.files("lingotune") / "serving" / "page.html").read_bytes()


@functools.cache
def _policy() -> Mapping[str, str]:
    """Allow the page its own script and style, by their digests, and this server; nothing else."""
    found = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(part).digest()).decode()}'"
            for part in re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), _page(), re.DOTALL)
        )
        for tag in ("script", "style")
    }
    rules = f"default-src 'none'; connect-src 'self'; script-src {found['script']}; "
    rules += (
        f"style-src {found['style']}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {"Content-Security-Policy": rules}
