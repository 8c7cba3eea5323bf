"""Files from web addresses: one request each, conditional on what is here already.

An address may hold a signature, and so may the one that it leads to: neither is printed whole.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from lingotune import __version__
from lingotune.config.quoting import override_text
from lingotune.data.rows.findings import config_error
from lingotune.data.sources.addresses import raw_form, shown_address
from lingotune.data.sources.files import is_data_file

_PATIENCE = 60.0
"""Seconds without a byte after which a server counts as gone."""
_TRIES = 3
_PIECE = 1 << 18
_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|head)\b", re.I | re.S)
_TYPES = {
    "text/csv": ".csv", "application/csv": ".csv", "text/tab-separated-values": ".tsv",
    "application/json": ".json", "application/jsonl": ".jsonl", "application/x-ndjson": ".jsonl",
    "application/x-jsonlines": ".jsonl", "application/vnd.apache.parquet": ".parquet",
    "application/zip": ".zip", "application/vnd.ms-excel": ".xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
}  # fmt: skip
_SAFE = "%/:?=&+,;@!$'()*~"


@dataclass(frozen=True)
class WebFile:
    """A file on the web. name: with an ending that tells its type. tag: what tells its version, '' where
    the server says nothing. bytes: None if it is not said."""

    name: str
    tag: str
    bytes: int | None


Advance = Callable[[int], None]


def fetch_web(address: str, key: str, tag: str, target: Path, advance: Advance) -> WebFile | None:
    """Write the file of an address to `target`; None, and nothing written, where it still has this tag.

    key: the setting that holds the address, for messages. ConfigError if the server cannot be reached,
    refuses, sends a web page in place of a file, or breaks off.
    """
    for left in reversed(range(_TRIES)):
        try:
            with _opened(address, key, tag) as answer:
                if answer is None:
                    return None
                found = _described(answer, address, key)
                if tag and found.tag == tag:
                    return None
                _save(answer, found, target, advance)
                return found
        except (OSError, HTTPException) as error:
            if not left or not _is_passing(error):
                target.unlink(missing_ok=True)
                raise _failed(address, key, error) from error
            time.sleep(_TRIES - left)
    raise AssertionError("the last try returns or raises")


def look_at_web(address: str, key: str, tag: str = "") -> WebFile | None:
    """Ask for the file of an address without fetching it; None where it still has this tag."""
    try:
        with _opened(address, key, tag) as answer:
            return None if answer is None else _described(answer, address, key)
    except (OSError, HTTPException) as error:
        raise _failed(address, key, error) from error


class _BrokenOff(OSError):
    """The connection ended before the file did."""


# --- the request --------------------------------------------------------------------------------


class _StaysEncrypted(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise URLError("it leads to an address that is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


@contextmanager
def _opened(address: str, key: str, tag: str) -> Iterator[HTTPResponse | None]:
    """Yield the answer, before its body is read; None if the file still has this tag."""
    request = Request(_ascii(address, key), headers={"User-Agent": f"lingotune/{__version__}"})
    request.add_header("Accept-Encoding", "identity")
    kind, _, value = tag.partition(" ")
    if kind in ("ETag", "Last-Modified"):
        request.add_header("If-None-Match" if kind == "ETag" else "If-Modified-Since", value)
    try:
        with build_opener(_StaysEncrypted).open(request, timeout=_PATIENCE) as answer:
            yield answer
    except HTTPError as error:
        if error.code != 304:
            raise
        yield None


def _ascii(address: str, key: str) -> str:
    """Write an address as it goes over the wire: blanks and letters beyond ASCII encoded."""
    parts = urlsplit(address)
    try:
        host = (parts.hostname or "").encode("idna").decode()
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        where = f"{key}={shown_address(address)}"
        raise config_error(where, f"is no address: {error}", f"{key}=https://HOST/FILE") from error
    host = f"[{host}]" if ":" in host else host
    path, query = quote(parts.path, safe=_SAFE), quote(parts.query, safe=_SAFE)
    return urlunsplit((parts.scheme, host + port, path, query, ""))


def _described(answer: HTTPResponse, address: str, key: str) -> WebFile:
    headers = answer.headers
    where = f"{key}={shown_address(address)}"
    kind = headers.get_content_type()
    if kind in ("text/html", "application/xhtml+xml") or _PAGE.match(answer.peek(2048)):
        fix = (
            override_text(key, raw_form(address))
            if raw_form(address)
            else f"{key}=<the file's own address>"
        )
        raise config_error(where, "is a web page, not a file: the server sent HTML", fix)
    name = _file_name(answer, address, kind)
    if not name:
        what = f"has no ending that tells its type, and the server calls it {kind}"
        fetched = f"curl -fLo reviews.csv {shown_address(address)}, then {key}=reviews.csv"
        raise config_error(where, what, fetched)
    size = headers.get("Content-Length", "")
    tag = next((f"{n} {headers[n]}" for n in ("ETag", "Last-Modified") if headers[n]), "")
    return WebFile(name, tag, int(size) if size.isdecimal() else None)


def _file_name(answer: HTTPResponse, address: str, kind: str) -> str:
    """Find a name that tells the type: in the address, or in what the server says."""
    paths = [urlsplit(one).path for one in (address, answer.geturl())]
    names = [unquote(path.rstrip("/").rpartition("/")[2]) for path in paths]
    names.append(Path(answer.headers.get_filename("")).name)
    for name in names:
        if is_data_file(name) or name.lower().endswith(".txt"):
            return name
    ending = _TYPES.get(kind, "")
    return f"{names[0] or 'file'}{ending}" if ending else ""


def _save(answer: HTTPResponse, found: WebFile, target: Path, advance: Advance) -> None:
    done = 0
    try:
        with target.open("wb") as file:
            while piece := answer.read(_PIECE):
                file.write(piece)
                done += len(piece)
                advance(len(piece))
        if found.bytes is not None and done != found.bytes:
            raise _BrokenOff(f"the connection broke off after {done} of {found.bytes} bytes")
    except (OSError, HTTPException):
        advance(-done)
        raise


# --- what went wrong ----------------------------------------------------------------------------


def _is_passing(error: Exception) -> bool:
    """Tell whether the next try may succeed."""
    if isinstance(error, HTTPError):
        return error.code == 429 or error.code >= 500
    reason = getattr(error, "reason", error)
    is_line = isinstance(reason, (_BrokenOff, TimeoutError, ConnectionError, HTTPException))
    return is_line and not isinstance(reason, ConnectionRefusedError)


def _failed(address: str, key: str, error: Exception) -> Exception:
    where = f"{key}={shown_address(address)}"
    host = urlsplit(address).hostname or ""
    reason = getattr(error, "reason", None) or error
    local = f"{key}=FILE of this machine"
    if isinstance(error, HTTPError):
        return config_error(where, *_refused(error.code, address, key))
    if isinstance(reason, ssl.SSLCertVerificationError):
        what = f"the certificate of {host} is not accepted: {reason.verify_message}"
        return config_error(
            where, what, f"SSL_CERT_FILE=<your organisation's certificates>, or {local}"
        )
    if isinstance(reason, ssl.SSLError):
        what = f"no encrypted connection to {host}: {reason.reason or reason}"
        return config_error(where, what, local)
    if isinstance(reason, socket.gaierror):
        what = f"no host {host} is found: {reason.strerror}"
        return config_error(where, what, f"a network line and the host's right name, or {local}")
    if isinstance(reason, TimeoutError):
        what = f"{host} says nothing for {_PATIENCE:.0f} seconds"
        return config_error(where, what, f"the same command later, or {local}")
    if isinstance(error, (URLError, _BrokenOff, HTTPException, ConnectionError)):
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        what = f"no whole answer of {host}: {text.replace(address, shown_address(address))}"
        return config_error(where, what, f"the same command later, or {local}")
    return error  # of this machine's disk


def _refused(code: int, address: str, key: str) -> tuple[str, str]:
    host = urlsplit(address).hostname or ""
    local = f"{key}=FILE of this machine"
    if code in (404, 410):
        return f"there is no such file: {host} answered {code}", f"{key}=<an address that is there>"
    on_hub = re.match(r"https://huggingface\.co/(datasets/.+?)/resolve/([^/]+)/(.+)", address)
    if code in (401, 403) and on_hub:
        hub = f"hf://{on_hub[1]}@{on_hub[2]}/{on_hub[3]}"
        return (
            f"needs a permission: {host} answered {code}",
            f"{override_text(key, hub)} with HF_TOKEN",
        )
    if code in (401, 403, 407):
        what = f"needs a login or a permission: {host} answered {code}"
        return what, f"fetch it once, as whoever may; then {local}"
    return f"{host} answered {code}", f"the same command later, or {local}"
