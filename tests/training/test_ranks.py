"""Ranks as launchers tell them, and as a shell has left them from something else."""

from __future__ import annotations

import pytest
from conftest import compose

from lingotune.config.jobfile import job_of
from lingotune.config.problems import ConfigError
from lingotune.training.distributed import Rank, check_world, read_rank

TOLD = {
    "": Rank(0, 0, 1),
    "RANK=3 LOCAL_RANK=1 WORLD_SIZE=4": Rank(3, 1, 4),
    "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_LOCAL_RANK=1 OMPI_COMM_WORLD_SIZE=4": Rank(3, 1, 4),
    "WORLD_SIZE=2": Rank(0, 0, 2),
}
LEFT = {
    "WORLD_SIZE=abc": "unset WORLD_SIZE",
    "WORLD_SIZE=0": "unset WORLD_SIZE",
    "WORLD_SIZE=-1": "unset WORLD_SIZE",
    "RANK=x WORLD_SIZE=1": "unset RANK WORLD_SIZE",
    "RANK=5 LOCAL_RANK=0 WORLD_SIZE=2": "unset RANK LOCAL_RANK WORLD_SIZE",
    "LOCAL_RANK=1": "unset LOCAL_RANK",
    "OMPI_COMM_WORLD_RANK=3": "unset OMPI_COMM_WORLD_RANK",
}


def environment(text: str) -> dict[str, str]:
    return dict(word.split("=") for word in text.split())


@pytest.mark.parametrize("text", TOLD)
def test_the_rank_is_that_of_the_launcher(text: str) -> None:
    assert read_rank(environment(text)) == TOLD[text]


@pytest.mark.parametrize("text", LEFT)
def test_what_no_launcher_sets_is_told_with_the_command_that_removes_it(text: str) -> None:
    """A rank 5 of 1 would train, and write nothing."""
    with pytest.raises(ConfigError) as caught:
        read_rank(environment(text))
    (problem,) = caught.value.problems
    assert (problem.where, problem.fix) == (text, LEFT[text])


@pytest.mark.parametrize(
    ("typed", "world", "told"),
    [
        ((), 2, "the plan counts on 1 process, 2 are running (WORLD_SIZE)"),
        (("cluster=p3_16xl", "cluster.nodes=2"), 1,
         "the plan counts on 16 processes (8 on each of 2 nodes), 1 is running (WORLD_SIZE)"),
    ],
)  # fmt: skip
def test_another_number_of_processes_than_planned_is_told(
    typed: tuple[str, ...], world: int, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_world(job_of(compose(*typed)), Rank(0, 0, world))
    assert caught.value.problems[0].what == told
