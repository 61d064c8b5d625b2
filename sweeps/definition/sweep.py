"""Sweep: validated and resolved definition from which everything else is derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from clmethods import metrics
from clmethods.canonical import canonical_json
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.task_table import table_id
from sweeps.definition.budget import Budget
from sweeps.definition.logging import Logging
from sweeps.definition.orders import Order, OrderDesign, task_names
from sweeps.definition.resources import Resources
from sweeps.definition.retries import Retries
from sweeps.definition.space.axes import Axis
from sweeps.definition.space.sampling import Algorithm
from sweeps.definition.stopping import EXACT, EarlyStop, Racing
from sweeps.storage.options import StorageOptions

if TYPE_CHECKING:
    from sweeps.definition.space.candidates import Candidates

Direction = Literal["max", "min"]
Role = Literal["search", "baseline", "reference"]

METRICS = (*metrics.OF_COUNTS, *EXACT)
"""Metrics that can be objectives: those that depend on a single trial."""
DEFAULT_OBJECTIVES: dict[str, Direction] = {"average_accuracy": "max", "forgetting": "min"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Setting that is trained in each order and with each seed."""

    label: str
    """Short name, unique in the sweep except for replicates by class order or split."""
    role: Role
    factors: dict[str, Any]
    """Point on the axes, or differences of a baseline from the base.

    Fields that do not act are left out; a part is `part.NAME`.
    """
    parts: dict[str, str] = field(default_factory=dict)
    """State `on` or `off` of each part of the ablation plan that acts here, by name."""
    run: RunConfig
    """Resolved run; its seed and task order are placeholders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Settings of the search that are equal in effect and share one configuration."""

    label: str
    """Label of the configuration."""
    idle: tuple[str, ...]
    """Fields and parts that do not act in it; they are left out of its factors."""
    settings: tuple[dict[str, Any], ...]
    """Two or more points; the first one defines the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Sweep that can be planned and run, created by `load_sweep` or `sweep_from_dict`."""

    name: str
    base: RunConfig
    """Run that the sections of the file define; axes and baselines modify it."""
    axes: tuple[Axis, ...]
    configurations: tuple[Configuration, ...]
    """Configurations of the search, then the baselines. With a model, only the baselines:
    `sweeps.search` computes its proposals."""
    merges: tuple[Merge, ...]
    """Settings that share one configuration."""
    rejected: int
    """Number of settings that `where` rejected."""
    readouts: tuple[ReadoutConfig, ...]
    """Readouts; objectives use the first one."""
    orders: OrderDesign
    seeds: tuple[int, ...]
    algorithm: Algorithm
    objectives: dict[str, Direction]
    early_stop: EarlyStop | None = None
    """Rule for early stopping; None: each configuration learns all its tasks."""
    racing: Racing | None = None
    """Rule for racing; None: each configuration gets all its replicates."""
    resources: Resources
    retries: Retries
    logging: Logging
    budget: Budget
    storage: StorageOptions
    """Access to the storage; takes precedence over the environment."""
    candidates: Candidates = field(repr=False, compare=False)
    """Conversion of further draws of the search to configurations."""
    runs: tuple[RunConfig, ...] = field(repr=False, compare=False)
    """Runs of the configurations, never empty. With a model, runs of random draws stand for its
    proposals, which are not known yet, before the baselines."""
    document: dict[str, Any]
    """Sweep as it was written, in plain data; accepted by `sweep_from_dict`."""

    def orders_for(self, run: RunConfig) -> tuple[Order, ...]:
        """Return the task orders of `run`: one if its method sees all tasks at once."""
        if run.method.ORDER_FREE:
            return (tuple(range(run.stream.tasks)),)
        table = None
        if self.orders.needs_table:
            identity = table_id(self.base.backbone, run.stream)
            table = next(measured for measured in self.orders.measured if measured.of == identity)
        return self.orders.orders(run.stream.tasks, task_names(run.stream), table)

    @property
    def task_orders(self) -> tuple[Order, ...]:
        """Task orders of the first run that learns task by task, or one if there is no such run.

        A method that sees all tasks at once has only one order, whatever the design.
        """
        by_task = (run for run in self.runs if not run.method.ORDER_FREE)
        return self.orders_for(next(by_task, self.runs[0]))

    def readouts_for(self, run: RunConfig) -> tuple[ReadoutConfig, ...]:
        """Return the readouts that the method of the run supports, or `last` if there are none."""
        supported = tuple(r for r in self.readouts if not r.issues_in(run))
        return supported or (ReadoutConfig(routing="last"),)


def label_of(kind: str, factors: Mapping[str, Any]) -> str:
    """Return a method with the given fields: `lorac_ipc importance_threshold=0.1`."""
    shown = {path: value for path, value in factors.items() if path != "method.kind"}
    pairs = [f"{path.split('.')[-1]}={_show(value)}" for path, value in shown.items()]
    return " ".join([kind, *pairs] if kind else pairs)


def _show(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_show, value))
    return value if isinstance(value, str) else canonical_json(value)
