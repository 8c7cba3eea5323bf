"""Jobs of a sweep: what was typed and what files sweep, expanded to the overrides of each job."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hydra.core.override_parser.types import Override

from lingotune.config.problems import Problem
from lingotune.config.quoting import for_shell
from lingotune.config.schema import Search, SweepConfig
from lingotune.launch.overrides.grammar import Groups
from lingotune.launch.overrides.overrides import read_params
from lingotune.launch.overrides.swept import MOST, Axis, corners, product_size

Job = tuple[Override, ...]
"""Overrides of one job."""
REPEATED = "seed"
"""Setting whose values are repetitions of one configuration."""
SEARCH = "sweep.search=tpe sweep.trials=20"


@dataclass
class Expanded:
    """Jobs of a command: all of a grid, or the corners of the space that a search draws from.

    axes: those that were typed, then those of files.
    """

    axes: list[Axis]
    jobs: list[Job] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def swept(self) -> tuple[Axis, ...]:
        """Axes with several values."""
        return tuple(axis for axis in self.axes if axis.is_swept)


class Expansion:
    """Expansion of a command's overrides.

    settings_of: the sweep's settings of a job's overrides, files included; None if it does not compose.
    """

    def __init__(
        self,
        settings_of: Callable[[Job], SweepConfig | None],
        groups: Groups,
        new_groups: Collection[str],
    ) -> None:
        self._settings_of = settings_of
        self._groups, self._new_groups = groups, new_groups
        self._read: dict[tuple[tuple[str, str], ...], tuple[list[Axis], list[Problem]]] = {}

    def expand(
        self, typed: Sequence[Axis], *, sweeps: bool, is_whole: Callable[[], bool]
    ) -> Expanded:
        """List all jobs.

        sweeps: False for a command that takes one job, where files sweep nothing. is_whole: tells whether
        nothing is missing because it was refused, typed or in a file.
        """
        first = tuple(axis.values[0] for axis in typed)
        settings = self._settings_of(first)
        params, problems = self._params(first, typed)
        if not sweeps:
            refused = [_one_job(typed, params)] if params else []
            if not params and is_whole():
                refused = list(_nothing_swept(typed, settings))
            return Expanded([*typed], [first], refused)
        both = Expanded([*typed, *params], problems=problems)
        if not both.swept:
            both.jobs = [tuple(axis.values[0] for axis in both.axes)]
            both.problems += _nothing_swept(typed, settings) if is_whole() else ()
        elif settings is not None and settings.search is not Search.grid:
            both.problems += _unsearchable(both.swept, settings)
            self._search(both, typed)
        else:
            self._grid(both, typed)
        return both

    def _params(self, job: Job, typed: Sequence[Axis]) -> tuple[list[Axis], list[Problem]]:
        """Read what files sweep beside the keys that were typed, which count."""
        settings = self._settings_of(job)
        keys = {axis.key for axis in typed}
        params = settings.params if settings is not None else {}
        left = {key: values for key, values in params.items() if key.lstrip("+") not in keys}
        told = tuple(left.items())
        if told not in self._read:
            self._read[told] = read_params(left, self._groups, self._new_groups)
        axes, problems = self._read[told]
        return axes, list(problems)

    def _grid(self, found: Expanded, typed: Sequence[Axis]) -> None:
        """Fill in the product of all values, for each choice of groups with what its files sweep."""
        found.problems += map(_needs_search, filter(lambda axis: axis.interval, found.swept))
        known = {axis.key for axis in found.axes}
        for job in itertools.product(*(axis.values for axis in typed)):
            params, problems = self._params(job, typed)
            found.problems += [one for one in problems if one not in found.problems]
            found.axes += [axis for axis in params if axis.key not in known]
            known |= {axis.key for axis in params}
            size = len(found.jobs) + product_size([len(axis.values) for axis in params])
            if size > MOST:
                found.problems.append(_too_many(found.swept))
                del found.jobs[1:]
                return
            rest = itertools.product(*(axis.values for axis in params))
            found.jobs += [(*job, *values) for values in rest]

    def _search(self, found: Expanded, typed: Sequence[Axis]) -> None:
        """Fill in the corners of the space, which is the same for every choice of groups."""
        keys = {axis.key for axis in found.axes}
        found.jobs = list(corners(found.axes))
        for job in found.jobs:
            others = [axis for axis in self._params(job, typed)[0] if axis.key not in keys]
            if others:
                what = (
                    f"is swept for some options only, by {others[0].place}; a search has one space"
                )
                one = Problem(others[0].text, what, "sweep.search=grid", key=others[0].key)
                found.problems.append(one)
                return


def _unsearchable(axes: Sequence[Axis], settings: SweepConfig) -> Iterator[Problem]:
    """Tell why a search has nothing to choose from, or less than it is asked for."""
    seed = next((axis for axis in axes if axis.key == REPEATED), None)
    if seed is not None and seed.interval:
        what = "holds repetitions of each configuration: a list, from which nothing is drawn"
        yield Problem(seed.text, what, f"{REPEATED}=1,2,3", key=seed.place or seed.key)
    chosen = [axis.count for axis in axes if axis.key != REPEATED]
    known = [count for count in chosen if count is not None]
    where = f"sweep.trials={settings.trials}"
    if not chosen:
        what = "has nothing to choose from: only the seed varies"
        yield Problem(f"sweep.search={settings.search.value}", what, "sweep.search=grid")
    elif settings.trials and len(known) == len(chosen) and settings.trials > product_size(known):
        size = product_size(known)
        what = f"is more than there are: the values make {size} configurations"
        yield Problem(where, what, f"sweep.trials={size}, or sweep.search=grid")


def _needs_search(axis: Axis) -> Problem:
    what = "an interval has no end of values: a search draws from it, and a grid takes lists"
    return Problem(axis.text, what, f"{for_shell(axis.text)} {SEARCH}", key=axis.place or axis.key)


def _too_many(axes: Sequence[Axis]) -> Problem:
    counts = [len(axis.values) for axis in axes]
    product = " x ".join(map(str, counts))
    what = f"{product} = {product_size(counts)} jobs, and a sweep has at most {MOST}"
    return Problem("sweep", what, SEARCH, key="sweep.params")


def _one_job(typed: Sequence[Axis], params: Sequence[Axis]) -> Problem:
    chosen = next((axis.text for axis in typed if axis.key in ("sweep", "experiment")), "sweep")
    keys = ", ".join(axis.key for axis in params)
    what = f"sweeps {keys}: many jobs, and this takes one"
    return Problem(chosen, what, "leave it out", key="sweep.params")


def _nothing_swept(typed: Sequence[Axis], settings: SweepConfig | None) -> Iterator[Problem]:
    """Tell of settings of a sweep where there is none."""
    if settings is not None and settings.params:
        return  # each was typed with one value: one job of the sweep
    for axis in typed:
        chosen = axis.key == "sweep" and axis.texts != ("null",)
        if chosen or axis.key.startswith("sweep."):
            what = "is about a sweep, and nothing is swept"
            fix = f"-m lr=1e-5,3e-5 {for_shell(axis.text)}"
            if axis.override.is_delete():
                fix = "leave it out"
            yield Problem(axis.text, what, fix, key=axis.key)


def sweep_file(typed: Sequence[Axis]) -> str | None:
    """Return the option of the group sweep that was typed; None without one."""
    found = [axis.texts[-1] for axis in typed if axis.key == "sweep"]
    return found[-1] if found and found[-1] != "null" else None


def placed_in_file(problem: Problem, axes: Sequence[Axis]) -> Problem:
    """Give a problem of a key that a file sweeps the key of its place in the file."""
    places = {axis.key: axis.place for axis in axes if axis.place}
    return replace(problem, key=places.get(problem.key, problem.key))
