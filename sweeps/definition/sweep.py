"""Sweep: the specification, validated and resolved; everything else is derived from it."""

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
"""What can be an objective: the metrics of a trial by itself."""
DEFAULT_OBJECTIVES: dict[str, Direction] = {"average_accuracy": "max", "forgetting": "min"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One setting to train in every order and with every seed."""

    label: str
    """Short, readable, unique in the sweep but for class orders and splits, which replicate it."""
    role: Role
    factors: dict[str, Any]
    """What makes it this one: its point on the axes, or how a baseline differs from the base.

    A field that does not act is not there, and a part is `part.NAME`.
    """
    parts: dict[str, str] = field(default_factory=dict)
    """Parts of the ablation plan that act here, by name: `on` or `off`."""
    run: RunConfig
    """Resolved; its seed and task order are placeholders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """Settings of the search that are equal in effect: one configuration stands for them."""

    label: str
    """Of the configuration."""
    idle: tuple[str, ...]
    """Fields and parts that do not act in it: they are blank among its factors."""
    settings: tuple[dict[str, Any], ...]
    """Two or more points, the first of which names the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep that can be planned and run. `load_sweep` and `sweep_from_dict` make it."""

    name: str
    base: RunConfig
    """What the sections of the file say: the run that axes and baselines change."""
    axes: tuple[Axis, ...]
    configurations: tuple[Configuration, ...]
    """Those of the search first, then the baselines. Of a search that learns the baselines alone:
    `sweeps.search` knows what it has proposed."""
    merges: tuple[Merge, ...]
    """Which settings became one configuration."""
    rejected: int
    """Settings that `where` removed."""
    readouts: tuple[ReadoutConfig, ...]
    """Objectives are read from the first."""
    orders: OrderDesign
    seeds: tuple[int, ...]
    algorithm: Algorithm
    objectives: dict[str, Direction]
    early_stop: EarlyStop | None = None
    """None: every configuration learns all its tasks."""
    racing: Racing | None = None
    """None: every configuration gets all its replicates."""
    resources: Resources
    retries: Retries
    logging: Logging
    budget: Budget
    storage: StorageOptions
    """How the storage is reached: what the environment says gives way to it."""
    candidates: Candidates = field(repr=False, compare=False)
    """What a further draw of the search would become."""
    document: dict[str, Any]
    """The sweep as it was written, in plain data; `sweep_from_dict` takes it again."""

    def orders_for(self, run: RunConfig) -> tuple[Order, ...]:
        """Task orders in which `run` is trained: one if its method sees all tasks at once."""
        if run.method.ORDER_FREE:
            return (tuple(range(run.stream.tasks)),)
        table = None
        if self.orders.needs_table:
            identity = table_id(self.base.backbone, run.stream)
            table = next(found for found in self.orders.measured if found.of == identity)
        return self.orders.orders(run.stream.tasks, task_names(run.stream), table)

    def readouts_for(self, run: RunConfig) -> tuple[ReadoutConfig, ...]:
        """The readouts that the run's method supports; `last` if it supports none of them."""
        supported = tuple(r for r in self.readouts if not r.faults_in(run))
        return supported or (ReadoutConfig(routing="last"),)


def label_of(kind: str, factors: Mapping[str, Any]) -> str:
    """A method and what is special about it: `lorac_ipc importance_threshold=0.1`."""
    shown = {path: value for path, value in factors.items() if path != "method.kind"}
    pairs = [f"{path.split('.')[-1]}={_show(value)}" for path, value in shown.items()]
    return " ".join([kind, *pairs] if kind else pairs)


def _show(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_show, value))
    return value if isinstance(value, str) else canonical_json(value)
