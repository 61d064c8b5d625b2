"""Cost forecast of the remaining stages of a plan, from the cost of stored stages of their kind.

Stages are of one kind if backbone, data, method with its size, and amount of training agree.
Learning rates, seeds, orders and splits do not change the cost. Training costs an amount per class
of the task. Evaluation costs an amount per stage, because all tasks are evaluated after each
stage. Both amounts grow linearly with the position if three positions are known. The wall time of
a run is the sum divided among the slots that work at once, plus the start of Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from clmethods.config import StageSpec, canonical_json
from sweeps.planning.plan import Plan
from sweeps.planning.stage_tree import StageNode
from sweeps.stages.stage_store import StageStore

SAMPLE = 300
"""Maximum number of stored stages read per plan; on a bucket each takes two round trips."""
_SIZE = ("kind", "version", "rank", "sites", "depth", "scope")
_AMOUNT = (
    *("epochs", "batch_size", "optimizer", "augment"),
    *("precision", "tf32", "compile", "device", "cuda", "threads"),
)


_DECISIVE: dict[str, Callable[[str], bool]] = {
    "backbone": lambda name: True,
    "data": lambda name: name != "split_seed",
    "method": lambda name: name in _SIZE,
    "train": lambda name: name in _AMOUNT,
}
"""Fields of each section of the effective configuration that determine a kind."""


@final
class Kinds:
    """Kinds of stages; costs of stages of equal kind can be compared.

    The stages of a plan share sections of the effective configuration. Each section is converted
    to text once.
    """

    def __init__(self) -> None:
        self._texts: dict[int, tuple[object, str]] = {}

    def of(self, spec: StageSpec) -> tuple[str, ...]:
        """Return the kind of a stage."""
        return tuple(self._text(name, spec.effect[name]) for name in _DECISIVE)

    def _text(self, name: str, section: object) -> str:
        known = self._texts.get(id(section))
        if known is None:  # the cache keeps the section, so that no other object gets its id
            fields = section.items() if isinstance(section, Mapping) else ()
            acts = {field: value for field, value in fields if _DECISIVE[name](field)}
            known = self._texts[id(section)] = section, canonical_json(acts)
        return known[1]


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """Measured cost of one stored stage."""

    position: int
    classes: int
    """Classes that the stage trained."""
    train_s: float
    evaluate_s: float | None
    """Seconds of its evaluation; None if no evaluation was timed."""


@final
@dataclass(frozen=True, slots=True)
class CostModel:
    """Linear cost model: seconds of a stage of one kind."""

    start: float
    growth: float
    """Training one class at position p takes start + p * growth."""
    look: float = 0.0
    look_growth: float = 0.0
    """Evaluating at position p takes look + p * look_growth."""

    def seconds(self, position: int, classes: int) -> float:
        """Return the seconds of training and evaluating one stage."""
        train = max(0.0, self.start + position * self.growth) * classes
        return train + max(0.0, self.look + position * self.look_growth)


def fitted(found: Iterable[Measured]) -> CostModel:
    """Return the least-squares fit of the cost model to one or more stages of one kind."""
    measured = list(found)
    timed = [(one, one.evaluate_s) for one in measured if one.evaluate_s is not None]
    train = _line([(one.position, one.classes, one.train_s) for one in measured])
    return CostModel(*train, *_line([(one.position, 1, seconds) for one, seconds in timed]))


def _line(costs: Sequence[tuple[int, int, float]]) -> tuple[float, float]:
    """Return (start, growth) per unit, fitted to (position, units, seconds).

    With fewer than three positions the growth is zero; without costs both values are zero.
    """
    if not costs:
        return 0.0, 0.0
    positions, units, seconds = np.array(costs, dtype=float).T
    if len(set(positions.tolist())) < 3:
        return float(seconds.sum() / units.sum()), 0.0
    design = np.stack([units, positions * units], axis=1)  # (stages, 2)
    start, growth = np.linalg.lstsq(design, seconds, rcond=None)[0]
    return float(start), float(growth)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CostForecast:
    """Remaining stages of a plan and their estimated cost."""

    stages: int
    """Number of stages left to train."""
    unknown: int
    """Number of these stages whose kind was never measured."""
    seconds: float
    """Total seconds of training and evaluating the other stages, one after another."""
    measured: int
    """Number of stored stages that were read for the forecast."""


def cost_forecast(plan: Plan, store: StageStore, clock: str = "wall_s") -> CostForecast:
    """Return the cost of the remaining stages, each counted once. `clock`: `wall_s` or `cpu_s`."""
    left = plan.tree.remaining(plan.stored)
    if not plan.stored:  # no kind is known: a large plan need not be divided into kinds
        return CostForecast(stages=len(left), unknown=len(left), seconds=0.0, measured=0)
    kinds, found_kinds = Kinds(), dict[tuple[str, ...], list[StageNode]]()
    for key in sorted(plan.stored):
        node = plan.tree.nodes[key]
        found_kinds.setdefault(kinds.of(node.spec), []).append(node)
    models: dict[tuple[str, ...], CostModel] = {}
    read = 0
    for kind, nodes in found_kinds.items():
        share = max(10, SAMPLE // len(found_kinds))
        found = [_measured(store, node, clock) for node in nodes[:: -(-len(nodes) // share)]]
        known = [one for one in found if one is not None]
        read += len(known)
        if known:
            models[kind] = fitted(known)
    seconds, unknown = 0.0, 0
    for node in left:
        model = models.get(kinds.of(node.spec))
        if model is None:
            unknown += 1
        else:
            seconds += model.seconds(node.position, len(node.spec.classes))
    return CostForecast(stages=len(left), unknown=unknown, seconds=seconds, measured=read)


def probe_trials(plan: Plan) -> list[str]:
    """Return ids of trials whose first stages, if trained, measure every unknown kind."""
    kinds, nodes = Kinds(), plan.tree.nodes
    known = {kinds.of(nodes[key].spec) for key in plan.stored}
    chosen: list[str] = []
    for trial in plan.trials:
        mine = {kinds.of(nodes[key].spec) for key in plan.tree.chains[trial.trial_id]}
        if not mine <= known and not plan.failed_before(trial):
            chosen.append(trial.trial_id)
            known |= mine
    return chosen


def _measured(store: StageStore, node: StageNode, clock: str) -> Measured | None:
    seconds = store.cost(node.key).get(clock)
    if not isinstance(seconds, int | float):
        return None
    evaluated = store.evaluation_cost(node.key).get(clock)
    timed = evaluated if isinstance(evaluated, int | float) else None
    return Measured(node.position, len(node.spec.classes), float(seconds), timed)
