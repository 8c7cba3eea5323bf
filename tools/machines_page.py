"""Content of docs/machines.md: the instances, what runs on them, and their prices, from the facts."""

from __future__ import annotations

from pathlib import Path

from lingotune.catalog.hardware import (
    Instance,
    instances,
    newest_image,
    option_name,
    precision_on,
    registries,
)
from lingotune.catalog.neighbours import nearest_sold
from lingotune.config.schema import ClusterConfig, Distribution, Precision
from lingotune.launch.cost.prices import US_EAST_1, find_price, load_shipped

OPTIONS = Path(__file__).resolve().parent.parent / "conf" / "cluster"
INTRODUCTION = """\
# Machines

Every instance that SageMaker trains on and a Hugging Face image runs on. `cluster=g5_16xl` takes one with a
file; any other is `cluster=sagemaker cluster.instance_type=ml.m5.xlarge`. `lingotune offers` compares
them for a job.

Trainium (trn1, trn2), P2 and the Arm machines of P6e are refused: no image of ours runs there. P3, the
article's machine, has not been listed by EC2 since May 2026. Its commands go on working, with a finding and
with the nearest machine that is sold, whose time and money the plan shows beside it.
"""
PRICES = """\
Prices are USD per hour of training on demand in us-east-1, as a public list gave them on that date; with an
empty field no list is known, and nothing is guessed: `lingotune prices --region REGION > prices.json` asks
AWS, and `budget.prices=prices.json` takes the answer.
"""
SMALL = """\
## Without GPUs

For small jobs: one process on one machine. The image is the same, and its CUDA has no effect.
"""
END = """\
This page is generated from the facts under `src/lingotune/catalog/facts/`; do not edit it.
"""


def machines_page() -> str:
    """Render docs/machines.md."""
    with_gpus = [one for one in instances().values() if one.gpus]
    without = [one for one in instances().values() if not one.gpus]
    head = "| option or type | GPUs | GiB each | vCPUs | RAM | precision | newest image | EFA | USD/h |\n"
    small = "| option or type | vCPUs | RAM | precision | USD/h |\n"
    parts = [
        INTRODUCTION,
        "## With GPUs\n",
        head
        + "|---|---|---|---|---|---|---|---|---|\n"
        + "\n".join(map(_with_gpus, with_gpus))
        + "\n",
        SMALL,
        small + "|---|---|---|---|---|\n" + "\n".join(map(_without, without)) + "\n",
        PRICES,
        f"## Regions\n\nHugging Face's images are in {', '.join(registries())}. Elsewhere a job takes a"
        " copy from your own registry: `cluster.image.lane=pinned` with `cluster.image.uri`.\n",
        END,
    ]
    return "\n".join(parts)


def _with_gpus(one: Instance) -> str:
    several = Distribution.torch_distributed if one.gpus > 1 else Distribution.none
    cluster = ClusterConfig("x", one.instance_type, distribution=several)
    image, instead = newest_image(cluster), nearest_sold(cluster)
    precision = precision_on(one, Precision.auto).value
    cells = (
        _name(one) + (f" (sold: `{option_name(instead.instance_type)}`)" if instead else ""),
        f"{one.gpus} x {one.gpu}", f"{one.gpu_gib:g}", one.vcpus, one.ram_gib, precision,
        image.transformers if image else "none", one.efa or "", _price(one),
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _without(one: Instance) -> str:
    precision = precision_on(one, Precision.auto).value
    return f"| {_name(one)} | {one.vcpus} | {one.ram_gib} | {precision} | {_price(one)} |"


def _name(one: Instance) -> str:
    """Show the option of the group cluster, or the instance type where there is none."""
    option = option_name(one.instance_type)
    return f"`{option if (OPTIONS / f'{option}.yaml').exists() else one.instance_type}`"


def _price(one: Instance) -> str:
    found = find_price(load_shipped(), one.instance_type, US_EAST_1)
    return f"{found.usd_per_hour:g} ({found.date})" if found else ""
