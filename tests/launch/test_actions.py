"""launch.py as a user sees it: the page, plain and on a terminal, the JSON, the exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, compose, run
from waiting import PATIENCE

from lingotune.config.jobfile import job_of
from lingotune.config.schema import Precision
from lingotune.estimate.batch import plan_batches
from lingotune.estimate.throughput import FILE, SCHEMA, Throughput, append_record, setup_of
from lingotune.launch.render.service_model import mistakes

CLOUD = "cluster=p3_16xl"


def launched(*overrides: str, code: int = 0) -> str:
    done = run("launch.py", *overrides)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def json_of(*overrides: str, code: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(launched(*overrides, "output=json", code=code))
    assert told["exit_code"] == code
    return told


def section(page: str, title: str) -> str:
    """The lines under a title of the plain page."""
    return page.split(f"{title}:\n", 1)[1].split("\n\n", 1)[0]


def test_the_page_of_one_job() -> None:
    page = launched(CLOUD, "per_device_bs=16")
    titles = re.findall(r"^(\S.*):$", page, re.MULTILINE)
    assert titles == ["job", "arithmetic", "machines", "time and money", "findings", "next"]
    assert "instance-not-sold" in section(page, "findings")
    assert "global batch 128 = 16 per GPU x 8 GPUs x 1 accumulation" in section(page, "arithmetic")
    assert "8 x V100 16 GiB each" in section(page, "machines")
    assert "worst case 112.61 USD = 14400 s" in section(page, "time and money")
    assert "expected time unknown" in section(page, "time and money")
    assert "action=submit" in section(page, "next")
    assert "\x1b" not in page, "no colour in a pipe"


def test_without_a_run_on_record_the_page_gives_what_paper_says_at_least() -> None:
    typed = ["cluster=p4d_24xl", "model=xlmr_base", "data=amazon_reviews_multi"]
    money = section(launched(*typed, "budget.usd_per_hour=36"), "time and money")
    unknown, least = money.splitlines()[:2]
    assert "expected time unknown" in unknown
    steps, milliseconds, usd = re.fullmatch(
        r"  at least .* = (\d+) updates x ([\d.]+) ms on paper, .*: ([\d.]+) USD", least
    ).groups()  # type: ignore[union-attr]
    assert float(usd) == pytest.approx(int(steps) * float(milliseconds) / 1000 * 0.01, rel=0.02)
    assert "at least" not in section(launched(CLOUD), "time and money"), "a tiny model"


def test_findings_are_on_the_page_with_id_reason_and_what_works() -> None:
    found = section(launched("experiment=blog", code=2), "findings")
    for part in ("[image-too-old]", "[hub-token-on-workers]", "warning: cluster.distribution=",
                 "why: ", "fix: cluster.image.lane=pinned"):  # fmt: skip
        assert part in found


def test_everything_wrong_is_told_at_once_whatever_finds_it() -> None:
    done = run("launch.py", CLOUD, "lr=0", "cluster.spot=true", "cluster.keep_alive=60",
               "training.precision=bf16", "no.such=1", "budget.max_usd=-1")  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    for check in ("out-of-range", "warm-pool-with-spot", "bf16-unsupported", "budget-range"):
        assert f"[{check}]" in done.stderr
    assert "unknown setting 'no.such'" in done.stderr


def on_a_terminal(*arguments: str, columns: int = 80) -> str:
    """What a command prints on a terminal of this width."""
    main, side = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, stdout=side, stderr=side, env=environment
    )
    os.close(side)
    output = b""
    while select.select([main], [], [], PATIENCE)[0]:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        output += chunk
        if not chunk:
            break
    process.wait(PATIENCE)
    os.close(main)
    return output.decode()


def test_a_terminal_gets_colour_and_no_override_is_cut() -> None:
    shown = on_a_terminal("launch.py", "experiment=blog")
    assert "\x1b[" in shown and "…" not in shown
    letters = re.sub(r"\x1b\[[0-9;]*m|[│\s]", "", shown)
    for override in ("cluster.image.lane=pinned", "cluster.image.transformers=4.28.1",
                     "cluster.distribution=torch_distributed"):  # fmt: skip
        assert override in letters
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip("\r")) <= 80
               for line in shown.split("\n") if "python launch.py" not in line)  # fmt: skip


def test_markup_in_a_value_is_shown_as_typed() -> None:
    assert "[bold]x" in on_a_terminal("launch.py", CLOUD, "aws.tags={a: '[bold]x'}", "name=x")


# --- JSON ---------------------------------------------------------------------------------------


def test_json_holds_all_forms_of_a_job_and_its_figures() -> None:
    told = json_of(CLOUD, "per_device_bs=16", "aws.region=eu-west-1")
    (job,) = told["jobs"]
    assert job["batch"]["global_batch"] == 128 and job["steps"]["total_steps"] == 145
    assert job["settings"]["per_device_bs"] == 16 and job["memory"]["fixed_gib"] > 0
    assert job["request"]["TrainingJobName"] == job["name"]
    assert job["huggingface"]["fit"]["job_name"] == job["name"]
    assert job["model_trainer"]["trainer"]["base_job_name"] == job["name"]
    assert job["cost"]["worst_usd"] is None, "no price of eu-west-1 is shipped, none is invented"
    assert {m.path for m in mistakes(job["request"])} == {"RoleArn"}, "still to be given"


def test_json_of_what_cannot_be_planned() -> None:
    told = json_of(CLOUD, "lr=0", "training.precision=bf16", code=2)
    assert {f["check"] for f in told["findings"]} == {
        "out-of-range", "bf16-unsupported", "instance-not-sold"
    }  # fmt: skip
    assert all({"where", "what", "fix", "severity", "why"} <= set(f) for f in told["findings"])


def test_json_of_findings() -> None:
    told = json_of("experiment=blog", code=2)
    severities = {f["check"]: f["severity"] for f in told["findings"]}
    assert severities["image-too-old"] == "error"
    assert severities["smdistributed-ends-on-p3"] == "warning"
    assert told["jobs"][0]["request"]["ResourceConfig"]["InstanceType"] == "ml.p3.16xlarge"


def test_a_request_is_all_of_standard_output(tmp_path: Path) -> None:
    names = ["aws.role=arn:aws:iam::111122223333:role/R", "aws.bucket=b-1", "aws.region=us-east-1"]
    request = json.loads(launched(CLOUD, *names, "output=request", f"job_file={tmp_path}/j.yaml"))
    assert mistakes(request) == []
    assert (tmp_path / "j.yaml").exists()
    many = json.loads(launched("-m", CLOUD, "lr=1e-4,3e-4", *names, "output=request"))
    assert len({one["TrainingJobName"] for one in many}) == 2


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["output=request"], "nothing to request"),
        (["action=check"], "nothing to check"),
        (["budget.max_usd=5"], "nothing to pay for"),
        ([CLOUD, "output=request", "action=submit"], "prints a request"),
        ([CLOUD, "attempt=0"], "out of range"),
        (["-m", CLOUD, "lr=1e-4,1e-3", "job_file=x.yaml"], "one file cannot hold"),
        ([CLOUD, "budget.prices=/no/such.json"], "cannot be read"),
        ([CLOUD, "aws.region=mars-1", "budget.max_usd=5"], "the price of the job is unknown"),
    ],
)
def test_refusals(overrides: list[str], told: str) -> None:
    done = run("launch.py", *overrides)
    assert done.returncode == 2 and told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# --- sweeps -------------------------------------------------------------------------------------


def test_a_sweep_has_one_table_and_one_sum() -> None:
    page = launched("-m", CLOUD, "lr=1e-4,3e-4,1e-3")
    header, *rows = section(page, "3 jobs").splitlines()
    assert header.split()[:2] == ["#", "lr"] and header.split()[-1] == "job" and len(rows) == 3
    assert [row.split()[:2] for row in rows] == [["1", "0.0001"], ["2", "0.0003"], ["3", "0.001"]]
    assert "worst case of all 3 jobs: 337.82 USD" in page


def test_a_finding_of_one_job_is_told_once_and_stops_all() -> None:
    done = run("launch.py", "-m", CLOUD, "lr=1e-4,7", "training.precision=auto,bf16")
    assert done.returncode == 2
    assert done.stderr.count("[out-of-range]") == 1
    assert done.stderr.count("[bf16-unsupported]") == 1


def test_the_data_of_a_sweep_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import date

    from conftest import CONF

    from lingotune.config.schema import split_seed
    from lingotune.launch.checks.launch import check_launch
    from lingotune.launch.compose.compose import compose_all
    from lingotune.launch.cost.quote import CostEstimator
    from lingotune.launch.plan import planner as plan
    from lingotune.launch.render.bundle import build_bundle

    path = tmp_path / "r.jsonl"
    rows = [{"review_body": f"text {n}", "stars": n % 5 + 1, "language": "de"} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = "data.split_seed=1,2"
    typed = [CLOUD, "data=files", f"data.path={path}", "lr=1e-4,3e-4", splits, "seed=1,2"]
    composed = compose_all(typed, CONF, check_launch, multirun=True)
    reads: list[int] = []
    deliver = plan.deliver
    monkeypatch.setattr(
        plan, "deliver", lambda config: [reads.append(split_seed(config)), deliver(config)][1]
    )
    sweep = plan.Planner(build_bundle(), CostEstimator(date(2026, 11, 23))).sweep(composed)
    assert len(sweep.plans) == 8 and reads == [1, 2], "once for each seed of the splits"


# --- time ---------------------------------------------------------------------------------------


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """A folder of runs with one finished run of the p3_16xl job on record: 200 samples a second."""
    job = job_of(compose(CLOUD))
    batch = plan_batches(job)
    append_record(
        tmp_path / FILE,
        Throughput(
            schema=SCHEMA, date="2026-11-20T10:00:00Z", lingotune="0.1.0", job_sha256="ab" * 32,
            setup=setup_of(job, batch, Precision.fp16), world_size=8, parameters=1, data="sample",
            languages=("de",), rows={"train": 1, "validation": 1, "test": 1}, tokens_mean=40.0,
            tokens_p95=60.0, padding=None, train_samples=18000, eval_samples=4500,
            train_seconds=90.0, eval_seconds=4.5, other_seconds=60.0, samples_per_second=200.0,
            eval_samples_per_second=1000.0,
        ),
    )  # fmt: skip
    return tmp_path


def test_a_finished_run_gives_time_and_cost(runs_dir: Path) -> None:
    told = section(launched(CLOUD, f"runs_dir={runs_dir}"), "time and money")
    # 5 epochs of 3600 rows; 5 validations of 600 and the final 600 + 900
    assert "expected 154 s = 90 s training (18000 samples / 200 a second)" in told
    assert "4 s evaluating (4500 samples / 1000 a second) + 60 s" in told
    assert "expected 1.21 USD" in told


def test_a_job_that_would_be_stopped_unfinished_is_refused(runs_dir: Path) -> None:
    page = launched(CLOUD, f"runs_dir={runs_dir}", "cluster.max_run=120", code=2)
    assert "[max-run-too-short]" in page and "fix: cluster.max_run=240" in page
    launched(CLOUD, f"runs_dir={runs_dir}", "cluster.max_run=240")


def test_a_broken_record_is_told_and_the_rest_is_used(runs_dir: Path) -> None:
    with (runs_dir / FILE).open("a") as file:
        file.write("{broken\n")
    page = launched(CLOUD, f"runs_dir={runs_dir}")
    assert f"warning: {runs_dir / FILE}:2" in page and "expected 154 s" in page
