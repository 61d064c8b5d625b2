"""Resource reservations of the trials of a step, decided and checked when the step begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from clmethods.errors import refuse
from sweeps.definition import Resources, TrialSpec
from sweeps.execution.cluster.connection import ClusterSize
from sweeps.execution.cluster.node_types import InfeasibleWatch, NodeTypes, node_types
from sweeps.execution.cluster.nodes import Nodes
from sweeps.execution.resources.gpu_measurement import DriverCallbacks, GpuSizing
from sweeps.execution.resources.gpu_memory import GpuProbe
from sweeps.execution.resources.impossible_demands import judge
from sweeps.execution.resources.trial_resources import (
    Demand,
    Slots,
    demand_of,
    distinct,
    shapes_of,
)
from sweeps.results.event_kinds import Notice
from sweeps.storage import ObjectStore


@final
class Reservations:
    """Resources of a sweep's trials in one cluster. Needs a connection to Ray."""

    def __init__(
        self,
        asked: Resources,
        objects: ObjectStore,
        nodes: Nodes,
        probe: GpuProbe,
        callbacks: DriverCallbacks,
        slots: Slots,
        local: bool,
    ) -> None:
        """`asked`: resources of the sweep file. `local`: True if no node can join this cluster."""
        self._asked, self._nodes, self._on, self._slots = asked, nodes, callbacks, slots
        self._types: NodeTypes | None = None if local else node_types(nodes)
        self._sizing = GpuSizing(objects, nodes, probe, callbacks)
        self._size = ClusterSize(nodes)
        self._infeasible = InfeasibleWatch()
        self._demands: list[Demand] = []
        self._said: set[str] = set()
        self.resources = asked
        """Decided resources: `gpu` is a number once a step has begun."""
        self.gpu_bytes = 0
        """GPU bytes that a trial needs, as measured; 0 if nothing was measured."""

    def begin(self, todo: Sequence[TrialSpec]) -> Resources:
        """Decide the resources of the trials of a step, and report trials that can never run.

        Raises `InvalidConfigError` if no node that may join would hold some trial.
        """
        if self._asked.gpus is None:
            share = self._sizing.share(todo, self._asked, self._types)
            if share.gpu != self.resources.gpus:
                self._on.say(share.sentence)
            self.resources = replace(self._asked, gpu=share.gpu)
            self.gpu_bytes = share.needed_bytes
        self._demands = distinct(demand_of(trial, self.resources) for trial in todo)
        verdict = judge(self._demands, shapes_of(self._nodes.all()), self._types)
        refuse(verdict.issues)
        self._note(verdict.sentences)
        return self.resources

    def look(self) -> None:
        """Report demands that became impossible since the last call."""
        self._note(self._infeasible.look(self._types, self._size.shapes(), self._demands))

    def slots(self) -> int:
        """Return the number of trials that may be released now."""
        return self._slots.count(self._demands, self._size.shapes())

    def _note(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            if sentence in self._said:  # reported in an earlier step
                continue
            self._said.add(sentence)
            self._on.say(sentence)
            self._on.event(Notice(text=sentence))
