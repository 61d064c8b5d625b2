"""Size forecast of a plan: bytes in the storage, and bytes in the memory of a trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from clmethods.config.methods.run_shapes import total
from clmethods.forecast.memory import run_memory
from sweeps.planning.plan import Plan
from sweeps.storage import ObjectStore


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Upper limits in bytes. Values of one stage or one trial are the largest of all trials."""

    stage: int
    """Bytes that one stage stores: adapters, head, module weights and statistics of the method."""
    state: int
    """Bytes that a trial has stored once its last task is learned."""
    statistics: int
    """Bytes of the class statistics that its readouts keep by then, in memory only."""
    network: int
    """Bytes of the backbone's weights, in memory together with `state` and `statistics`."""
    stages: int
    """Bytes of the files of all distinct stages; figures, counts and rows add some kB each."""
    left: int
    """Bytes of the stages that are not stored yet."""
    free: int | None
    """Free bytes of the storage's disk; None for a bucket."""

    @property
    def fits(self) -> bool:
        """True if the free space suffices for the stages that are not stored yet."""
        return self.free is None or self.left <= self.free


def footprint(plan: Plan, objects: ObjectStore) -> Footprint:
    """Return the footprint of a plan; every distinct stage is counted once."""
    stage = state = statistics = network = stages = left = 0
    counted: set[str] = set()
    for trial in plan.trials:
        memory = run_memory(trial.run, trial.readouts)
        for key, size in zip(plan.tree.chains[trial.trial_id], memory.stages, strict=False):
            if key not in counted:
                counted.add(key)
                taken = size.delta.file_bytes
                stages += taken
                left += 0 if key in plan.stored else taken
                stage = max(stage, size.delta.nbytes)
        state = max(state, memory.stages[-1].state.nbytes)
        statistics = max(statistics, total(memory.statistics).nbytes)
        network = max(network, memory.network.nbytes)
    return Footprint(
        stage=stage,
        state=state,
        statistics=statistics,
        network=network,
        stages=stages,
        left=left,
        free=objects.free_bytes(),
    )
