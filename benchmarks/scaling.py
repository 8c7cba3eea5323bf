"""The article's job on paper: updates on one and eight V100s, eight A100s and two nodes of them. No clock.

python benchmarks/scaling.py

Assumed: an encoder reaches 36 % of a GPU's peak; AdamW moves 40 bytes a parameter; gradients go round a
ring over NVLink, between nodes over the network adapters; those of the word embeddings last, in full sight.
Left out: what the host needs to launch kernels. The article's own updates took 62 ms on one V100 and
192 ms on eight, and its notebooks ran five epochs on one GPU and three on eight: its 54 % of linear scaling
(6.5 to 1.5 hours) are 32 % if they ran as published.
"""

from __future__ import annotations

from dataclasses import dataclass

from lingotune.catalog.gpus import find_gpu
from lingotune.catalog.models import model_size
from lingotune.config.schema import BatchingConfig, BatchMode, ModelConfig, Precision
from lingotune.estimate.bucketing import BatchShape, efficiency, plan_epoch
from lingotune.estimate.step_time import PaperStep, paper_step
from lingotune.launch.plan.lengths import published

ROWS = 75_000
PIECES = 42_000


@dataclass(frozen=True)
class Machines:
    """`nodes` of `gpus` GPUs each, with so many network adapters."""

    name: str
    gpu: str
    precision: Precision
    gpus: int
    nodes: int = 1
    efa: int = 1


MACHINES = [
    Machines("1 V100", "V100", Precision.fp16, 1),
    Machines("p3_16xl", "V100", Precision.fp16, 8),
    Machines("p4d_24xl", "A100", Precision.bf16, 8, efa=4),
    Machines("2 p4d_24xl", "A100", Precision.bf16, 8, nodes=2, efa=4),
]
WAYS = {
    "article": (BatchMode.random, None, False),
    "ours, all rows": (BatchMode.window, None, True),
    "ours": (BatchMode.window, PIECES, True),
}


def step_of(machines: Machines, per_gpu: int, way: str) -> PaperStep:
    """An update with these machines, texts a GPU, batches and trained embeddings."""
    mode, rows, first_token_only = WAYS[way]
    shape = BatchShape(machines.gpus * machines.nodes, 1, per_gpu)
    lengths = published("amazon_reviews_multi", ROWS).clip(max=512)
    found = efficiency(plan_epoch(lengths, BatchingConfig(mode), shape, 0, 0), lengths)
    size, gpu = (
        model_size(ModelConfig("m", "distilbert-base-multilingual-cased")),
        find_gpu(machines.gpu),
    )
    assert size and gpu
    step = paper_step(
        size, gpu, machines.precision, per_gpu=per_gpu, gpus=machines.gpus, nodes=machines.nodes,
        efa=machines.efa, tokens=found.padded, squares=found.squares, straggler=found.straggler,
        trained_rows=rows, first_token_only=first_token_only,
    )  # fmt: skip
    assert step
    return step


def main() -> None:
    """Print a table."""
    print(
        "machines     texts a GPU  way              computing  optimizer  sending   update"
        "    texts/s  of linear  epoch"
    )
    for per_gpu in (16, 64, 128):
        for way in WAYS:
            alone = step_of(MACHINES[0], per_gpu, way)
            for machines in MACHINES:
                if machines.gpu != "V100":
                    one = Machines("", machines.gpu, machines.precision, 1)
                    alone = step_of(one, per_gpu, way)
                step = step_of(machines, per_gpu, way)
                share = step.texts_per_second / (
                    alone.texts_per_second * machines.gpus * machines.nodes
                )
                parts = [
                    1000 * s for s in (step.compute, step.optimizer, step.sending, step.seconds)
                ]
                print(
                    f"{machines.name:12} {per_gpu:11}  {way:16} {parts[0]:7.1f} ms {parts[1]:7.1f} ms"
                    f" {parts[2]:5.1f} ms {parts[3]:5.1f} ms {step.texts_per_second:9.0f} {share:10.0%}"
                    f" {1.2e6 / step.texts_per_second:5.0f} s"
                )
    print(
        "\nThe article: 62 ms on one V100, 192 ms on eight (6.5 and 1.5 hours), if its notebooks ran as"
        " published,\nfive epochs on one GPU and three on eight: 32 % of linear; 54 % with equal epochs."
    )


if __name__ == "__main__":
    main()
