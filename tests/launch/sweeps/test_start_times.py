"""What earlier sweeps have measured of the starts of jobs, and the first rung that follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import compose

from lingotune.launch.sweeps.ledger import LOCAL, LOOPBACK, Ledger
from lingotune.launch.sweeps.start_times import (
    Measured,
    Place,
    first_rung_of,
    measured_in,
    place_of,
)
from lingotune.launch.sweeps.trial import Evaluation, JobState, State, Trial

MACHINE = "ml.p3.2xlarge"


def swept(folder: Path, *starts: float, name: str = "mine", **about: object) -> None:
    """A sweep whose jobs took so long to start, then 60 s for three evaluations."""
    with Ledger(folder) as ledger:
        ledger.write_about(**about)
        for number, start in enumerate(starts, 1):
            trial = Trial(number, {"lr": f"{number}"}, (), f"{number}", f"{name}-{number:010}")
            ledger.add_trials([trial])
            ledger.intend_start(trial, 1, trial.name, 1000.0)
            ledger.note_first_step(trial.name, 1000.0 + start)
            ledger.note_first_step(trial.name, 9999.0)  # the first is the one that counts
            ledger.add_evaluations(trial.name, [Evaluation(n, 3, {"loss": 1.0}) for n in (1, 2, 3)])
            kind = None if about.get("backend") == LOCAL else MACHINE
            end = JobState(trial.name, State.completed, created=1000.0, ended=1060.0 + start,
                           instance_type=kind)  # fmt: skip
            ledger.saw([end], 2000.0)


def test_starts_and_evaluations_are_medians_over_sweeps(tmp_path: Path) -> None:
    swept(tmp_path / "a", 200.0, 230.0)
    swept(tmp_path / "b", 400.0)
    assert measured_in(tmp_path, Place(MACHINE), "mine") == Measured(230.0, 20.0, 3)
    other = measured_in(tmp_path, Place(MACHINE), "min")
    assert other == Measured(230.0, None, 3), "a start is a start, whatever is trained"


def test_each_place_has_its_own_starts(tmp_path: Path) -> None:
    swept(tmp_path / "cold", 200.0)
    swept(tmp_path / "warm", 40.0, warm=True)
    swept(tmp_path / "here", 5.0, backend=LOCAL)
    swept(tmp_path / LOOPBACK / "trial", 9.0, simulated=True, backend=LOOPBACK)
    found = {
        place: getattr(measured_in(tmp_path, place, "mine"), "start", None)
        for place in (
            Place(MACHINE), Place(MACHINE, warm=True), Place(None), Place(MACHINE, simulated=True),
            Place("ml.p4d.24xlarge"), Place(MACHINE, warm=True, simulated=True),
        )
    }  # fmt: skip
    assert list(found.values()) == [200.0, 40.0, 5.0, 9.0, None, None]


@pytest.mark.parametrize(
    ("typed", "environment", "place"),
    [
        (["cluster=local"], {}, Place(None)),
        (["cluster=p3_2xl"], {}, Place(MACHINE)),
        (["cluster=p3_2xl", "cluster.keep_alive=600"], {}, Place(MACHINE, warm=True)),
        (["cluster=p3_2xl", "cluster.backend=loopback"], {}, Place(MACHINE, simulated=True)),
        (
            ["cluster=p3_2xl"],
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:4747"},
            Place(MACHINE, simulated=True),
        ),
    ],
)
def test_where_a_job_starts(typed: list[str], environment: dict[str, str], place: Place) -> None:
    assert place_of(compose(*typed), environment) == place


def test_a_job_that_did_not_end_well_tells_of_its_start_alone(tmp_path: Path) -> None:
    swept(tmp_path / "a", 100.0)
    with Ledger(tmp_path / "a") as ledger:
        (record,) = ledger.records()
        assert record.last is not None
        ledger.saw([replace(record.last.job, state=State.failed)], 3000.0)
    assert measured_in(tmp_path, Place(MACHINE), "mine") == Measured(100.0, None, 1)


def test_a_sweep_keeps_the_rung_that_it_was_begun_with(tmp_path: Path) -> None:
    assert first_rung_of(None) is None and first_rung_of(tmp_path) is None
    swept(tmp_path / "a", 100.0, first_rung=4)
    swept(tmp_path / "b", 100.0)
    assert first_rung_of(tmp_path / "a") == 4 and first_rung_of(tmp_path / "b") is None
