"""The account in which a command looks for jobs, opened once it is needed."""

from __future__ import annotations

import shlex

from lingotune.launch.operations.account import Account, open_account

_RUNS = "runs"


class Opening:
    """Account of a region: the one that was typed, else that of the sweep, else this machine's.

    runs_dir: folder of runs and ledgers, as typed.
    """

    def __init__(self, region: str | None, runs_dir: str = _RUNS) -> None:
        self._region, self.runs_dir = region, runs_dir
        self._opened: dict[str | None, Account] = {}

    @property
    def options(self) -> str:
        """Options that a further command needs to look in the same places, each after a blank."""
        typed = ["--region", self._region] if self._region else []
        typed += ["--runs-dir", self.runs_dir] if self.runs_dir != _RUNS else []
        return f" {shlex.join(typed)}" if typed else ""

    def account(self, region: str | None = None) -> Account:
        """Open the account. region: of the sweep, if it is known.

        ConfigError if there are no credentials or no region.
        """
        region = self._region or region
        if region not in self._opened:
            self._opened[region] = open_account(region)
        return self._opened[region]
