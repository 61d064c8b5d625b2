"""Sweep: validated and resolved definition from which everything else is derived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from clmethods import metrics
from clmethods.config.readout import ReadoutConfig
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig
from clmethods.config.task_table import TaskTable, table_id
from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.budget import Budget
from sweeps.definition.configuration import Configuration, Merge
from sweeps.definition.logging import Logging
from sweeps.definition.orders import Order, OrderDesign, task_names
from sweeps.definition.replicate_design import ReplicateDesign
from sweeps.definition.resources import Resources
from sweeps.definition.retries import Retries
from sweeps.definition.space.axes import Axis
from sweeps.definition.space.candidates import Candidates
from sweeps.definition.space.sampling import Algorithm
from sweeps.definition.stopping import EXACT, EarlyStop, Racing
from sweeps.storage.options import StorageOptions

Direction = Literal["max", "min"]

METRICS = (*metrics.OF_COUNTS, *EXACT)
"""Metrics that can be objectives: those that depend on a single trial."""
DEFAULT_OBJECTIVES: dict[str, Direction] = {"average_accuracy": "max", "forgetting": "min"}


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
    table_streams: tuple[StreamConfig, ...] = ()
    """Streams with different task tables, from which `orders` are derived; empty for designs that
    do not depend on the data."""
    seeds: tuple[int, ...]
    replicates: ReplicateDesign
    """Pairs of order and seed that are run."""
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
        """Return the task orders of `run`: one if its method sees all tasks at once.

        Raises `InvalidConfigError` if the orders depend on tasks that were not measured.
        """
        if run.method.ORDER_FREE:
            return (tuple(range(run.stream.tasks)),)
        table = self._table(run.stream) if self.orders.needs_table else None
        return self.orders.orders(run.stream.tasks, task_names(run.stream), table)

    def replicates_for(self, run: RunConfig) -> tuple[tuple[Order, int], ...]:
        """Return the pairs of task order and seed of `run`, in the sequence of its trials.

        Raises `InvalidConfigError` as `orders_for` does.
        """
        return self.replicates.pairs(self.orders_for(run), self.seeds)

    @property
    def replicate_count(self) -> int:
        """Number of runs of a configuration that learns task by task."""
        return len(self.replicates.pairs(self.task_orders, self.seeds))

    @property
    def task_orders(self) -> tuple[Order, ...]:
        """Task orders of the first run that learns task by task, or one if there is no such run.

        A method that sees all tasks at once has only one order, whatever the design.
        """
        by_task = (run for run in self.runs if not run.method.ORDER_FREE)
        return self.orders_for(next(by_task, self.runs[0]))

    @property
    def unmeasured(self) -> tuple[StreamConfig, ...]:
        """Streams whose task tables are missing; the sweep has no task orders before they exist.

        `measured_sweep` adds the tables.
        """
        known = {table.of for table in self.orders.measured}
        backbone = self.base.backbone
        return tuple(s for s in self.table_streams if table_id(backbone, s) not in known)

    def readouts_for(self, run: RunConfig) -> tuple[ReadoutConfig, ...]:
        """Return the readouts that the method of the run supports, or `last` if there are none."""
        supported = tuple(r for r in self.readouts if not r.issues_in(run))
        return supported or (ReadoutConfig(routing="last"),)

    def _table(self, stream: StreamConfig) -> TaskTable:
        identity = table_id(self.base.backbone, stream)
        table = next((table for table in self.orders.measured if table.of == identity), None)
        if table is None:
            constraint = "a design whose tasks were measured"
            hint = (
                "`sweeps plan` and `sweeps run` measure the tasks of a sweep file; in Python, "
                "`sweeps.definition.measured_sweep` does."
            )
            raise InvalidConfigError(
                [ConfigIssue("orders.design", self.orders.design, constraint, hint)]
            )
        return table
