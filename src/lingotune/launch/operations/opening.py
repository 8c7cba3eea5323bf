"""The account in which a command looks for jobs, opened once it is needed."""

from __future__ import annotations

from lingotune.launch.operations.account import Account, open_account
from lingotune.launch.operations.targets import Target


class Opening:
    """Account of a region: the one that was typed, else that of the sweep, else this machine's."""

    def __init__(self, region: str | None) -> None:
        self._region = region
        self._opened: dict[str | None, Account] = {}

    def account(self, target: Target | None = None) -> Account:
        """Open the account for a target; ConfigError if there are no credentials or no region."""
        known = target.known if target else None
        region = self._region or (known.region if known else None)
        if region not in self._opened:
            self._opened[region] = open_account(region)
        return self._opened[region]
