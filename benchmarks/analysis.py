"""Analysis at scale: from the files of a sweep to fronts and order effects.

    python benchmarks/analysis.py                 # 1.1 and 20.2 million rows of evals
    python benchmarks/analysis.py --small --parts # one file per stage, as a sweep leaves them

Simulates a sweep with known truth (`tests/sweeps/simulated.py`), once, below build/analysis; then
reads and analyzes it in a process of its own, of which the largest resident memory is taken. With
`--parts` every stage is a file of its own, and the files are merged first, as `sweeps run` does.
The last line is the seconds for the smaller sweep.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # tests/, which is not installed

SIZES: dict[str, dict[str, Any]] = {
    "small": {"rates": 1, "seeds": 3},
    "large": {"rates": 11, "seeds": 5},
}
"""20 configurations per rate, in the ten orders of a Williams design."""

LIMITS = {"small": (10.0, 2.0), "large": (90.0, 6.0)}
"""Seconds and GB that are allowed."""


def main() -> None:
    """Simulate what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="the smaller sweep only")
    parser.add_argument("--parts", action="store_true", help="one file per stage, merged first")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.measure)))
        return
    seconds = {}
    for size in ["small"] if given.small else ["large", "small"]:
        layout = "parts" if given.parts else "chunks"
        storage = ROOT / "build" / "analysis" / f"{size}-{layout}"
        simulated(storage, SIZES[size], layout)
        command = [sys.executable, __file__, "--measure", str(storage)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        seconds[size] = shown(size, found)
    print(f"analysis_1m_rows_s: {seconds['small']:.2f}")


def simulated(storage: Path, size: dict[str, Any], layout: Any) -> None:
    """Write the sweep unless it is there; a file says when it is whole."""
    from sweeps.storage import open_storage
    from tests.sweeps.simulated import Simulation, simulate

    done = storage / "simulated"
    if not done.exists():
        print(f"simulating {storage.relative_to(ROOT)} …", flush=True)
        simulation = Simulation(orders={"design": "williams"}, **size)
        simulate(open_storage(str(storage)), simulation, layout)
        done.touch()


def measured(storage: str) -> dict[str, Any]:
    """Wall and CPU seconds of every step, rows and peak memory, in this process."""
    from sweeps.stages.stage_rows import merge_tables
    from sweeps.stages.stage_store import StageStore
    from sweeps.storage import open_storage

    steps: dict[str, tuple[float, float]] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        steps[name] = (time.perf_counter() - wall, time.process_time() - cpu)

    with step("merge parts"):
        merge_tables(StageStore(open_storage(storage)), "simulated")
    rows = analysed(storage, step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"steps": steps, "rows": rows, "peak_gb": peak}


def analysed(storage: str, step: Callable[[str], Any]) -> dict[str, int]:
    """Run the analyses of the commands and of a notebook; return the rows of each table."""
    with step("import"):
        import sweeps
        from sweeps.analysis.front.membership_probability import front_probability
        from sweeps.analysis.front.pareto import pareto_table
        from sweeps.analysis.orders.order_effect import order_sensitivity
        from sweeps.analysis.orders.positions import carry_over, position_effects, task_accuracies
        from sweeps.analysis.orders.rankings import by_order, extreme_orders, rank_agreement
        from sweeps.analysis.orders.variance_shares import variance_split
        from sweeps.analysis.trials.replicates import replicates
        from sweeps.cli.locate import open_stored_sweep
    stored = open_stored_sweep(storage)
    objectives = stored.sweep.objectives
    with step("sweeps.load, all tables and the summary"):
        found = sweeps.load(storage)
    trials, evals = found.trials, found.evals
    with step("aggregate: configurations with intervals"):
        validation = found.summary.filter(_equal(found.summary, "split", "validation"))
        configurations = replicates(validation, list(objectives))
        pareto_table(validation, objectives)
    with step("front: probability of each configuration"):
        front_probability(configurations, objectives)
    with step("orders: disparity"):
        order_sensitivity(trials, evals, "last", "validation")
    with step("orders: variance components"):
        variance_split(configurations, "average_accuracy")
    with step("orders: position and carry-over"):
        for one in task_accuracies(trials, evals, "last", "validation"):
            position_effects(one.orders, one.values)
            carry_over(one.orders, one.values)
    with step("orders: rankings"):
        rank_agreement(by_order(configurations, "average_accuracy")[1])
        extreme_orders(configurations, "average_accuracy", "max")
    return {name: len(table) for name, table in found.tables.items()}


def shown(size: str, found: dict[str, Any]) -> float:
    """Print what was measured; the wall seconds from load to the last answer."""
    steps = found["steps"]
    apart = {"merge parts", "import"}
    wall, cpu = (sum(v[k] for name, v in steps.items() if name not in apart) for k in (0, 1))
    print(f"\n{size}: {', '.join(f'{n:,} {name}' for name, n in found['rows'].items())}")
    for name, (of_wall, of_cpu) in steps.items():
        print(f"  {name:<44}{of_wall:8.2f} s wall {of_cpu:8.2f} s CPU")
    most_s, most_gb = LIMITS[size]
    print(
        f"  {'from files to answers':<44}{wall:8.2f} s wall {cpu:8.2f} s CPU, at most {most_s:g} s"
    )
    print(f"  {'peak resident memory':<44}{found['peak_gb']:8.2f} GB, at most {most_gb:g} GB")
    return float(wall)


def _equal(table: Any, column: str, value: str) -> Any:
    import pyarrow.compute as pc

    return pc.equal(table[column], value)


if __name__ == "__main__":
    main()
