"""Learning rate and epochs that follow from model and data, and the seed of the splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import CONF, compose

from lingotune.catalog.models import epochs_for, kind_of, model_kinds
from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, LaunchConfig, ModelConfig, split_seed
from lingotune.estimate.batch import plan_batches, plan_steps
from lingotune.launch.compose.compose import Composed, compose_all
from lingotune.launch.compose.looked_up import with_looked_up
from lingotune.launch.plan.data_delivery import deliver

MINI = {"model_type": "bert", "vocab_size": 38051, "max_position_embeddings": 512, "type_vocab_size": 2,
        "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}  # fmt: skip


def folder_of(tmp_path: Path, layers: int = 4) -> Path:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps({**MINI, "num_hidden_layers": layers}))
    return tmp_path


def reviews(path: Path, rows: int) -> Path:
    classes = ("negative", "neutral", "positive")
    lines = (
        json.dumps({"review_body": f"text {n}", "label": classes[n % 3], "language": "en"})
        for n in range(rows)
    )
    path.write_text("\n".join(lines))
    return path


def composed(*typed: str) -> Composed:
    (one,) = compose_all(list(typed), CONF, lambda config: [], multirun=False)
    return with_looked_up([one])[0]


def pretrained(folder: Path, *typed: str) -> list[str]:
    return ["model=pretrained", f"model.name_or_path={folder}", *typed]


# --- learning rate and epochs ---------------------------------------------------------------------


def test_a_model_is_very_small_by_its_layers(tmp_path: Path) -> None:
    few, many = folder_of(tmp_path / "few", 4), folder_of(tmp_path / "many", 12)
    assert kind_of(ModelConfig("x", str(few))) is model_kinds()["mini"]
    assert kind_of(ModelConfig("x", str(many))) is model_kinds()["small"]


def test_more_rows_need_fewer_epochs(tmp_path: Path) -> None:
    model = ModelConfig("x", str(folder_of(tmp_path)))
    found = [epochs_for(model, rows) for rows in (100, 3000, 12_000, 72_000, 10**6)]
    assert found == sorted(found, reverse=True) and len(set(found)) == len(found)
    assert epochs_for(model, None) == kind_of(model).epochs
    assert epochs_for(ModelConfig("x", None), 100) == model_kinds()["scratch"].epochs


@pytest.mark.parametrize("rows", [100, 2500])
def test_they_are_looked_up_by_model_and_rows(tmp_path: Path, rows: int) -> None:
    folder, path = folder_of(tmp_path / "mini"), reviews(tmp_path / "reviews.jsonl", rows)
    typed = pretrained(folder, "data=files", f"data.path={path}", "data.test_share=0")
    job = job_of(composed(*typed).config)
    trained = rows - rows // 10
    assert job.lr == model_kinds()["mini"].lr and job.epochs == epochs_for(job.model, trained)
    batch = plan_batches(job)
    assert "suits a very small pretrained model" in batch.arithmetic[1]
    assert f"(suits {trained} rows)" in plan_steps(job, batch, trained).arithmetic[0]
    assert job == load_again(job, tmp_path), "the job file says the numbers"


def load_again(job: JobConfig, folder: Path) -> JobConfig:
    (folder / "job.yaml").write_bytes(dump_job(job))
    return load_job(folder / "job.yaml")[0]


def test_what_is_typed_stays(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    job = job_of(composed(*pretrained(folder, "lr=2e-5", "epochs=0.5")).config)
    assert (job.lr, job.epochs) == (2e-5, 0.5)
    assert "(as typed; scaling=none)" in plan_batches(job).arithmetic[1]
    assert "(suits" not in plan_steps(job, plan_batches(job), 3600).arithmetic[0]


def test_auto_looks_up_what_a_group_says(tmp_path: Path) -> None:
    job = job_of(composed("lr=auto", "epochs=auto", "model=xlmr_base").config)
    assert job.lr == model_kinds()["base"].lr and job.epochs == epochs_for(job.model, 3600)
    assert job_of(composed("epochs=auto").config).epochs == model_kinds()["scratch"].epochs


def test_rows_that_nobody_knows_count_for_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    far = pretrained(folder, "data=files", "data.path=s3://bucket/reviews.jsonl")
    (one,) = compose_all(far, CONF, lambda config: [], multirun=False)
    assert with_looked_up([one], fetches=False)[0].config.epochs == 3
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"nothing": 1}')
    broken = pretrained(folder, "data=files", f"data.path={wrong}")
    assert composed(*broken).config.epochs == 3, "what is wrong is told by who reads it next"


def test_other_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="epochs"):
        composed("epochs=automatic")


# --- parts of epochs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "steps"), [(0.5, 57), (0.1, 12), (1.0, 113), (2.5, 283), (3, 339)]
)
def test_a_part_of_an_epoch_is_rounded_up(epochs: float, steps: int) -> None:
    job = job_of(compose(f"epochs={epochs}"))
    assert plan_steps(job, plan_batches(job), 3600).total_steps == steps


def test_whole_epochs_are_written_as_ever(tmp_path: Path) -> None:
    for typed, written in (("3", "epochs: 3\n"), ("3.0", "epochs: 3\n"), ("0.5", "epochs: 0.5\n")):
        job = job_of(compose(f"epochs={typed}"))
        assert written in dump_job(job).decode()
        assert load_again(job, tmp_path) == job


# --- the seed of the splits -----------------------------------------------------------------------


def test_runs_of_several_seeds_share_their_rows() -> None:
    jobs = [job_of(compose(f"seed={seed}")) for seed in (1, 2, 42)]
    assert {split_seed(job) for job in jobs} == {42}
    assert "split_seed" not in dump_job(jobs[2]).decode(), "the digests of before stay"
    assert "split_seed: 42" in dump_job(jobs[0]).decode()


def test_a_job_file_of_before_keeps_its_rows(tmp_path: Path) -> None:
    """It names no seed of its splits: they were drawn by the job's seed."""
    old = job_of(compose("seed=7", "data.split_seed=7"))
    assert "split_seed" not in dump_job(old).decode()
    loaded = load_again(old, tmp_path)
    assert split_seed(loaded) == 7

    def onto(*typed: str) -> LaunchConfig:
        return compose_all(list(typed), CONF, lambda c: [], multirun=False, base=loaded)[0].config

    assert job_of(onto()) == loaded
    assert split_seed(job_of(onto("seed=8"))) == 7, "the rows stay where they are"
    assert split_seed(job_of(onto("seed=8", "data=sample"))) == 42


def test_null_draws_by_the_jobs_seed() -> None:
    assert split_seed(job_of(compose("seed=3", "data.split_seed=null"))) == 3


def test_the_prepared_data_follows_from_that_seed_alone(tmp_path: Path) -> None:
    path = reviews(tmp_path / "reviews.jsonl", 60)
    typed = ["data=files", f"data.path={path}", f"prepared_dir={tmp_path}"]
    digests = [
        deliver(compose(*typed, *seeds)).digest
        for seeds in ([], ["seed=1"], ["data.split_seed=1"], ["seed=1", "data.split_seed=null"])
    ]
    assert digests[0] == digests[1] != digests[2] == digests[3]
