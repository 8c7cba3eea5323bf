"""The documents are true: commands run, output is real, links work, the reference is up to date."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import CONF, ROOT, run
from documents import (
    DOCS,
    DOCUMENTS,
    README,
    Block,
    blocks_of,
    github_anchor,
    headings_of,
    inline_code_of,
    links_of,
    site_anchor,
    words_of,
)
from hubserver import hub_server
from sweep_folders import make_run, make_sweep
from waiting import PATIENCE, wait_until

from lingotune.config.problems import CLOUD_FAILED
from lingotune.launch.overrides.keys import config_groups, setting_types
from lingotune.launch.sweeps.trial import State

QUICK = ["training.max_steps=2", "data.max_length=16", "runs_dir=runs"]
SAMPLE = ["data.sample.train_rows=20", "data.sample.validation_rows=5", "data.sample.test_rows=5"]
NOWHERE = {
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    "AWS_EC2_METADATA_DISABLED": "true",
}
FAILING = {
    "training.precision=bf16": "fix: training.precision=fp16",
    "experiment=blog": "image-too-old",
}
"""Plans that a document shows for their findings -> what they find."""
PLACEHOLDERS = {
    "aws.role=ARN": "aws.role=arn:aws:iam::111122223333:role/SageMakerRole",
    "aws.bucket=NAME": "aws.bucket=my-bucket",
    "aws.model_group=ARN": "aws.model_group=arn:aws:sagemaker:us-east-1:111122223333:model-package-group/a",
    "conf": str(CONF),
}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def kind_of(command: str) -> str:
    """Say which test runs a command of the documents; ValueError for none."""
    words = words_of(command)
    name = " ".join(words[:2])
    if words[0] in ("make", "torchrun", "pre-commit", "curl", "aws"):
        return words[0]
    if "hydra/launcher=sagemaker" in words:
        # the Optuna sweeper needs another Hydra or Optuna than this environment has: `make test-launcher`
        return "sweeper" if "hydra/sweeper=optuna" in words else "application"
    elsewhere = "model=xlmr_base" in words or re.search(r"train.*data\.\w+=(s3|https)://", command)
    if {"--help", "--cfg"} & set(words) or elsewhere:
        return "compose"
    if name in ("python launch.py", "lingotune launch"):
        if "cluster.backend=loopback" in words:
            return "circle"
        actions = {"action=rehearse": "rehearsal", "action=submit": "submit"}
        return next((kind for word, kind in actions.items() if word in words), "plan")
    if name == "lingotune deploy":
        (action,) = [word for word in words if word.startswith("action=")] or ["action=plan"]
        return {"action=plan": "run", "action=delete": "account"}.get(action, "deployment")
    if "tickets:best" in words:
        return "winner"
    if any(word.startswith("hub=") for word in words):
        return "hub"
    if name in ("python train.py", "lingotune train"):
        return "rerun" if "--job" in words else "training"
    kinds = {
        "prepare": "preparation", "prices": "account", "cost": "account", "predict": "run",
        "evaluate": "run", "report": "run", "validate": "tool", "completion": "tool",
        "loopback": "account of its own",
        "results": "sweep", "export": "run", "distill": "run", "package": "run", "serve": "server",
        "rehearse-serving": "endpoint",
        "status": "account", "fetch": "account", "logs": "account", "stop": "account",
        "wait": "account", "resume": "account", "clean": "account", "offers": "tool", "models": "tool",
    }  # fmt: skip
    if name == "lingotune report" and words[2] == "tickets":
        return "sweep"
    if words[0] != "lingotune" or words[1] not in kinds:
        raise ValueError(f"no test runs: {command}")
    return kinds[words[1]]


def documented_commands() -> list[str]:
    """List each command once: those of shell blocks, and those of the README's text."""
    blocks = [block for path in DOCUMENTS for block in blocks_of(path)]
    inline = [
        code
        for code in inline_code_of(README)
        if re.match(r"(python|lingotune) ", code) and "..." not in code
    ]
    return list(dict.fromkeys([*(c for block in blocks for c in block.commands), *inline]))


COMMANDS = documented_commands()
"""Every command that a reader may copy."""


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    """Parametrize a test by the commands of these kinds."""
    return pytest.mark.parametrize("command", [c for c in COMMANDS if kind_of(c) in kinds])


def execute(
    command: str, home: Path, *more: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder: scripts are those of the checkout, `lingotune` is this package."""
    words = [PLACEHOLDERS.get(word, word) for word in words_of(command)]
    start = [str(ROOT / words[1])] if words[0] == "python" else ["-m", "lingotune", words[1]]
    return run(*start, *words[2:], *more, cwd=home, **environment)


def write_home(folder: Path) -> None:
    """Write files under the names that the documents use."""
    rows = [
        {"review_body": f"text {i}", "stars": i % 5 + 1, "language": ["de", "fr"][i % 2]}
        for i in range(80)
    ]
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("reviews", "other", "more"):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines)
    lines = "".join(",".join(map(str, row.values())) + "\n" for row in rows)
    (folder / "more.csv").write_text(f"{','.join(rows[0])}\n{lines}")
    (folder / "reviews").mkdir()
    csv = "".join(f"fine {i},{i % 5 + 1}\n" for i in range(60))
    (folder / "reviews" / "a.csv").write_text("comment,stars\n" + csv)
    (folder / "texts.txt").write_text("Sehr gut\nmauvais\n")
    relations = ("entailment", "neutral", "contradiction")
    pairs = "".join(f"text {i},other {i},{relations[i % 3]},en\n" for i in range(60))
    (folder / "nli.csv").write_text("premise,hypothesis,relation,language\n" + pairs)
    tickets = "".join(f"text {i},{['billing', 'technical'][i % 2]}\n" for i in range(60))
    (folder / "tickets.csv").write_text("body,queue\n" + tickets)
    topics = [["price"], ["price", "service"], []]
    several = [{**row, "topics": topics[i % 3]} for i, row in enumerate(rows)]
    (folder / "topics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in several))
    marks = "".join(f"text {i},de,{i % 2},{i % 3 % 2},{i % 5 // 4}\n" for i in range(80))
    header = "review_body,language,toxic,obscene,threat\n"
    (folder / "comments.csv").write_text(header + marks)
    for name in ("train", "dev", "test"):
        own = [{**row, "review_body": f"{name} {row['review_body']}"} for row in rows]
        pq.write_table(pa.Table.from_pylist(own), folder / f"{name}.parquet")
    write_groups(ROOT / "docs" / "extending.md", folder / "DIR")
    for target in (folder, folder / "DIR"):
        (target / "my_code.py").write_text(own_code())


def own_code() -> str:
    """The Python file that docs/extending.md shows."""
    blocks = blocks_of(ROOT / "docs" / "extending.md")
    (text,) = [b.text for b in blocks if b.text.startswith("# my_code.py\n")]
    return text


def write_groups(document: Path, folder: Path) -> list[str]:
    """Write the group files that a document shows; list their choices, such as model=mbert."""
    choices = []
    for block in blocks_of(document):
        named = re.search(r"^# ((\w+)/(\w+)\.yaml)$", block.text, re.MULTILINE)
        if block.language == "yaml" and named:
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
            choices.append(f"{named[2]}={named[3]}")
    return choices


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with files under the names that the documents use."""
    write_home(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder with a finished run under the name RUN."""
    folder = tmp_path_factory.mktemp("trained")
    write_home(folder)
    done = execute("python train.py data=files data.path=reviews.jsonl", folder, *QUICK)
    assert done.returncode == 0, done.stderr
    (made,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    (folder / "RUN").symlink_to(made)
    return folder


def test_the_documents_have_commands_and_each_has_its_test() -> None:
    assert len(COMMANDS) >= 30 and {kind_of(command) for command in COMMANDS}


@of_kind("make")
def test_make_targets_exist(command: str) -> None:
    assert command.split()[1] in re.findall(r"^([a-z0-9-]+):.*##", MAKEFILE, re.MULTILINE)


@of_kind("compose")
def test_composing(command: str, home: Path) -> None:
    """A command with a model of the hub, or data from S3 or the web, stops here, before it loads it."""
    asks = {"--help", "--cfg"} & set(words_of(command))
    done = execute(command, home, *([] if asks else ["--cfg", "job"]))
    assert done.returncode == 0 and len(done.stdout) > 500, done.stderr


@of_kind("plan")
def test_plans(command: str, home: Path) -> None:
    done = execute(command, home, **NOWHERE)
    words = words_of(command)
    expected = [finding for word, finding in FAILING.items() if word in words]
    if expected:
        assert done.returncode == 2 and expected[0] in done.stdout + done.stderr
        return
    nothing_asked = "action=check" in words  # without credentials: no success
    assert done.returncode == CLOUD_FAILED * nothing_asked, done.stdout + done.stderr
    assert ("[nothing-asked]" in done.stderr) == nothing_asked
    if {"output=json", "output=request"} & set(words):
        assert json.loads(done.stdout)
    else:
        assert "global batch" in done.stdout
    assert ("asked AWS: nothing" in done.stdout) == ("action=check" in words)


@of_kind("preparation")
def test_preparations(command: str, home: Path) -> None:
    done = execute(command, home)
    assert done.returncode == 0, done.stdout + done.stderr
    made = "my-conf/data/*.yaml" if "--init" in command else "prepared/*/manifest.json"
    assert list(home.glob(made))


@of_kind("account", "submit")
def test_commands_that_ask_aws_get_as_far_as_credentials(command: str, home: Path) -> None:
    """What a submit does with credentials: tests/launch/aws/test_submit.py."""
    done = execute(command, home, **NOWHERE, AWS_DEFAULT_REGION="us-east-1")
    assert done.returncode == 6 and "credentials" in done.stderr, done.stdout + done.stderr
    assert kind_of(command) == "account" or "nothing was started" in done.stderr


@pytest.mark.slow
@of_kind("deployment")
def test_deployments_get_as_far_as_credentials(command: str, trained: Path) -> None:
    """What a submit does with credentials: tests/launch/deploy."""
    done = execute(command, trained, **NOWHERE)
    assert done.returncode == 6 and "credentials" in done.stderr, done.stdout + done.stderr


@of_kind("tool")
def test_tools(command: str, home: Path) -> None:
    done = execute(command, home)
    assert done.returncode == 0 and done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@of_kind("rehearsal")
def test_rehearsals(command: str, home: Path) -> None:
    done = execute(command, home, **NOWHERE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "points arrived as planned" in done.stdout and "\npassed in" in done.stdout


@pytest.mark.slow
@of_kind("circle")
def test_the_whole_circle(command: str, home: Path) -> None:
    done = execute(command, home, **NOWHERE)
    assert done.returncode == 0, done.stdout + done.stderr
    sweeps = "-m" in words_of(command)
    assert ("completed   2  " if sweeps else "Completed: Training job completed") in done.stdout
    assert list((home / "runs").glob("loopback/*/log.txt" if sweeps else "*/log.txt"))


@pytest.mark.slow
@of_kind("account of its own")
def test_an_account_stands_until_it_is_ended(command: str, home: Path) -> None:
    words = words_of(command)
    with (home / "told").open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "--port", "0"], stdout=subprocess.PIPE, stderr=told
        )
    wait_until(lambda: "action=submit" in (home / "told").read_text())
    process.terminate()
    shown, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and b"export AWS_ENDPOINT_URL=http://127.0.0.1:" in shown


@pytest.mark.slow
@of_kind("training")
def test_trainings(command: str, home: Path) -> None:
    sizes = [] if "data=files" in words_of(command) else SAMPLE
    done = execute(command, home, *QUICK, *sizes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("\nbest: lr=" if "-m" in words_of(command) else "macro-F1") in done.stdout


@pytest.mark.slow
def test_every_file_of_a_run_is_on_the_first_page(trained: Path) -> None:
    page = (ROOT / "docs" / "index.md").read_text().partition("## Run folders")[2]
    told = {
        name.rstrip("/")
        for line in page.partition("\n### ")[0].splitlines()
        for name in re.findall(r"`([^`]+)`", line.split(" | ")[0])
    }
    assert {path.name for path in (trained / "RUN").iterdir()} - told == set()


@pytest.mark.slow
@of_kind("rerun")
def test_jobs_that_ran(command: str, trained: Path) -> None:
    done = execute(command, trained)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "macro-F1" in done.stdout


@pytest.mark.slow
@of_kind("run")
def test_commands_on_a_run(command: str, trained: Path) -> None:
    done = execute(command, trained)
    assert done.returncode == 0 and done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@of_kind("endpoint")
def test_rehearsals_of_an_endpoint(command: str, trained: Path) -> None:
    done = execute(command, trained, **NOWHERE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\npassed in" in done.stdout and "to the last digit" in done.stdout


@pytest.mark.slow
def test_requests_to_a_served_model(trained: Path) -> None:
    """The commands with curl get their answers from the server that stands above them."""
    (serve,) = (c for c in COMMANDS if kind_of(c) == "server" and "--" not in c)
    with (trained / "told").open("w") as told:
        start = [sys.executable, "-m", *words_of(serve), "--port", "0"]
        process = subprocess.Popen(start, stdout=told, stderr=told, cwd=trained)
    try:
        url = wait_until(
            lambda: re.search(r"http://127.0.0.1:\d+", (trained / "told").read_text()),
            lambda: process.poll() is None,
        )
        for command in (c for c in COMMANDS if kind_of(c) == "curl"):
            asked = command.replace("http://127.0.0.1:8080", url[0])
            done = subprocess.run(shlex.split(asked), cwd=trained, capture_output=True, text=True)
            assert done.returncode == 0 and "label" in done.stdout, done
    finally:
        process.terminate()
        process.wait()


@of_kind("sweep")
def test_commands_on_a_sweep(command: str, home: Path) -> None:
    write_sweep(home)
    done = execute(command, home)
    assert done.returncode == 0 and done.stdout, done.stdout + done.stderr


@of_kind("winner")
def test_commands_on_the_best_of_a_sweep(command: str, home: Path) -> None:
    """They get as far as its model, which this sweep of the tests has not."""
    write_sweep(home)
    done = execute(command, home)
    assert done.stderr.startswith("tickets:best: runs/job-2 ("), done.stdout + done.stderr


def write_sweep(home: Path) -> None:
    """Write a finished sweep named tickets, and its run folders."""
    done = State.completed
    trials = [({"lr": "1e-05"}, done, 0.7), ({"lr": "3e-05"}, done, 0.9)]
    make_sweep(home / "runs" / "tickets", trials)
    for number, (varies, _, score) in enumerate(trials, 1):
        make_run(home / "runs" / f"job-{number}", f"lr={varies['lr']}", validation=score)


@pytest.mark.slow
def test_publishing(home: Path) -> None:
    """On a hub on loopback; the later command is of another repository than the training's."""
    train, *later = (c for c in COMMANDS if kind_of(c) == "hub")
    token = "hf_" + "canary" * 6
    with hub_server(token) as hub:
        settings = {
            "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(home / "hf"),
        }  # fmt: skip
        done = execute(train, home, *QUICK, *SAMPLE, **settings)
        assert done.returncode == 0, done.stderr
        (folder,) = (path for path in (home / "runs").iterdir() if path.is_dir())
        (home / "RUN").symlink_to(folder)
        for command in later:
            done = execute(command, home, **settings)
            assert done.returncode == 0 and "published: " in done.stdout, done.stderr
        assert later and len(hub.repos) == 1 + len(later)


@pytest.mark.slow
def test_the_job_file_goes_to_torchrun(home: Path) -> None:
    (launch,) = (c for c in COMMANDS if kind_of(c) == "torchrun")
    (plan,) = (c for c in COMMANDS if "job_file=job.yaml" in c)
    assert execute(plan, home, *QUICK[:2], *SAMPLE).returncode == 0
    _, *rest = shlex.split(launch.replace("train.py", str(ROOT / "train.py")))
    done = run("-m", "torch.distributed.run", *rest, cwd=home)
    assert done.returncode == 0, done.stderr
    assert (home / "runs").is_dir()


def printed() -> list[tuple[Block, Block]]:
    """Pair each text block with the shell block above it, where that one plans."""
    pairs = []
    for path in [README, *DOCS]:
        above = None
        for block in blocks_of(path):
            if block.language == "text" and above and {"plan"} & set(map(kind_of, above.commands)):
                pairs.append((above, block))
            above = block if block.language == "sh" else None
    return pairs


@pytest.mark.slow
@of_kind("application")
def test_jobs_of_other_applications_get_as_far_as_credentials(command: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests" / "foreign_app", tmp_path / "app")
    page = blocks_of(ROOT / "docs" / "hydra-launcher.md")
    (settings,) = [block.text for block in page if block.language == "yaml"]
    group = tmp_path / "app" / "conf" / "aws" / "mine.yaml"
    group.parent.mkdir()
    group.write_text(settings)
    words = [sys.executable, *words_of(command)[1:], "hydra.launcher.region=us-east-1"]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")} | NOWHERE
    done = subprocess.run(
        words, cwd=tmp_path / "app", env=variables, capture_output=True, text=True
    )
    plans = "hydra.launcher.plan=true" in words
    assert done.returncode == (0 if plans else 6), done.stdout + done.stderr
    assert "worst case: 2 x" in done.stdout and "Traceback" not in done.stderr
    assert plans or "credentials" in done.stderr


@pytest.mark.parametrize("above, block", printed())
def test_what_a_plan_prints_is_real(above: Block, block: Block, home: Path) -> None:
    plans = [execute(c, home, **NOWHERE) for c in above.commands if kind_of(c) == "plan"]
    output = "\n".join(done.stdout + done.stderr for done in plans)
    for line in block.text.splitlines():
        assert line.strip() in output


def test_some_output_is_checked() -> None:
    assert {block.document for _, block in printed()} >= {"README.md", "sagemaker.md"}


@pytest.mark.parametrize("document", ["README.md", "docs/extending.md"])
def test_group_files_that_are_shown_work(document: str, home: Path) -> None:
    choices = write_groups(ROOT / document, home / "own")
    (home / "own" / "my_code.py").write_text(own_code())
    first = {choice.partition("=")[0]: choice for choice in reversed(choices)}
    assert first.keys() >= {"model", "data", "cluster"}
    others = [[choice] for choice in choices if choice not in first.values()]
    for together in (list(first.values()), *others):
        options = ["--config-dir", str(home / "own"), *together]
        done = run(str(ROOT / "launch.py"), *options, cwd=home)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "docs/api.md"])
def test_python_that_is_shown_runs(document: str, trained: Path) -> None:
    """In one process, block by block, with a small model in place of one of the hub."""
    code = "\n".join(b.text for b in blocks_of(ROOT / document) if b.language == "python")
    small = ", ".join(f'"{setting}"' for setting in QUICK[:2])
    done = run("-c", code.replace('"model=xlmr_base"', small), cwd=trained)
    assert done.returncode == 0 and done.stdout, done.stderr


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Relative ones; those of docs/ stay in it, so that they work on the site as well."""
    for link in links_of(path):
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{path.name}: dead link {link}"
        assert path not in DOCS or target.is_relative_to(ROOT / "docs"), f"{path.name}: {link}"
        anchors = [github_anchor(heading) for heading in headings_of(target)] if anchor else [""]
        assert anchor in anchors, f"{path.name}: no heading for {link}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_anchors_are_the_same_on_the_site(path: Path) -> None:
    anchors = [github_anchor(heading) for heading in headings_of(path)]
    assert anchors == [site_anchor(heading) for heading in headings_of(path)]
    assert len(set(anchors)) == len(anchors)


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    assert sorted(re.findall(r'"([\w-]+\.md)"', config)) == [path.name for path in DOCS]
    index = {link.partition("#")[0] for link in links_of(ROOT / "docs" / "index.md")}
    assert index >= {path.name for path in DOCS} - {"index.md"}


@pytest.mark.parametrize("path", [README, *DOCS], ids=lambda path: path.name)
def test_settings_and_files_that_are_named_exist(path: Path) -> None:
    sections = {key for key in setting_types() if "." in key}
    groups = config_groups(CONF)
    for code in inline_code_of(path):
        setting = re.match(r"((?:\w+\.)+\w+)(?:=|$)", code)
        if setting and setting[1].partition(".")[0] in setting_types():
            file = re.search(r"\.(py|yaml|jsonl?|gz|onnx)$", code) or path.name == "architecture.md"
            known = any(f"{setting[1]}.".startswith(f"{key}.") for key in sections)
            assert file or known, f"{path.name}: {code}"
        if option := re.fullmatch(r"(\w+)=(\w+)", code):
            known = option[2] in groups.get(option[1], [option[2]])
            assert known or path.name in ("README.md", "extending.md", "hydra.md"), (
                f"{path.name}: {code}"
            )
        if re.fullmatch(r"(src|tests|tools|benchmarks|conf)/[\w./-]+", code):
            assert (ROOT / code).exists(), f"{path.name}: {code}"


def test_generated_pages_are_fresh() -> None:
    sys.path.insert(0, str(ROOT / "tools"))
    import reference

    for path, text in reference.pages().items():
        assert path.read_text(encoding="utf-8") == text, (
            f"{path.name} is stale: python tools/reference.py"
        )
    keys = re.findall(r"^\| `([\w.]+)` \|", reference.settings_page(), re.MULTILINE)
    settings = {
        key for key, kind in setting_types().items() if not hasattr(kind, "__dataclass_fields__")
    }
    assert settings <= set(keys)


def test_commits_run_the_tools_of_make_check() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    tools = [line.split("$(BIN)/")[1].split() for line in recipe[1].splitlines()]
    assert [hook.split()[:2] for hook in hooks] == [
        [f".venv/bin/{tool}", *rest[:1]] if tool == "ruff" else [f".venv/bin/{tool}"]
        for tool, *rest in tools
    ]


@pytest.mark.slow
def test_the_programs_named_are_installed() -> None:
    for program in ("tensorboard", "torchrun"):
        path = Path(sys.executable).parent / program
        assert (
            subprocess.run([path, "--help"], capture_output=True, timeout=PATIENCE).returncode == 0
        )
