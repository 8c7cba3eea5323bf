"""Completion, as the shells themselves give it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import CONF
from waiting import PATIENCE

from lingotune.cli.completion import SCRIPTS, script, words_of

ASKED = {
    "lingotune prep": {"prepare"},
    "lingotune train --c": {"--cfg", "--config-dir"},
    "lingotune train cl": {"cluster=", "cluster."},
    "lingotune train cluster=p3": {
        "cluster=p3_16xl",
        "cluster=p3_2xl",
        "cluster=p3dn",
        "cluster=p3dn_24xl",
    },
    "lingotune train training.pr": {"training.precision="},
    "lingotune train training.precision=f": {"training.precision=fp16", "training.precision=fp32"},
    "lingotune launch cluster.spot=": {"cluster.spot=true", "cluster.spot=false"},
    "lingotune launch action=re": {"action=rehearse"},
    "lingotune train actio": set(),
    "lingotune launch +": {"+mygroup="},
    "lingotune launch experiment=nlp": {"experiment=nlp/deep"},
    "lingotune train --help experimen": {"experiment"},
    "lingotune evaluate RUN data=s": {"data=sample", "data=sample_topics"},
    "lingotune completion z": {"zsh"},
    "python -m lingotune launch hub=pri": {"hub=private"},
    "python train.py lr": {"lr="},
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for name in ("experiment/nlp/deep", "mygroup/a"):
        (folder / name).parent.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text("# @package _global_\nlr: 0.005\n")
    for shell in SCRIPTS:
        (folder / f"script.{shell}").write_text(script(shell, CONF, folder))
    return folder


@pytest.mark.parametrize("line", ASKED)
@pytest.mark.parametrize("breaks", [" =:", " "])
def test_bash(line: str, breaks: str, own: Path) -> None:
    """With = among the word breaks, readline is given what follows the last of them."""
    code = (
        f"source {own}/script.bash; COMP_WORDBREAKS='{breaks}'; COMP_LINE={line!r}\n"
        "COMP_POINT=${#COMP_LINE}; _lingotune; printf '%s\\n' \"${COMPREPLY[@]}\"; times >&2"
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, cwd=own)
    word = line.split(" ")[-1]
    cut = word[: word.rindex("=") + 1] if "=" in word and "=" in breaks else ""
    assert set(done.stdout.split()) == {found.removeprefix(cut) for found in ASKED[line]}


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish(own: Path) -> None:
    lines = "\n".join(f"complete -C '{line}'; echo --" for line in ASKED)
    code = f"source {own}/script.fish\n{lines}"
    empty = own / "empty"
    empty.mkdir(exist_ok=True)
    done = subprocess.run(
        ["fish", "--no-config", "-c", code], capture_output=True, text=True, cwd=empty
    )
    assert not done.stderr
    blocks = done.stdout.split("--\n") if "--cfg" not in done.stdout else re.split(
        r"^--\n", done.stdout, flags=re.MULTILINE
    )  # fmt: skip
    for (line, expected), block in zip(ASKED.items(), blocks):
        found = {row.split("\t")[0] for row in block.splitlines()}
        # fish looks inside of words where none begins so
        word = line.split(" ")[-1]
        assert {name for name in found if name.startswith(word)} == expected, line


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("lingotune prep", "lingotune prepare "),
        ("lingotune train training.prec", "lingotune train training.precision="),
        ("lingotune launch action=re", "lingotune launch action=rehearse "),
        ("python train.py cluster=lo", "python train.py cluster=local "),
        ("lingotune launch experiment=nlp", "lingotune launch experiment=nlp/deep "),
    ],
)
def test_zsh(line: str, becomes: str, own: Path) -> None:
    assert becomes in _typed_in_zsh(own, line)


def _typed_in_zsh(home: Path, line: str) -> str:
    """What an interactive zsh shows once the line and a TAB have been typed."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(home)
        environment = {"TERM": "dumb", "HOME": str(home), "PATH": os.environ["PATH"]}
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
    setup = (
        "autoload -Uz compinit; compinit -u -D; source script.zsh; compdef _lingotune python;"
        " PROMPT='re''ady>'\n"
    )
    os.write(terminal, setup.encode())
    shown = _read(terminal, "ready>")
    os.write(terminal, f"{line}\t\x01\x0b".encode())  # ^A ^K: nothing is left to run
    os.write(terminal, b"exit\n")
    shown = _read(terminal, "exit")
    os.close(terminal)
    os.waitpid(child, 0)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|[\r\x07]", "", shown)


def _read(terminal: int, until: str) -> str:
    shown = ""
    end = time.monotonic() + PATIENCE
    while until not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            try:
                shown += os.read(terminal, 4096).decode(errors="replace")
            except OSError:  # the shell has ended
                break
    return shown


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_tells_what_it_holds_and_how_it_is_installed(shell: str, own: Path) -> None:
    head = [line for line in script(shell, CONF, own).splitlines() if line.startswith("# ")]
    assert str(own) in head[0] and "when this was written" in head[0]
    assert any(f"lingotune completion {shell} > " in line for line in head)


def test_every_setting_and_group_is_among_the_words(own: Path) -> None:
    words = words_of(CONF, own)
    assert {"cluster=", "+mygroup=", "training.precision=", "aws.tags="} <= set(
        words.keys["launch"]
    )
    assert words.values["training.compile="] == ["true", "false"]
    assert "--instance" in words.options["prices"] and "--run-dir" in words.options["train"]
