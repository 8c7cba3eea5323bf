"""Group files of the user's own: read as they are written, and all that is wrong told at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import CONF

from lingotune.config.console import format_error
from lingotune.config.jobfile import dump_job, job_of, load_job
from lingotune.config.problems import ConfigError
from lingotune.config.schema import JobConfig, LabelConfig
from lingotune.launch.compose.compose import compose_all

HEAD = "# @package _global_\n"


def job(folder: Path, *overrides: str, base: JobConfig | None = None) -> JobConfig:
    found = compose_all(
        list(overrides), CONF, lambda config: [], multirun=False, extra_dir=folder, base=base
    )
    return job_of(found[0].config)


def refusal(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        job(folder, *overrides)
    return format_error(caught.value).replace(str(folder), "DIR")


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


WORDS = """\
defaults: [files]
name: 0110
path: ???
columns: {text: yes, label: on, language: null}
languages: [no, sv, da]
labels:
  - name: no
    values: [FALSE, 0110, 1.10]
  - {name: yes, values: [TRUE, 1e3, 12:30]}
"""


def test_texts_are_as_they_are_written(tmp_path: Path) -> None:
    made = job(write(tmp_path, "data/words.yaml", WORDS), "data=words", "data.path=x.csv")
    data = made.data
    assert (data.name, data.languages) == ("0110", ["no", "sv", "da"])
    assert (data.columns.text, data.columns.label, data.columns.language) == ("yes", "on", None)
    assert data.labels == [
        LabelConfig("no", ["FALSE", "0110", "1.10"]), LabelConfig("yes", ["TRUE", "1e3", "12:30"])
    ]  # fmt: skip
    path = tmp_path / "job.yaml"
    path.write_bytes(dump_job(made))
    assert load_job(path)[0] == made
    assert job(tmp_path, base=made) == made


def test_names_in_mappings_are_texts_too(tmp_path: Path) -> None:
    text = f"{HEAD}cluster:\n  environment: {{NO: no, A.b: 0110, '1': 1.10}}\n"
    made = job(write(tmp_path, "experiment/a.yaml", text), "experiment=a")
    assert made.cluster.environment == {"NO": "no", "A.b": "0110", "1": "1.10"}


def test_numbers_are_read_where_the_schema_has_them(tmp_path: Path) -> None:
    text = """\
defaults:
  - override /cluster: g5_12xl
  - override /scaling: none
name: run-${seed}-${model.name}
lr: 1e-5
epochs: 1
per_device_bs: "16"
training: {save_steps: 1e3, freeze_embeddings: yes, max_steps: null, layer_decay: 1}
"""
    made = job(write(tmp_path, "experiment/a.yaml", HEAD + text), "experiment=a")
    training = made.training
    assert (made.name, made.lr, made.epochs, made.per_device_bs) == ("run-42-tiny", 1e-5, 1, 16)
    assert (training.save_steps, training.freeze_embeddings, training.max_steps) == (
        1000,
        True,
        None,
    )
    assert made.cluster.instance_type == "ml.g5.12xlarge" and training.layer_decay == 1.0


def test_whole_numbers_may_be_typed_with_an_exponent(tmp_path: Path) -> None:
    assert job(tmp_path, "training.save_steps=1e3").training.save_steps == 1000
    assert "is not a whole number" in refusal(tmp_path, "training.save_steps=1.5e0")


def test_everything_is_told_at_once(tmp_path: Path) -> None:
    text = """\
defaults:
  - override /cluster: g5_21xl
learning_rate: 3e-5
per_device_bs: 1.5
training:
  warmup: 0.1
  schedule: Linear
  freeze_embeddings: maybe
hydra:
  run: {dir: /tmp/x}
  sweeper:
    params: {lr: "1e-5,3e-5", seed: range(2)}
data:
  labels: [{nam: x}]
"""
    write(tmp_path, "experiment/a.yaml", HEAD + text)
    assert (
        refusal(tmp_path, "experiment=a", "lr=abc")
        == """\
lingotune: 10 problems
  DIR/experiment/a.yaml:10: hydra
      hydra's own settings have no effect here: each run has a folder of its own in runs_dir
      fix: leave it out; runs_dir: /tmp/x
  DIR/experiment/a.yaml:4: learning_rate
      unknown setting 'learning_rate': here it is lr
      fix: lr: 3e-5
  DIR/experiment/a.yaml:5: per_device_bs
      1.5 is not a whole number
      fix: per_device_bs: 16
  DIR/experiment/a.yaml:7: training.warmup
      unknown setting 'training.warmup'; did you mean training.warmup_ratio or training.warmup_steps?
      fix: warmup_ratio: 0.1
  DIR/experiment/a.yaml:8: training.schedule
      Linear is not one of its 5 choices
      fix: schedule: linear | cosine | cosine_with_restarts | polynomial | constant_with_warmup
  DIR/experiment/a.yaml:9: training.freeze_embeddings
      maybe is not true or false
      fix: freeze_embeddings: true
  DIR/experiment/a.yaml:15: data.labels[0].nam
      unknown name 'nam'; did you mean name?
      fix: labels: [{name: ..., values: ...}]
  DIR/experiment/a.yaml:3: defaults[0]
      cluster has no option 'g5_21xl'; did you mean g5_2xl?
      fix: override /cluster: g5_2xl | g5_24xl | g5_16xl | g5_12xl | g5_xl | ... (71 in all)
  DIR/experiment/a.yaml:13: experiment=a
      sweeps seed: many jobs, and this takes one
      fix: leave it out
  lr=abc
      'abc' is not a number
      fix: lr=0.001
next: python launch.py --help"""
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lr: 2e-5\n", "a.yaml\n      its settings are put below experiment, and there is no such"),
        ("# mine\n\nlr: 2e-5\n", "fix: # @package _global_ as its first line"),
        (f"{HEAD}hydra: {{run: {{dir: outputs}}}}\n", "a.yaml:2: hydra\n"),
        (f"{HEAD}hydra: {{run: {{dir: outputs}}}}\n", "fix: leave it out; runs_dir: outputs\n"),
        (f"{HEAD}hydra: {{verbose: true}}\n", "fix: leave it out\n"),
        (f"{HEAD}a: [1\nb: 2\n", "a.yaml:3\n      is not YAML: expected ',' or ']'"),
        (f"{HEAD}- lr\n", "holds no settings: the form is key: value, a line each"),
        (f"{HEAD}defaults: [{{/clustr: local}}]\n", "no group 'clustr'; did you mean cluster?"),
        (f"{HEAD}defaults: [{{cluster: local}}]\n", "fix: override /cluster: local\n"),
        (f"{HEAD}lr: 1\nlr: 2\n", "a.yaml:3\n      is not YAML: found duplicate key lr"),
    ],
)
def test_a_file_that_sets_nothing_is_told_why(text: str, told: str, tmp_path: Path) -> None:
    found = refusal(write(tmp_path, "experiment/a.yaml", text), "experiment=a", "seed=x")
    assert told in found and found.startswith("lingotune: 2 problems\n")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    write(tmp_path, "experiment/a.yaml", "")
    (tmp_path / "experiment" / "a.yaml").write_bytes(f"{HEAD}name: caf\xe9\n".encode("latin-1"))
    assert "a.yaml\n      line 2 is not UTF-8: " in refusal(tmp_path, "experiment=a")


def test_a_head_may_have_comments_before_it(tmp_path: Path) -> None:
    text = "# Ours.\n\n# @package _global_\n# More.\nlr: 2e-4\n"
    assert job(write(tmp_path, "experiment/a.yaml", text), "experiment=a").lr == 2e-4


def test_files_of_files_are_checked_too(tmp_path: Path) -> None:
    write(tmp_path, "experiment/outer.yaml", f"{HEAD}defaults: [inner, _self_]\nlr: 1e-4\n")
    write(tmp_path, "experiment/inner.yaml", f"{HEAD}sed: 4\nepochs: 2\n")
    assert "inner.yaml:2: sed\n" in refusal(tmp_path, "experiment=outer")
    write(tmp_path, "experiment/inner.yaml", f"{HEAD}seed: 4\nepochs: 2\n")
    made = job(tmp_path, "experiment=outer")
    assert (made.seed, made.epochs, made.lr) == (4, 2, 1e-4)


def test_a_reference_that_leads_nowhere_is_told_with_its_line(tmp_path: Path) -> None:
    text = "name: ${oc.env:HOME}\nseed: ${model.name}\ndata: {languages: ['${nope}']}\n"
    write(tmp_path, "experiment/a.yaml", HEAD + text)
    found = refusal(tmp_path, "experiment=a")
    assert "  DIR/experiment/a.yaml:2: name\n      '${oc.env:HOME}' calls a resolver" in found
    assert "      fix: --env HOME\n" in found
    write(tmp_path, "experiment/a.yaml", HEAD + text.partition("\n")[2])
    found = refusal(tmp_path, "experiment=a", "data.languages=[de]")
    assert "  DIR/experiment/a.yaml:2: seed\n" in found and "      fix: seed=3\n" in found
    # what is typed is none of the file's
    assert "  DIR/" not in refusal(tmp_path, "experiment=a", "seed=${model.name}")


def test_files_that_choose_each_other_by_their_group_are_told(tmp_path: Path) -> None:
    write(tmp_path, "experiment/a.yaml", f"{HEAD}defaults: [/experiment: b]\n")
    write(tmp_path, "experiment/b.yaml", f"{HEAD}defaults: [/experiment: a]\n")
    assert "group files choose each other in a circle" in refusal(tmp_path, "experiment=a")


def test_what_hydra_alone_finds_is_told_in_its_words_without_its_search_path(
    tmp_path: Path,
) -> None:
    text = f"{HEAD}defaults: [optional override /data: nowhere, _self_]\nlr: 1\n"
    told = refusal(write(tmp_path, "experiment/x.yaml", text), "experiment=x")
    assert "Could not find 'data/nowhere' Available options in 'data':" in told
    assert "://" not in told
