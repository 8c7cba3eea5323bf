"""Sources on the web, from a server on loopback: fetched once, errors told, nothing secret shown."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from lingotune.config.problems import ConfigError, Problem, format_problems
from lingotune.config.schema import DataConfig, Source
from lingotune.data.sources.copies import copies_folder, shown_name
from lingotune.data.sources.files import read_files
from lingotune.data.sources.patterns import local_parts
from lingotune.data.transfer import fetch_sources, look_for_sources, web

ROWS = b"text,label\ngood,a\nbad,b\n"
Page = tuple[int, Mapping[str, str], bytes]


class Site:
    """Pages by path, and what was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, Page | Callable[[Any], Page]] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                page = site.pages.get(self.path, (404, {}, b"not here"))
                status, headers, body = page(self.headers) if callable(page) else page
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("LINGOTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(web.time, "sleep", lambda seconds: None)
    found = Site()
    yield found
    found.server.shutdown()
    found.server.server_close()


def data_of(path: str | list[str]) -> DataConfig:
    return DataConfig(name="x", source=Source.files, path=path)


def fetched(path: str | list[str]) -> list[tuple[str, int]]:
    """What messages call each file, and its rows."""
    data = data_of(path)
    fetch_sources(data, lambda line: None)
    (part,) = local_parts(data)
    return [(shown_name(file), len(list(read_files([file])))) for file in part.files]


def problem_of(path: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        fetched(path)
    (problem,) = caught.value.problems
    assert not [p for p in copies_folder().rglob("*") if p.is_file() and p.name != ".lock"]
    return problem


def test_a_file_is_fetched_once_and_anew_when_its_tag_changes(site: Site) -> None:
    def page(headers: Mapping[str, str]) -> Page:
        if headers.get("If-None-Match") == '"1"':
            return 304, {}, b""
        return 200, {"ETag": '"1"'}, ROWS

    url = f"{site.address}/a b/r.csv"
    site.pages["/a%20b/r.csv"] = page
    assert fetched(url) == fetched(url) == [(url, 2)]
    assert "If-None-Match" not in site.asked[0][1]
    assert site.asked[1][1]["If-None-Match"] == '"1"'
    site.pages["/a%20b/r.csv"] = 200, {"ETag": '"2"'}, ROWS + b"fine,a\n"
    assert fetched(url) == [(url, 3)]
    assert len(site.asked) == 3


def test_a_server_that_ignores_conditions_or_tells_nothing(site: Site) -> None:
    told: list[str] = []
    site.pages["/tag.csv"] = 200, {"ETag": '"1"'}, ROWS
    site.pages["/date.csv"] = 200, {"Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT"}, ROWS
    site.pages["/none.csv"] = 200, {}, ROWS
    for name in ("tag", "date", "none"):
        data = data_of(f"{site.address}/{name}.csv")
        for _ in range(2):
            fetch_sources(data, told.append)
    fetched_names = [line.rpartition("/")[2].partition(".")[0] for line in told]
    assert fetched_names == ["tag", "date", "none", "none"]
    assert len(list(copies_folder().rglob("none.csv"))) == 1


def test_a_list_of_files_and_names_by_the_servers_word(site: Site) -> None:
    named = {"Content-Disposition": 'attachment; filename="reviews.csv"'}
    site.pages["/download?id=5"] = 200, named, ROWS
    site.pages["/export?format=csv"] = 200, {"Content-Type": "text/csv; charset=utf-8"}, ROWS
    site.pages["/go"] = 302, {"Location": "/files/real.csv"}, b""
    site.pages["/files/real.csv"] = 200, {}, ROWS
    paths = [f"{site.address}/{p}" for p in ("download?id=5", "export?format=csv", "go")]
    assert fetched(paths) == [
        (f"{site.address}/reviews.csv", 2),
        (f"{site.address}/export.csv", 2),
        (f"{site.address}/real.csv", 2),
    ]
    site.pages["/what"] = 200, {"Content-Type": "application/octet-stream"}, ROWS
    with pytest.raises(ConfigError, match="no ending that tells its type"):
        fetched(f"{site.address}/what")


def test_packed_on_the_way(site: Site) -> None:
    encoded = {"Content-Encoding": "gzip"}
    site.pages["/a.csv"] = 200, encoded, gzip.compress(ROWS)
    site.pages["/b.csv.gz"] = 200, encoded, gzip.compress(gzip.compress(ROWS))
    paths = [f"{site.address}/a.csv", f"{site.address}/b.csv.gz"]
    assert [rows for _, rows in fetched(paths)] == [2, 2]


def test_a_connection_that_breaks_off_is_tried_again(site: Site) -> None:
    cut = 200, {"Content-Length": str(len(ROWS))}, ROWS[:9]
    answers: list[Page] = [cut, (503, {}, b""), (200, {}, ROWS)]
    site.pages["/a.csv"] = lambda headers: answers.pop(0)
    assert fetched(f"{site.address}/a.csv") == [(f"{site.address}/a.csv", 2)]


def test_errors_are_told_and_leave_nothing(site: Site) -> None:
    cut = 200, {"Content-Length": str(len(ROWS))}, ROWS[:9]
    site.pages["/cut.csv"] = cut
    site.pages["/page.csv"] = 200, {"Content-Type": "text/html"}, b"<p>"
    site.pages["/hidden.csv"] = 200, {"Content-Type": "text/csv"}, b"\n<!DOCTYPE html><html>"
    site.pages["/login.csv"] = 403, {}, b""
    site.pages["/down.csv"] = 503, {}, b""
    cases = {
        "/nope.csv": "there is no such file: 127.0.0.1 answered 404",
        "/cut.csv": f"broke off after 9 of {len(ROWS)} bytes",
        "/page.csv": "is a web page, not a file",
        "/hidden.csv": "is a web page, not a file",
        "/login.csv": "needs a login or a permission: 127.0.0.1 answered 403",
        "/down.csv": "answered 503",
    }
    for path, what in cases.items():
        problem = problem_of(site.address + path)
        assert problem.where == f"data.path={site.address}{path}"
        assert what in problem.what
        assert problem.fix


def test_no_server_and_no_host(site: Site) -> None:
    site.server.server_close()
    assert "Connection refused" in problem_of("http://127.0.0.1:1/a.csv").what
    assert "no host" in problem_of("https://nowhere.invalid/a.csv").what


def test_a_certificate_that_is_not_accepted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl
    from urllib.error import URLError

    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"

    class Opener:
        def open(self, *_: Any, **__: Any) -> None:
            raise URLError(error)

    monkeypatch.setattr(web, "build_opener", lambda *_: Opener())
    problem = problem_of("https://example.com/a.csv")
    assert "the certificate of example.com is not accepted: self-signed" in problem.what
    assert problem.fix.startswith("SSL_CERT_FILE=")


def test_encryption_is_not_given_up_on_the_way() -> None:
    handler = web._StaysEncrypted()
    request = web.Request("https://example.com/a.csv")
    with pytest.raises(OSError, match="not encrypted"):
        handler.redirect_request(request, None, 302, "", {}, "http://example.com/b.csv")  # type: ignore[arg-type]


def test_what_an_address_leads_to_is_not_shown(site: Site) -> None:
    signed = "/b.csv?X-Amz-Signature=0123456789abcdef0123456789abcdef"
    site.pages["/a.csv"] = 302, {"Location": signed}, b""
    site.pages[signed] = 403, {}, b""
    shown = format_problems([problem_of(f"{site.address}/a.csv")])
    assert "0123456789abcdef" not in shown
    site.pages[signed] = 200, {}, ROWS
    assert fetched(f"{site.address}/a.csv") == [(f"{site.address}/a.csv", 2)]
    kept = [*map(str, copies_folder().rglob("*"))]
    kept += [p.read_text() for p in copies_folder().rglob("*") if p.is_file()]
    assert not [text for text in kept if "0123456789abcdef" in text]


def test_a_look_reads_no_body(site: Site) -> None:
    site.pages["/a.csv"] = 200, {"ETag": '"1"', "Content-Length": "24"}, ROWS
    data = data_of([f"{site.address}/a.csv", f"{site.address}/no.csv"])
    seen, problems = look_for_sources(data)
    assert [(one.files, one.bytes, one.is_here) for one in seen] == [(1, 24, False)]
    assert [p.where for p in problems] == [f"data.path={site.address}/no.csv"]
    fetched(f"{site.address}/a.csv")
    assert look_for_sources(data)[0][0].is_here
