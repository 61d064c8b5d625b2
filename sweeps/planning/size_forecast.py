"""What a plan takes: bytes in the storage, and in the memory of a trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from clmethods.forecast.memory import run_memory
from clmethods.forecast.stored_tensors import total
from sweeps.planning.plan import Plan
from sweeps.storage import ObjectStore


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes, at most, and the largest of all trials where it speaks of one."""

    stage: int
    """Of what one stage stores: adapters, head, module weights and a method's own statistics."""
    state: int
    """Of all that a trial has stored once its last task is learned."""
    statistics: int
    """Of what its readouts keep by then of the classes, in memory only."""
    network: int
    """Of the backbone's weights, which stand in memory beside both."""
    stages: int
    """Of the files of all distinct stages. Their figures, counts and rows come on top, some kB
    each."""
    left: int
    """Of those that are not stored yet."""
    free: int | None
    """That the disk of the storage has left; None for a bucket."""

    @property
    def fits(self) -> bool:
        """Whether what is left to store has room."""
        return self.free is None or self.left <= self.free


def footprint(plan: Plan, objects: ObjectStore) -> Footprint:
    """What a plan takes; every distinct stage is counted once."""
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
