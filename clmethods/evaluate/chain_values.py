"""`ChainValues`: values that are constant along a chain, computed once for all its stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

from torch import Tensor

from clmethods.config.keys import StageSpec
from clmethods.config.run import RunConfig
from clmethods.config.stream import TaskGroup
from clmethods.data.streams import Split, TaskData
from clmethods.determinism import open_run
from clmethods.methods import State
from clmethods.readout.adaptive import Head
from clmethods.readout.features import FeatureCache
from clmethods.readout.statistics import ReadoutStatistics

StateSource = Callable[[int], State]
"""Function that returns the folded state after the task at a position."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ChainValues:
    """Run and chain of an `Evaluator`, and caches that its stages share."""

    run: RunConfig
    chain: tuple[StageSpec, ...]
    states: StateSource | None
    """Source of earlier states; needed only by methods that keep no snapshots."""
    statistics: ReadoutStatistics
    features: FeatureCache
    distances: dict[tuple[str, int, str, int], Tensor] = field(default_factory=dict)
    """Distances of images to a task by (task-ID settings, place, split, group)."""
    heads: dict[tuple[str, int], Head] = field(default_factory=dict)
    """Aligned heads by (settings, place), for an alignment that continues the previous one."""
    _labels: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @property
    def snapshots(self) -> bool:
        """True if a state contains the snapshots of all earlier tasks."""
        return "oracle" in self.run.method.ROUTINGS

    def data(self, split: Split, group: TaskGroup) -> TaskData:
        """Return the images of a task. They are not cached, because their features are."""
        return open_run(self.run)[1].data_of(group, split)

    def labels(self, split: Split, group: TaskGroup) -> Tensor:
        """Return the original class ids (n,) of a task's images."""
        key = (split, group.index)
        if key not in self._labels:
            self._labels[key] = self.data(split, group).labels
        return self._labels[key]
