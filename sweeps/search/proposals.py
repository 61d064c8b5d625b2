"""Batches of proposals by Optuna's samplers, arranged so that they can be replayed.

All proposals of a batch are requested together, and all results are reported together, in the
order of the proposals. Each batch has a separate sampler with a seed derived from (sweep seed,
batch). The proposals therefore depend only on the sweep and on the observations, not on the order
in which runs finish. A study is never stored; it is rebuilt when needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from clmethods.canonical import canonical_json, derive_seed
from sweeps.definition.configuration import Configuration
from sweeps.definition.space.axes import SIGNIFICANT_DIGITS, Axis
from sweeps.definition.space.sampling import Point
from sweeps.definition.sweep import Sweep

if TYPE_CHECKING:
    import optuna

ASKED_AGAIN = 10
"""Number of consecutive rejected proposals after which a random draw is used instead."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a configuration, as it is reported to the model."""

    values: tuple[float, ...] | None = None
    """Objectives in their order; None if a run failed or was stopped."""
    stopped_after: int | None = None
    """Number of stages after which it was stopped early."""
    value_when_stopped: float | None = None
    """First objective at that time."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One draw of the model with its configurations."""

    number: int
    """Number of the proposal over all batches, in the order of the requests."""
    draw: Point
    configurations: tuple[Configuration, ...]
    """Configurations of the draw in all states of the ablation plan; the model receives the result
    of the first one."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Proposals that are trained together."""

    number: int
    proposals: tuple[Proposal, ...]
    new: tuple[Configuration, ...]
    """Configurations to train; the others are equal in effect to earlier ones."""
    rejected: int
    """Number of draws that the conditions or the constraints of a run rejected."""


@final
class Proposer:
    """Ask-and-tell interface to one study, batch by batch."""

    def __init__(self, sweep: Sweep, storage: optuna.storages.BaseStorage | None = None) -> None:
        self.sweep = sweep
        self.exhausted = False
        """True if the conditions rejected so many draws that the search ended early."""
        self._asked = self._drawn = self._number = 0
        self._open: list[tuple[Proposal, optuna.trial.Trial]] = []
        self._turned_down: list[optuna.trial.Trial] = []
        self._known: dict[str, Configuration] = {}  # by effect
        self._outcomes: dict[str, Outcome] = {}  # by config_id
        self._names = _names(sweep.axes)
        self.study = create_study(sweep, storage)

    def ask(self) -> Batch | None:
        """Return the next batch, or None if the search is over; call `tell` between batches."""
        algorithm = self.sweep.algorithm
        size = min(algorithm.batch_size, (algorithm.trials or 0) - self._asked)
        if size <= 0 or self.exhausted:
            return None
        number, draws_before = self._number, self._drawn
        proposals: list[Proposal] = []
        new: list[Configuration] = []
        with without_optuna_messages():
            self.study.sampler = _sampler(self.sweep, number)
            while len(proposals) < size:
                accepted = self._accepted(number, len(proposals))
                if accepted is None:
                    self.exhausted = True
                    break
                trial, draw, settings = accepted
                configurations = tuple(self._configuration(point, new) for point in settings)
                proposal = Proposal(
                    number=self._asked + len(proposals), draw=draw, configurations=configurations
                )
                proposals.append(proposal)
                self._open.append((proposal, trial))
        self._asked += len(proposals)
        if not proposals:
            return None
        rejected = self._drawn - draws_before - len(proposals)
        return Batch(number=number, proposals=tuple(proposals), new=tuple(new), rejected=rejected)

    def tell(self, outcomes: Mapping[str, Outcome]) -> None:
        """Close the batch with the outcomes of its new configurations, by `config_id`."""
        from optuna.trial import TrialState

        for config_id, outcome in outcomes.items():
            self._outcomes.setdefault(config_id, outcome)
        with without_optuna_messages():
            for proposal, trial in self._open:
                first = proposal.configurations[0]
                outcome = self._outcomes[first.run.config_id]
                trial.set_user_attr("configuration", first.label)
                if outcome.values is not None:
                    self.study.tell(trial, list(outcome.values))
                elif outcome.stopped_after is not None:
                    if len(self.sweep.objectives) == 1 and outcome.value_when_stopped is not None:
                        trial.report(outcome.value_when_stopped, outcome.stopped_after)
                    self.study.tell(trial, state=TrialState.PRUNED)
                else:
                    self.study.tell(trial, state=TrialState.FAIL)
            for trial in self._turned_down:
                trial.set_user_attr("configuration", "rejected by the conditions")
                self.study.tell(trial, state=TrialState.FAIL)
        self._open.clear()
        self._turned_down.clear()
        self._number += 1

    def _accepted(
        self, batch: int, place: int
    ) -> tuple[optuna.trial.Trial, Point, list[Point]] | None:
        """Return a trial with an accepted draw; None if the limit of draws is reached.

        Rejected trials stay open until the batch is closed, so that samplers avoid them.
        """
        import optuna

        batch_sampler, rejections = self.study.sampler, 0
        try:
            while self._drawn < self.sweep.algorithm.most_draws:
                if rejections == ASKED_AGAIN:
                    seed = _seed(self.sweep, "again", batch, place)
                    self.study.sampler = optuna.samplers.RandomSampler(seed=seed)
                trial = self.study.ask()
                self._drawn += 1
                draw = _draw(self.sweep.axes, trial, self._names)
                settings = self.sweep.candidates.valid(draw)
                if settings:
                    return trial, draw, settings
                self._turned_down.append(trial)
                rejections += 1
        finally:
            self.study.sampler = batch_sampler
        return None

    def _configuration(self, point: Point, new: list[Configuration]) -> Configuration:
        """Return the configuration of a point, or an earlier one that is equal in effect."""
        effect = self.sweep.candidates.space.effect(point) or ""
        if effect not in self._known:
            self._known[effect] = self.sweep.candidates.configuration(point)[0]
            new.append(self._known[effect])
        return self._known[effect]


def create_study(sweep: Sweep, storage: optuna.storages.BaseStorage | None = None) -> optuna.Study:
    """Return an empty study with the name and objectives of a sweep, by default in memory."""
    with without_optuna_messages():
        import optuna
        from optuna.study import StudyDirection

        study_directions = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
        study = optuna.create_study(
            storage=storage,
            study_name=sweep.name,
            directions=[study_directions[direction] for direction in sweep.objectives.values()],
        )
        study.set_metric_names(list(sweep.objectives))
    return study


def proposals(sweep: Sweep, outcomes: Mapping[str, Outcome]) -> tuple[Batch, ...]:
    """Return the batches of a sweep with a model, given the outcomes of its configurations.

    The last batch is open if some of its configurations have no outcome yet.
    """
    proposer = Proposer(sweep)
    batches: list[Batch] = []
    while (batch := proposer.ask()) is not None:
        batches.append(batch)
        ids = [c.run.config_id for c in batch.new]
        if not all(config_id in outcomes for config_id in ids):
            break
        proposer.tell({config_id: outcomes[config_id] for config_id in ids})
    return tuple(batches)


def _seed(sweep: Sweep, *purpose: str | int) -> int:
    """Return a seed of 32 bits, the limit of numpy's older generators."""
    algorithm = sweep.algorithm
    return derive_seed(algorithm.seed, "search", algorithm.kind, *purpose) & 0xFFFFFFFF


def _sampler(sweep: Sweep, batch: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of a batch."""
    import optuna

    seed = _seed(sweep, batch)
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, group=True, constant_liar=True),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(
            seed=seed, population_size=sweep.algorithm.batch_size
        ),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    }
    return samplers[sweep.algorithm.kind]()


def _names(axes: Sequence[Axis], option_label: str = "") -> dict[int, str]:
    """Return the parameter name of each axis: its path, with the option if it belongs to one."""
    names: dict[int, str] = {}
    for axis in axes:
        names[id(axis)] = f"{axis.path} ({option_label})" if option_label else axis.path
        for option in axis.options:
            names |= _names(option.axes, option.label)
    return names


def _draw(axes: Sequence[Axis], trial: optuna.trial.Trial, names: Mapping[int, str]) -> Point:
    """Return the point that the trial suggests, including the axes of the selected options."""
    point: Point = {}
    for axis in axes:
        name = names[id(axis)]
        if axis.scale in {"list", "choice"}:
            texts: dict[bool | int | float | str | None, object] = {
                categorical_value(value): value for value in axis.values
            }
            point[axis.path] = texts[trial.suggest_categorical(name, list(texts))]
            if axis.options:
                point |= _draw(axis.option(point[axis.path]).axes, trial, names)
            continue
        low, high = axis.ends
        if axis.scale == "integer":
            point[axis.path] = trial.suggest_int(name, int(low), int(high))
        else:
            value = trial.suggest_float(name, low, high, log=axis.scale == "log")
            point[axis.path] = min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), low), high)
    return point


def categorical_value(value: object) -> bool | int | float | str:
    """Return a listed value in a type that Optuna accepts; lists and mappings become JSON."""
    return value if isinstance(value, bool | int | float | str) else canonical_json(value)


@contextmanager
def without_optuna_messages() -> Iterator[None]:
    """Suppress Optuna's log messages and warnings about experimental features."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
