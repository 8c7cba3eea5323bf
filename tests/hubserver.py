"""A Hugging Face Hub on loopback: the routes that huggingface_hub asks for, repositories that keep what
they are given, and failures by script.

It keeps git's digests and SHA-256 of large files as the hub does, refuses a commit onto another parent,
and takes large files by LFS, so that a client that sends less, twice or to the wrong place is seen.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml
from waiting import PATIENCE

LARGE = (".safetensors", ".bin", ".parquet")


@dataclass
class Repo:
    private: bool
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.bin lfs\n"})
    commits: list[str] = field(default_factory=lambda: ["0" * 40])
    messages: list[str] = field(default_factory=lambda: ["initial commit"])

    @property
    def sha(self) -> str:
        return self.commits[-1]


@dataclass
class Hub:
    """`failures`: [times left, regular expression of `METHOD path`, what happens], the first match counts.

    What happens: an HTTP status, "hang" (no answer), "cut" (the line ends), "late" (done, then cut).
    """

    user: str = "me"
    role: str = "write"
    tokens: set[str] = field(default_factory=set)
    repos: dict[str, Repo] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)
    failures: list[list[Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    authorization: set[str] = field(default_factory=set)
    endpoint: str = ""
    slow: float = 0.0
    tells_digests: bool = True

    def fail(self, pattern: str, what: int | str, times: int = 1000) -> None:
        self.failures.append([times, re.compile(pattern), what])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.hub: Hub = self.server.hub
        super().setup()

    def log_message(self, *args: Any) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self.handle_one("GET")

    def do_HEAD(self) -> None:
        self.handle_one("HEAD")

    def do_POST(self) -> None:
        self.handle_one("POST")

    def do_PUT(self) -> None:
        self.handle_one("PUT")

    def handle_one(self, method: str) -> None:
        body = self._body()
        asked = f"{method} {self.path}"
        self.hub.requests.append(asked)
        if "Authorization" in self.headers:
            self.hub.authorization.add(self.headers["Authorization"])
        failure = next((f for f in self.hub.failures if f[0] > 0 and f[1].search(asked)), None)
        what: int | str = 0
        if failure:
            failure[0] -= 1
            what = failure[2]
        if what == "hang":
            time.sleep(PATIENCE)
            return
        if what == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if isinstance(what, int) and what:
            self.answer({"error": f"scripted {what}"}, what)
            return
        route = self.route(method, body)
        if what == "late":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.answer(*route)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, content: Any, status: int = 200) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status in (401, 404):
                code = "RepoNotFound" if status == 404 else "Unauthorized"
                self.send_header("X-Error-Code", code)
            if status >= 400:
                self.send_header("X-Error-Message", content["error"])
            self.send_header("Content-Length", str(len(body)))
            if "/resolve/" in self.path:
                self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
                self.send_header("X-Repo-Commit", hashlib.sha1(body).hexdigest())
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:  # the client has gone
            self.close_connection = True

    # --- routes -------------------------------------------------------------------------------

    def route(self, method: str, body: bytes) -> tuple[Any, int]:
        path = self.path.partition("?")[0]
        resolved = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        if resolved and resolved[1] in self.hub.repos:
            return self.hub.repos[resolved[1]].files[resolved[2]], 200
        if path.startswith("/lfs/"):
            return self._put(path.rpartition("/")[2], body)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in self.hub.tokens:
            return {"error": "Invalid credentials"}, 401
        if path == "/api/whoami-v2":
            access = {"accessToken": {"role": self.hub.role, "displayName": "x"}}
            return {"name": self.hub.user, "type": "user", "auth": access}, 200
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            errors = faults_of(json.loads(body)["content"])
            return {
                "errors": [{"message": e} for e in errors],
                "warnings": [],
            }, 400 if errors else 200
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+|[^/]+)(/.*)?", path)
        batch = re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
        if batch:
            return self._batch(json.loads(body)), 200
        if not found:
            return {"error": f"no such route: {path}"}, 404
        name, rest = found[1], found[2] or ""
        if name in self.hub.cards and name not in self.hub.repos:
            return self._info(name, Repo(False), self.hub.cards[name]), 200
        repo = self.hub.repos.get(name)
        if repo is None:
            return {"error": "Repository not found"}, 404
        if not rest or rest.startswith("/revision/"):
            return self._info(name, repo, {}), 200
        if rest.startswith("/preupload/"):
            return self._preupload(json.loads(body)), 200
        if rest.startswith("/commit/"):
            return self._commit(name, repo, body)
        return {"error": f"no such route: {path}"}, 404

    def _create(self, asked: dict[str, Any]) -> tuple[Any, int]:
        name = f"{asked.get('organization') or self.hub.user}/{asked['name']}"
        if name.split("/")[0] != self.hub.user:
            return {"error": "You don't have the rights to create a model there"}, 403
        if self.hub.role == "read":
            return {"error": "read only"}, 403
        url = {"url": f"{self.hub.endpoint}/{name}", "id": name, "name": name}
        if name in self.hub.repos:
            return {**url, "error": "You already created this model repo"}, 409
        private = asked.get("private", asked.get("visibility") == "private")
        self.hub.repos[name] = Repo(bool(private))
        return url, 200

    def _info(self, name: str, repo: Repo, card: dict[str, Any]) -> dict[str, Any]:
        return {
            "_id": "1", "id": name, "modelId": name, "private": repo.private, "sha": repo.sha,
            "tags": [], "downloads": 0, "likes": 0, "cardData": card,
            "siblings": [self._sibling(path, content) for path, content in sorted(repo.files.items())],
        }  # fmt: skip

    def _sibling(self, path: str, content: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {"rfilename": path, "size": len(content)}
        if not self.hub.tells_digests:
            return found
        if path.endswith(LARGE):
            sha = hashlib.sha256(content).hexdigest()
            lfs = {"sha256": sha, "size": len(content), "pointerSize": 134}
            content = f"pointer {sha}".encode()
            found["lfs"] = lfs
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return {**found, "blobId": blob}

    def _preupload(self, asked: dict[str, Any]) -> dict[str, Any]:
        def mode(path: str) -> str:
            return "lfs" if path.endswith(LARGE) else "regular"

        return {
            "files": [
                {"path": f["path"], "uploadMode": mode(f["path"]), "shouldIgnore": False}
                for f in asked["files"]
            ]
        }

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects: list[dict[str, Any]] = []
        for one in asked["objects"]:
            href = f"{self.hub.endpoint}/lfs/{one['oid']}"
            actions = {} if one["oid"] in self.hub.lfs else {"actions": {"upload": {"href": href}}}
            objects.append({**one, **actions})
        return {"transfer": "basic", "objects": objects}

    def _put(self, oid: str, body: bytes) -> tuple[Any, int]:
        time.sleep(self.hub.slow)
        if hashlib.sha256(body).hexdigest() != oid:
            return {"error": "other content"}, 400
        self.hub.lfs[oid] = body
        return {}, 200

    def _commit(self, name: str, repo: Repo, body: bytes) -> tuple[Any, int]:
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repo.sha):
            return {"error": "A commit has happened since. Please refresh and try again."}, 412
        files = dict(repo.files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    return {"error": "no such object"}, 400
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        repo.files = files
        repo.commits.append(hashlib.sha1(str(len(repo.commits)).encode()).hexdigest())
        repo.messages.append(header["summary"])
        oid = repo.sha
        url = f"{self.hub.endpoint}/{name}/commit/{oid}"
        return {"success": True, "commitOid": oid, "commitUrl": url}, 200


def faults_of(card: str) -> list[str]:
    """What the hub's documentation asks of a model card's metadata, and this one lacks."""
    head = card.split("---\n")
    if card[:4] != "---\n" or len(head) < 3:
        return ["no metadata"]
    found = yaml.safe_load(head[1])
    wrong = []
    for key in ("language", "tags", "metrics", "datasets"):
        if not all(isinstance(x, str) for x in found.get(key, [])):
            wrong.append(f"{key} is no list of texts")
    if not all(re.fullmatch("[a-z]{2,3}", code) for code in found.get("language", [])):
        wrong.append("language is no code of ISO 639")
    for model in found.get("model-index", []):
        for result in model["results"]:
            dataset = result["dataset"]
            if not result["task"]["type"] or not dataset["type"] or not dataset["name"]:
                wrong.append("a result without task or dataset")
            for metric in result["metrics"]:
                if not isinstance(metric["value"], float) or not metric["type"]:
                    wrong.append("a metric without type or value")
    return wrong


class Server(ThreadingHTTPServer):
    hub: Hub
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *args: Any) -> None:
        """A client that goes away is no error here."""


@contextmanager
def hub_server(token: str) -> Iterator[Hub]:
    """A hub that takes this token."""
    with hubs_at_one_address(token) as new:
        yield new()


@contextmanager
def hubs_at_one_address(token: str) -> Iterator[Callable[[], Hub]]:
    """Yield what begins a new hub that takes this token: connections from then on are to it."""
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def new() -> Hub:
        server.hub = Hub(tokens={token}, endpoint=f"http://127.0.0.1:{server.server_port}")
        return server.hub

    try:
        yield new
    finally:
        server.shutdown()
        server.server_close()
