"""Every command of the README runs."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run
from hubserver import hub_server

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
QUICK = ["training.max_steps=2", "data.max_length=16", "runs_dir=runs"]
SAMPLE = ["data.sample.train_rows=20", "data.sample.validation_rows=5", "data.sample.test_rows=5"]
NOWHERE = {
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
}
TARGETS = re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with files under the names that the README uses."""
    rows = [
        {"review_body": f"text {i}", "stars": i % 5 + 1, "language": ["de", "fr"][i % 2]}
        for i in range(80)
    ]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "reviews").mkdir()
    csv = "".join(f"fine {i},{i % 5 + 1}\n" for i in range(60))
    (tmp_path / "reviews" / "a.csv").write_text("comment,stars\n" + csv)
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("train", "dev", "test"):
        own = [{**row, "review_body": f"{name} {row['review_body']}"} for row in rows]
        pq.write_table(pa.Table.from_pylist(own), tmp_path / f"{name}.parquet")
    return tmp_path


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 12


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    assert command.split()[1] in TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if "action=rehearse" in c])
def test_rehearsals(command: str, home: Path) -> None:
    _, script, *arguments = shlex.split(command)
    done = run(str(ROOT / script), *arguments, cwd=home, **NOWHERE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "points arrived as planned" in done.stdout and "\npassed in" in done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if "-m lingotune prepare" in c])
def test_preparations(command: str, home: Path) -> None:
    done = run(*shlex.split(command)[1:], cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((home / "prepared").glob("*/manifest.json"))


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if "backend=loopback" in c])
def test_the_whole_circle(command: str, home: Path) -> None:
    _, script, *arguments = shlex.split(command)
    done = run(str(ROOT / script), *arguments, cwd=home, **NOWHERE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Completed: Training job completed" in done.stdout
    assert list((home / "runs").glob("*/log.txt"))


PLANS = [c for c in COMMANDS if "launch.py" in c and "submit" not in c and "rehearse" not in c]


@pytest.mark.parametrize("command", PLANS)
def test_plans(command: str, home: Path) -> None:
    _, script, *arguments = shlex.split(command)
    done = run(str(ROOT / script), *arguments, cwd=home, **NOWHERE)
    if "training.precision=bf16" in arguments:  # the README's mistake
        assert done.returncode == 2 and "fix: training.precision=fp16" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    if any(argument in ("output=json", "output=request") for argument in arguments):
        assert json.loads(done.stdout)
    else:
        assert "global batch" in done.stdout
    assert ("asked AWS: nothing" in done.stdout) == ("action=check" in arguments)


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if "-m lingotune " in c and " RUN" not in c]
)
def test_commands_that_ask_aws_get_as_far_as_credentials(command: str, home: Path) -> None:
    _, *arguments = shlex.split(command.split(">")[0])
    done = run(*arguments, cwd=home, **NOWHERE)
    assert done.returncode == 2 and "credentials" in done.stderr, done.stdout + done.stderr


@pytest.mark.slow
def test_publishing(home: Path) -> None:
    """On a hub on loopback; the later command is of another repository than the training's."""
    train, *later = (c for c in COMMANDS if "hub=" in c)
    token = "hf_" + "canary" * 6
    with hub_server(token) as hub:
        settings = {
            "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(home / "hf"),
        }  # fmt: skip
        _, script, *typed = shlex.split(train)
        done = run(str(ROOT / script), *typed, *QUICK, *SAMPLE, cwd=home, **settings)
        assert done.returncode == 0, done.stderr
        (folder,) = (path for path in (home / "runs").iterdir() if path.is_dir())
        for command in later:
            arguments = [str(folder) if word == "RUN" else word for word in shlex.split(command)]
            done = run(*arguments[1:], cwd=home, **settings)
            assert done.returncode == 0 and "published: " in done.stdout, done.stderr
        assert len(hub.repos) == 1 + len(later)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.startswith("python train.py") and "hub=" not in c]
)
def test_trainings(command: str, home: Path) -> None:
    _, script, *arguments = shlex.split(command)
    sizes = [] if "data=files" in arguments else SAMPLE
    done = run(str(ROOT / script), *arguments, *QUICK, *sizes, cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "macro-F1" in done.stdout


@pytest.mark.slow
def test_the_job_file_goes_to_torchrun(home: Path) -> None:
    plan, launch = (c for c in COMMANDS if "job.yaml" in c)
    _, script, *arguments = shlex.split(plan)
    quick = [*QUICK[:2], *SAMPLE]
    assert run(str(ROOT / script), *arguments, *quick, cwd=home).returncode == 0
    program, *rest = shlex.split(launch.replace("train.py", str(ROOT / "train.py")))
    assert program == "torchrun"
    done = run("-m", "torch.distributed.run", *rest, cwd=home)
    assert done.returncode == 0, done.stderr
    assert (home / "runs").is_dir()


def test_a_submit_of_the_readme_is_complete() -> None:
    """Without credentials it gets as far as AWS; tests/test_submit.py goes on from there."""
    (command,) = (c for c in COMMANDS if "submit" in c and "loopback" not in c)
    _, script, *arguments = shlex.split(command)
    done = run(script, *arguments, **NOWHERE)
    assert done.returncode == 2
    assert "Unable to locate credentials" in done.stderr and "nothing was started" in done.stderr


def test_the_tree_names_what_exists() -> None:
    tree = README[README.index("## Layout") :]
    listed = re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)
    packages = {p.parent.name for p in (ROOT / "src" / "lingotune").glob("*/__init__.py")}
    assert set(listed) == packages, "the layout has a line for every package"


def test_the_programs_named_are_installed() -> None:
    for program in ("tensorboard", "torchrun"):
        path = Path(sys.executable).parent / program
        assert subprocess.run([path, "--help"], capture_output=True, timeout=120).returncode == 0
