"""Batches that a model proposes: Optuna's samplers, asked and told so that they can be replayed.

A batch is asked for at once and told at once, in the order of its proposals, and every batch has
a sampler of its own, seeded from (sweep seed, batch). So the proposals follow from the sweep and
from what was observed, whoever finished first, and a study is never stored: it is made again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from clmethods.canonical import canonical_json, derive_seed
from sweeps.definition.space.axes import SIGNIFICANT_DIGITS, Axis
from sweeps.definition.space.sampling import Point
from sweeps.definition.sweep import Configuration, Sweep

if TYPE_CHECKING:
    import optuna

ASKED_AGAIN = 10
"""Rejected proposals in a row, after which a random draw is taken instead."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a configuration."""

    values: tuple[float, ...] | None = None
    """Its objectives, in their order; None if a run failed or was stopped."""
    stopped_after: int | None = None
    """Stages after which it was stopped early."""
    value_when_stopped: float | None = None
    """The first objective then."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One draw of the model."""

    number: int
    """In the order in which they were asked for, over all batches."""
    draw: Point
    configurations: tuple[Configuration, ...]
    """The draw in every state of the ablation plan; the model is told of the first one."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Proposals that are trained together."""

    number: int
    proposals: tuple[Proposal, ...]
    new: tuple[Configuration, ...]
    """What of them has to be trained: the others are equal in effect to earlier ones."""
    rejected: int
    """Draws that the conditions or the laws of a run did not accept."""


@final
class Proposer:
    """Asks and tells one study, batch by batch."""

    def __init__(self, sweep: Sweep, storage: Any = None) -> None:
        self.sweep = sweep
        self.exhausted = False
        """Whether the conditions rejected so much that the search ended early."""
        self._asked = self._looked = self._number = 0
        self._open: list[tuple[Proposal, optuna.trial.Trial]] = []
        self._turned_down: list[optuna.trial.Trial] = []
        self._known: dict[str, Configuration] = {}  # by effect
        self._told: dict[str, Outcome] = {}  # by config_id
        self._names = _names(sweep.axes)
        self.study = create_study(sweep, storage)

    def ask(self) -> Batch | None:
        """The next batch; None if the search is over. The last one must have been told."""
        algorithm = self.sweep.algorithm
        size = min(algorithm.batch_size, (algorithm.trials or 0) - self._asked)
        if size <= 0 or self.exhausted:
            return None
        number, looked = self._number, self._looked
        proposals: list[Proposal] = []
        new: list[Configuration] = []
        with quiet():
            self.study.sampler = _sampler(self.sweep, number)
            while len(proposals) < size:
                found = self._accepted(number, len(proposals))
                if found is None:
                    self.exhausted = True
                    break
                trial, draw, settings = found
                configurations = tuple(self._configuration(point, new) for point in settings)
                proposal = Proposal(
                    number=self._asked + len(proposals), draw=draw, configurations=configurations
                )
                proposals.append(proposal)
                self._open.append((proposal, trial))
        self._asked += len(proposals)
        if not proposals:
            return None
        rejected = self._looked - looked - len(proposals)
        return Batch(number=number, proposals=tuple(proposals), new=tuple(new), rejected=rejected)

    def tell(self, outcomes: Mapping[str, Outcome]) -> None:
        """Close the batch: what came of each of its new configurations, by `config_id`."""
        from optuna.trial import TrialState

        for config_id, outcome in outcomes.items():
            self._told.setdefault(config_id, outcome)
        with quiet():
            for proposal, trial in self._open:
                first = proposal.configurations[0]
                outcome = self._told[first.run.config_id]
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
        """A trial whose draw is accepted; None once too many were not.

        Rejected trials stay open until the batch is told, which keeps samplers away from them.
        """
        import optuna

        learned, again = self.study.sampler, 0
        try:
            while self._looked < self.sweep.algorithm.most_draws:
                if again == ASKED_AGAIN:
                    seed = _seed(self.sweep, "again", batch, place)
                    self.study.sampler = optuna.samplers.RandomSampler(seed=seed)
                trial = self.study.ask()
                self._looked += 1
                draw = _draw(self.sweep.axes, trial, self._names)
                settings = self.sweep.candidates.sound(draw)
                if settings:
                    return trial, draw, settings
                self._turned_down.append(trial)
                again += 1
        finally:
            self.study.sampler = learned
        return None

    def _configuration(self, point: Point, new: list[Configuration]) -> Configuration:
        """The configuration of a setting: the first one that was equal in effect, if any was."""
        effect = self.sweep.candidates.space.effect(point) or ""
        if effect not in self._known:
            self._known[effect] = self.sweep.candidates.configuration(point)[0]
            new.append(self._known[effect])
        return self._known[effect]


def create_study(sweep: Sweep, storage: Any = None) -> optuna.Study:
    """An empty study with the name and the objectives of a sweep, in memory unless told."""
    with quiet():
        import optuna
        from optuna.study import StudyDirection

        ways = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
        study = optuna.create_study(
            storage=storage,
            study_name=sweep.name,
            directions=[ways[direction] for direction in sweep.objectives.values()],
        )
        study.set_metric_names(list(sweep.objectives))
    return study


def proposals(sweep: Sweep, outcomes: Mapping[str, Outcome]) -> tuple[Batch, ...]:
    """The batches of a sweep whose algorithm learns, given what came of its configurations.

    The last one is open if some of its configurations have no outcome yet.
    """
    proposer = Proposer(sweep)
    found: list[Batch] = []
    while (batch := proposer.ask()) is not None:
        found.append(batch)
        needed = [c.run.config_id for c in batch.new]
        if not all(config_id in outcomes for config_id in needed):
            break
        proposer.tell({config_id: outcomes[config_id] for config_id in needed})
    return tuple(found)


def _seed(sweep: Sweep, *purpose: str | int) -> int:
    """32 bits, the most that numpy's older generators take."""
    algorithm = sweep.algorithm
    return derive_seed(algorithm.seed, "search", algorithm.kind, *purpose) & 0xFFFFFFFF


def _sampler(sweep: Sweep, batch: int) -> optuna.samplers.BaseSampler:
    """The sampler of one batch."""
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


def _names(axes: Sequence[Axis], below: str = "") -> dict[int, str]:
    """What each axis is called in the study: its path, with the choice where it is one's own."""
    found: dict[int, str] = {}
    for axis in axes:
        found[id(axis)] = f"{axis.path} ({below})" if below else axis.path
        for option in axis.options:
            found |= _names(option.axes, option.label)
    return found


def _draw(axes: Sequence[Axis], trial: optuna.trial.Trial, names: Mapping[int, str]) -> Point:
    """The point that the trial suggests, axis by axis, those below the options it picks too."""
    point: Point = {}
    for axis in axes:
        name = names[id(axis)]
        if axis.scale in {"list", "choice"}:
            texts = {_choice(value): value for value in axis.values}
            point[axis.path] = texts[trial.suggest_categorical(name, list(texts))]
            if axis.options:
                point |= _draw(axis.option(point[axis.path]).axes, trial, names)
            continue
        low, high = axis.values
        if axis.scale == "integer":
            point[axis.path] = trial.suggest_int(name, low, high)
        else:
            value = trial.suggest_float(name, low, high, log=axis.scale == "log")
            point[axis.path] = min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), low), high)
    return point


def _choice(value: Any) -> Any:
    """A listed value as Optuna can hold it: numbers and texts as they are, the rest as JSON."""
    return value if isinstance(value, bool | int | float | str) else canonical_json(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna without its log of every trial and its notes on what is experimental."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
