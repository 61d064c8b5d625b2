"""Router of an export: task-ID inference stored in `router.json` and `router.safetensors`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from clmethods.archive import write
from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.config import ReadoutConfig, readout_from_dict
from clmethods.export.finished_chain import FinishedChain
from clmethods.readout.gaussians import Gaussians
from clmethods.readout.statistics import ReadoutStatistics
from clmethods.readout.task_id import infer_tasks

CONFIG, STATISTICS = "router.json", "router.safetensors"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Router:
    """Task-ID inference with its statistics; it requires the first snapshot and no data."""

    readout: ReadoutConfig
    statistics: ReadoutStatistics
    tasks: int
    """Number of snapshots."""

    @classmethod
    def of(cls, chain: FinishedChain) -> Router:
        """Return the router of a chain, from stored statistics or else from its training images.

        Raises `DatasetError` if both are missing.
        """
        routing = chain.readout.routing_alone  # the head is in the adapters
        statistics = chain.evaluator.statistics_for(chain.position, chain.state, [routing])
        return cls(routing, ReadoutStatistics(statistics), chain.position + 1)

    def infer(self, features: Tensor) -> Tensor:
        """Return the positions (n,) of the snapshots for features (n, D) of the first snapshot.

        Raises `LookupError` if statistics of a task are missing.
        """
        kind = self.readout.task_id_kind
        statistics = (
            [self.statistics.get(kind, place) for place in range(self.tasks)] if kind else []
        )
        tasks: list[Gaussians] = [task for task in statistics if task is not None]
        if len(tasks) != self.tasks:
            raise LookupError(f"statistics of {len(tasks)} tasks for {self.tasks} snapshots")
        return infer_tasks(self.readout, tasks, features.to(tasks[0].means))

    def write(self, folder: Path) -> None:
        """Write both files."""
        document = {"readout": asdict(self.readout), "tasks": self.tasks}
        text = json.dumps(document, indent=2, sort_keys=True) + "\n"
        write(folder / CONFIG, text.encode())
        write(folder / STATISTICS, state_to_bytes(self.statistics.tensors(self.readout)))

    @classmethod
    def read(cls, folder: Path) -> Router:
        """Read a router that `write` wrote."""
        document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        readout = readout_from_dict(document["readout"])
        tensors = state_from_bytes((folder / STATISTICS).read_bytes())
        return cls(readout, ReadoutStatistics(tensors), document["tasks"])
