"""Publishing against a hub on loopback: what arrives, and every way in which it can fail."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

TOKEN = "hf_" + "canary" * 6
PUBLISH = """
import json, sys
from pathlib import Path
from lingotune import hub
from lingotune.messages import exit_code_of
from lingotune.schema import HubConfig, Visibility

def main():
    settings = json.loads(sys.argv[1])
    settings["visibility"] = Visibility[settings["visibility"]]
    target = hub.prepare(HubConfig(**settings), "my-run")
    print("target", target)
    if target:
        print("link", hub.publish(target, Path("model"), Path("tensorboard")))
    return 0

sys.exit(exit_code_of(main))
"""


class FakeHub(BaseHTTPRequestHandler):
    """The routes that huggingface_hub asks for; `state` holds what it was told and how it fails."""

    state: dict[str, Any]

    def log_message(self, *args: Any) -> None:
        """Silence."""

    def note_token(self) -> None:
        if "Authorization" in self.headers:  # the client also asks questions of its own without one
            self.state["authorization"].add(self.headers["Authorization"])

    def answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.note_token()
        if self.path == "/api/whoami-v2":
            expired = self.state.get("expired")
            self.answer(
                {"error": "Invalid token"} if expired else {"name": "me"}, 401 if expired else 200
            )
        else:
            self.answer({"error": "no such route"}, 404)

    def do_POST(self) -> None:
        self.note_token()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.state["created"] = json.loads(body)
            name = f"me/{json.loads(body)['name']}"
            self.answer({"url": f"http://{self.headers['Host']}/{name}", "id": name, "name": name})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self.answer(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for f in files
                    ]
                }
            )
        elif "/commit/" in self.path and self.state.get("refuses"):
            self.answer({"error": "You have read but not write access"}, 403)
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.state["files"][value["path"]] = base64.b64decode(value["content"])
            self.answer(
                {
                    "commitUrl": f"http://{self.headers['Host']}/me/my-run/commit/1",
                    "commitOid": "1" * 40,
                    "success": True,
                }
            )
        else:
            self.answer({"error": "no such route"}, 404)


@pytest.fixture
def fake() -> Iterator[tuple[str, dict[str, Any]]]:
    """Address and state of a hub."""
    FakeHub.state = {"authorization": set(), "files": {}}
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", FakeHub.state
    server.shutdown()


def publish(
    home: Path,
    endpoint: str,
    token: str | None = TOKEN,
    *,
    environment: dict[str, str] | None = None,
    **settings: Any,
) -> subprocess.CompletedProcess[str]:
    """prepare and publish in a process of their own: the client reads its endpoint at import."""
    for name in ("model", "tensorboard"):
        (home / name).mkdir()
    (home / "model" / "config.json").write_text('{"a": 1}')
    (home / "tensorboard" / "events.out.tfevents.1").write_bytes(b"\x00events")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "AWS_"))}
    clean |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), **(environment or {})}
    if token:
        clean["HF_TOKEN"] = token
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH, json.dumps(settings)],
        cwd=home,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_none_needs_no_token_and_no_network(tmp_path: Path) -> None:
    done = publish(tmp_path, "http://127.0.0.1:9", None, visibility="none")
    assert (done.returncode, done.stdout) == (0, "target None\n")


@pytest.mark.parametrize("visibility", ["private", "public"])
def test_model_and_curves_arrive(tmp_path: Path, fake: Any, visibility: str) -> None:
    endpoint, state = fake
    done = publish(tmp_path, endpoint, visibility=visibility)
    assert done.returncode == 0, done.stderr
    assert f"link {endpoint}/me/my-run" in done.stdout
    made = state["created"]
    assert made["name"] == "my-run"
    assert made.get("private", made.get("visibility") == "private") is (visibility == "private")
    assert state["files"] == {
        "config.json": b'{"a": 1}',
        "runs/events.out.tfevents.1": b"\x00events",
    }
    assert state["authorization"] == {f"Bearer {TOKEN}"}


def test_no_token(tmp_path: Path, fake: Any) -> None:
    done = publish(tmp_path, fake[0], None, visibility="private")
    assert done.returncode == 2
    assert done.stderr == (
        "lingotune: 1 problem\n"
        "  hub=private\n"
        "      no token: HF_TOKEN is not set and the hub's token file does not exist\n"
        "      works: export HF_TOKEN=..., or hub.token_secret=NAME of an AWS secret, or hub=none\n"
    )


def test_an_expired_token_is_told_before_training(tmp_path: Path, fake: Any) -> None:
    endpoint, state = fake
    state["expired"] = True
    done = publish(tmp_path, endpoint, visibility="private")
    assert done.returncode == 2
    assert "no access to the hub" in done.stderr and "a token with write access" in done.stderr
    assert "created" not in state


def test_a_dead_hub_is_told_before_training(tmp_path: Path) -> None:
    done = publish(tmp_path, "http://127.0.0.1:9", visibility="public")
    assert done.returncode == 2
    assert "hub=public\n      no access to the hub" in done.stderr


def test_a_refused_push_loses_nothing(tmp_path: Path, fake: Any) -> None:
    endpoint, state = fake
    state["refuses"] = True
    done = publish(tmp_path, endpoint, visibility="private")
    assert done.returncode == 7
    assert "the push to me/my-run failed" in done.stderr
    assert "nothing is lost: the model is in model" in done.stderr
    assert (tmp_path / "model" / "config.json").exists()


@pytest.fixture
def secrets() -> Iterator[dict[str, str]]:
    """An environment with a Secrets Manager that holds the token as `hf/token`."""
    server = ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    reset = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=30).close()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",  # all that SageMaker sets
    }
    client = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_secret(Name="hf/token", SecretString=TOKEN + "\n")
    yield environment
    server.stop()


def test_the_token_comes_from_an_aws_secret(
    tmp_path: Path, fake: Any, secrets: dict[str, str]
) -> None:
    endpoint, state = fake
    done = publish(
        tmp_path, endpoint, None, environment=secrets, visibility="private", token_secret="hf/token"
    )
    assert done.returncode == 0, done.stderr
    assert state["authorization"] == {f"Bearer {TOKEN}"}


def test_a_missing_secret(tmp_path: Path, fake: Any, secrets: dict[str, str]) -> None:
    done = publish(
        tmp_path, fake[0], None, environment=secrets, visibility="private", token_secret="nope"
    )
    assert done.returncode == 2
    assert "hub.token_secret=nope\n      cannot be read" in done.stderr
