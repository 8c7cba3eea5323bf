"""Every override that an error offers is applied to the same command: the same problem is gone then."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import pytest
from conftest import CONF
from hydra.core.override_parser.overrides_parser import OverridesParser

from lingotune.config.problems import ConfigError, Problem, errors_only
from lingotune.config.settings import setting_types
from lingotune.launch.checks.launch import check_launch
from lingotune.launch.compose.compose import compose_all
from lingotune.launch.overrides.keys import ALIASES, config_groups
from lingotune.launch.overrides.other_tools import not_here
from lingotune.launch.overrides.unreadable import unreadable

OVERRIDE = re.compile(r"[a-z_][\w.]*=")
HERE, CLOUD = (), ("cluster=p3_16xl",)


def wrong_values(kind: Any) -> list[str]:
    """Texts that are no value of a type, or one that no job should have."""
    inner = [arg for arg in typing.get_args(kind) if arg is not type(None)]
    if typing.get_origin(kind) is typing.Union:
        return [value for value in wrong_values(inner[0]) if value != "null"]
    if typing.get_origin(kind) is list:
        return ["de", "a b", "{a: 1}", "[[1]]"] + (["[{nam: x}]"] if is_dataclass(inner[0]) else [])
    if typing.get_origin(kind) is dict:
        return ["5", "[a]", "{a: [1]}"]
    if is_dataclass(kind):
        return ["5", "{nope: 1}"]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ["nope", next(iter(kind)).name.upper(), "[a]"]
    numbers = ["abc", "-1", "[1]", "null", "''"]
    return {bool: ["maybe", "2.5", "null"], int: [*numbers, "1.5"], float: [*numbers, "nan"],
            str: ["[a]", "{a: b}", "a,b", "null"]}.get(kind, ["{a: b}"])  # fmt: skip


def wrong_commands() -> Iterator[tuple[tuple[str, ...], str]]:
    """Commands without the wrong word, and that word."""
    for key, kind in setting_types().items():
        base = CLOUD if key.startswith(("aws", "budget", "cluster")) else HERE
        for value in wrong_values(kind):
            yield base, f"{key}={value}"
        yield base, f"~{key}"
        yield base, f"+{key}=1"
    for group, options in config_groups(CONF).items():
        yield from ((HERE, f"{group}={value}") for value in ("nope", options[0][:-1], "a,b"))
    yield from ((HERE, f"{name}=1") for name in [*not_here(), *ALIASES])
    yield from (
        (HERE, word) for word in ("--lr=3", "=3", "lr", "data.path=my file (1).csv", "+foo=1")
    )


@functools.cache
def problems_of(command: tuple[str, ...]) -> tuple[Problem, ...]:
    multirun = "-m" in command
    try:
        compose_all([w for w in command if w != "-m"], CONF, check_launch, multirun=multirun)
    except ConfigError as error:
        return tuple(errors_only(error.problems))
    return ()


def alternatives(fix: str) -> Iterator[str]:
    """Each alternative of a fix as it is pasted; those of a list of choices whole."""
    for part in re.split(
        r"[,;] (?:or )?(?=['\"]?[a-z_][\w.]*=|-m )|; or one (?:list|text|number): |; possible: ",
        fix,
    ):
        first, *others = part.split(" | ")
        yield from [first, *(first.partition("=")[0] + f"={other}" for other in others)]


def offered(fix: str) -> Iterator[list[str]]:
    """Words that a fix offers to be typed, for each of its alternatives."""
    for choice in alternatives(fix):
        try:
            words = shlex.split(choice)
        except ValueError:
            continue
        if words and all(w == "-m" or OVERRIDE.match(w) for w in words) and "..." not in choice:
            yield words


def applied(base: tuple[str, ...], words: list[str]) -> tuple[str, ...]:
    """The command with the words in place of the wrong one, and of what they set anew."""
    replaced = {word.partition("=")[0] for word in words}
    return (*(word for word in base if word.partition("=")[0] not in replaced), *words)


COMMANDS = list(wrong_commands())
PARTS = pytest.mark.parametrize(
    "commands",
    [
        pytest.param(COMMANDS[::3], id="each third"),
        pytest.param([*COMMANDS[1::3], *COMMANDS[2::3]], id="the others", marks=pytest.mark.slow),
    ],
)
"""Each third of the commands is enough for every day."""


@PARTS
def test_what_is_offered_solves_the_problem(commands: list[tuple[tuple[str, ...], str]]) -> None:
    errors, tried, circles = 0, 0, []
    for base, word in commands:
        found = problems_of((*base, word))
        errors += len(found)
        for problem in found:
            for words in offered(problem.fix):
                after = problems_of(applied(base, words))
                tried += 1
                if (problem.where, problem.what) in {(p.where, p.what) for p in after}:
                    circles.append((word, problem.what, words))
    assert not circles
    assert errors >= 300 and tried >= 300


@PARTS
def test_what_is_offered_leads_out_of_errors_and_never_back(
    commands: list[tuple[tuple[str, ...], str]],
) -> None:
    """The first override that is offered is taken, and so on: no command comes twice."""
    for base, word in commands:
        command = (*base, word)
        seen = {command}
        for _ in range(6):
            ways = ((p, words) for p in problems_of(command) for words in offered(p.fix))
            problem, words = next(ways, (None, []))
            if problem is None:
                break
            command = applied(tuple(w for w in command if w != problem.where), words)
            assert command not in seen, (base, word, command)
            seen.add(command)


@PARTS
def test_a_real_shell_makes_the_same_words_of_what_is_offered(
    commands: list[tuple[tuple[str, ...], str]],
) -> None:
    """Those of the other tests, which shlex has parted."""
    fixes = {p.fix for base, word in commands for p in problems_of((*base, word))}
    fixes |= {p.fix for word in UNREADABLE for p in problems_of((word,))}
    texts = sorted({text for fix in fixes for text in alternatives(fix)})
    commands = [
        text
        for text in texts
        if OVERRIDE.match(text.lstrip("'\"")) or text.startswith("-m ")
        if "..." not in text and "e.g." not in text
    ]
    script = "\n".join(f"printf '%s\\0' {text}; printf '\\0'" for text in commands)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, text=True)
    made = [words.split("\0") for words in done.stdout.split("\0\0")[:-1]]
    assert made == [shlex.split(text) for text in commands]
    assert len(made) >= 200


KNOWN_CIRCLES = [
    ("data.labels=null",), ("data.languages=null",), ("+foo=1",), ("optim=wd",), ("+optim=wd",),
    ("~hub",), ("data=files", "data.path=hf://datasets/a/b"), ("data=files", "data.path=null"),
    ("cluster=sagemaker", "cluster.instance_type=ml.p2.xlarge"), ("~lr",), ("data.labels=[null]",),
    ("aws.security_groups=[[1]]",), ("data.labels=[False, FALSE]",),
]  # fmt: skip


@pytest.mark.parametrize("command", KNOWN_CIRCLES)
def test_circles_of_old(command: tuple[str, ...]) -> None:
    *base, word = command
    for problem in problems_of(command):
        assert word not in [w for words in offered(problem.fix) for w in words]
        for words in offered(problem.fix):
            after = problems_of(applied(tuple(base), words))
            assert (problem.where, problem.what) not in {(p.where, p.what) for p in after}


def test_a_type_of_another_family_is_no_misspelling() -> None:
    (problem,) = problems_of(("cluster=sagemaker", "cluster.instance_type=ml.p9.xlarge"))
    assert problem.what == "unknown instance type"
    assert problem.fix.startswith("cluster.instance_type=ml.g4dn.xlarge | ")
    (problem,) = problems_of(("cluster=sagemaker", "cluster.instance_type=ml.g5.xlarg"))
    assert "did you mean ml.g5.xlarge?" in problem.what


UNREADABLE = {
    "data.path=my file (1).csv": ("'('", 19, "my file (1).csv"),
    "data.path=a&b.csv": ("'&'", 12, "a&b.csv"),
    "data.path=~/x": ("'~'", 11, "~/x"),
    "name=it's": ('"\'"', 8, "it's"),
    "data.languages=[de, f&r]": ("'&'", 22, ["de", "f&r"]),
    "data.labels=[{name: Great (1-5), values: [1 & 2, 3]}]": (
        "'('", 27, [{"name": "Great (1-5)", "values": ["1 & 2", 3]}],
    ),
    "aws.tags={team: R&D, a.b: (x)}": ("'&'", 18, {"team": "R&D", "a.b": "(x)"}),
}  # fmt: skip


@pytest.mark.parametrize("typed", UNREADABLE)
def test_what_the_grammar_cannot_read_is_told_with_place_and_form(typed: str) -> None:
    letter, place, value = UNREADABLE[typed]
    problem = unreadable(typed, config_groups(CONF))
    assert f"cannot be read from {letter}, character {place}, on" in problem.what
    (word,) = shlex.split(problem.fix)
    assert OverridesParser.create().parse_override(word).value() == value


# --- names of the Trainer -------------------------------------------------------------------------

OLDER = """
_n_gpu accelerator_config adafactor adam_beta1 adam_beta2 adam_epsilon auto_find_batch_size
average_tokens_across_devices batch_eval_metrics bf16 bf16_full_eval data_seed dataloader_drop_last
dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory dataloader_prefetch_factor
ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_timeout debug
deepspeed disable_tqdm dispatch_batches do_eval do_predict do_train eval_accumulation_steps eval_delay
eval_do_concat_batches eval_on_start eval_steps eval_strategy eval_use_gather_object evaluation_strategy
fp16 fp16_backend fp16_full_eval fp16_opt_level fsdp fsdp_config fsdp_min_num_params
fsdp_transformer_layer_cls_to_wrap full_determinism gradient_accumulation_steps gradient_checkpointing
gradient_checkpointing_kwargs greater_is_better group_by_length half_precision_backend hub_always_push
hub_model_id hub_private_repo hub_revision hub_strategy hub_token ignore_data_skip include_for_metrics
include_inputs_for_metrics include_num_input_tokens_seen include_tokens_per_second jit_mode_eval
label_names label_smoothing_factor learning_rate length_column_name liger_kernel_config
load_best_model_at_end local_rank log_level log_level_replica log_on_each_node logging_dir
logging_first_step logging_nan_inf_filter logging_steps logging_strategy lr_scheduler_kwargs
lr_scheduler_type max_grad_norm max_steps metric_for_best_model mp_parameters neftune_noise_alpha no_cuda
num_train_epochs optim optim_args optim_target_modules output_dir overwrite_output_dir parallelism_config
past_index per_device_eval_batch_size per_device_train_batch_size per_gpu_eval_batch_size
per_gpu_train_batch_size prediction_loss_only push_to_hub push_to_hub_model_id push_to_hub_organization
push_to_hub_token ray_scope remove_unused_columns report_to restore_callback_states_from_checkpoint
resume_from_checkpoint run_name save_on_each_node save_only_model save_safetensors save_steps
save_strategy save_total_limit seed sharded_ddp skip_memory_metrics split_batches tf32 torch_compile
torch_compile_backend torch_compile_mode torch_empty_cache_steps torchdynamo tpu_metrics_debug
tpu_num_cores use_cpu use_ipex use_legacy_prediction_loop use_liger_kernel use_mps_device warmup_ratio
warmup_steps weight_decay xpu_backend
""".split()  # noqa: SIM905
"""Fields of TrainingArguments in transformers 4.28, 4.36 and 4.56."""
NEWER = """
activation_checkpointing activation_checkpointing_kwargs dataloader_in_order
dataloader_multiprocessing_context ddp_static_graph enable_jit_checkpoint project train_sampling_strategy
trackio_bucket_id trackio_space_id trackio_static_space_id use_cache
""".split()  # noqa: SIM905
"""Those that have come until 5.23."""


def test_every_field_of_the_trainer_is_answered() -> None:
    leaves = {key.rpartition(".")[2] for key in setting_types()}
    for name in [*OLDER, *NEWER]:
        assert name in leaves or name in ALIASES or name in not_here(), name
    assert not not_here().keys() & (leaves | ALIASES.keys())


def test_no_field_of_the_installed_trainer_is_missing() -> None:
    arguments = pytest.importorskip("transformers").TrainingArguments
    assert {one.name for one in fields(arguments)} <= {*OLDER, *NEWER}


@pytest.mark.parametrize(
    "name", ["dataloader_num_workers", "optim_args", "torch_empty_cache_steps", "label_names"]
)
def test_a_name_of_the_trainer_is_no_misspelling(name: str) -> None:
    for typed in (f"{name}=1", f"training.{name}=1", f"+{name}=1"):
        (problem,) = problems_of((typed,))
        assert problem.where == typed and problem.what.startswith("is not a setting here: ")
        assert "did you mean" not in problem.what
