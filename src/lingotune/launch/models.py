"""The models that a job can name by `model=`: their sizes, their cards, and what a batch takes on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from yaml import YAMLError

from lingotune.catalog.architectures import (
    architecture_of,
    architectures,
    breaks_in_fp16,
    skips_padding,
)
from lingotune.catalog.linear_layers import adapter_parameters, linear_layers_of
from lingotune.catalog.models import card_of, config_of, model_size, usable_positions
from lingotune.catalog.pooling import poolings
from lingotune.config.schema import MISSING, JobConfig, Precision
from lingotune.data.prepared.foreign_code import own_classes
from lingotune.estimate.memory import memory_of
from lingotune.estimate.step_time import trained_parameters
from lingotune.launch.compose.group_files import GroupFile, group_files


@dataclass(frozen=True)
class ModelRow:
    """A model of the group; None = unknown here.

    tokens: the longest text. memory_gib: of training on one GPU with this batch of texts of max_length
    tokens, an estimate. trained: parameters that are trained, with LoRA its adapters and the head.
    poolings: what model.pooling can be. since: first transformers, of those of the images, that has the
    architecture. padding_free: whether the layers can skip padding, and the last one all but the first
    token. needs_code: what it needs of its repository.
    """

    model: str
    name_or_path: str | None
    architecture: str | None
    parameters: int | None
    trained: int | None
    languages: int | None
    licence: str | None
    tokens: int | None
    lr: float
    per_device_bs: int
    epochs: float
    max_length: int
    memory_gib: float | None
    poolings: tuple[str, ...]
    since: str | None
    padding_free: bool
    breaks_in_fp16: str | None
    lora_targets: tuple[str, ...]
    needs_code: str


def options(conf_dir: Path, extra_dir: Path | None) -> list[str]:
    """List the options of the group that name a model, the user's own too; not those that leave it open."""
    found = [file for file in group_files(conf_dir, extra_dir) if file.group == "model"]
    return sorted({file.option for file in found if not _is_open(file)})


def _is_open(file: GroupFile) -> bool:
    try:
        return file.settings().get("model.name_or_path") == MISSING
    except (OSError, YAMLError, ValueError):
        return False  # told when it is composed


def row_of(option: str, job: JobConfig) -> ModelRow:
    """Describe the model of a job that was composed with an option of the group."""
    model, size = job.model, model_size(job.model)
    architecture, config, card = architecture_of(model), config_of(model), card_of(model)
    known = architectures().get(architecture or "")
    half = job.training.precision is not Precision.fp32
    adapters = adapter_parameters(model, size, job.training.lora) if size else None
    return ModelRow(
        model=option,
        name_or_path=model.name_or_path,
        architecture=architecture,
        parameters=size.parameters if size else None,
        trained=trained_parameters(size, size.vocabulary, adapters) if size else None,
        languages=card.languages if card else None,
        licence=card.licence if card else None,
        tokens=usable_positions(config),
        lr=job.lr,
        per_device_bs=job.per_device_bs,
        epochs=job.epochs,
        max_length=job.data.max_length,
        memory_gib=round(memory_of(job, size, 1, half=half).gib, 1) if size else None,
        poolings=tuple(poolings(architecture or "") or ()),
        since=known.first if known else None,
        padding_free=skips_padding(architecture or ""),
        breaks_in_fp16=breaks_in_fp16(architecture or ""),
        lora_targets=tuple(linear_layers_of(model) or ()),
        needs_code=own_classes(config),
    )


def as_dicts(rows: Sequence[ModelRow]) -> list[dict[str, object]]:
    """Turn the rows into what JSON holds."""
    return [asdict(row) for row in rows]


def lines_of(rows: Sequence[ModelRow], width: int) -> list[str]:
    """Write the table, and what has to be said of some of the models, in so many columns."""
    table = [_cells(row) for row in rows]
    head = list(table[0]) if table else []
    widths = {name: max(len(name), *(len(row[name]) for row in table)) for name in head}
    for name in ("lr", "tokens"):  # left out where the width does not hold all
        if sum(widths[one] + 2 for one in head) - 2 > width:
            head.remove(name)
    lines = ["  ".join(_aligned(name, name, widths) for name in head).rstrip()]
    lines += [
        "  ".join(_aligned(name, row[name], widths) for name in head).rstrip() for row in table
    ]
    return lines


def _aligned(column: str, text: str, widths: Mapping[str, int]) -> str:
    is_text = column in ("model", "licence")
    return text.ljust(widths[column]) if is_text else text.rjust(widths[column])


def _cells(row: ModelRow) -> dict[str, str]:
    return {
        "model": row.model,
        "params": _millions(row.parameters),
        "languages": _known(row.languages),
        "tokens": _known(row.tokens),
        "lr": f"{row.lr:g}".replace("e-0", "e-"),
        "batch": str(row.per_device_bs),
        "GiB": "-" if row.memory_gib is None else f"{row.memory_gib:.1f}",
        "licence": row.licence or "-",
    }


def _known(value: int | None) -> str:
    return "-" if value is None else str(value)


def _millions(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.3g} M"


def notes_of(rows: Sequence[ModelRow]) -> list[str]:
    """Say what holds for some models: precisions that break them, images that lack them, code they need."""
    return [
        *_noted(rows, "bf16 or fp32 alone", lambda row: bool(row.breaks_in_fp16)),
        *_noted(rows, "transformers 5 alone", lambda row: (row.since or "4") >= "5"),
        *_noted(
            rows, "needs code of its repository, which is not run", lambda row: bool(row.needs_code)
        ),
    ]


def _noted(rows: Sequence[ModelRow], what: str, holds: Callable[[ModelRow], bool]) -> list[str]:
    named = [row.model for row in rows if holds(row)]
    return [f"{what}: {', '.join(named)}"] if named else []
