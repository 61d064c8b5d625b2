"""Savings from shared stages in an ablation sweep of the embedded four-domain benchmark.

Four importance thresholds x three schemes of module weights x four readouts x all 24 orders of
the four domains x two seeds. Elsewhere every one of the 2304 combinations is a trial that trains
its four tasks: 9216 stages. Here a readout is read from trained stages, and chains that begin
alike in effect share their beginning.

The shared side is run, whole, through Ray Tune. Of the unshared side a sample of trials is run,
each on an empty storage, in as many processes as there are slots and without Ray; its wall time is
extrapolated from their mean. It is the least that it could take, as nothing is added for Ray.

    python benchmarks/sharing.py [--first-tasks 4] [--seeds 2] [--sample 12]

`--first-tasks 1 --seeds 1` runs an eighth of it, the orders that begin with the first domain: the
tree is the same below each first task and seed, and so are the factors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import permutations

from sweeps.definition import Sweep, TrialSpec, expand, sweep_from_dict
from sweeps.execution.driver import run_sweep
from sweeps.planning.stage_tree import StageTree
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_runner import TrialRunner
from sweeps.storage import open_storage

SLOTS = 2
TASKS = 4
READOUTS = [{"routing": name} for name in ("last", "instance", "batch", "oracle")]
SCHEMES = ["ones", "learned", "normalised"]


def make_sweep(first_tasks: int, seeds: int) -> Sweep:
    """The declared sweep, or a subset of it that is closed under sharing."""
    orders = [list(o) for o in permutations(range(TASKS)) if o[0] < first_tasks]
    return sweep_from_dict(
        {
            "name": "sharing",
            "backbone": {"name": "nano_vit32", "weights": "shipped", "image_size": 16},
            "stream": {"dataset": "embedded4", "limit": 4},
            "method": {"kind": "lorac_ipc", "rank": 4, "lora_alpha": 4},
            "train": {"epochs": 1, "batch_size": 32, "lr": 0.005},
            "search": {
                "method.importance_threshold": [0, 0.05, 0.1, 0.2],
                "method.module_weights": SCHEMES,
            },
            "orders": {"design": "explicit", "list": orders},
            "seeds": [*range(seeds)],
            "readouts": READOUTS,
            "resources": {"max_concurrent": SLOTS},
        }
    )


def run_alone(trial: TrialSpec) -> float:
    """Seconds of one trial with one readout on a storage of its own."""
    with tempfile.TemporaryDirectory(prefix="sharing-") as folder:
        store = StageStore(open_storage(folder))
        began = time.perf_counter()
        runner = TrialRunner("alone", trial, store, LeaseTable(store.objects), "alone")
        while runner.advance().position < len(trial.chain):
            continue
        return time.perf_counter() - began


def run_several(trials: list[TrialSpec]) -> list[float]:
    """One process's share of the sample; its first trial pays for imports and does not count."""
    run_alone(trials[0])
    return [run_alone(trial) for trial in trials]


def sampled_seconds(trials: list[TrialSpec], size: int) -> list[float]:
    """Seconds per unshared trial, in as many processes at once as there are slots."""
    drawn = random.Random(0).sample(trials, min(size, len(trials)))
    single = [
        replace(trial, readouts=(trial.readouts[i % len(trial.readouts)],))
        for i, trial in enumerate(drawn)
    ]
    shares = [share for i in range(SLOTS) if (share := single[i::SLOTS])]
    with multiprocessing.get_context("spawn").Pool(len(shares)) as pool:
        return [seconds for share in pool.map(run_several, shares) for seconds in share]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--first-tasks", type=int, choices=range(1, TASKS + 1), default=TASKS)
    parser.add_argument("--seeds", type=int, choices=(1, 2), default=2)
    parser.add_argument("--sample", type=int, default=12)
    arguments = parser.parse_args()
    sweep = make_sweep(arguments.first_tasks, arguments.seeds)
    trials = [*expand(sweep)]
    tree, readouts = StageTree.of(trials), len(sweep.readouts)
    unshared = tree.total * readouts
    print(
        f"{tree.trials} chains x {readouts} readouts = {tree.trials * readouts} trials elsewhere"
    )
    print(f"stages: {unshared} unshared, {tree.total} in chains, {tree.distinct} distinct")
    print(
        f"in theory: {tree.total / tree.distinct:.3f} x fewer stages by prefixes alone, ", end=""
    )
    print(f"{unshared / tree.distinct:.3f} x with readouts as trials", flush=True)

    with tempfile.TemporaryDirectory(prefix="sharing-") as folder:
        began = time.perf_counter()
        outcome = run_sweep(sweep, StageStore(open_storage(folder)))
        wall_s = time.perf_counter() - began
        if outcome.finished != tree.trials:
            raise SystemExit(f"{outcome.finished} of {tree.trials} chains finished")
    seconds = sampled_seconds(trials, arguments.sample)
    per_trial = statistics.fmean(seconds)
    spread = statistics.stdev(seconds) if len(seconds) > 1 else 0.0
    unshared_s = per_trial * tree.trials * readouts / SLOTS
    print(f"measured: {outcome.trained} stages trained in {wall_s:.0f} s on {SLOTS} slots, Ray")
    print(f"included; unshared, extrapolated from {len(seconds)} trials of {per_trial:.2f} s each")
    print(f"(standard deviation {spread:.2f} s): {unshared_s:.0f} s without Ray")
    print(f"wall_unshared_over_shared: {unshared_s / wall_s:.2f}")
    print(f"stages_chains_over_shared: {tree.total / outcome.trained:.3f}")
    print(f"stages_unshared_over_shared: {unshared / outcome.trained:.3f}")


if __name__ == "__main__":
    main()
