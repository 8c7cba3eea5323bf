"""Presentation of plans: a compact page, in colour on a terminal, and everything as JSON."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import lingotune
from lingotune.catalog.hardware import instance_of, precision_on, resolve_image
from lingotune.config.jobfile import plain
from lingotune.config.problems import (
    Problem,
    Severity,
    errors_only,
    format_problems,
    without_secrets,
)
from lingotune.config.program import program
from lingotune.config.schema import (
    Action,
    DistillationConfig,
    Distribution,
    EvalStrategy,
    FallbackBy,
    Lane,
    Search,
    selected_by,
)
from lingotune.config.secret_values import known_secrets
from lingotune.estimate.memory import fits, fitting_micro_batch
from lingotune.estimate.micro_batches import overrides_of
from lingotune.estimate.run_time import duration
from lingotune.estimate.step_time import paper_lines, update_on_paper
from lingotune.launch.checks.sagemaker import account_names
from lingotune.launch.cost.prices import usd_text
from lingotune.launch.plan.data_delivery import Delivery
from lingotune.launch.plan.planner import MachinePlan, Plan, Sweep
from lingotune.plugins.source import own_code_lines


@dataclass(frozen=True)
class Section:
    """Part of the page: lines, or a table with its header, or findings."""

    title: str
    lines: Sequence[str] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    findings: Sequence[Problem] = ()


# --- sections -------------------------------------------------------------------------------------


def page_of(sweep: Sweep) -> list[Section]:
    """Make the page of one job, or of a sweep."""
    return _plan_page(sweep) if sweep.name is None else _sweep_page(sweep)


def _plan_page(sweep: Sweep) -> list[Section]:
    """Make the page of one job: settings, arithmetic, machines, time and cost, findings, next commands."""
    plan, problems = sweep.plans[0], sweep.problems
    return [
        Section("job", rows=_job_rows(plan)),
        Section("arithmetic", _arithmetic(plan)),
        Section("machines", _machines(plan)),
        *([Section("time and money", _money(plan))] if plan.money else []),
        *([Section("findings", findings=problems)] if problems else []),
        *([Section("command", [" ".join(plan.command)])] if plan.command else []),
        *_following(_next(plan, mended=not errors_only(problems))),
    ]


def _sweep_page(sweep: Sweep) -> list[Section]:
    """Make the page of many jobs: what they share, a row per job, all findings, and the sum."""
    plans, first = sweep.plans, sweep.plans[0]
    facts = sweep.facts
    title = f"{len(plans)} jobs"
    if first.number is None:
        title = f"{len(plans)} corners of the space, which were checked; nothing of them is started"
    return [
        *([Section(f"sweep {sweep.name.name}", facts.lines)] if sweep.name and facts else []),
        Section(title, header=[name for name, _ in _columns(sweep)], rows=_rows_of(sweep)),
        Section("arithmetic of the first", _arithmetic(first)),
        Section("machines", _machines_of(plans)),
        *([Section("time and money", sweep.total.lines)] if sweep.total.lines else []),
        *([Section("findings", findings=sweep.problems)] if sweep.problems else []),
        *_following(_next_of_sweep(sweep)),
    ]


_UNKNOWN = "unknown"
_LONGEST_CELL = 24
"""Characters of a swept value in the table of jobs."""


def _columns(sweep: Sweep) -> list[tuple[str, Callable[[Plan], str]]]:
    """Choose the columns of the table of jobs: what varies, what follows from it, time and money."""
    plans = sweep.plans
    swept = list(dict.fromkeys(key for plan in plans for key in plan.varies))
    leaves = [key.rpartition(".")[2] for key in swept]
    names = [leaf if leaves.count(leaf) == 1 else key for key, leaf in zip(swept, leaves)]
    follows: list[tuple[str, Callable[[Plan], str]]] = [
        ("peak lr", lambda plan: f"{plan.batch.learning_rate:.4g}"),
        ("batch", lambda plan: str(plan.batch.global_batch)),
        ("steps", lambda plan: str(plan.steps.total_steps) if plan.steps else _UNKNOWN),
    ]
    shown = [
        (name, cell)
        for name, cell in follows
        if len({cell(plan) for plan in plans}) > 1 and not _repeats(cell, plans, swept)
    ]
    known: list[tuple[str, Callable[[Plan], str]]] = [
        ("expected", lambda plan: duration(plan.time.seconds) if plan.time else _UNKNOWN),
        ("USD", lambda plan: usd_text(plan.cost.expected_usd if plan.cost else None, unit="")),
        ("worst USD", lambda plan: usd_text(plan.cost.worst_usd if plan.cost else None, unit="")),
    ]
    return [
        *([("#", lambda plan: str(plan.number))] if plans[0].number else []),
        *((name, partial(_value, key)) for key, name in zip(swept, names)),
        *shown,
        *(column for column in known if any(column[1](plan) != _UNKNOWN for plan in plans)),
        *([("job", lambda plan: plan.name)] if plans[0].training_job and plans[0].number else []),
    ]


def _value(key: str, plan: Plan) -> str:
    value = plan.varies.get(key, "-")
    return value if len(value) <= _LONGEST_CELL else value[: _LONGEST_CELL - 3] + "..."


def _repeats(cell: Callable[[Plan], str], plans: Sequence[Plan], swept: Sequence[str]) -> bool:
    """Tell whether a column says the same as one of the swept values."""
    told = [cell(plan) for plan in plans]
    return any(told == [_plain_number(plan.varies.get(key, "")) for plan in plans] for key in swept)


def _plain_number(text: str) -> str:
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text


def _rows_of(sweep: Sweep) -> list[list[str]]:
    columns = _columns(sweep)
    return [[cell(plan) for _, cell in columns] for plan in sweep.plans]


def _job_rows(plan: Plan) -> list[list[str]]:
    job, training, select = plan.job, plan.job.training, selected_by(plan.job)
    scored = {
        EvalStrategy.none: "scored at the end",
        EvalStrategy.epoch: f"scored every epoch, best by {select}",
        EvalStrategy.steps: f"scored every {training.eval_steps} steps, best by {select}",
    }[training.eval_strategy]
    if training.max_steps is None:
        length = f"{job.epochs:g} epoch{'s' * (job.epochs != 1)}"
    else:
        length = f"{training.max_steps} steps"
    rows = [
        ["name", plan.name],
        ["model", f"{job.model.name} ({job.model.name_or_path or 'made from scratch'})"],
        ["data", f"{job.data.name}: {_rows(plan)}, texts of at most {job.data.max_length} tokens"],
        ["training", f"{length}, {training.schedule.value} schedule, {scored}"],
        ["hub", job.hub.visibility.value],
        ["typed", shlex.join([*plan.options, *(o.text for o in plan.overrides)]) or "nothing"],
        ["sha256", plan.digests.job],
    ]
    if plan.training_job is not None:
        rows.insert(3, ["prepared", _delivery(plan.data)])
    if job.distillation.teacher is not None:
        rows.insert(3, ["teacher", _teacher(job.distillation)])
    rows[5:5] = [["own code", line] for line in own_code_lines(job.code)]
    if plan.config_dir:
        rows.insert(-1, ["group files", f"{plan.config_dir} beside the shipped ones"])
    return rows


def _teacher(wanted: DistillationConfig) -> str:
    """Describe the teacher, and its part of the loss."""
    shares = f"labels {wanted.alpha:g}, teacher {1 - wanted.alpha:g}"
    return (
        f"{wanted.teacher} (sha256 {(wanted.sha256 or '')[:12]}); the loss: {shares}, at temperature"
        f" {wanted.temperature:g}"
    )


def _delivery(data: Delivery) -> str:
    """Describe where the machines get the data from."""
    if data.uri is not None:
        return data.uri
    if data.folder is None and data.digest is not None:
        return "here, once its source is fetched, by a rehearsal or the submit"
    if data.folder is None:
        return "by the machines, when the job has started"
    return f"{data.folder}{'' if data.is_made else ', which a rehearsal or the submit makes'}"


def _rows(plan: Plan) -> str:
    if plan.rows is None:
        return "rows are counted when it is read"
    return ", ".join(f"{count} {split}" for split, count in plan.rows.items()) + " rows"


def _arithmetic(plan: Plan) -> list[str]:
    unknown = ("steps unknown: the number of training rows is known once the data is read",)
    steps = plan.steps.arithmetic if plan.steps else unknown
    return [*plan.batch.arithmetic, *steps, *_batches(plan)]


def _batches(plan: Plan) -> tuple[str, ...]:
    found = plan.batching
    if found:
        lines = paper_lines(plan.job, plan.batch, found.planned, found.word_pieces)
        return (*found.arithmetic, *lines)
    mode = plan.job.batching.mode.value
    return (f"batches: {mode}; padding and waiting are known once the data is prepared",)


def _money(plan: Plan) -> tuple[str, ...]:
    """Return the lines about time and money; without a run on record, with the least that paper allows."""
    found, steps, cost = plan.batching, plan.steps, plan.cost
    step = found and update_on_paper(plan.job, plan.batch, found.planned, found.word_pieces)
    if plan.time or not step or not steps:
        return (*plan.money, *_saves(plan))
    seconds = steps.total_steps * step.seconds
    unknown, *others = plan.money
    updates = f"{steps.total_steps} updates x {1000 * step.seconds:.1f} ms"
    line = f"at least {duration(seconds)} = {updates} on paper, without start-up, evaluation and saving"
    if cost and cost.worst_usd is not None:
        line += f": {usd_text(cost.worst_usd * seconds / plan.config.cluster.max_run)}"
    return unknown, line, *others, *_saves(plan)


def _saves(plan: Plan) -> tuple[str, ...]:
    """Format what checkpoints and interruptions cost a spot job; nothing for others."""
    return plan.saves.lines(plan.cost.expected_usd if plan.cost else None) if plan.saves else ()


def _machines(plan: Plan) -> list[str]:
    cluster, precision = plan.job.cluster, plan.job.training.precision
    instance = instance_of(cluster)
    if instance is None:
        gpus, processes = cluster.gpus_per_node, plan.batch.world_size
        where = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "CPU"
        return [f"this machine, {where}, {processes} process{'es' * (processes > 1)}"]
    resolved = precision_on(instance, precision)
    if plan.machines:
        return _list_of_machines(plan)
    alone = cluster.distribution is Distribution.none
    return [
        f"{cluster.nodes} x {instance.instance_type}: {instance.hardware},"
        f" {'one process' if alone else cluster.distribution.value}",
        f"image: {_image(plan)}",
        f"precision: {resolved.value} ({precision.value})",
        f"memory{' of a GPU' if instance.gpus else ''}: {_memory(plan)}",
        *_capacity(plan),
    ]


def _list_of_machines(plan: Plan) -> list[str]:
    """Describe the machines that a job may get: a line for each, and what they share."""
    cluster, precision = plan.job.cluster, plan.job.training.precision
    by_aws = cluster.fallback_by is FallbackBy.sagemaker
    who = "AWS starts the job on" if by_aws else "started one after the other, until it runs:"
    lines = [f"{who} the first of these that has capacity:" if by_aws else who]
    for number, one in enumerate(plan.machines, 1):
        instance, batch = instance_of(one.job.cluster), one.batch
        assert instance is not None, "preflight requires it"
        memory = f"about {one.memory.gib:.1f} of " if one.memory else ""
        hardware = instance.hardware.removesuffix(" each")
        units = "GPUs" if instance.gpus else "process"
        lines.append(
            f"{number}. {one.job.cluster.nodes} x {instance.instance_type}: {hardware};"
            f" {batch.global_batch} = {batch.per_device_batch} x {batch.world_size} {units} x"
            f" {batch.accumulation} accumulation; {memory}{instance.memory_gib:g} GiB"
        )
    alone = cluster.distribution is Distribution.none
    return [
        *lines,
        f"on all of them: {'one process' if alone else cluster.distribution.value}, image"
        f" {_image(plan)}, precision {precision.value}",
        *_capacity(plan),
    ]


def _machines_of(plans: Sequence[Plan]) -> list[str]:
    """Describe the machines of a sweep: all lines if they are the same, else two of each kind."""
    kinds = list(dict.fromkeys(tuple(_machines(plan)) for plan in plans))
    if len(kinds) == 1:
        return list(kinds[0])
    return list(dict.fromkeys(line for kind in kinds for line in kind[:2]))


def _image(plan: Plan) -> str:
    typed = plan.job.cluster.image
    if typed.uri:
        return f"{typed.uri} (your own)"
    how = "newest that fits" if typed.lane is Lane.auto else "pinned"
    return f"{resolve_image(plan.job.cluster)} ({how})"


def _memory(plan: Plan) -> str:
    if plan.memory is None:
        return "unknown: the model's size is not known"
    line = f"about {plan.memory.gib:.1f} GiB = {plan.memory.arithmetic}"
    if not plan.job.training.fit_memory:
        return line
    smaller = None if fits(plan.job) else fitting_micro_batch(plan.job)
    likely = f", likely {overrides_of(smaller)}" if smaller else ""
    return f"{line}; what fits is tried on the machine (training.fit_memory){likely}"


def _capacity(plan: Plan) -> list[str]:
    cluster, job = plan.job.cluster, plan.training_job
    assert job is not None
    lines = [f"stops at the latest after {duration(cluster.max_run)} (cluster.max_run)"]
    if job.max_wait is not None:
        lines.append(f"spot capacity, waits and runs for {duration(job.max_wait)} at most")
    if cluster.max_pending is not None:
        lines.append(
            f"waits for capacity for {duration(cluster.max_pending)} at most (cluster.max_pending)"
        )
    if job.keep_alive is not None:
        lines.append(
            f"stays warm for {duration(job.keep_alive)} after the end (cluster.keep_alive)"
        )
    return lines


# --- next commands ------------------------------------------------------------------------------


def _following(commands: list[str]) -> list[Section]:
    return [Section("next", commands)] if commands else []


def _next(plan: Plan, *, mended: bool) -> list[str]:
    """List the commands that come after what was asked for: none after a submit or a rehearsal."""
    dropped = ("action", "output", "cluster.backend")
    kept = [o for o in plan.overrides if o.key not in dropped and o.section != "rehearsal"]
    typed = [*plan.options, *(o.text for o in kept)]
    if plan.command:
        elsewhere = [*plan.options, *(o.text for o in kept if o.section != "cluster")]
        return [
            _command("train", typed),
            _command("launch", [*typed, "job_file=job.yaml"]),
            _command("launch", [*elsewhere, "cluster=p4d_24xl"]),
        ]
    if not mended:
        return ["mend the findings above, then plan again"]
    needs = [f"{key}=..." for key, value in account_names(plan.config.aws).items() if not value]
    lines = [
        _command("launch", [*typed, "output=request"]) + "  # the request itself",
        _command("launch", [*typed, "action=rehearse", "rehearsal.model=tiny"])
        + "  # runs it here, on CPUs",
        _command("launch", [*typed, *needs, "action=check"]) + "  # asks AWS, starts nothing",
        _command("launch", [*typed, *needs, "action=submit"]),
    ]
    lines = lines[_DONE[plan.config.action] :]
    if lines and plan.job.model.name_or_path is None:
        lines.append(
            "model=tiny is for debugging; the article's model: model=distilbert_multilingual"
        )
    return lines


def _next_of_sweep(sweep: Sweep) -> list[str]:
    if errors_only(sweep.problems):
        return ["mend the findings above, then plan again"]
    if sweep.plans[0].training_job is None:
        return [_command("train", _kept(sweep.plans)) + "  # runs them here, one after the other"]
    is_search = sweep.plans[0].config.sweep.search is not Search.grid
    starts = "starts the search" if is_search else "starts them all"
    commands = [
        following_command(sweep.plans, "action=rehearse") + "  # runs them here",
        following_command(sweep.plans, "action=check") + "  # asks AWS, starts nothing",
        following_command(sweep.plans, "action=submit") + f"  # {starts}",
    ]
    return commands[max(0, _DONE[sweep.plans[0].config.action] - 1) :]


_DONE = {Action.plan: 0, Action.check: 3, Action.rehearse: 4, Action.submit: 4}
"""Commands below a plan (request, rehearse, check, submit) that do not come after an action."""


def following_command(plans: Sequence[Plan], *added: str) -> str:
    """Return the command that does something else with the jobs of one, with all that was typed."""
    return _command("launch", [*_kept(plans), *added])


def _kept(plans: Sequence[Plan]) -> list[str]:
    """Select the words of a command that are about its jobs, not about what is done with them."""
    dropped = ("action=", "output=", "cluster.backend=", "rehearsal.")
    return [word for word in plans[0].words if not word.startswith(dropped)]


def _command(command: str, words: Sequence[str]) -> str:
    return f"{program(command)} {shlex.join(words)}".rstrip()


# --- as text ------------------------------------------------------------------------------------


def show(sections: Sequence[Section]) -> None:
    """Print the page: with colour and frames on a terminal, as plain text elsewhere.

    What is known as a secret from the environment alone is no error, but is not shown either.
    """
    hide = known_secrets().removed_from
    sections = [_with_texts(hide, section) for section in sections]
    if sys.stdout.isatty():
        try:
            _show_rich(sections)
            return
        except ImportError:
            pass  # rich is optional
    print(plain_text(sections), end="\n\n")


def _with_texts(change: Callable[[str], str], section: Section) -> Section:
    return replace(
        section,
        lines=list(map(change, section.lines)),
        rows=[list(map(change, row)) for row in section.rows],
    )


def plain_text(sections: Sequence[Section]) -> str:
    """Format the page without colour, indented by two spaces."""
    return "\n\n".join(f"{s.title}:\n{_plain_body(s)}" for s in sections)


def _plain_body(section: Section) -> str:
    if section.findings:
        return format_problems(section.findings)
    if section.rows:
        rows = [list(section.header), *section.rows] if section.header else list(section.rows)
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
        return "\n".join(f"  {line}" for line in lines)
    return "\n".join(f"  {line}" for line in section.lines)


def _width(section: Section) -> int:
    return max(map(len, _plain_body(section).splitlines()))


def _stacked(section: Section) -> str:
    """Format a table whose last column, the names of jobs, has lines of its own: they stay whole."""
    rest = [row[:-1] for row in section.rows]
    head, *lines = _plain_body(replace(section, header=section.header[:-1], rows=rest)).splitlines()
    return "\n".join([head, *(f"{line}\n    {row[-1]}" for line, row in zip(lines, section.rows))])


def _show_rich(sections: Sequence[Section]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for section in sections:
        console.print(Text(section.title, style="bold cyan"))
        if section.findings:
            console.print(_rich_findings(section.findings))
        elif section.header and _width(section) > console.width:
            console.print(Text(_stacked(section)), soft_wrap=True)
        elif section.rows:
            header = [escape(name) for name in section.header]
            shown = Table(*header, box=None, show_header=bool(header))
            for row in section.rows:
                shown.add_row(*(Text(cell, overflow="fold") for cell in row))
            console.print(shown)
        elif section.title in ("next", "command"):  # to be copied, so never wrapped
            for line in section.lines:
                console.print(Text(f"  {line}"), soft_wrap=True)
        else:
            console.print(Padding(Text("\n".join(section.lines)), (0, 0, 0, 2)))
        console.print()


def _rich_findings(findings: Sequence[Problem]) -> Any:
    """Make a table of findings; a long override is wrapped, but never truncated."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, show_lines=True)
    for problem in map(without_secrets, findings):
        style = "bold red" if problem.severity is Severity.error else "yellow"
        text = Text(f"{problem.where}\n", style="bold", overflow="fold")
        text.append(problem.what, style="not bold")
        if problem.why:
            text.append(f"\nwhy: {problem.why}", style="not bold dim")
        if problem.fix:
            text.append("\nfix: ", style="not bold").append(problem.fix, style="not bold green")
        table.add_row(Text(f"{problem.severity.value}\n{problem.check}", style=style), text)
    return table


# --- as JSON ------------------------------------------------------------------------------------


def as_dict(sweep: Sweep) -> dict[str, object]:
    """Collect everything that a program may want from the plans, as plain values."""
    return {
        "lingotune": lingotune.__version__,
        "exit_code": sweep.exit_code,
        "findings": [finding(p) for p in sweep.problems],
        "config_dir": str(found) if (found := sweep.plans[0].config_dir) else None,
        "expected_usd": sweep.total.expected_usd,
        "worst_usd": sweep.total.worst_usd,
        **({"sweep": dict(sweep.facts.values)} if sweep.facts else {}),
        "jobs": [_job_dict(plan) for plan in sweep.plans],
    }


def requests_json(plans: Sequence[Plan], *, many: bool) -> str:
    """Format the CreateTrainingJob request of one job, or the list of many."""
    requests = [plan.request for plan in plans]
    return to_json(requests if many else requests[0])


def problems_json(problems: Sequence[Problem], exit_code: int) -> str:
    """Format the problems as one object if no plan could be made."""
    return to_json({
        "lingotune": lingotune.__version__,
        "exit_code": exit_code,
        "findings": [finding(p) for p in problems],
        "jobs": [],
    })  # fmt: skip


def to_json(value: Any) -> str:
    """Format JSON, indented, without escaping letters and without the environment's secrets."""
    return known_secrets().removed_from(json.dumps(value, indent=2, ensure_ascii=False))


def finding(problem: Problem) -> dict[str, str | None]:
    """Convert a finding to plain texts; `value` is None if no value is concerned."""
    found = {**asdict(without_secrets(problem)), "severity": problem.severity.value}
    return {
        name: value for name, value in found.items() if name != "code"
    }  # the command's is beside


def _machine_dict(one: MachinePlan) -> dict[str, object]:
    cluster = one.job.cluster
    return {
        "instance_type": cluster.instance_type,
        "nodes": cluster.nodes,
        "batch": asdict(one.batch),
        "memory": asdict(one.memory) if one.memory else None,
        "time": asdict(one.time) if one.time else None,
        "cost": asdict(one.cost) if one.cost else None,
    }


def _job_dict(plan: Plan) -> dict[str, object]:
    return {
        "name": plan.name,
        **({"number": plan.number, "varies": dict(plan.varies)} if plan.varies else {}),
        "sha256": plan.digests.job,
        "overrides": [o.text for o in plan.overrides],
        "settings": plain(plan.job),
        "rows": plan.rows,
        "prepared": {
            "sha256": plan.data.digest,
            "folder": str(plan.data.folder) if plan.data.folder else None,
            "uri": plan.data.uri,
            "is_made": plan.data.is_made,
        },
        "batch": asdict(plan.batch),
        "steps": asdict(plan.steps) if plan.steps else None,
        "batching": asdict(plan.batching) if plan.batching else None,
        "memory": asdict(plan.memory) if plan.memory else None,
        "time": asdict(plan.time) if plan.time else None,
        "cost": asdict(plan.cost) if plan.cost else None,
        **({"saves": {**asdict(plan.saves), "best": plan.saves.best}} if plan.saves else {}),
        **({"machines": [_machine_dict(one) for one in plan.machines]} if plan.machines else {}),
        "findings": [finding(p) for p in plan.problems],
        "command": list(plan.command) if plan.command else None,
        "request": plan.request,
        "huggingface": plan.huggingface,
        "model_trainer": plan.model_trainer,
    }
