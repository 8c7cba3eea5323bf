"""A fork of a warm process is what a new process is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from conftest import ROOT, run
from waiting import PATIENCE

PROBE = """
import atexit, json, os, sys, tempfile, threading, time
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "folder": os.getcwd(), "environment": dict(os.environ),
    "name": __name__, "file": [__file__, sys.modules["__main__"].__file__], "tmp": tempfile.gettempdir(),
    "open": sorted(os.listdir("/proc/self/fd"))[:3], "given": sys.stdin.read(), "group": os.getpgid(0),
    "streams": [(s.encoding, s.errors, s.isatty(), s.line_buffering) for s in (sys.stdout, sys.stderr)],
}))
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.1), print("a thread has ended"))).start()
print("told", file=sys.stderr)
end = sys.argv[-1]
if end == "raise":
    raise ValueError("wrong")
if end == "interrupt":
    os.kill(os.getpid(), 2)
    time.sleep(600)
if end == "kill":
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
if end == "child":
    os.system("echo from a child")
sys.exit({"code": 3, "text": "a text"}.get(end))
"""


@pytest.fixture(scope="module")
def server() -> warm.Server:
    return warm.Server([], os.environ)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
@pytest.mark.parametrize("start", ["script", "module"])
@pytest.mark.parametrize("end", ["end", "code", "text", "raise", "interrupt", "kill", "child"])
def test_it_is_as_a_new_process(server: warm.Server, start: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    arguments = [f"{tmp_path}/probe.py", end] if start == "script" else ["-m", "probe", end]
    environment = {**os.environ, "OWN": "a\nb", "TMPDIR": str(tmp_path)}
    expected = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    found = server.run(arguments, tmp_path, environment, timeout=PATIENCE)
    assert found.returncode == expected.returncode
    first, *rest = expected.stdout.splitlines()
    assert json.loads(found.stdout.splitlines()[0]) == json.loads(first)
    assert found.stdout.splitlines()[1:] == rest
    # A traceback begins with the frames of who runs the script.
    assert found.stderr.splitlines()[0] == expected.stderr.splitlines()[0]
    assert found.stderr.splitlines()[-1] == expected.stderr.splitlines()[-1]


def test_processes_of_a_run_share_one(tmp_path: Path) -> None:
    (tmp_path / "says.py").write_text("print('here')")
    first, second = (warm.Server([], os.environ, tmp_path.name) for _ in range(2))
    assert first.process and not second.process
    for server in (first, second):
        assert (
            server.run([f"{tmp_path}/says.py"], tmp_path, os.environ, PATIENCE).stdout == "here\n"
        )


def test_what_hangs_is_killed(server: warm.Server, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(
        "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    )
    told, timeout = "", 0.5
    while not told and timeout < PATIENCE:  # as long as a busy machine takes to get there
        with pytest.raises(subprocess.TimeoutExpired) as expired:
            server.run([f"{tmp_path}/hangs.py"], tmp_path, os.environ, timeout)
        told, timeout = str(expired.value.stdout), 2 * timeout
    with pytest.raises(ProcessLookupError):
        os.kill(int(told), signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["-c", "pass"], {}),
        (["-m", "torch.distributed.run", "train.py"], {}),
        (["/elsewhere/train.py"], {}),
        (["train.py"], {"HF_HUB_OFFLINE": "1"}),
        (["train.py"], {"PYTHONHASHSEED": "1"}),
    ],
)
def test_what_a_fork_cannot_show_is_a_new_process(
    arguments: list[str], environment: dict[str, str]
) -> None:
    assert not warm.is_warm(arguments, {**warm.BEGINNING, **environment})
    for known in (["train.py"], [str(ROOT / "launch.py"), "lr=1"], ["-m", "lingotune", "predict"]):
        assert warm.is_warm(known, {**warm.BEGINNING, "OWN": "1"}) == (sys.platform == "linux")


def test_what_is_planned_with_has_no_torch() -> None:
    """A plan that needs it would work unnoticed; data is prepared another way with transformers there."""
    code = "import warm, importlib, sys; [*map(importlib.import_module, warm.IMPORTS['planning'])]"
    done = run(
        "-c",
        f"{code}; sys.exit(bool({{'torch', 'transformers'}} & {{*sys.modules}}))",
        PYTHONPATH=os.pathsep.join(sys.path),
    )
    assert done.returncode == 0, done.stderr
