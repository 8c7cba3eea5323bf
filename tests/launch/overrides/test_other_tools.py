"""Names of other tools: here they have another name, or there is none and it is said why."""

from __future__ import annotations

import pytest
from conftest import CONF

from lingotune.config.settings import setting_types
from lingotune.launch.overrides.keys import ALIASES, config_groups
from lingotune.launch.overrides.other_tools import not_here
from lingotune.launch.overrides.overrides import read_overrides
from lingotune.launch.overrides.unknown_names import accepted, unknown_name

GROUPS = config_groups(CONF)

NAMES = """
accelerator devices strategy max_epochs min_epochs accumulate_grad_batches val_check_interval
limit_train_batches fast_dev_run logger enable_progress_bar default_root_dir gradient_clip_val ckpt_path
save_top_k detect_anomaly
zero_optimization zero_optimization.stage train_micro_batch_size_per_gpu gradient_clipping optimizer.type
fp16.enabled steps_per_print deepspeed_config
mixed_precision num_processes num_machines gpu_ids dynamo_backend machine_rank main_process_port
use_early_stopping early_stopping_patience reprocess_input_data evaluate_during_training manual_seed
best_model_dir n_gpu wandb_project sliding_window polynomial_decay_schedule_power
num_iterations body_learning_rate head_learning_rate sampling_strategy end_to_end
base_model model_type tokenizer_type load_in_8bit load_in_4bit adapter lora_r lora_alpha sequence_len
sample_packing micro_batch_size val_set_size special_tokens dataset_prepared_path flash_attention
chat_template wandb_entity evals_per_epoch
entry_point source_dir hyperparameters metric_definitions transformers_version py_version base_job_name
output_path code_location volume_size use_spot_instances checkpoint_s3_uri security_group_ids
encrypt_inter_container_traffic keep_alive_period_in_seconds disable_profiler debugger_hook_config
git_config sagemaker_session model_uri image_uri container_log_level instance_groups compiler_config inputs
logs framework_version
text_column_names label_column_name metric_name max_seq_length pad_to_max_length train_file validation_file
max_train_samples overwrite_cache preprocessing_num_workers cache_dir config_name tokenizer_name
use_fast_tokenizer trust_remote_code ignore_mismatched_sizes do_regression shuffle_train_dataset
train_split_name dataset_config_name dataset_name token use_auth_token num_labels id2label class_weights
num_workers optimizer_name early_stopping checkpoint_path device gpus verbose
""".split()  # noqa: SIM905
"""As they stand in the documentation of PyTorch Lightning, DeepSpeed, Accelerate, simpletransformers,
SetFit, axolotl, the SageMaker SDK and transformers' run_classification.py."""


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_another_tool_is_answered(name: str) -> None:
    for typed in (f"{name}=1", f"trainer.{name}=1", f"+{name}=1"):
        (problem,) = read_overrides([typed], GROUPS, multirun=False)[1]
        assert ": here it is " in problem.what or "is not a setting here: " in problem.what, problem
        assert problem.fix and "did you mean" not in problem.what, problem


def test_what_is_offered_instead_can_be_typed() -> None:
    for name, row in not_here().items():
        for word in row.instead.replace("'", "").replace(", ", ",").split():
            assert accepted(word, GROUPS), (name, word)


def test_no_name_is_in_two_tables() -> None:
    leaves = {key.rpartition(".")[2] for key in setting_types()}
    assert not not_here().keys() & (leaves | ALIASES.keys())


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("learning_rate=2e-5", "lr=2e-5"), ("learningrate=2e-5", "lr=2e-5"), ("LR=2e-5", "lr=2e-5"),
        ("batch_size=16", "per_device_bs=16"), ("num_train_epochs=3.0", "epochs=3.0"),
        ("fp16=true", "training.precision=fp16"), ("fp16=False", "leave it out"),
        ("fp16.enabled=true", "training.precision=fp16"),
        ("model_name_or_path=bert-base-cased", "model=pretrained model.name_or_path=bert-base-cased"),
        ("instance_type=ml.g5.xlarge", "cluster=sagemaker cluster.instance_type=ml.g5.xlarge"),
        ("dataset_name=mteb/imdb", "data=files data.path=hf://datasets/mteb/imdb"),
        ("report_to=wandb", "'training.report_to=[wandb]'"),
        ("text_column_name='review text'", "\"data.columns.text='review text'\""),
        ("warmup=0.1", "training.warmup_ratio=0.1"),
        ("early_stopping_patience=3", "training.patience=3"), ("patience=3", "training.patience=3"),
        ("early_stoping_patience=3", "training.patience=3"),
        ("lr_scheduler_type=cosine", "training.schedule=cosine"),
        ("optim=adafactor", "training.optimizer=adafactor"),
        ("optimizer=adafactor", "training.optimizer=adafactor"),
        ("gradient_checkpointing=true", "training.gradient_checkpointing=true"),
        ("classifier_dropout=0.2", "model.head_dropout=0.2"),
        ("freeze_layers=2", "training.freeze_layers=2"),
        ("metric_for_best_model=f1", "evaluation.select="), ("data/path=x", "data.path=x"),
    ],
)  # fmt: skip
def test_the_value_goes_with_the_name(typed: str, fix: str) -> None:
    (problem,) = read_overrides([typed], GROUPS, multirun=True)[1]
    assert problem.fix == fix or (fix.endswith("=") and problem.fix.startswith(fix))


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("gradient_checkpointing_kwarg", "gradient_checkpointing_kwargs"),
        ("optimizer_typ", "optimizer_type"),
        ("num_workr", "num_workers"),
    ],
)  # fmt: skip
def test_a_misspelled_name_of_another_tool_is_no_setting_either(typed: str, name: str) -> None:
    what, fix = unknown_name(typed, "1", GROUPS)
    assert what.startswith(f"unknown setting '{typed}'; {name} is not a setting here: ") and fix


@pytest.mark.parametrize("name", ["args", "tracking", "notes", "monitor", "strict", "margin"])
def test_nothing_that_only_looks_alike_is_offered(name: str) -> None:
    what, _ = unknown_name(name, "1", GROUPS)
    assert "did you mean" not in what
