"""The server of `lingotune serve`: its answers, its limits, its page, and what it does not tell."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from served import LABELS, make_model

from lingotune.cli import serve
from lingotune.config.problems import ConfigError
from lingotune.evaluation.classifier import trained_model
from lingotune.serving.limits import MOST_BYTES, Rate
from lingotune.serving.served_model import ServedModel
from lingotune.serving.server import ModelServer
from lingotune.serving.words import MOST_WORDS, words_that_mattered


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return ServedModel(trained_model(make_model(tmp_path_factory.mktemp("run") / "model")))


@contextmanager
def serving(model: ServedModel, rate: float, told: list[str]) -> Iterator[ModelServer]:
    """A server in a thread of this process, at a port that was free."""
    with ModelServer(("127.0.0.1", 0), model, rate, told.append) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(model: ServedModel) -> Iterator[ModelServer]:
    with serving(model, 1e6, []) as found:
        yield found


def ask(
    server: ModelServer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Send a request; returns status, content and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=600)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.headers.get_content_type() == "application/json"
    return answer.status, json.loads(content) if is_json else content, answer.headers


def test_invocations_are_answered_as_by_the_endpoint(
    server: ModelServer, model: ServedModel
) -> None:
    body = b'["gut", "schlecht"]'
    status, found, _ = ask(server, "POST", "/invocations", body)
    assert (
        status == 200 and json.dumps(found, ensure_ascii=False) == model.answer(body, None, None)[0]
    )
    status, text, _ = ask(
        server, "POST", "/invocations", b"gut\n", Content_Type="text/plain", Accept="text/csv"
    )
    assert status == 200 and text.startswith(b"label,probability_bad")
    assert ask(server, "GET", "/ping")[0] == 200
    assert ask(server, "GET", "/model")[1]["labels"] == [*LABELS]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "told"),
    [
        ("POST", "/invocations", b'[""]', {}, 400, "inputs[0] has no text"),
        ("POST", "/invocations", b"a", {"Content_Type": "image/png"}, 415, "none of application/json"),
        ("POST", "/explain", b'{"inputs": ["a"]}', {}, 400, '{"inputs": "a text"}'),
        ("POST", "/explain", b"[", {}, 400, '{"inputs": "a text"}'),
        ("POST", "/explain", b'{"inputs": " "}', {}, 400, "inputs has no text"),
        ("POST", "/other", b"", {}, 404, "/invocations and /explain"),
        ("GET", "/../etc/passwd", None, {}, 404, "GET knows"),
        ("POST", "/invocations", b"a" * (MOST_BYTES + 1), {}, 413, "at most"),
        ("POST", "/invocations", b"", {"Content_Length": "-1"}, 411, "Content-Length"),
        ("GET", "/", None, {"Host": "evil.example"}, 403, "this machine alone"),
        ("POST", "/explain", b"{}", {"Origin": "http://evil.example"}, 403, "this machine alone"),
    ],
)  # fmt: skip
def test_what_is_refused(
    method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, told: str,
    server: ModelServer,
) -> None:  # fmt: skip
    found = ask(server, method, path, body, **headers)
    assert (found[0], found[1]["code"]) == (status, status) and told in found[1]["message"]


def test_a_fault_is_answered_without_what_it_was_about(
    server: ModelServer, model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(texts: list[str]) -> None:
        raise RuntimeError(f"cannot classify {texts}")

    monkeypatch.setattr(model.classifier, "model", fail)
    status, found, _ = ask(server, "POST", "/invocations", b'"confidential"')
    assert (status, found["message"]) == (500, "a fault of lingotune: RuntimeError")


def test_a_client_that_leaves_stops_nothing(
    server: ModelServer, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
    assert ask(server, "GET", "/ping")[0] == 200 and capfd.readouterr().err == ""


def test_an_explanation_has_the_words_by_their_places(
    server: ModelServer, model: ServedModel
) -> None:
    text = "👍 good schlecht!"
    status, found, _ = ask(server, "POST", "/explain", json.dumps({"inputs": text}).encode())
    assert status == 200 and found["label"] == model.predict([text])[0]["label"]
    words = [text[one["start"] : one["end"]] for one in found["words"]]
    assert words == ["👍", "good", "schlecht", "!"] and found["left_out"] == 0
    assert found["language"] is None or len(found["language"]) == 2
    whole = found["probabilities"][found["label"]]
    without = model.predict(["👍  schlecht!"])[0]["probabilities"][found["label"]]
    assert found["words"][1]["change"] == pytest.approx(whole - without, abs=1e-6)


def test_words_have_an_end_and_characters_without_spaces_are_words(model: ServedModel) -> None:
    words, left_out = words_that_mattered(model, "a " * (MOST_WORDS + 7))
    assert (len(words), left_out) == (MOST_WORDS, 7)
    assert len(words_that_mattered(model, "很好 gut")[0]) == 3
    assert words_that_mattered(model, "gut") == ([], 0)  # nothing would be left


def test_no_text_is_told(model: ServedModel) -> None:
    """Each request is told before it is answered."""
    told: list[str] = []
    with serving(model, 1e6, told) as server:
        ask(server, "POST", "/invocations", b'["confidential"]')
        ask(server, "POST", "/explain", b'{"inputs": ["confidential"]}')
        ask(server, "GET", "/confidential")
    assert len(told) == 3 and "confidential" not in " ".join(told)
    assert re.fullmatch(r"POST /invocations 200 \d+ ms", told[0])


def test_a_rate_lets_twice_as_many_through_at_once() -> None:
    now = [0.0]
    rate = Rate(2.0, lambda: now[0])
    assert [rate.allows() for _ in range(5)] == [True] * 4 + [False]
    now[0] = 0.5
    assert [rate.allows() for _ in range(2)] == [True, False]


def test_too_many_requests_are_told_when_to_come_again(model: ServedModel) -> None:
    with serving(model, 1e-9, []) as slow:
        found = [ask(slow, "POST", "/invocations", b'"gut"') for _ in range(2)]
    assert [status for status, _, _ in found] == [200, 429]
    assert found[1][2]["Retry-After"] == "1"


def test_too_many_that_wait_are_turned_away(server: ModelServer) -> None:
    taken = 0
    while server._room.acquire(blocking=False):
        taken += 1
    try:
        assert ask(server, "POST", "/invocations", b'"gut"')[0] == 503
    finally:
        server._room.release(taken)
    assert ask(server, "POST", "/invocations", b'"gut"')[0] == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
def test_other_methods_are_refused_as_all_else_is(server: ModelServer, method: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, "/invocations", b"gut" if method == "PUT" else None)
    answer = connection.getresponse()
    assert (answer.status, answer.headers.get_content_type()) == (501, "application/json")
    content = answer.read()
    assert method == "HEAD" or json.loads(content)["code"] == 501
    connection.close()


def test_what_is_no_request_is_refused(server: ModelServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as client:
        client.sendall(b"gut\r\n\r\n")
        assert b'"code": 400' in client.makefile("rb").read()


def test_the_page_may_do_nothing_but_ask_this_server(server: ModelServer) -> None:
    status, page, headers = ask(server, "GET", "/")
    policy = headers["Content-Security-Policy"]
    assert status == 200 and "default-src 'none'" in policy and "connect-src 'self'" in policy
    for tag in ("script", "style"):
        (part,) = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert b"http" not in page.replace(b"http://www.w3.org", b"") and b"innerHTML" not in page


@pytest.mark.parametrize(
    ("typed", "told"),
    [("--port x", "x is no port"), ("--port 70000", "no port"), ("--rate 0", "requests a second")],
)
def test_options_are_checked(typed: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        serve.main(["RUN", *typed.split()])


def test_an_address_that_is_taken_is_told_before_anything_is_served(
    server: ModelServer, model: ServedModel
) -> None:
    with pytest.raises(ConfigError, match="cannot be listened at: Address already in use"):
        serve.main([str(model.trained.folder), "--port", str(server.server_port)])


def test_an_address_that_is_not_here_is_told_as_such(model: ServedModel) -> None:
    with pytest.raises(ConfigError) as caught:
        serve.main([str(model.trained.folder), "--host", "192.0.2.1", "--port", "0"])
    (problem,) = caught.value.problems
    assert problem.fix.startswith("--host 127.0.0.1")


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("text", ["good 👍 schlecht", " "])
def test_the_page_shows_what_was_asked(
    text: str, server: ModelServer, model: ServedModel, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{server.server_port}/#{quote(text)}"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    command = [str(CHROMIUM), *options, "--virtual-time-budget=10000", "--dump-dom", url]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if text.isspace():
        assert '<p id="error" role="alert">inputs has no text</p>' in page
        return
    label = model.predict([text])[0]["label"]
    assert f"<tr><th>{label}</th>" in page and '<h1 id="name">small</h1>' in page
    for word in text.split():
        assert re.search(rf"<span [^>]*style=[^>]*>{word}</span>", page)
