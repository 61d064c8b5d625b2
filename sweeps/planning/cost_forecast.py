"""What the stages that are left will cost, from what stored stages of their kind have cost.

Stages are of one kind if backbone, data, method with its size, and amount of training agree;
learning rates, seeds, orders and splits do not change a cost. Training costs so much per class of
the task, evaluation so much per stage: after each, all tasks are looked at. Both grow
in a straight line with the position once three positions are known. Wall time of a run is the sum
over the slots that work at once, and Ray's start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from clmethods.config import StageSpec, canonical_json
from sweeps.planning.plan import Plan
from sweeps.planning.stage_tree import StageNode
from sweeps.stages.stage_store import StageStore

SAMPLE = 300
"""At most so many stored stages are read per plan; on a bucket each is two round trips."""
_SIZE = ("kind", "version", "rank", "sites", "depth", "scope")
_AMOUNT = ("epochs", "batch_size", "optimizer", "augment", "precision", "device", "threads")


_TELLS: dict[str, Callable[[str], bool]] = {
    "backbone": lambda name: True,
    "data": lambda name: name != "split_seed",
    "method": lambda name: name in _SIZE,
    "train": lambda name: name in _AMOUNT,
}
"""Which fields of what acts make a kind, section by section."""


@final
class Kinds:
    """Kinds of stages, equal where costs can be compared.

    The stages of a plan share the sections of what acts in them; each is spelt out once.
    """

    def __init__(self) -> None:
        self._texts: dict[int, tuple[dict[str, Any], str]] = {}

    def of(self, spec: StageSpec) -> tuple[str, ...]:
        """The kind of a stage."""
        return tuple(self._text(name, spec.effect[name]) for name in _TELLS)

    def _text(self, name: str, section: dict[str, Any]) -> str:
        known = self._texts.get(id(section))
        if known is None:  # the section is kept, so that its id stays its own
            acts = {field: value for field, value in section.items() if _TELLS[name](field)}
            known = self._texts[id(section)] = section, canonical_json(acts)
        return known[1]


@final
@dataclass(frozen=True, slots=True)
class Measured:
    """What one stored stage has cost."""

    position: int
    classes: int
    """Trained here."""
    train_s: float
    evaluate_s: float | None
    """None if no evaluation of it was timed."""


@final
@dataclass(frozen=True, slots=True)
class Law:
    """Seconds of a stage of one kind."""

    start: float
    growth: float
    """Training one class at position p takes start + p * growth."""
    look: float = 0.0
    look_growth: float = 0.0
    """Evaluating at position p takes look + p * look_growth."""

    def seconds(self, position: int, classes: int) -> float:
        """Of training and evaluating one stage."""
        train = max(0.0, self.start + position * self.growth) * classes
        return train + max(0.0, self.look + position * self.look_growth)


def fitted(found: Iterable[Measured]) -> Law:
    """The law of one kind from one or more measured stages, by least squares."""
    measured = list(found)
    timed = [(one, one.evaluate_s) for one in measured if one.evaluate_s is not None]
    train = _line([(one.position, one.classes, one.train_s) for one in measured])
    return Law(*train, *_line([(one.position, 1, seconds) for one, seconds in timed]))


def _line(costs: Sequence[tuple[int, int, float]]) -> tuple[float, float]:
    """(start, growth) of a unit, from (position, units, seconds).

    No growth from fewer than three positions, and nothing from nothing.
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
    """What is left to train, and what it will take."""

    stages: int
    """Left to train."""
    unknown: int
    """Of these, how many are of a kind that was never measured."""
    seconds: float
    """Of the others, training and evaluation, one after another."""
    measured: int
    """Stored stages that were read for it."""


def cost_forecast(plan: Plan, store: StageStore, clock: str = "wall_s") -> CostForecast:
    """The cost of the stages that are left, each once. `clock` is `wall_s` or `cpu_s`."""
    left = plan.tree.remaining(plan.stored)
    if not plan.stored:  # spares a large plan to be told apart by kinds of which none is known
        return CostForecast(stages=len(left), unknown=len(left), seconds=0.0, measured=0)
    kinds, found_kinds = Kinds(), dict[tuple[str, ...], list[StageNode]]()
    for key in sorted(plan.stored):
        node = plan.tree.nodes[key]
        found_kinds.setdefault(kinds.of(node.spec), []).append(node)
    laws: dict[tuple[str, ...], Law] = {}
    read = 0
    for kind, nodes in found_kinds.items():
        share = max(10, SAMPLE // len(found_kinds))
        found = [_measured(store, node, clock) for node in nodes[:: -(-len(nodes) // share)]]
        known = [one for one in found if one is not None]
        read += len(known)
        if known:
            laws[kind] = fitted(known)
    seconds, unknown = 0.0, 0
    for node in left:
        law = laws.get(kinds.of(node.spec))
        if law is None:
            unknown += 1
        else:
            seconds += law.seconds(node.position, len(node.spec.classes))
    return CostForecast(stages=len(left), unknown=unknown, seconds=seconds, measured=read)


def probe_trials(plan: Plan) -> list[str]:
    """Ids of trials whose first stages, trained, would measure every kind that is unknown."""
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
    cost: dict[str, Any] = store.cost(node.key)
    if not isinstance(cost.get(clock), int | float):
        return None
    evaluated = store.evaluation_cost(node.key).get(clock)
    return Measured(node.position, len(node.spec.classes), float(cost[clock]), evaluated)
