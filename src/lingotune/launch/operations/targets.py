"""Names as they are typed: of a job, the beginning of one, a sweep's name or folder, numbers of trials."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lingotune.config.problems import ConfigError, Problem, listed, nearest
from lingotune.config.program import program
from lingotune.contract.container import JOB_FILE
from lingotune.launch.aws.account.calls import Unanswered
from lingotune.launch.operations.account import Account, asked_of
from lingotune.launch.operations.described import DESCRIPTION, described_in
from lingotune.launch.operations.ledgers import KnownSweep, read_sweep, readable_sweeps
from lingotune.launch.operations.opening import Opening
from lingotune.launch.operations.remote import Remote
from lingotune.launch.sweeps.ledger import is_sweep

_NUMBERS = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_ATTEMPT = re.compile(r"-\d{1,3}$")
_MOST_NUMBERS = 10_000
_SHOWN = 8
"""Names that an error lists."""


@dataclass(frozen=True)
class Target:
    """Jobs that were named.

    sweep: its name; '' for a single job. known: the sweep's ledger; None if this machine has none. job:
    name of a single job; '' for a sweep. numbers: of trials; empty = all of the sweep.
    """

    sweep: str = ""
    known: KnownSweep | None = None
    job: str = ""
    numbers: tuple[int, ...] = ()

    @property
    def region(self) -> str | None:
        """AWS region of its jobs, as the ledger tells it; None without one."""
        return self.known.region if self.known else None

    @property
    def text(self) -> str:
        """Words that name it, for a command to paste."""
        return " ".join([self.sweep or self.job, *map(str, self.numbers)])


class Names:
    """Resolver of names: this machine's ledgers first, then the account, which is asked only if needed."""

    def __init__(
        self,
        opening: Opening,
        command: str,
        *,
        is_foreign_fine: bool = False,
    ) -> None:
        """command: name of the command, for advice. is_foreign_fine: take jobs of other tools too."""
        self._opening, self._command, self._foreign = opening, command, is_foreign_fine
        self._runs_dir = Path(opening.runs_dir)

    def resolve(self, typed: str, numbers: Sequence[str] = ()) -> Target:
        """Find what was typed; a sweep's own jobs compete with no beginning of its name.

        ConfigError names the candidates if nothing or too much fits.
        """
        if not typed.strip():
            fix = f"{program('status')}{self._opening.options} lists all"
            raise ConfigError([Problem("''", "names nothing", fix)])
        wanted = numbers_of(numbers)
        found = self._on_this_machine(typed)
        if found is None and "/" in typed:  # no name has one, so AWS need not be asked
            raise ConfigError([self._path(typed)])
        found = found or self._in_the_account(typed)
        if not wanted:
            return found
        if found.job:
            what = f"is a job, not a sweep: {' '.join(numbers)} numbers nothing"
            fix = f"{program(self._command)} {typed}{self._opening.options}"
            raise ConfigError([Problem(typed, what, fix)])
        if found.known is not None:
            _check_numbers(typed, wanted, [r.trial.number for r in found.known.records])
        return Target(found.sweep, found.known, numbers=wanted)

    # --- this machine -----------------------------------------------------------------------------

    def _path(self, typed: str) -> Problem:
        if (Path(typed) / DESCRIPTION).is_file():
            job, region = described_in(Path(typed))
            fix = f"{program(self._command)} {job} --region {region}"
            return Problem(typed, f"is the run folder of the job {job}", fix)
        if (Path(typed) / JOB_FILE).is_file():
            fix = f"{program('results')} {shlex.quote(typed)}"
            return Problem(typed, "is a run of this machine, and no job on SageMaker", fix)
        what = "is a path, and neither a run folder nor a sweep's"
        fix = f"{program('status')}{self._opening.options} lists all names"
        return Problem(typed, what, fix, check="name-unknown")

    def _on_this_machine(self, typed: str) -> Target | None:
        for place in (Path(typed), self._runs_dir / typed):
            if is_sweep(place):
                known = read_sweep(place)
                return Target(known.name, known)
        sweeps, _ = readable_sweeps(self._runs_dir)
        for sweep in sweeps:
            if sweep.name == typed:
                return Target(sweep.name, sweep)
            if typed in sweep.attempts():
                return Target(job=typed, known=sweep)
        fitting = [sweep for sweep in sweeps if sweep.name.startswith(typed)]
        found = [Target(sweep.name, sweep) for sweep in fitting]
        found += [
            Target(job=name, known=sweep)
            for sweep in sweeps
            if sweep not in fitting
            for name in sweep.attempts()
            if name.startswith(typed)
        ]
        return _only(found, typed)

    # --- the account ------------------------------------------------------------------------------

    def _in_the_account(self, typed: str) -> Target:
        account = self._opening.account()
        one = asked_of(typed, lambda: account.describe(typed))
        if one is not None:
            return self._job(one, account)
        listed_jobs = asked_of(typed, lambda: account.listing(contains=typed))
        sweeps: Mapping[str, Sequence[str]] = {}
        unasked = ""
        try:
            sweeps = account.sweeps(typed)
        except Unanswered as reason:  # jobs are found without it
            unasked = f" (sweeps were not looked for: {reason})"
        if typed in sweeps:
            return Target(typed)
        fitting = {name: jobs for name, jobs in sweeps.items() if name.startswith(typed)}
        theirs = {job for jobs in fitting.values() for job in jobs}
        found = [Target(name) for name in fitting]
        found += [Target(job=n) for n in listed_jobs if n.startswith(typed) and n not in theirs]
        only = _only(found, typed)
        if only is None:
            raise ConfigError([self._unknown(typed, account, unasked)])
        if only.job:
            one = asked_of(only.job, lambda: account.describe(only.job))
            return self._job(one, account) if one else only
        return only

    def _job(self, one: Remote, account: Account) -> Target:
        if one.ours or self._foreign:
            return Target(job=one.name)
        what = "is a training job of another tool: lingotune has not started it"
        fix = "aws sagemaker describe-training-job --training-job-name "
        fix += f"{one.name} --region {account.region}"
        raise ConfigError([Problem(one.name, what, fix, check="job-of-another-tool")])

    def _unknown(self, typed: str, account: Account, unasked: str) -> Problem:
        here, unreadable = readable_sweeps(self._runs_dir)
        names = [*(s.name for s in here), *(name for s in here for name in s.attempts())]
        if not unasked:
            with suppress(Unanswered):  # a name that is not there is told without those that are
                names += [job.name for job in account.search({}, most=50)]
        near = nearest(typed, names)
        what = f"is no sweep in {self._runs_dir}, and no job or sweep in {account.region}{near}{unasked}"
        what += "".join(f"; {one.where} {one.what}" for one in unreadable)
        known = f"{listed(typed, list(dict.fromkeys(names)))}; or " if names else ""
        fix = f"{known}--region with another one, --runs-dir with another folder"
        return Problem(typed, what, fix, check="name-unknown")


def _only(found: Sequence[Target], typed: str) -> Target | None:
    """Return the only one that fits, the last attempt of the only job; ConfigError if several do."""
    jobs = {t.job for t in found if t.job}
    first = {before if (before := _ATTEMPT.sub("", t.job)) in jobs else t.text for t in found}
    if len(first) > 1:
        names = sorted({t.sweep or t.job for t in found})
        what = f"fits {len(names)} names; one is needed"
        more = f" | ... ({len(names)} in all)" if len(names) > _SHOWN else ""
        fix = f"{' | '.join(names[:_SHOWN])}{more}"
        raise ConfigError([Problem(typed, what, fix, check="name-ambiguous")])
    return max(found, key=lambda t: (len(t.job), t.job), default=None)


def numbers_of(typed: Sequence[str]) -> tuple[int, ...]:
    """Read numbers of trials, `4` or `5-12`; ConfigError for anything else."""
    found: dict[int, None] = {}
    problems = []
    for one in typed:
        match = _NUMBERS.fullmatch(one)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not low <= high or high - low >= _MOST_NUMBERS:
            problems.append(Problem(one, "is not the number of a trial", "3, or 5-12"))
        else:
            found.update(dict.fromkeys(range(low, high + 1)))
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _check_numbers(sweep: str, wanted: Sequence[int], known: Sequence[int]) -> None:
    absent = [n for n in wanted if n not in set(known)]
    if not absent:
        return
    what = f"there {'is no trial' if len(absent) == 1 else 'are no trials'} {', '.join(map(str, absent))}"
    fix = f"{min(known)}-{max(known)}" if known else "the sweep has no trials yet"
    raise ConfigError([Problem(sweep, what, fix, check="trial-unknown")])
