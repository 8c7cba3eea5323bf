"""Options besides overrides: help by section, and a job file as the base of a new job."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CONF, compose, run

from lingotune.config.jobfile import dump_job, job_digest, job_of
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig
from lingotune.config.settings import setting_types
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.compose.help import Command, first_sentence, help_page, setting_texts
from lingotune.launch.compose.options import composed_jobs
from lingotune.launch.overrides.keys import config_groups

LAUNCH = Command("lingotune launch", "Plan, check or submit.")


# --- help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_no_line_is_wider_than_the_terminal_or_100_columns(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for topic in ["", "data", "cluster", "training", "experiment", "training.precision", "aws"]:
        lines = help_page(LAUNCH, CONF, topic=topic).splitlines()
        assert max(map(len, lines)) <= min(columns, 100), topic
        assert len(lines) < (160 if columns >= 80 else 240)


def test_the_overview_names_every_group_and_section() -> None:
    page = help_page(LAUNCH, CONF)
    for group in config_groups(CONF):
        assert f"\n  {group}=" in page
    keys = [key for key in setting_types() if key.startswith("training.")]
    count = sum(not any(other.startswith(f"{key}.") for other in keys) for key in keys)
    said = f"Optimisation, in the terms of transformers ({count} settings)\n"
    assert count > 25 and said in page
    assert "\n  per_device_bs  a whole number; default what suits the model\n" in page
    assert "training.precision" not in page


def test_a_section_shows_choices_defaults_and_who_else_sets_them() -> None:
    page = help_page(LAUNCH, CONF, topic="training")
    assert "  training.precision  auto | fp32 | fp16 | bf16; default auto; set by" in page
    assert "  training.compile  true | false; default false\n" in page
    assert "  training.max_steps  a whole number or null; default null\n" in page
    data = help_page(LAUNCH, CONF, topic="data=files")
    assert "\n  data=sample " in data and "  data.columns.text  a text; default review_body" in data


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--detahc", "lr=x"], {"--detahc": "--detach", "lr=x": "lr=0.001"}),
        (["--run-dri", "a"], {"--run-dri a": "--run-dir a"}),
        (["--run_dri=a", "--folow"], {"--run_dri=a": "--run-dir=a", "--folow": "--follow"}),
        (["--runs-dir=a"], {"--runs-dir=a": "runs_dir=a"}),
        (["--data", "files"], {"--data files": "data=files"}),
        (["--run-dri"], {"--run-dri VALUE": "--run-dir VALUE"}),
    ],
)
def test_misspelt_options_of_a_command_are_told_with_all_else(
    typed: list[str], said: dict[str, str]
) -> None:
    own = {"--follow": "", "--detach": "", "--run-dir DIR": ""}
    with pytest.raises(ConfigError) as found:
        composed_jobs(typed, Command("launch", "", options=own), CONF, lambda config: [])
    assert {problem.where: problem.fix for problem in found.value.problems} == said


def test_first_sentences_are_whole() -> None:
    """No stop of an abbreviation, such as `et al.`, is taken for the end of a sentence."""
    sections = {key: str(kind.__doc__) for key, kind in setting_types().items() if "." not in key}
    assert "(Hinton et al. 2015)" in first_sentence(" ".join(sections["distillation"].split()))
    for key, text in [*sections.items(), *setting_texts().items()]:
        told = first_sentence(" ".join(text.split()))
        assert told.count("(") == told.count(")") and told.count("`") % 2 == 0, key


def test_every_setting_is_on_the_page_of_its_section() -> None:
    pages = {key.split(".")[0] for key in setting_types() if "." in key}
    shown = "\n".join(help_page(LAUNCH, CONF, topic=name) for name in ("", *pages))
    for key in setting_types():
        assert f"  {key}  " in shown or f"  {key}: " in shown or f"  {key}. " in shown


def test_one_setting_shows_its_whole_text() -> None:
    page = help_page(LAUNCH, CONF, topic="lr")
    assert page.startswith(
        "lr: a number; default what suits the model\n\nLearning rate before `scaling`."
    )
    assert "model=xlmr_base             2e-05" in page.replace("\n" + " " * 30, " " * 4)
    whole = " ".join(help_page(LAUNCH, CONF, topic="training.compact_vocabulary").split())
    assert setting_texts()["training.compact_vocabulary"] in whole


def test_an_unknown_topic_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--help trainig: is no .*did you mean training\?"):
        help_page(LAUNCH, CONF, topic="trainig")


def test_a_command_shows_what_has_an_effect_on_it() -> None:
    page = help_page(Command("x", "y", ("data", "seed")), CONF)
    assert "\n  data=" in page and "\n  seed  " in page
    assert "cluster" not in page and "per_device_bs" not in page


# --- a job as the base --------------------------------------------------------------------------


def onto(job: JobConfig, *typed: str) -> JobConfig:
    found = compose_all(list(typed), CONF, lambda config: [], multirun=False, base=job)
    return job_of(found[0].config)


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["experiment=blog", "seed=5"],
        ["cluster=p4d_24xl", "cluster.nodes=2", "cluster.environment.A=1", "data.labels.0.name=x"],
        ["model=pretrained", "model.name_or_path=here", "name=mine", "data.languages=[de,no]"],
    ],
)
def test_a_job_without_overrides_is_the_very_same(typed: list[str]) -> None:
    job = job_of(compose(*typed))
    assert job_digest(onto(job)) == job_digest(job)


def test_values_go_on_top() -> None:
    job = onto(job_of(compose("lr=2e-4", "seed=7")), "lr=2e-5", "cluster.environment.A=b")
    assert (job.lr, job.seed, job.cluster.environment) == (2e-5, 7, {"A": "b"})


def test_a_group_begins_its_section_anew() -> None:
    before = job_of(compose("cluster=p4d_24xl", "cluster.nodes=2", "cluster.spot=true", "lr=2e-4"))
    assert onto(before, "cluster=p3_16xl").cluster == job_of(compose("cluster=p3_16xl")).cluster
    assert onto(before, "cluster=local").cluster == job_of(compose()).cluster
    assert onto(before, "cluster=p3_16xl").lr == 2e-4


def test_what_a_group_file_sets_elsewhere_goes_on_top_too() -> None:
    job = onto(job_of(compose("lr=9e-4")), "model=xlmr_base")
    assert (job.lr, job.model.name, job.name) == (2e-5, "xlmr-base", "xlmr-base-sample")
    assert onto(job_of(compose("name=mine")), "model=xlmr_base").name == "mine"


def test_another_model_leaves_the_learning_rate_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = "# @package _global_\nmodel: {name: large, name_or_path: mine/bert-large-cased}\n"
    (tmp_path / "model" / "mine.yaml").write_text(text)
    before = job_of(compose("lr=9e-4"))
    job = job_of(
        compose_all(["model=mine"], CONF, lambda config: [], multirun=False,
                    extra_dir=tmp_path, base=before)[0].config
    )  # fmt: skip
    assert (job.lr, job.per_device_bs, job.epochs) == (1e-5, 8, 3)


def test_an_experiment_chooses_the_groups_that_it_names() -> None:
    before = job_of(compose("cluster=p4d_24xl", "cluster.nodes=2", "seed=3"))
    job = onto(before, "experiment=blog")
    expected = job_of(compose("experiment=blog"))
    assert (job.cluster, job.model, job.scaling) == (
        expected.cluster, expected.model, expected.scaling,
    )  # fmt: skip
    assert job.seed == 3


def test_a_job_of_the_command_line_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(dump_job(job_of(compose("seed=7"))))
    typed = ["--job", str(path), "-m", "lr=1e-4,1e-5"]
    jobs = composed_jobs(typed, LAUNCH, CONF, lambda config: [])
    assert [(one.config.lr, one.config.seed) for one in jobs] == [(1e-4, 7), (1e-5, 7)]
    assert jobs[0].options == ("--job", str(path))
    with pytest.raises(ConfigError, match="unknown setting 'lrr'"):
        composed_jobs(["--job", str(path), "lrr=1"], LAUNCH, CONF, lambda config: [])


def test_a_job_file_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    content = dump_job(job_of(compose()))
    for damaged, told in (
        (content + b"x: 1\n", "was changed after it was written"),
        (b"lr: 1\n", "is not a job file"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match=told):
            composed_jobs(["--job", str(path), "lr=1"], LAUNCH, CONF, lambda config: [])


def test_train_takes_a_job_file_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(dump_job(job_of(compose("seed=7"))))
    done = run("train.py", "--job", str(path), "lr=2e-5", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "\nseed: 7\nlr: 2.0e-05\n" in done.stdout
