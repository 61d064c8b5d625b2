"""Time and memory of `sweeps plan` for 20,000 trials of ten tasks.

Two extremes: few configurations in many orders with many seeds, which share what goes into their
stage keys, and a grid of 20,000 settings with one order and one seed, each to be compared with its
neighbours. Trials are counted, nothing is trained. The last line is the slower of the two.

    python benchmarks/planning.py
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from typing import Any

BASE: dict[str, Any] = {
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "glyph100", "tasks": 10},
    "method": {"kind": "lorac_ipc", "rank": 2},
    "readouts": [{"routing": "last"}, {"routing": "instance"}],
}

SWEEPS: dict[str, dict[str, Any]] = {
    "replicates": {
        "search": {
            "method.importance_threshold": [0, 0.05, 0.1, 0.2, 0.3],
            "method.module_weights": ["ones", "learned", "normalised", "live"],
        },
        "orders": {"design": "random", "count": 50},
        "seeds": [*range(25)],
    },
    "settings": {
        "search": {
            "method.rank": [1, 2, 4, 8],
            "method.ortho_lambda": [0.01, 0.03, 0.1, 0.3, 1],
            "method.importance_threshold": [0, 0.1, 0.2, 0.3, 0.4],
            "method.module_weights": ["ones", "learned", "normalised", "live"],
            "train.lr": [0.0001 * 2**i for i in range(10)],
            "train.epochs": [1, 2, 3, 4, 5],
        },
    },
}
"""20,000 trials each."""


def measure(name: str) -> dict[str, float]:
    """Seconds and memory of one plan on an empty storage, in this process."""
    import resource

    start, cpu = time.perf_counter(), time.process_time()
    from sweeps.cli.text.plan_details import PlanDetails, plan_document, stored_variance
    from sweeps.definition import missing_data, sweep_from_dict
    from sweeps.planning.cost_forecast import cost_forecast
    from sweeps.planning.plan import make_plan
    from sweeps.planning.size_forecast import footprint
    from sweeps.planning.spending import spent
    from sweeps.stages.stage_store import StageStore
    from sweeps.storage import open_storage

    with tempfile.TemporaryDirectory() as storage:  # what the command `sweeps plan` does
        sweep = sweep_from_dict({"name": name, **BASE, **SWEEPS[name]})
        objects = open_storage(storage)
        missing, store = missing_data(sweep), StageStore(objects)
        plan = make_plan(sweep, store)
        details = PlanDetails(
            plan=plan,
            cost=cost_forecast(plan, store),
            spending=spent(plan, store),
            spread=stored_variance(plan, objects),
            missing=missing,
            taken=footprint(plan, objects),
        )
        plan_document(details, [])
    return {
        "trials": len(plan.trials),
        "stages": plan.tree.distinct,
        "wall_s": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    """Each plan in a process of its own, as a command is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=sorted(SWEEPS), help="measure in this process, as JSON")
    only = parser.parse_args().only
    if only:
        print(json.dumps(measure(only)))
        return
    slowest = 0.0
    for name in SWEEPS:
        done = subprocess.run(
            [sys.executable, __file__, "--only", name], check=True, capture_output=True, text=True
        )
        found = json.loads(done.stdout)
        slowest = max(slowest, found["wall_s"])
        print(
            f"{name}: {found['trials']:.0f} trials, {found['stages']:.0f} stages: "
            f"{found['wall_s']:.1f} s ({found['cpu_s']:.1f} s of CPU), "
            f"{found['peak_rss_bytes'] / 1e6:.0f} MB at most"
        )
    print(f"plan_20000_trials_s: {slowest:.1f}")


if __name__ == "__main__":
    main()
