"""Staying with a job that was just submitted: a live view, and at its end scores, time and money."""

from __future__ import annotations

import re
import shutil
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from lingotune.config.problems import INTERRUPTED, ConfigError, printable
from lingotune.config.program import program
from lingotune.contract.log_lines import read_line
from lingotune.estimate.run_time import duration
from lingotune.launch.aws.account.calls import Unanswered
from lingotune.launch.aws.job_logs import JobLog, LogLine
from lingotune.launch.operations.account import PATIENCE, Account, open_account
from lingotune.launch.operations.live import is_over, watch
from lingotune.launch.operations.logs import PAUSE, LogReader, text_of
from lingotune.launch.operations.rows import Overview, Row
from lingotune.launch.operations.survey import Survey
from lingotune.launch.operations.targets import Target
from lingotune.launch.operations.wait import exit_code_of
from lingotune.launch.sweeps.trial import State

_EVERY = 5.0
_LAST_LINES = 12
"""Lines of the log that are shown of a job that failed."""
_RECENT = 60.0
"""Seconds of the log that are shown as it is asked for."""
_OF_LAUNCHERS = re.compile(
    r"closing signal SIGTERM|failed \(exitcode: |ChildFailedError|MPI_ABORT|Primary job +terminated"
    r"|mpirun (detected|has exited|noticed)"
)
"""First line in which the launcher of the processes tells that one has ended."""
_REASON = "lingotune: rank "
"""Beginning of the line in which the first process that failed says why."""


@dataclass(frozen=True)
class Planned:
    """What the plan expected: seconds, USD, and the most it could cost; None = unknown.

    prices, usd_per_hour: as the plan used them. again: command that submits the same job once more.
    """

    seconds: float | None = None
    usd: float | None = None
    worst_usd: float | None = None
    prices: str | None = None
    usd_per_hour: float | None = None
    again: str = ""


def stay_with(
    name: str,
    region: str,
    planned: Planned,
    say: Callable[[str], None],
    *,
    account: Account | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Show a job until it has ended, then how; returns the exit code of how it ended.

    account: None = that of this machine. Ctrl-C leaves the job running, and says what bills. ConfigError if
    AWS does not answer any more.
    """
    try:
        account = account or open_account(region)
        survey = Survey(
            Target(job=name), account, prices=planned.prices, usd_per_hour=planned.usd_per_hour,
            thorough=True, clock=clock,
        )  # fmt: skip
        log = _log(account, name)
        overview = watch(Patient(survey.look), _EVERY, until_over=True, log=log, sleep=sleep)
    except KeyboardInterrupt:  # before the first look
        overview = Overview((), clock(), region=region)
    except ConfigError as error:
        following = f"{program('status')} {name} --watch --region {region}"
        raise ConfigError([*error.problems], f"{following}  # the job was started") from error
    if account is None or not is_over(overview):
        say("\n".join(_left(name, region, overview)))
        return INTERRUPTED
    sleep(PAUSE)  # CloudWatch gets the last lines a moment later
    say("\n".join(_ended(overview, account, planned)))
    return exit_code_of(overview.rows)


class Patient:
    """Look that shows the last answer, with a note, where AWS does not answer for a few minutes."""

    def __init__(
        self, look: Callable[[], Overview], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look, self._clock = look, clock
        self._last: Overview | None = None
        self._answered = clock()

    def __call__(self) -> Overview:
        """Look; ConfigError if there was no answer for long, or there will not be any."""
        try:
            self._last, self._answered = self._look(), self._clock()
        except ConfigError as error:
            problem = error.problems[0]
            lasting = "Expired" in problem.what or self._clock() - self._answered > PATIENCE
            if self._last is None or problem.check != "aws-unanswered" or lasting:
                raise
            return replace(self._last, notes=(f"as last seen, asked again: {problem.what}",))
        return self._last


def _log(account: Account, name: str) -> Callable[[Callable[[str], None]], None]:
    readers: list[LogReader] = []

    def show(tell: Callable[[str], None]) -> None:
        if not readers:
            since = time.time() - _RECENT
            readers.append(
                LogReader(
                    account,
                    name,
                    since=since,
                    folded=True,
                    options=f" --region {account.region}",
                    tell=tell,
                    note=tell,
                )
            )
        with suppress(Unanswered):  # the next look asks again
            readers[0].print_new()

    return show


# --- leaving --------------------------------------------------------------------------------------


def _left(name: str, region: str, overview: Overview) -> Iterator[str]:
    """Say what bills, how to follow it, and how to stop it."""
    (row,) = overview.rows or (None,)
    money = ""
    if row is not None and row.job.started is None:
        money = "; it bills once it has its machines"
    elif row is not None and row.spent_usd is not None:
        money = f" and bills; {row.spent_usd:.2f} USD so far"
    most = "" if row is None or row.worst_usd is None else f", at most {row.worst_usd:.2f} USD"
    yield f"leaving; {name} goes on at AWS{money}{most}"
    yield from _commands(name, region, ("status", " --watch"), ("stop", ""), ("fetch", ""))


_PURPOSES = {
    "status": "follow", "logs": "log", "stop": "stop", "fetch": "results", "report": "report",
    "cost": "cost", "evaluate": "evaluate",
}  # fmt: skip


def _commands(name: str, region: str, *chosen: tuple[str, str]) -> Iterator[str]:
    for command, options in chosen:
        label = f"{_PURPOSES[command]}:"
        yield f"  {label:9}{program(command)} {name}{options} --region {region}"


# --- the end --------------------------------------------------------------------------------------


def _ended(overview: Overview, account: Account, planned: Planned) -> Iterator[str]:
    """Tell how a job ended: scores, or the reason and the last lines; time and money; what comes next."""
    (row,) = overview.rows
    took = f" after {duration(s)}" if (s := row.seconds(overview.at)) is not None else ""
    yield f"{row.name} {row.state.value}{took}"
    lines: Sequence[LogLine] = ()
    try:
        lines = JobLog(account.calls, row.name).last_lines()
    except Unanswered as reason:
        yield f"its log could not be read: {reason}"
    if row.state is State.completed:
        yield from score_table(*_scores(row, lines))
    else:
        yield from _why(row, lines)
    yield from _bill(row, overview, planned)
    if row.state is State.completed:
        yield f"next: {program('fetch')} {row.name} --region {account.region}"
        yield f"      {program('report')} runs/{row.name}"
        yield f"      {program('cost')} {row.name} --region {account.region}  # for further estimates"
    else:
        yield f"next: {program('logs')} {row.name} --region {account.region}"
        if planned.again:
            yield f"      {planned.again}  # once it is mended; other code or settings begin anew"


def _scores(row: Row, lines: Sequence[LogLine]) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the last scores on validation and those on test: of the log, else SageMaker's own."""
    found: dict[str, Mapping[str, float]] = {}
    for line in lines:
        logged = read_line(line.text)
        if logged is not None:
            found[logged.split] = logged.values
    told = row.remote.metrics if row.remote else {}
    for split in ("validation", "test"):
        last = {k.partition(":")[2]: v for k, v in told.items() if k.startswith(f"{split}:")}
        found.setdefault(split, last)
    return found["validation"], found["test"]


def score_table(validation: Mapping[str, float], test: Mapping[str, float]) -> list[str]:
    """Format a row for each score; a split without scores has no column."""
    shown = {
        title: values
        for title, values in (("validation (last)", validation), ("test", test))
        if values
    }
    names = [n for n in dict.fromkeys([*test, *validation]) if n != "samples_per_second"]
    if not names:
        return ["no scores are known"]
    width = max(map(len, names))
    rows = [f"  {'':{width}}{''.join(f'  {title:>{max(8, len(title))}}' for title in shown)}"]
    for name in names:
        cells = [
            f"  {f'{values[name]:.4f}' if name in values else '':>{max(8, len(title))}}"
            for title, values in shown.items()
        ]
        rows.append(f"  {name:{width}}{''.join(cells)}".rstrip())
    return rows


def _why(row: Row, lines: Sequence[LogLine]) -> Iterator[str]:
    """Tell SageMaker's reason, what the process that failed first wrote, and the last lines."""
    reason = printable(row.job.reason) or row.job.secondary
    width = min(100, shutil.get_terminal_size((100, 24)).columns)
    yield from textwrap.wrap(
        reason, width - 2, initial_indent="  ", subsequent_indent="  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    own = next((line.text for line in lines if _REASON in line.text), "")
    told = own.partition(_REASON)[2]
    if told and told[:60] not in reason:
        yield f"  {printable(f'rank {told}')}"
    shown = _own_lines(lines)
    if shown:
        yield "last lines of its log:" if shown is lines else "its log until the process failed:"
        yield from (f"  {text_of(line)}" for line in shown[-_LAST_LINES:])


def _own_lines(lines: Sequence[LogLine]) -> Sequence[LogLine]:
    """Leave out what torchrun, mpirun and the toolkit say of a failure: page after page, and no reason."""
    ends = (place for place, line in enumerate(lines) if _OF_LAUNCHERS.search(line.text))
    return lines[:end] if (end := next(ends, 0)) else lines


def _bill(row: Row, overview: Overview, planned: Planned) -> Iterator[str]:
    """Compare time and money with the plan; rows of which nothing is known are left out."""
    seconds = row.seconds(overview.at)
    rows = [
        ("time", _time(planned.seconds), _time(seconds)),
        ("billed", "", _time(row.job.billable_seconds)),
        ("USD", _usd(planned.usd), _usd(row.spent_usd)),
        ("USD at most", _usd(planned.worst_usd), ""),
    ]
    yield f"  {'':11}  {'planned':>10}  {'actual':>10}"
    for name, plan, actual in rows:
        if plan or actual:
            yield f"  {name:11}  {plan or '-':>10}  {actual:>10}".rstrip()


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds, exact=True)


def _usd(usd: float | None) -> str:
    return "" if usd is None else f"{usd:.2f}"
