"""Start-up times of the commands that read, on a sweep of the size of the demo; nothing trains.

`python benchmarks/startup.py [STORAGE]` runs every command seven times, one after the other in
rounds, and prints the minimum and the median of the wall time and of the CPU time (user and
system) in seconds. On a machine with other load, compare CPU seconds. Without STORAGE, the sweep
of the study `digits_demo` is made up with random accuracies. The last line is the median wall time
of the slowest reading command: `slowest_reading_command_s: X`.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ROUNDS = 7
READERS = ("status", "pareto", "orders", "select")
HELP_S, READER_S = 0.4, 1.5
"""Targets in seconds of wall time on an idle machine."""


def made_up(folder: Path) -> Path:
    """Return a storage with the finished trials of `digits_demo`, with random accuracies.

    Its result files are merged, as `sweeps run` leaves them.
    """
    from sweeps.definition import load_sweep, shipped_studies
    from sweeps.results import merge_results
    from sweeps.storage import open_storage
    from tests.sweeps.cli.fabricated import fabricate

    draw = random.Random(0)
    document = load_sweep(shipped_studies()["digits_demo"]).document
    sweep = fabricate(folder, document, lambda trial: 0.6 + 0.2 * draw.random())
    merge_results(open_storage(str(folder)), sweep.name, least=2)
    return folder


def measured(arguments: list[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of one command."""
    command = [sys.executable, "-m", "sweeps", *arguments]
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, os.times()
    user = after.children_user - before.children_user
    return wall, user + after.children_system - before.children_system


def main() -> None:
    """Measure all commands and print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        storage = sys.argv[1] if len(sys.argv) > 1 else str(made_up(Path(scratch)))
        commands = {"--help": ["--help"], **{name: [name, storage] for name in READERS}}
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, arguments in commands.items():
                seconds[name].append(measured(arguments))
    print(
        f"{'command':<10}{'wall min':>10}{'median':>10}{'CPU min':>10}{'median':>10}{'target':>10}"
    )
    slowest = 0.0
    for name, pairs in seconds.items():
        wall, cpu = ([pair[k] for pair in pairs] for k in (0, 1))
        numbers = [min(wall), statistics.median(wall), min(cpu), statistics.median(cpu)]
        target = HELP_S if name == "--help" else READER_S
        print(f"{name:<10}" + "".join(f"{n:>10.2f}" for n in [*numbers, target]))
        if name in READERS:
            slowest = max(slowest, numbers[1])
    print(f"slowest_reading_command_s: {slowest:.2f}")


if __name__ == "__main__":
    main()
