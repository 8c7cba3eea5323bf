"""Optuna's study of a sweep, of which a trial is a configuration. Derived from the ledger.

It lies in the sweep's folder, for whoever wants to look at it with Optuna's tools. Where it and the ledger
disagree, as after a power cut, it is made anew.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lingotune.config.problems import ConfigError, Problem
from lingotune.config.schema import Search, SweepConfig
from lingotune.launch.sweeps.space import SearchSpace, Values
from lingotune.launch.sweeps.trial import State

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"
"""File in the folder of a sweep."""
_VALUES, _SPACE = "configuration", "space"
_SURE = 20
"""Draws after which a small space is listed, to find a configuration that is not taken."""


@dataclass(frozen=True)
class Known:
    """A configuration of the ledger: its scores by evaluation, and how it ended.

    curve: mean over its seeds after the first, second, ... evaluation. state: None while a job of it may
    still run. score: that of a completed one.
    """

    values: Values
    curve: Sequence[float] = ()
    state: State | None = None
    score: float | None = None


class Study:
    """Study of a sweep: draws configurations, and judges them after each evaluation.

    rung: evaluations before the first rung; None = nothing is pruned. ConfigError if the folder holds the
    study of another space, or Optuna is not installed.
    """

    def __init__(
        self,
        folder: Path,
        space: SearchSpace,
        settings: SweepConfig,
        *,
        maximize: bool,
        rung: int | None,
        known: Sequence[Known] = (),
    ) -> None:
        self._optuna = _optuna()
        self._path = folder / JOURNAL
        self._space, self._settings = space, settings
        self._searches = settings.search is not Search.grid
        self._description = space.description if self._searches else Search.grid.value
        self._direction = "maximize" if maximize else "minimize"
        self._pruner = self._pruner_of(rung)
        self._trials: dict[tuple[str, ...], optuna.trial.Trial] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._study = self._opened()
        self.agree_with(known)

    # --- configurations ---------------------------------------------------------------------------

    def ask(self, trials: int) -> dict[str, str] | None:
        """Draw the next configuration, which none before it is; None if all are taken.

        trials: configurations of the whole search; the first quarter is drawn at random.
        """
        number = len(self._trials)
        if self._space.size is not None and number >= self._space.size:
            return None
        self._study.sampler = self._sampler(number, trials)
        with _quiet():
            trial = self._study.ask(self._space.distributions())
        values = self._space.drawn(trial.params)
        if _key(values) in self._trials:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            values = self._other(number)
            self._add(values)
        else:
            trial.set_user_attr(_VALUES, values)
            self._trials[_key(values)] = trial
        return values

    def add(self, values: Values) -> None:
        """Add a configuration of a grid, unless it is there."""
        if _key(values) not in self._trials:
            self._add(values)

    def report(self, values: Values, evaluation: int, score: float) -> bool:
        """Take the score of a configuration after an evaluation, from 1; returns False if it is known."""
        trial = self._trials.get(_key(values))
        if (
            trial is None
            or self._is_over(trial)
            or evaluation in self._frozen(trial).intermediate_values
        ):
            return False
        trial.report(score, evaluation)
        return True

    def is_hopeless(self, values: Values) -> bool:
        """Tell whether a configuration is worse than most that were evaluated as often."""
        trial = self._trials[_key(values)]
        return not self._is_over(trial) and trial.should_prune()

    def let_pass(self, values: Values) -> None:
        """Take over the rungs that a configuration has reached without judging it: it has gone on."""
        while self._passes_rung(values):
            pass

    def finish(self, values: Values, state: State, score: float | None) -> None:
        """Take the end of a configuration: completed with its score, pruned, or neither."""
        trial, states = self._trials.get(_key(values)), self._optuna.trial.TrialState
        if trial is None or self._is_over(trial):
            return
        if state is State.completed and score is not None:
            self._study.tell(trial, score)
        else:
            pruned = state is State.pruned
            self._study.tell(trial, state=states.PRUNED if pruned else states.FAIL)

    # --- Optuna -----------------------------------------------------------------------------------

    def _opened(self) -> optuna.Study:
        o = self._optuna
        if not _is_whole(self._path):
            self._path.unlink()
        storage = o.storages.JournalStorage(
            o.storages.journal.JournalFileBackend(str(self._path), lock_obj=_NoLock())
        )
        with _quiet():
            study: optuna.Study = o.create_study(
                storage=storage,
                study_name="sweep",
                direction=self._direction,
                pruner=self._pruner,
                load_if_exists=True,
            )
        there = study.user_attrs.get(_SPACE)
        if there is None:
            study.set_user_attr(_SPACE, self._description)
        elif there != self._description:
            raise ConfigError([self._other_space()])
        return study

    def _other_space(self) -> Problem:
        what = "is of a sweep over other values, and a search learns from one space alone"
        return Problem(
            str(self._path.parent), what, "another sweep.name=NAME, or the values as before"
        )

    def agree_with(self, known: Sequence[Known]) -> None:
        """Take over the ledger's configurations; make the study anew if it has others."""
        self._trials.clear()
        if self._searches and not all(self._space.holds(one.values) for one in known):
            raise ConfigError([self._other_space()])
        found = [trial for trial in self._study.get_trials() if _VALUES in trial.user_attrs]
        same = [_key(t.user_attrs[_VALUES]) for t in found] == [_key(k.values) for k in known]
        if not same or any(_differs(t, k) for t, k in zip(found, known)):
            self._path.unlink(missing_ok=True)
            self._study, found = self._opened(), []
        for trial in found:
            self._trials[_key(trial.user_attrs[_VALUES])] = self._live(trial)
        for one in known:
            self.add(one.values)
            for evaluation, score in enumerate(one.curve, 1):
                self.report(one.values, evaluation, score)
                self.let_pass(one.values)
            if one.state is not None:
                self.finish(one.values, one.state, one.score)

    def _passes_rung(self, values: Values) -> bool:
        """Write the next rung that a configuration has reached; False once there is none."""
        trial = self._trials[_key(values)]
        before = self._rungs(trial)
        return not self._is_over(trial) and trial.should_prune() and self._rungs(trial) > before

    def _rungs(self, trial: optuna.trial.Trial) -> int:
        attributes = self._study._storage.get_trial(trial._trial_id).system_attrs
        return sum(name.startswith("completed_rung_") for name in attributes)

    def _add(self, values: Values) -> None:
        template = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState.RUNNING,
            params=self._space.numbers(values) if self._searches else {},
            distributions=self._space.distributions() if self._searches else {},
            user_attrs={_VALUES: dict(values)},
        )
        self._study.add_trial(template)
        self._trials[_key(values)] = self._live(self._study.get_trials(deepcopy=False)[-1])

    def _live(self, trial: optuna.trial.FrozenTrial) -> optuna.trial.Trial:
        live: optuna.trial.Trial = self._optuna.trial.Trial(self._study, trial._trial_id)
        return live

    def _frozen(self, trial: optuna.trial.Trial) -> optuna.trial.FrozenTrial:
        return self._study._storage.get_trial(trial._trial_id)

    def _is_over(self, trial: optuna.trial.Trial) -> bool:
        return self._frozen(trial).state.is_finished()

    def _other(self, number: int) -> dict[str, str]:
        """Draw at random until a configuration is new; of a small space, choose among those left."""
        source = random.Random(f"{self._settings.seed} {number}")
        for _ in range(_SURE if self._space.size is not None else 1000):
            values = self._space.at_random(source)
            if _key(values) not in self._trials:
                return values
        left = (values for values in self._space.all() if _key(values) not in self._trials)
        return next(left)

    def _sampler(self, number: int, trials: int) -> optuna.samplers.BaseSampler:
        """Make the sampler of one draw: its seed says which, so that a new start goes on likewise."""
        seed = random.Random(f"{self._settings.seed} {number}").randrange(2**32)
        sampler: optuna.samplers.BaseSampler = self._optuna.samplers.RandomSampler(seed=seed)
        if self._settings.search is Search.tpe:
            start = min(10, max(3, trials // 4))
            with _quiet():
                sampler = self._optuna.samplers.TPESampler(
                    seed=seed, n_startup_trials=start, constant_liar=True
                )
        return sampler

    def _pruner_of(self, rung: int | None) -> optuna.pruners.BasePruner:
        pruner: optuna.pruners.BasePruner = self._optuna.pruners.NopPruner()
        if rung is not None:
            pruner = self._optuna.pruners.SuccessiveHalvingPruner(
                min_resource=rung, reduction_factor=self._settings.reduction
            )
        return pruner


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        what = f"needs Optuna, which is not installed here ({error})"
        fix = "pip install 'lingotune[sweep]'"
        raise ConfigError([Problem("sweep.search", what, fix)]) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class _NoLock:
    """Lock of a journal that only the sweep's controller writes, which holds the sweep's own lock.

    Optuna's makes the next controller wait for half a minute after one that was killed.
    """

    def acquire(self) -> bool:
        """Do nothing."""
        return True

    def release(self) -> None:
        """Do nothing."""


def _is_whole(path: Path) -> bool:
    """Tell whether each line of a journal can be read; the last one may be torn by a full disk."""
    try:
        content = path.read_text(encoding="utf-8")
        for line in content.splitlines():
            json.loads(line)
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return content.endswith("\n") or not content


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out Optuna's remarks on arguments that are new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _key(values: Values) -> tuple[str, ...]:
    return tuple(f"{key}={values[key]}" for key in sorted(values))


def _differs(trial: optuna.trial.FrozenTrial, known: Known) -> bool:
    """Tell whether the study says something that the ledger does not."""
    if not trial.state.is_finished():
        return False
    told = {"COMPLETE": State.completed, "PRUNED": State.pruned}.get(trial.state.name)
    if told is None:
        return known.state in (None, State.completed, State.pruned)
    return known.state is not told or (told is State.completed and trial.value != known.score)
