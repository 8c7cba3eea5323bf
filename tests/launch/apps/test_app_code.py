"""The code of an application: what travels, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from launcher_settings import settings

from lingotune.launch.apps.code import Entry, pack_code
from lingotune.launch.apps.settings import PROGRAM
from lingotune.launch.render.bundle import REQUIREMENTS

TOKEN = "hf_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eFxY"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    for name in (
        "train.py",
        "conf/a.yaml",
        "lib/x.py",
        "notes.log",
        "outputs/big",
        "runs/l.sqlite",
    ):
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "app" / ".gitignore").write_text("*.log\n")
    return tmp_path / "app"


def packed(app: Path, away: tuple[str, ...] = (), **given: Any) -> tuple[set[str], list[str]]:
    bundle, problems = pack_code(Entry(app, script="train.py"), settings(**given), away)
    return set(bundle.files) - {PROGRAM, REQUIREMENTS}, [f"{p.where} {p.what}" for p in problems]


@pytest.mark.parametrize("repository", [True, False])
def test_gitignore_counts_inside_and_outside_of_a_repository(app: Path, repository: bool) -> None:
    if repository:
        subprocess.run(["git", "init", "--quiet", str(app)], check=True)
    names, problems = packed(app, (str(app / "runs"),))
    assert names == {"train.py", "conf/a.yaml", "lib/x.py", ".gitignore"} and not problems


def test_patterns_choose_and_leave_out(app: Path) -> None:
    names, problems = packed(app, include=["train.py", "lib"], exclude=["lib/y.py"])
    assert names == {"train.py", "lib/x.py"} and not problems
    _, problems = packed(app, include=["lib/**", "none/*"])
    assert "matches no file" in problems[0] and problems[1].startswith("train.py does not travel")


def test_a_token_and_too_much_code_are_refused(app: Path) -> None:
    (app / "lib" / "x.py").write_text(f"a = 1\ntoken = '{TOKEN}'\n")
    (app / "lib" / "cache.db").write_bytes(b"\0\xff" + TOKEN.encode() + b"\0\n")
    _, problems = packed(app, max_code_mb=0.00001)
    assert "largest" in problems[0]
    assert [told.partition(" holds")[0] for told in problems[1:]] == ["lib/cache.db", "lib/x.py:2"]


def test_the_same_files_have_the_same_digest_and_hydra_is_required(app: Path) -> None:
    entry = Entry(app, script="train.py")
    first, again = (pack_code(entry, settings(), ())[0] for _ in range(2))
    assert first.digest == again.digest
    assert first.files[REQUIREMENTS].startswith(b"hydra-core==")
    (app / "requirements.txt").write_text("numpy\nhydra_core>=1.2\n")
    assert pack_code(entry, settings(), ())[0].files[REQUIREMENTS] == b"numpy\nhydra_core>=1.2\n"
