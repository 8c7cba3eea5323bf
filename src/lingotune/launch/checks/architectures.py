"""Checks of the model against its image: whether the image's transformers knows the architecture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lingotune.catalog.architectures import (
    architectures,
    breaks_in_fp16,
    has_classifier,
    model_type,
)
from lingotune.catalog.hardware import (
    BF16_CAPABILITY,
    Image,
    fitting_images,
    instances_of,
    resolve_image,
    resolve_precision,
    runs_worker,
    version,
)
from lingotune.catalog.models import config_of
from lingotune.config.problems import Severity, nearest
from lingotune.config.schema import ClusterConfig, LaunchConfig, Precision
from lingotune.data.prepared.foreign_code import own_classes
from lingotune.preflight.cluster import pin
from lingotune.preflight.registry import Found, Table

ARCHITECTURES: Table[LaunchConfig] = Table()


@ARCHITECTURES.check(
    "image-lacks-architecture", "transformers would not know the model, on the paid machine"
)
def _image_lacks(config: LaunchConfig) -> Iterator[Found]:
    image, name = resolve_image(config.cluster), model_type(config.model)
    if image is None or name is None or config.cluster.image.uri is not None:
        return
    if not runs_worker(image) or config.model.remote_code is not None:
        return  # the first is told by its own check, and code of a model's own needs no class of theirs
    if own_classes(config_of(config.model)):
        return  # which is told by its own check
    where = f"model.name_or_path={config.model.name_or_path}"
    if name not in architectures():
        hint = nearest(name, sorted(architectures()))
        what = f"is of the architecture {name}, for which transformers has no classifier of texts"
        yield where, what + hint, "another model, or cluster.image.uri= of an image that has it"
    elif not has_classifier(image, name):
        what = f"is of the architecture {name}, which transformers {image.transformers} of the job's image"
        yield where, f"{what} does not have", _remedy(config.cluster, name)


def _remedy(cluster: ClusterConfig, name: str) -> str:
    """Write the overrides that choose the newest image with an architecture, on another GPU if need be."""
    fitting = _newest_with(cluster, name)
    if fitting is not None:
        return pin(fitting)
    elsewhere = replace(cluster, instance_type="ml.g5.12xlarge", fallback=[])
    if _newest_with(elsewhere, name) is not None:
        return "cluster=g5_12xl, or another GPU newer than the V100"
    return (
        f"cluster.image.uri= of an image with transformers {architectures()[name].first} or newer"
    )


def _newest_with(cluster: ClusterConfig, name: str) -> Image | None:
    return next((one for one in fitting_images(cluster) if has_classifier(one, name)), None)


LORA_FROM = "4.46.1"
"""Oldest image whose transformers and hub client peft runs with."""


@ARCHITECTURES.check("lora-image", "peft would not be imported, on the paid machine")
def _lora_image(config: LaunchConfig) -> Iterator[Found]:
    image, rank = resolve_image(config.cluster), config.training.lora.rank
    if image is None or rank is None or config.cluster.image.uri is not None:
        return
    if not runs_worker(image) or _bears_lora(image):
        return
    newer = [one for one in fitting_images(config.cluster) if _bears_lora(one)]
    fix = pin(newer[0]) if newer else "cluster=g5_12xl, or training.lora.rank=null"
    what = (
        f"needs peft, which does not run with transformers {image.transformers} of the job's image"
    )
    yield f"training.lora.rank={rank}", what, fix


def _bears_lora(image: Image) -> bool:
    return version(image.transformers) >= version(LORA_FROM)


@ARCHITECTURES.check(
    "fp16-breaks-model", "a loss that is not a number costs the whole run", Severity.warning
)
def _breaks_in_fp16(config: LaunchConfig) -> Iterator[Found]:
    machines, name = instances_of(config.cluster), model_type(config.model)
    why = name and breaks_in_fp16(name)
    oldest = min((one.capability for one in machines if one.capability), default=None)
    precision = resolve_precision(config.training.precision, oldest)
    if why and oldest and precision is Precision.fp16:
        fix = "training.precision=" + ("bf16" if oldest >= BF16_CAPABILITY else "fp32")
        chosen = config.training.precision
        auto = ", which is fp16 on this GPU" if chosen is Precision.auto else ""
        yield f"training.precision={chosen.value}", f"with {name}{auto}: {why}", fix
