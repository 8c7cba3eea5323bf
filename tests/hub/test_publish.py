"""Publishing to a hub on loopback: what arrives, and every way in which it can fail."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import warm
from conftest import ROOT, compose
from hubserver import Hub, Repo, hubs_at_one_address
from moto.server import ThreadedMotoServer
from waiting import PATIENCE, wait_until

from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.hub.allowlist import contents_of, with_secrets
from lingotune.hub.publish import PUBLISHED, not_published
from lingotune.preflight import check_job
from lingotune.training.base_model import sign_in

TOKEN = "hf_" + "canary" * 6
TRAIN = str(ROOT / "train.py")
QUICK = (
    "data.sample.train_rows=20", "data.sample.validation_rows=6", "data.sample.test_rows=6",
    "epochs=2", "per_device_bs=16", "model.scratch.layers=1",
)  # fmt: skip
NAME = "tiny-sample"


HF_HOME = tempfile.TemporaryDirectory(prefix="hf-home-")
"""Without a token's file. The client reads where it is at import: one for all, as the hub's address."""


def environment_of(hub: Hub | str, token: str | None = TOKEN, **environment: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "AWS_"))}
    clean |= {
        "HF_ENDPOINT": hub if isinstance(hub, str) else hub.endpoint,
        "HF_HOME": HF_HOME.name,
        "HF_HUB_DISABLE_XET": "1",  # the hub on loopback speaks LFS
        "PYTHONPATH": str(ROOT / "src"),
        **environment,
    }
    return clean | ({"HF_TOKEN": token} if token else {})


def python(
    hub: Hub | str, *arguments: str, cwd: Path, token: str | None = TOKEN, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A command of the project in a process of its own."""
    whole = environment_of(hub, token, **environment)
    done = warm.server_for(arguments, whole).run(arguments, cwd, whole, timeout=PATIENCE)
    assert TOKEN not in done.stdout + done.stderr
    # torchrun shows one of its own for a process that failed.
    assert "cluster.processes=2" in arguments or "Traceback" not in done.stderr, done.stderr
    return done


def published_of(run: Path) -> dict[str, bytes]:
    """What the repository of a run has to hold."""
    return {name: path.read_bytes() for name, path in contents_of(run / "model")[0].items()}


def held(repo: Repo) -> dict[str, bytes]:
    return {name: content for name, content in repo.files.items() if name != ".gitattributes"}


@pytest.fixture(scope="module")
def new_hub() -> Iterator[Callable[[], Hub]]:
    with hubs_at_one_address(TOKEN) as new:
        yield new


@pytest.fixture(scope="module")
def trained(
    new_hub: Callable[[], Hub], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, Repo, set[str]]:
    """A run that was published as it trained: its folder, what it printed, the repository."""
    folder, hub = tmp_path_factory.mktemp("trained"), new_hub()
    done = python(hub, TRAIN, *QUICK, "hub=private", cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    (repo,) = hub.repos.items()
    assert repo[0] == f"me/{run.name[: len(NAME)]}-{load_job(run / 'job.yaml')[1][:6]}"
    return run, done.stdout.replace(hub.endpoint, "ENDPOINT"), repo[1], hub.authorization


@pytest.fixture
def hub(new_hub: Callable[[], Hub]) -> Hub:
    return new_hub()


@pytest.fixture
def run(trained: tuple[Path, str, Repo, set[str]], tmp_path: Path) -> Path:
    """The finished run, anew."""
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run"


def publish(hub: Hub | str, run: Path, *typed: str, **settings: Any) -> Any:
    command = ("-m", "lingotune", "publish", str(run), *typed)
    return python(hub, *command, cwd=run.parent, **settings)


def only(hub: Hub) -> Repo:
    (repo,) = hub.repos.values()
    return repo


# --- while training -----------------------------------------------------------------------------


def test_it_is_pushed_while_training_and_at_the_end(trained: Any) -> None:
    run, said, repo, authorization = trained
    first, *between, last = repo.messages[1:]
    assert first == "Begin" and last == "Add the trained model"
    assert between and all(message.startswith("Step ") for message in between)
    signed = said.index("hub: signed in as me, will publish to ENDPOINT/me/tiny-sample-")
    assert signed < said.index("validation: loss") < said.index("published: ENDPOINT/me/tiny-")
    assert held(repo) == published_of(run) and repo.private
    assert authorization == {f"Bearer {TOKEN}"}


def test_all_that_belongs_to_the_model_is_there_and_nothing_else(trained: Any) -> None:
    names = sorted(held(trained[2]))
    (events,) = [name for name in names if name.startswith("runs/events.out.tfevents.")]
    assert [name for name in names if name != events] == [
        "README.md", "config.json", "confusion_matrix.png", "job.yaml", "learning_curves.png",
        "metrics.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_neither_token_nor_machine_is_in_what_is_left(trained: Any) -> None:
    run, _, repo, _ = trained
    files = [path for path in run.parent.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    machine = os.uname().nodename.encode()
    for name, content in held(repo).items():
        assert str(run.parent.parent).encode() not in content, name
        assert len(machine) < 4 or machine not in content, name


def test_what_was_published_is_published_once(trained: Any, run: Path, hub: Hub) -> None:
    assert publish(hub, run).returncode == 0
    before = list(only(hub).messages)
    assert held(only(hub)) == held(trained[2])
    done = publish(hub, run)
    assert done.returncode == 0 and "published: " in done.stdout
    assert only(hub).messages == before == ["initial commit", "Begin", "Add the trained model"]


@pytest.mark.slow
def test_a_finished_run_that_is_started_again_publishes(run: Path, hub: Hub) -> None:
    done = python(hub, TRAIN, "--job", str(run / "job.yaml"), "--run-dir", str(run), cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert "this job is finished" in done.stdout and held(only(hub)) == published_of(run)


@pytest.mark.slow
def test_a_push_on_the_way_that_fails_costs_nothing(tmp_path: Path, hub: Hub) -> None:
    hub.fail("PUT /lfs/", 403, times=1)
    done = python(hub, TRAIN, *QUICK, "hub=public", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: hub: the push at step 8 failed, the training goes on: " in done.stdout
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert held(only(hub)) == published_of(run) and not only(hub).private


# --- refused before it costs anything -----------------------------------------------------------


def refused(hub: Hub | str, folder: Path, *typed: str, token: str | None = TOKEN) -> str:
    """What is printed of a job that never begins."""
    done = python(hub, TRAIN, *QUICK, "hub=private", *typed, cwd=folder, token=token)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "step " not in done.stdout.replace("steps ", "")
    return done.stderr


def test_no_token(tmp_path: Path, hub: Hub) -> None:
    assert refused(hub, tmp_path, token=None) == (
        "lingotune: 1 problem\n"
        "  hub=private\n"
        "      no token: HF_TOKEN is not set and the hub's token file does not exist\n"
        "      fix: export HF_TOKEN=..., or hub.token_secret=NAME of an AWS secret, or hub=none\n"
    )


def test_an_expired_token(run: Path, hub: Hub) -> None:
    hub.tokens.clear()
    done = publish(hub, run)
    assert done.returncode == 2 and not hub.repos
    assert "hub=private\n      the hub does not take the token: it has expired" in done.stderr
    assert "fix: a new token with write access" in done.stderr


def test_a_token_that_may_only_read(run: Path, hub: Hub) -> None:
    hub.role = "read"
    done = publish(hub, run)
    assert done.returncode == 2 and "the token may only read" in done.stderr and not hub.repos


@pytest.mark.slow
def test_a_dead_hub(run: Path) -> None:
    done = publish("http://127.0.0.1:9", run)
    assert done.returncode == 2
    assert "hub=private\n      the hub was not reached: " in done.stderr
    assert "fix: the hub in reach (http://127.0.0.1:9), or hub=none" in done.stderr


def test_a_name_of_somebody_else(run: Path, hub: Hub) -> None:
    done = publish(hub, run, "hub.repo=you/model")
    assert done.returncode == 2
    assert "hub.repo=you/model\n      the token may not write to you/model" in done.stderr


@pytest.mark.parametrize(
    ("there", "what"),
    [
        (
            {"model.bin": b"x", "README.md": b"y"},
            "me/mine holds other content: README.md, model.bin",
        ),
        ({"job.yaml": b"# sha256 1\n"}, "me/mine holds the model of another job"),
    ],
)
def test_a_repository_with_other_content(
    run: Path, hub: Hub, there: dict[str, bytes], what: str
) -> None:
    hub.repos["me/mine"] = Repo(True, {".gitattributes": b"", **there})
    done = publish(hub, run, "hub.repo=mine")
    assert done.returncode == 2
    assert f"hub.repo=mine\n      {what}\n      fix: another hub.repo" in done.stderr
    assert held(hub.repos["me/mine"]) == there and len(hub.repos["me/mine"].commits) == 1


@pytest.mark.slow
def test_an_empty_repository_is_taken(run: Path, hub: Hub) -> None:
    hub.repos["me/mine"] = Repo(True)
    assert publish(hub, run, "hub.repo=me/mine").returncode == 0
    assert held(hub.repos["me/mine"]) == published_of(run)


@pytest.mark.slow
def test_a_hub_that_tells_no_digests(run: Path, hub: Hub) -> None:
    """What cannot be compared is sent; whose repository it is is read."""
    hub.tells_digests = False
    assert publish(hub, run).returncode == 0
    done = publish(hub, run)
    assert done.returncode == 0, done.stderr
    assert held(only(hub)) == published_of(run)
    only(hub).files["job.yaml"] = b"# sha256 1\n"
    done = publish(hub, run)
    assert done.returncode == 2 and "holds the model of another job" in done.stderr


def test_a_repository_that_all_can_read_by_mistake(run: Path, hub: Hub) -> None:
    hub.repos["me/mine"] = Repo(private=False)
    done = publish(hub, run, "hub.repo=mine")
    assert done.returncode == 2 and len(hub.repos["me/mine"].commits) == 1
    assert "me/mine is there already, and is public\n      fix: hub=public" in done.stderr


def test_jobs_of_a_sweep_in_one_repository(tmp_path: Path, hub: Hub) -> None:
    said = refused(hub, tmp_path, "-m", "lr=1e-3,2e-3", "hub.repo=mine")
    assert "hub.repo=mine\n      several jobs of the sweep would publish to it" in said
    assert not hub.requests


# --- refused at the end -------------------------------------------------------------------------

FAILURES: dict[str, tuple[str, int | str, str]] = {
    "the token was revoked": ("POST .*/commit/", 401, "does not take the token"),
    "no rights": ("POST .*/commit/", 403, "may not write"),
    "full": ("POST .*/commit/", 413, "answers 413"),
    "somebody else": ("POST .*/commit/", 412, "somebody else is writing"),
    "broken": ("POST .*/preupload/", 500, "answers 500"),
    "cut": ("POST .*/commit/", "cut", "was not reached"),
    "storage": ("PUT /lfs/", 403, "may not write"),
    "cards": ("POST /api/validate-yaml", 400, "answers 400"),
}


def begun(hub: Hub, run: Path) -> None:
    """The repository as it was opened before the training."""
    job, digest = load_job(run / "job.yaml")
    repo = hub.repos[f"me/{job.name}-{digest[:6]}"] = Repo(True)
    repo.files["job.yaml"] = (run / "job.yaml").read_bytes()
    repo.messages.append("Begin")


def fails(hub: Hub, run: Path, pattern: str, what: int | str, *typed: str) -> str:
    """A push that fails behind the begin, and loses nothing; what is printed."""
    begun(hub, run)
    before, model = held(only(hub)), published_of(run)
    hub.fail(pattern, what)
    done = publish(hub, run, *typed)
    assert done.returncode == 7, done.stdout + done.stderr
    assert held(only(hub)) == before
    now = published_of(run)
    assert {**now, "README.md": b""} == {**model, "README.md": b""}
    assert f"nothing is lost: the model is in {run}/model" in done.stderr
    assert (
        f"next: {shlex.join(['python', '-m', 'lingotune', 'publish', str(run), *typed])}\n"
        in done.stderr
    )
    return str(done.stderr)


FAST = ("no rights",)


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in FAILURES]
)
def test_a_refused_push_loses_nothing_and_is_made_later(name: str, run: Path, hub: Hub) -> None:
    pattern, what, told = FAILURES[name]
    said = fails(hub, run, pattern, what)
    assert "lingotune: the push to me/tiny-sample-" in said and told in said
    hub.failures.clear()
    done = publish(hub, run)
    assert done.returncode == 0, done.stderr
    assert held(only(hub)) == published_of(run)
    assert only(hub).messages == ["initial commit", "Begin", "Add the trained model"]


def test_the_next_command_has_all_that_was_typed(run: Path, hub: Hub) -> None:
    run = run.rename(run.parent / "my run")
    hub.repos["me/mine"] = Repo(True, {"job.yaml": (run / "job.yaml").read_bytes()})
    hub.fail("PUT /lfs/", 403)
    done = publish(hub, run, "hub=private", "hub.repo=me/mine")
    assert done.returncode == 7, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    hub.failures.clear()
    done = python(hub, *shlex.split(line)[2:], cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert list(hub.repos) == ["me/mine"] and held(only(hub)) == published_of(run)


@pytest.mark.slow
def test_a_hub_that_does_not_answer(run: Path, hub: Hub) -> None:
    said = fails(hub, run, "POST .*/commit/", "hang", "hub.timeout=10")
    assert "the hub did not answer within 10 s" in said


@pytest.mark.slow
def test_a_commit_whose_answer_is_lost(run: Path, hub: Hub) -> None:
    begun(hub, run)
    hub.fail("POST .*/commit/", "late", times=1)
    done = publish(hub, run)
    assert done.returncode in (0, 7)  # the client may ask again, and is told of its own commit
    hub.failures.clear()
    assert publish(hub, run).returncode == 0
    assert held(only(hub)) == published_of(run)
    assert only(hub).messages.count("Add the trained model") == 1


def test_a_file_that_arrives_as_another(run: Path, hub: Hub) -> None:
    weights = published_of(run)["model.safetensors"]
    import hashlib

    hub.lfs[hashlib.sha256(weights).hexdigest()] = weights[:-1] + b"?"
    done = publish(hub, run)
    assert done.returncode == 7
    assert "did not arrive as they are here: model.safetensors" in done.stderr


@pytest.mark.slow
def test_exit_code_7_at_the_end_of_a_training(tmp_path: Path, hub: Hub) -> None:
    hub.fail("PUT /lfs/", 403)
    done = python(hub, TRAIN, *QUICK, "hub=private", cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert not_published(load_job(run / "job.yaml")[0], run)
    hub.failures.clear()
    assert publish(hub, run).returncode == 0
    assert (
        json.loads((run / PUBLISHED).read_text())["link"]
        == f"{hub.endpoint}/{next(iter(hub.repos))}"
    )
    assert not not_published(load_job(run / "job.yaml")[0], run)


@pytest.mark.slow
def test_in_a_container_the_model_is_in_the_output(tmp_path: Path, run: Path, hub: Hub) -> None:
    ml = tmp_path / "ml"
    shutil.copytree(run / "model", ml / "model")
    (ml / "output" / "data").mkdir(parents=True)
    for path in run.iterdir():
        if path.is_file():
            shutil.copy(path, ml / "output" / "data")
    hub.fail("PUT /lfs/", 403)
    done = python(
        hub, TRAIN, "--job", str(run / "job.yaml"), cwd=tmp_path, SM_MODEL_DIR=str(ml / "model"),
        SM_OUTPUT_DATA_DIR=str(ml / "output/data"), SM_OUTPUT_DIR=str(ml / "output"),
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert "output.tar.gz, holds it as model/" in done.stderr
    assert "publishing: the push to" in (ml / "output/failure").read_text()
    hub.failures.clear()
    assert publish(hub, ml / "output/data").returncode == 0
    assert held(only(hub)) == published_of(ml / "output/data")


@pytest.mark.slow
def test_exit_code_7_of_several_processes(tmp_path: Path, hub: Hub) -> None:
    hub.fail("PUT /lfs/", 403)
    done = python(hub, TRAIN, *QUICK, "hub=private", "cluster.processes=2", cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    assert "the model is trained, but could not be published" in done.stderr


@pytest.mark.slow
def test_a_training_does_not_wait_for_a_push(tmp_path: Path, hub: Hub) -> None:
    """The first push hangs: the others are left out, and the last one makes it good."""
    hub.fail("PUT /lfs/", "hang", times=1)
    done = python(hub, TRAIN, *QUICK, "hub=private", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "it is still under way, and is given up for the last one" in done.stdout
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert held(only(hub)) == published_of(run)


def trained_beside_a_kill(
    tmp_path: Path, hub: Hub, reached: Callable[[], bool]
) -> tuple[Path, str]:
    """Train; kill the push process once `reached` holds. Returns the run, and what was printed.

    From the first checkpoint to the kill the training runs for a tenth of the time only, so that
    checkpoints are still to come after it, however slow the machine is.
    """
    command = [TRAIN, *QUICK, "epochs=8", "hub=private"]
    log, environment = tmp_path / "out", environment_of(hub, **warm.WITHOUT_PICTURES)
    server = warm.server_for(command, environment)
    with log.open("w") as out, server.start(command, tmp_path, environment, out) as job:
        try:
            # The repository was opened by a process as well, which ended before the training began.
            wait_until(
                lambda: "step 8/" in log.read_text() and helpers_of(job.pid),
                going=lambda: job.poll() is None,
            )
            while not reached():
                assert job.poll() is None, log.read_text()
                for what, seconds in ((signal.SIGSTOP, 0.3), (signal.SIGCONT, 0.03)):
                    job.send_signal(what)
                    time.sleep(seconds)
            (helper,) = helpers_of(job.pid)
            os.kill(helper, signal.SIGKILL)
            assert job.wait(PATIENCE) == 0
        finally:
            job.kill()
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    return run, log.read_text()


def helpers_of(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(word) for thread in threads for word in thread.read_text().split()]
    return [one for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


@pytest.mark.slow
def test_a_push_that_is_killed_costs_the_training_nothing(tmp_path: Path, hub: Hub) -> None:
    hub.fail("PUT /lfs/", "hang", times=1)
    run, said = trained_beside_a_kill(tmp_path, hub, lambda: any("PUT" in r for r in hub.requests))
    killed = "failed, the training goes on: its process was ended from outside"
    assert said.count(killed) == 1 and said.count("warning: hub") == 1
    assert said.index(killed) < said.index("published: "), "the next checkpoint has a new process"
    first, *between, last = only(hub).messages[1:]
    assert (first, last) == ("Begin", "Add the trained model")
    assert between and all(message.startswith("Step ") for message in between)
    assert held(only(hub)) == published_of(run)


@pytest.mark.slow
def test_a_push_process_that_is_killed_between_pushes_is_replaced(tmp_path: Path, hub: Hub) -> None:
    run, said = trained_beside_a_kill(tmp_path, hub, lambda: len(only(hub).messages) == 3)
    assert "warning: hub" not in said or "its process was ended from outside" in said
    begin, step, *others = only(hub).messages[1:]
    assert begin == "Begin" and step == "Step 8 of 64" and others[-1] == "Add the trained model"
    assert len(others) > 1, "a later checkpoint was pushed as well"
    assert held(only(hub)) == published_of(run)


# --- what is published, and from where ----------------------------------------------------------


def test_a_secret_in_a_file_is_not_sent(run: Path, hub: Hub) -> None:
    path = run / "model" / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "note": "AKIA" + "ABCDEFGHIJKLMNOP"}))
    done = publish(hub, run)
    assert done.returncode == 7
    assert "nothing was sent: there is a token, or a key, in config.json" in done.stderr
    assert sorted(held(only(hub))) == ["job.yaml"]


def test_secrets_are_found_wherever_they_stand(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "0123456789abcdef")
    files = {name: tmp_path / name for name in ("a", "b", "c")}
    files["a"].write_bytes(b"x" * ((1 << 22) - 5) + TOKEN.encode() + b"x")  # over a block's end
    files["b"].write_bytes(b"nothing")
    files["c"].write_bytes(b"-0123456789abcdef-")
    assert with_secrets(files, TOKEN) == ["a", "c"]


def test_what_is_no_file_of_a_model_stays_here(run: Path, hub: Hub) -> None:
    (run / "model" / "notes.txt").write_text("mine")
    (run / "model" / "training_args.bin").write_bytes(b"pickle")
    done = publish(hub, run)
    assert "not published, as it is no file of a model: notes.txt, training_args.bin" in done.stdout
    assert not {"notes.txt", "training_args.bin"} & set(held(only(hub)))


def test_a_model_folder_alone_is_enough(run: Path, hub: Hub) -> None:
    assert publish(hub, run / "model").returncode == 0
    assert held(only(hub)) == published_of(run)


@pytest.mark.slow
def test_another_repository_and_licence(run: Path, hub: Hub) -> None:
    done = publish(hub, run, "hub=public", "hub.repo=mine", "hub.license=mit")
    assert done.returncode == 0, done.stderr
    repo = hub.repos["me/mine"]
    assert not repo.private and b"license: mit\n" in held(repo)["README.md"]
    assert b'model="me/mine"' in held(repo)["README.md"]


def mended(run: Path, name: str) -> None:
    (run / "model" / name).unlink()


BAD: dict[str, tuple[Callable[[Path], Any], tuple[str, ...], str]] = {
    "no model": (lambda run: shutil.rmtree(run / "model"), (), "holds no trained model"),
    "not finished": (lambda run: mended(run, "metrics.json"), (), "has not come to its end"),
    "hub=none": (lambda run: None, ("hub=none",), "the job was not to be published"),
    "a word of the job": (lambda run: None, ("lr=1",), "has no effect here"),
    "no name": (lambda run: None, ("hub.repo='a b'",), "is not a valid repository name"),
    "a token for a name": (lambda run: None, (f"hub.repo={TOKEN}",), "[secret-in-config]"),
    "no such setting": (lambda run: None, ("hub.repoo=x",), "hub.repoo"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_published(name: str, run: Path, hub: Hub) -> None:
    change, typed, told = BAD[name]
    change(run)
    done = publish(hub, run, *typed)
    assert done.returncode == 2 and told in done.stderr, done.stderr
    assert not hub.repos


# --- the token ----------------------------------------------------------------------------------


@pytest.fixture
def aws() -> Iterator[dict[str, str]]:
    """An environment with a Secrets Manager and an SSM that hold the token."""
    server = ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    reset = urllib.request.Request(f"http://127.0.0.1:{port}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=PATIENCE).close()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",  # all that SageMaker sets
    }

    def client(service: str) -> Any:
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    client("secretsmanager").create_secret(Name="hf/token", SecretString=TOKEN + "\n")
    client("secretsmanager").create_secret(
        Name="hf/pair", SecretString=json.dumps({"HF_TOKEN": TOKEN})
    )
    client("ssm").put_parameter(Name="/hf/token", Value=TOKEN, Type="SecureString")
    yield environment
    server.stop()


@pytest.mark.parametrize(
    ("overrides", "reads"),
    [
        (["model=pretrained", "model.name_or_path=me/private"], True),
        (["data=amazon_reviews_multi", "data.languages=[en]"], True),
        (["model=pretrained", f"model.name_or_path={ROOT}"], False),  # a folder of this machine
        (["hub=private"], False),
    ],
)
def test_a_private_model_is_read_with_the_jobs_token(
    aws: dict[str, str], monkeypatch: pytest.MonkeyPatch, overrides: list[str], reads: bool
) -> None:
    for name, value in {**aws, "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": ""}.items():
        monkeypatch.setenv(name, value)
    job = job_of(compose("cluster=p3_16xl", "hub.token_secret=hf/token", *overrides))
    assert not [p for p in check_job(job) if p.key == "hub.token_secret"]
    sign_in(job)
    assert os.environ["HF_TOKEN"] == (TOKEN if reads else "")
    assert TOKEN not in dump_job(job).decode()


PLACES = ["hf/token", "hf/pair", "arn:aws:ssm:us-east-1:123456789012:parameter/hf/token"]


@pytest.mark.parametrize(
    "place", [PLACES[0], *(pytest.param(place, marks=pytest.mark.slow) for place in PLACES[1:])]
)
def test_the_token_comes_from_aws(run: Path, hub: Hub, aws: dict[str, str], place: str) -> None:
    done = publish(hub, run, f"hub.token_secret={place}", token=None, **aws)
    assert done.returncode == 0, done.stderr
    assert hub.authorization == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("place", ["nope", "arn:aws:ssm:us-east-1:123456789012:parameter/nope"])
def test_a_missing_secret(run: Path, hub: Hub, aws: dict[str, str], place: str) -> None:
    done = publish(hub, run, f"hub.token_secret={place}", token=None, **aws)
    assert done.returncode == 2
    assert f"hub.token_secret={place}\n      cannot be read" in done.stderr
