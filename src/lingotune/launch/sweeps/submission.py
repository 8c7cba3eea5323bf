"""Submitting a sweep, or going on with it, from its plans."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lingotune.launch.aws.connection import connect
from lingotune.launch.plan.planner import Planner, Sweep
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.leaving import Tell
from lingotune.launch.sweeps.ledger import LOOPBACK, Ledger
from lingotune.launch.sweeps.pinning import drawn_trial, is_search_of, pin_sweep
from lingotune.launch.sweeps.running import Running, Wish, run_sweep, watch
from lingotune.launch.sweeps.sagemaker import client_settings
from lingotune.launch.sweeps.sources import learns, source_of
from lingotune.launch.sweeps.standing import Standing
from lingotune.launch.sweeps.trial import Source, Trial, Unsure, attempt_in


def submit_sweep(
    standing: Standing, sweep: Sweep, planner: Planner, wish: Wish, say: Tell
) -> tuple[dict[str, Any], int]:
    """Submit a planned sweep, or go on with it; returns what is told as JSON, and the exit code.

    planner: plans what a search draws. A ConfigError is raised only as long as nothing was started.
    """
    config, job = sweep.plans[0].config, sweep.plans[0].training_job
    assert job is not None and sweep.space is not None, "a job of its own is no sweep"
    with lock.held(standing.folder) as holder:
        if holder:
            return watch(standing.folder, holder, wish, say)
        account = connect(
            job.region, replace(config.aws, region=job.region), client_settings(), bare=True
        )
        with Ledger(standing.folder) as ledger:
            pin = pin_sweep(standing, sweep, account, ledger, say)
            jobs = {plan.digests.job: plan.job for plan in sweep.plans}
            stem = f"{sweep.plans[0].job.name}-" if is_search_of(sweep) else pin.stem
            account.notify([one.name for one in pin.trials], stem)
            running = Running(pin, account, ledger, stem, jobs)
            if wish.here:
                ledger.write_about(backend=LOOPBACK)
                ledger.forget_interrupted(running.backend().describe, wish.clock())

            def make(number: int, varies: Mapping[str, str]) -> Trial:
                return drawn_trial(standing, sweep, planner, running, number, varies, say)

            trials = [one.trial for one in pin.trials]
            source: Source = Grid()
            if learns(config.sweep):
                ledger.add_trials(_begun(trials, running))
                folder, records = standing.folder, ledger.records()
                source = source_of(sweep, folder, records, trials, make)
            return run_sweep(running, config.sweep, wish, say, source)


def _begun(trials: Sequence[Trial], running: Running) -> list[Trial]:
    """Select the trials that have a job already, from wherever it was started."""
    with contextlib.suppress(Unsure):  # the controller asks again
        names = {attempt_in(name)[0] for name in running.backend().listing()}
        return [trial for trial in trials if trial.name in names]
    return []
