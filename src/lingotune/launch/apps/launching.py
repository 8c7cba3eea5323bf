"""`hydra/launcher=sagemaker`: an application's jobs, from what Hydra asks for to what they returned.

Jobs are known by what they compute. The same command again, after Ctrl-C or from another machine, therefore
attaches to those that run and takes over the results of those that have ended.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.utils import JobReturn, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from lingotune.config.console import say
from lingotune.config.problems import (
    INTERRUPTED,
    USER_ERROR,
    ConfigError,
    Problem,
    Severity,
    errors_only,
    exit_code_for,
    format_problems,
)
from lingotune.config.program import program
from lingotune.config.schema import Retry
from lingotune.launch.apps.code import Entry, compressed, entry_of, pack_code
from lingotune.launch.apps.jobs import AppJob, compose_jobs, write_hydra_files
from lingotune.launch.apps.plan import Planned, check_money, plan_lines
from lingotune.launch.apps.results import fetch, job_return, told_by
from lingotune.launch.apps.settings import (
    WHERE,
    Settings,
    in_its_words,
    read_settings,
    translated,
    translated_error,
)
from lingotune.launch.aws.account.check import JobRequirements, check_account
from lingotune.launch.aws.connection import Account, connect
from lingotune.launch.render.bundle import Bundle
from lingotune.launch.render.request import to_request
from lingotune.launch.render.service_model import mistakes
from lingotune.launch.render.sweep_tags import sweep_tags
from lingotune.launch.render.training_job import Pairs, TrainingJob, root_uri
from lingotune.launch.sweeps import lock
from lingotune.launch.sweeps.controller import Controller, Limits, Outcome
from lingotune.launch.sweeps.grid import Grid
from lingotune.launch.sweeps.leaving import Ways, tell_rest
from lingotune.launch.sweeps.ledger import Ledger, TrialRecord
from lingotune.launch.sweeps.sagemaker import SageMaker, client_settings
from lingotune.launch.sweeps.trial import RETRIED, State, Trial
from lingotune.launch.sweeps.view import View, spent, terminal


def launch(
    typed: Mapping[str, Any],
    context: HydraContext,
    master: DictConfig,
    task: TaskFunction,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> Sequence[JobReturn]:
    """Run the jobs of one call of Hydra's sweeper, and return their results in its order.

    Leaves the process for what the user has to mend (exit code 2, nothing is started), after Ctrl-C (130),
    and with `plan=true` and `wait=false` (0), as a sweeper would read results that there are not yet.
    """
    setup_globals()
    logging.getLogger("botocore").setLevel(logging.WARNING)  # Hydra shows whatever is logged
    try:
        return _launched(typed, context, master, task, job_overrides, first)
    except ConfigError as error:
        _refuse(translated_error(error).problems, error.exit_code)
    except KeyboardInterrupt:  # Hydra would show a traceback
        say("interrupted; jobs that were started go on, and the same command takes them up")
        raise SystemExit(INTERRUPTED) from None


def _refuse(problems: Sequence[Problem], code: int = USER_ERROR) -> NoReturn:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    print(f"hydra/launcher=sagemaker: {count}\n{format_problems(problems)}", file=sys.stderr)
    raise SystemExit(code)


def _launched(
    typed: Mapping[str, Any],
    context: HydraContext,
    master: DictConfig,
    task: TaskFunction,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> Sequence[JobReturn]:
    settings, problems = read_settings(typed)
    jobs: list[AppJob] = []
    bundle, entry = None, None
    try:
        entry = entry_of(task, settings.code_dir)
        away = [settings.runs_dir, *_output_folders(master)]
        bundle, wrong = pack_code(entry, settings, away)
        problems += wrong
    except ConfigError as error:
        problems += error.problems
    try:
        if entry is not None:
            identity = settings.identity
            jobs = compose_jobs(context, master, job_overrides, first, entry, identity)
    except ConfigError as error:
        problems += error.problems
    if errors_only(problems) or bundle is None or entry is None:
        raise ConfigError(problems)
    app = App(settings, master, entry, bundle)
    return app.run(jobs)


def _output_folders(master: DictConfig) -> list[str]:
    """List the folders that Hydra writes to: the outermost ones inside of the current folder."""
    found = []
    for place in (master.hydra.sweep.dir, master.hydra.run.dir):
        path = Path(str(place))
        inside = path.is_absolute() and path.is_relative_to(Path.cwd())
        relative = path.relative_to(Path.cwd()) if inside else path
        if not relative.is_absolute() and relative.parts:
            found.append(relative.parts[0] if len(relative.parts) > 1 else str(relative))
    return found


_LINE = 160
"""Characters of a line about a job."""


@dataclass
class App:
    """An application with its code, and the sweep that its command makes."""

    settings: Settings
    master: DictConfig
    entry: Entry
    bundle: Bundle

    def __post_init__(self) -> None:
        self._codes: dict[str, str] = {}  # key of a trial -> digest of its code
        self._keys: dict[str, str] = {}  # key of a job's config -> key of its trial

    @property
    def sweep(self) -> str:
        """Name of the sweep: the same for the same command."""
        hydra = self.master.hydra
        typed = [
            self.stem, sorted(hydra.overrides.task), str(hydra.job.config_name),
            OmegaConf.to_yaml(hydra.sweeper), self.entry.start,
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(typed).encode()).hexdigest()
        return f"{self.stem}-{digest[:8]}"

    @property
    def stem(self) -> str:
        """Beginning of the jobs' names."""
        return self.settings.stem(str(self.master.hydra.job.name))

    @property
    def folder(self) -> Path:
        """Folder of the sweep's ledger."""
        return Path(self.settings.runs_dir, self.sweep)

    def run(self, jobs: Sequence[AppJob]) -> Sequence[JobReturn]:
        """Plan the jobs, start what is to be started, and wait for them."""
        fix = "wait for it, or end it with Ctrl-C: its jobs go on"
        with lock.sole(self.folder, self.sweep, fix), Ledger(self.folder) as ledger:
            try:
                return self._planned_and_run(jobs, ledger)
            except KeyboardInterrupt:
                self._leave(ledger.records(), "leaving; ")
                raise SystemExit(INTERRUPTED) from None

    def _planned_and_run(self, jobs: Sequence[AppJob], ledger: Ledger) -> Sequence[JobReturn]:
        codes = self._known_codes(ledger)
        trials = self._trials(jobs, ledger, codes)
        account, quotas = self._checked(jobs, trials, ledger, codes[-1])
        if self.settings.plan:
            say("nothing is started: hydra.launcher.plan=true")
            raise SystemExit(0)
        self._upload(jobs, trials, account, ledger, codes)
        return self._run(jobs, trials, account, ledger, quotas)

    # --- before anything starts -------------------------------------------------------------------

    def _trials(
        self, jobs: Sequence[AppJob], ledger: Ledger, codes: Sequence[str]
    ) -> dict[str, Trial]:
        """Make the trial of each job by its key, those of the ledger with the numbers that they have."""
        known = {record.trial.key: record for record in ledger.records()}
        records = {key: record.trial for key, record in known.items()}
        for job in jobs:
            self._choose_code(job, codes, known)
        taken = {trial.number for trial in records.values()}
        found: dict[str, Trial] = {}
        for job in jobs:
            key = self._key(job)
            if key not in records:
                name = f"{self.stem}-{key[:10]}"
                worst = self.settings.worst_usd
                number = job.number if job.number not in taken else max(taken) + 1
                records[key] = Trial(number, job.varies, job.overrides, key, name, None, worst)
                taken.add(number)
            found[key] = records[key]
        return found

    def _known_codes(self, ledger: Ledger) -> list[str]:
        """List the digests of the code that the sweep's jobs may have, that of further ones at the end."""
        before = [*ledger.about().get("codes", [])]
        started = any(record.attempts for record in ledger.records())
        now = self.bundle.digest
        if not started or self.settings.code.value == "new":
            return [*(code for code in before if code != now), now]
        return before or [now]

    def _choose_code(
        self, job: AppJob, codes: Sequence[str], known: Mapping[str, TrialRecord]
    ) -> None:
        """Choose the trial of a job: one that runs or has completed, or else that of the last code."""
        keys = {code: _key(job, code) for code in codes}
        chosen = codes[-1]
        for code, key in keys.items():
            state = known[key].state if key in known else State.waiting
            if state.holds_slot or state is State.completed:
                chosen = code
        self._keys[job.key] = keys[chosen]
        self._codes[keys[chosen]] = chosen

    def _key(self, job: AppJob) -> str:
        return self._keys[job.key]

    def _checked(
        self, jobs: Sequence[AppJob], trials: Mapping[str, Trial], ledger: Ledger, code: str
    ) -> tuple[Account, Mapping[str, float]]:
        """Show the plan, and check requests, money and account; ConfigError before anything is started."""
        settings, records = self.settings, ledger.records()
        planned = Planned(
            self.sweep, self.entry.text, settings, jobs, [trials[self._key(job)] for job in jobs],
            records, spent(records, self._rates(records), time.time()) or 0.0,
            len(self.bundle.files), len(compressed(self.bundle)), self.bundle.digest,
            code,
        )  # fmt: skip
        for line in plan_lines(planned):
            say(line)
        problems = [*_mistakes(self.describe(trial, 1) for trial in trials.values())]
        problems += check_money(planned)
        if errors_only(problems):
            raise ConfigError(problems)
        needs = [
            JobRequirements(
                trial.name, settings.instance_type, settings.instance_count, settings.spot,
                bool(settings.keep_alive), {}, None,
            )
            for trial in trials.values()
        ]  # fmt: skip
        told = check_account(needs, settings.aws, controlled=True)
        findings = list(told.findings)
        if errors_only(findings):
            raise ConfigError(errors_only(findings))
        warnings = [p for p in findings if p.severity is Severity.warning]
        if warnings:
            print(format_problems([translated(p) for p in warnings]), file=sys.stderr)
        account = connect(settings.aws.region or "", settings.aws, client_settings(), bare=True)
        return account, told.quotas

    def describe(self, trial: Trial, attempt: int) -> TrainingJob:
        """Describe the training job of an attempt."""
        own: Pairs = (("lingotune:name", self.stem), ("lingotune:job-sha256", trial.key))
        code = self._codes[trial.key]
        own += (("lingotune:code-sha256", code),)
        tags = (*own, *sweep_tags(self.sweep, trial.number, trial.varies))
        name = trial.job_name(attempt)
        return self.settings.describe(name, trial.key, code, tags)

    def _upload(
        self,
        jobs: Sequence[AppJob],
        trials: Mapping[str, Trial],
        account: Account,
        ledger: Ledger,
        codes: Sequence[str],
    ) -> None:
        """Upload the code, and the configs of the jobs that have not been started."""
        started = {record.trial.key for record in ledger.records() if record.attempts}
        root = root_uri(self.settings.aws)
        contents: dict[str, bytes | Path] = {}
        for job in jobs:
            key = self._key(job)
            if key not in started:
                where = f"{root}/jobs/{key}"
                contents |= {f"{where}/{name}": file for name, file in job.files.items()}
        if contents:
            uri = f"{root}/code/{self.bundle.digest}/sourcedir.tar.gz"
            if codes[-1] == self.bundle.digest:
                contents[uri] = compressed(self.bundle)
            account.upload(contents, {}, _say_sum)
        ledger.write_about(
            name=self.sweep, words=sys.argv[1:], held="", codes=list(codes), code=codes[-1],
            region=self.settings.aws.region, metric="returned", max_usd=self.settings.budget_usd,
            usd_per_hour=self.settings.usd_per_hour, nodes=self.settings.instance_count,
            application=self.entry.text,
        )  # fmt: skip
        ledger.add_trials(trials.values())

    # --- running ----------------------------------------------------------------------------------

    def _rates(self, records: Sequence[TrialRecord]) -> dict[int, float | None]:
        rate = self.settings.usd_per_hour_of_a_job
        return {record.trial.number: rate for record in records}

    def _limits(self, quotas: Mapping[str, float]) -> Limits:
        settings = self.settings
        quota = quotas.get(settings.quota)
        slots = {}
        if quota is not None:
            slots[settings.quota] = max(1, int(quota) // settings.instance_count)
        return Limits(
            settings.max_parallel,
            slots,
            settings.retries,
            settings.max_failures,
            RETRIED[Retry(settings.retry.value)],
        )

    def _run(
        self,
        jobs: Sequence[AppJob],
        trials: Mapping[str, Trial],
        account: Account,
        ledger: Ledger,
        quotas: Mapping[str, float],
    ) -> Sequence[JobReturn]:
        rates = self._rates(ledger.records())
        view = View(_say_short, rates, live=terminal())
        backend = SageMaker(account, self.describe, f"{self.stem}-", time.time())
        controller = Controller(
            backend, Grid(), ledger, self._limits(quotas), pool=lambda trial: self.settings.quota,
            wanted=lambda trial: trial.key in trials, tell=view.tell, show=view.show,
        )  # fmt: skip
        with view:
            outcome = controller.run(detached=not self.settings.wait)
        if not self.settings.wait:
            self._leave([*outcome.records], "")
            refused = [one for problems in outcome.refused.values() for one in problems]
            raise SystemExit(exit_code_for(refused))
        return self._results(jobs, outcome, account)

    def _leave(self, records: Sequence[TrialRecord], left: str) -> None:
        """Say which jobs go on, what they cost, and how to go on and to stop them."""
        same = "the same command, which starts what waits, and no job twice"
        stop = f"{program('stop')} {self.sweep}{_runs_dir(self.settings)}"
        ways = Ways(same, same, stop, "the same command with hydra.launcher.retry=stopped")
        tell_rest(records, self._rates(records), time.time(), ways, left, say)

    def _results(
        self, jobs: Sequence[AppJob], outcome: Outcome, account: Account
    ) -> Sequence[JobReturn]:
        records = {record.trial.key: record for record in outcome.records}
        returned = []
        for job in jobs:
            record = records[self._key(job)]
            write_hydra_files(job)
            if record.last is not None:
                staging = self.folder / "fetched" / record.last.name
                for line in _fetched(account, record, job, staging, self.settings.fetch_mb):
                    say(line)
            refused = outcome.refused.get(record.trial.number, ())
            why_not = "; ".join(translated(p).what for p in refused) or outcome.halted
            returned.append(job_return(job, record, in_its_words(why_not)))
            say(_last_line(job, record))
        return returned


def _key(job: AppJob, code: str) -> str:
    return hashlib.sha256(f"{job.key}\n{code}".encode()).hexdigest()


def _fetched(
    account: Account, record: TrialRecord, job: AppJob, staging: Path, most_mb: float
) -> list[str]:
    assert record.last is not None
    try:
        return fetch(account, record.last.name, job, staging, most_mb)
    except ConfigError as error:
        told = "; ".join(f"{p.where}: {p.what}" for p in error.problems)
        return [f"output of {record.last.name} could not be fetched: {told}"]


def _last_line(job: AppJob, record: TrialRecord) -> str:
    told = told_by(job) or {}
    line = f"job {job.number:3}  {record.state.value}"
    if record.state is not State.completed:
        return line
    if "lost" in told:
        return f"{line}  returned a {told['lost']}, which is no number: None is passed on"
    if "value" not in told:
        return (
            f"{line}  its main function did not end, or its output is not there: None is passed on"
        )
    return f"{line}  returned {told['value']}  {job.output_dir}"


def _say_short(line: str) -> None:
    """Print a line about what happened; the reason of a failure may have many, and comes whole later."""
    first = in_its_words(line).partition("\n")[0]
    say(first if len(first) <= _LINE else f"{first[: _LINE - 3]}...")


def _say_sum(line: str) -> None:
    if line.startswith("uploaded"):
        say(line)


def _runs_dir(settings: Settings) -> str:
    return "" if settings.runs_dir == "runs" else f" --runs-dir {settings.runs_dir}"


def _mistakes(jobs: Any) -> list[Problem]:
    """List what SageMaker's own model does not allow in the requests."""
    found = {
        mistake.path: Problem(f"{WHERE}: {mistake.path}", mistake.what, check="request")
        for job in jobs
        for mistake in mistakes(to_request(job))
    }
    return list(found.values())
