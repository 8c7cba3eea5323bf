"""Money that jobs have cost so far, and may cost at most."""

from __future__ import annotations

from contextlib import suppress

from lingotune.config.problems import ConfigError
from lingotune.launch.cost.cost import HOUR
from lingotune.launch.cost.prices import Price, find_price, load_prices
from lingotune.launch.operations.ledgers import KnownSweep
from lingotune.launch.operations.remote import Remote
from lingotune.launch.sweeps.trial import JobState


class Spending:
    """Prices of jobs. file: of the user's own; None = the shipped ones, and those that a sweep names.

    usd_per_hour: price of one instance of a job of no sweep, instead of all of them.
    """

    def __init__(
        self, file: str | None, region: str | None, usd_per_hour: float | None = None
    ) -> None:
        self._file, self._region, self._own = file, region, usd_per_hour
        self._prices = load_prices(file)
        self._of_sweeps: dict[str, tuple[Price, ...]] = {}

    def spent(
        self, job: JobState, remote: Remote | None, sweep: KnownSweep | None, now: float
    ) -> float | None:
        """Compute what a job has cost so far, in USD; None if unknown.

        While it runs it is what the time since its start costs, without a discount for spot.
        """
        if sweep is not None and sweep.is_local:
            return None
        seconds = job.billable_seconds
        if seconds is None:
            if job.started is None:
                return 0.0
            seconds = max(0.0, (job.ended or now) - job.started)
        nodes = remote.nodes if remote else sweep.about.get("nodes", 1) if sweep else 1
        price = self._price(job.instance_type, sweep)
        return None if price is None else seconds * nodes * price.usd_per_hour / HOUR

    def worst(self, remote: Remote | None, sweep: KnownSweep | None) -> float | None:
        """Compute the most that a job can cost, in USD; None if unknown."""
        if remote is None or remote.max_run is None:
            return None
        known = remote.job.instance_type
        machines = [(known, remote.nodes)] if known else remote.candidates
        rates = [
            None if (price := self._price(name, sweep)) is None else nodes * price.usd_per_hour
            for name, nodes in machines
        ]
        if not rates or None in rates:
            return None
        return remote.max_run * max(filter(None, rates)) / HOUR  # the dearest that it may get

    def _price(self, instance_type: str | None, sweep: KnownSweep | None) -> Price | None:
        if instance_type is None:
            return None
        prices, own, region = self._prices, self._own, self._region
        if sweep is not None:
            own, region = sweep.about.get("usd_per_hour"), region or sweep.region
            prices = self._prices_of(sweep)
        return find_price(prices, instance_type, region, own)

    def _prices_of(self, sweep: KnownSweep) -> tuple[Price, ...]:
        named = sweep.about.get("prices")
        if self._file is not None or not named:
            return self._prices
        if named not in self._of_sweeps:
            self._of_sweeps[named] = self._prices
            with suppress(ConfigError):  # the file has gone since
                self._of_sweeps[named] = load_prices(named)
        return self._of_sweeps[named]
