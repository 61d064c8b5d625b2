"""Overhead of a sweep beyond training: 200 trials of one stage that sleeps 1 s, on 2 slots.

Everything but the training and the evaluation is the real thing: plan, Ray, Tune, the stage
scheduler, worker processes, leases, the stage store, result tables. In the workers
`run_stage` sleeps instead of training and the evaluator counts nothing,
so the ideal is 200 x 1 s / 2 slots = 100 s. It is run twice: as on a laptop, where the sweep
starts and ends Ray, and on a cluster that is up already, as Ray's own figure for trials of 1 s was
measured (10,000 on 16 CPUs, 14 % above the ideal).

    python benchmarks/overhead.py [--trials 200] [--seconds 1.0]
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clmethods.config import ReadoutConfig, RunConfig, StageSpec
from sweeps.definition import Sweep, sweep_from_dict
from sweeps.execution.driver import RunOptions, run_sweep
from sweeps.execution.worker import trainable
from sweeps.execution.worker.worker_startup import load_torch
from sweeps.planning.plan import Plan
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_runner import TrialRunner
from sweeps.storage import open_storage

if TYPE_CHECKING:
    from clmethods.methods import State
    from clmethods.training.stage import StageOutcome

SLOTS = 2
REAL = trainable.StageTrainable
"""Kept, because each measurement puts its stub in the place of it."""


@dataclass(frozen=True)
class Stub:
    """Replacement of training and evaluation.

    It is pickled into the workers, which load torch only on request.
    """

    seconds: float

    def run_stage(self, run: RunConfig, stage: StageSpec, state: State) -> StageOutcome:
        """Sleep; the outcome is one number that tells the trials apart."""
        import torch

        from clmethods.methods import MethodReport
        from clmethods.training.stage import StageOutcome, TrainingReport

        time.sleep(self.seconds)
        delta = {"number": torch.tensor([float(run.seed)])}
        report = MethodReport(trainable_parameters=1)
        return StageOutcome(delta=delta, training=TrainingReport(), method=report)

    def counts(self, position: int, state: State, readouts: Sequence[ReadoutConfig]) -> Any:
        """One image per readout."""
        from clmethods.evaluate import EvalCount

        row = EvalCount(
            split="validation",
            task=0,
            class_id=0,
            seen=True,
            n=1,
            correct=1,
            correct_task_given=1,
            task_id_correct=None,
        )
        return {readout.readout_id: [row] for readout in readouts}


def stub_trainable(stub: Stub, log: Path) -> type[Any]:
    """The real trainable, whose workers sleep and write down when each step began and ended."""

    class SleepingTrainable(REAL):  # type: ignore[misc]
        def step(self) -> dict[str, Any]:
            self._runner = self._runner or self._open()
            began = time.time()
            result = super().step()
            with log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([os.getpid(), began, time.time()]) + "\n")
            return result

        def _open(self) -> TrialRunner:
            load_torch()
            import clmethods.evaluate
            import clmethods.training.completion

            clmethods.training.completion.run_stage = stub.run_stage
            clmethods.evaluate.Evaluator.counts = stub.counts
            return super()._open()

    return SleepingTrainable


CLUSTER = f"""
import sys
import ray
from sweeps.execution.cluster.connection import ray_cluster
with ray_cluster(None, {SLOTS}):
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def cluster_that_is_up() -> Iterator[str]:
    """The address of a cluster of another process, with a CPU for every slot."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command = [sys.executable, "-c", CLUSTER]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as owner:
        assert owner.stdout is not None
        yield owner.stdout.readline().strip()
        owner.communicate()


def sleeping_sweep(trials: int, limit: int | None) -> Sweep:
    """So many trials of one stage each, which share nothing."""
    return sweep_from_dict(
        {
            "name": "overhead",
            "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
            "stream": {"dataset": "digits", "tasks": 1, "limit": 2},
            "method": {"kind": "lora_sequential", "rank": 1},
            "readouts": [{"routing": "last"}],
            "seeds": [*range(trials)],
            "resources": {} if limit is None else {"max_concurrent": limit},
        }
    )


@dataclass(frozen=True)
class Measured:
    """Wall time of a run by phase."""

    wall_s: float
    ideal_s: float
    start_s: float
    """From the call to the first step: planning, Ray, the first worker."""
    end_s: float
    """From the end of the last step to the return."""
    step_s: float
    """Median of a step beyond its sleep: leases, store, tables."""
    turn_s: float
    """Median from the end of a step to the beginning of the next one in the same worker."""
    workers: int
    planned_s: float
    """Of `start_s`, the planning."""
    steps_per_slot: float
    """By which the medians are multiplied."""

    @property
    def ratio(self) -> float:
        return self.wall_s / self.ideal_s

    @property
    def running_ratio(self) -> float:
        """The same from the first step to the last: starting Ray and torch costs once."""
        return (self.wall_s - self.start_s - self.end_s) / self.ideal_s


def measure(trials: int, seconds: float, address: str | None = None) -> Measured:
    """Run the sweep once on a fresh storage; without an address it starts Ray."""
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        log = Path(folder, "steps.jsonl")
        trainable.StageTrainable = stub_trainable(Stub(seconds), log)  # type: ignore[misc]
        store = StageStore(open_storage(f"{folder}/storage"))
        planned: list[float] = []

        def note(plan: Plan) -> None:
            planned.append(time.time())

        began = time.time()
        sweep = sleeping_sweep(trials, SLOTS if address is None else None)
        outcome = run_sweep(sweep, store, RunOptions(address=address), note)
        ended = time.time()
        if outcome.finished != trials or outcome.trained != trials:
            raise SystemExit(f"{outcome.finished} of {trials} trials finished")
        steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    by_worker: dict[int, list[tuple[float, float]]] = {}
    for pid, first, last in sorted(steps, key=lambda step: step[1]):
        by_worker.setdefault(pid, []).append((first, last))
    turns = [after[0] - before[1] for own in by_worker.values() for before, after in pairwise(own)]
    return Measured(
        wall_s=ended - began,
        ideal_s=trials * seconds / SLOTS,
        start_s=min(first for _, first, _ in steps) - began,
        end_s=ended - max(last for _, _, last in steps),
        step_s=statistics.median(last - first for _, first, last in steps) - seconds,
        turn_s=statistics.median(turns),
        workers=len(by_worker),
        planned_s=planned[0] - began,
        steps_per_slot=trials / SLOTS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    found = measure(arguments.trials, arguments.seconds)
    with cluster_that_is_up() as address:
        up = measure(arguments.trials, arguments.seconds, address)
    print(f"{arguments.trials} trials of {arguments.seconds:g} s on {SLOTS} slots, ", end="")
    print(f"ideal {found.ideal_s:.1f} s")
    print(table({"Ray started and ended": found, "cluster that is up": up}))
    for name, value in {"": found, " on a cluster that is up": up}.items():
        print(f"from the first step to the last{name}, over ideal: {value.running_ratio:.3f}")
    print(f"wall_over_ideal_on_a_cluster_that_is_up: {up.ratio:.3f}")
    print(f"wall_over_ideal: {found.ratio:.3f}")


def table(columns: dict[str, Measured]) -> str:
    """Table of the time by phase, per slot; steps and turn-arounds from their medians."""
    rows = {
        "wall clock": [c.wall_s for c in columns.values()],
        "start: planning": [c.planned_s for c in columns.values()],
        "start: Ray and the workers": [c.start_s - c.planned_s for c in columns.values()],
        "steps beyond their sleep: leases, store, tables": [
            c.step_s * c.steps_per_slot for c in columns.values()
        ],
        "from one step to the next: Ray, Tune, scheduler, rows": [
            c.turn_s * c.steps_per_slot for c in columns.values()
        ],
        "end": [c.end_s for c in columns.values()],
        "worker processes": [float(c.workers) for c in columns.values()],
    }
    lines = ["| seconds | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    lines += [
        f"| {name} | " + " | ".join(f"{v:.1f}" for v in row) + " |" for name, row in rows.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
