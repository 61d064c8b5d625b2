"""CPU seconds of the evaluation of a chain, before and after a change of the code, in turn.

    python benchmarks/evaluate.py BEFORE

BEFORE is a directory with an earlier version of the packages. The chain is LoRAC-IPC on three
tasks of `glyph100` with the shipped backbone; training it for one epoch is not measured. Every
readout is used with and without task-adaptive prediction. With live module weights, later tasks
change the snapshots of earlier ones, so that their features cannot be kept from stage to stage.

The ratio is that of the medians, before over after.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from clmethods.config import (
    BackboneConfig,
    LoracIpcConfig,
    ReadoutConfig,
    RunConfig,
    StreamConfig,
    TrainConfig,
    resolve,
    stage_chain,
)
from clmethods.evaluate import Evaluator
from clmethods.methods import State
from clmethods.training.stage import run_stage

REPETITIONS = 5
SCHEMES = ("learned", "live")
READOUTS = tuple(
    ReadoutConfig(routing=routing, tap=tap, **({"tap_epochs": 1} if tap else {}))
    for routing in ("last", "instance", "oracle")
    for tap in (False, True)
)
RUN = RunConfig(
    backbone=BackboneConfig(name="nano_vit32", image_size=32),
    stream=StreamConfig(dataset="glyph100", tasks=10, limit=4),
    method=LoracIpcConfig(rank=4),
    train=TrainConfig(epochs=1, batch_size=64, lr=0.005),
)
STAGES = 3


def seconds_of(scheme: str) -> float:
    """Return the CPU seconds of the evaluation of all stages, in this process."""
    run = resolve(replace(RUN, method=replace(RUN.method, module_weights=scheme)))
    chain, states = stage_chain(run), [State()]
    for stage in chain[:STAGES]:
        states.append(states[-1] | run_stage(run, stage, states[-1]).delta)
    evaluator = Evaluator(run, chain)
    start = time.process_time()
    for position, state in enumerate(states[1:]):
        evaluator.counts(position, state, READOUTS)
    return time.process_time() - start


def in_version(directory: Path, scheme: str) -> float:
    """Measure in a process that imports the packages of a directory."""
    result = subprocess.run(
        [sys.executable, __file__, "--measure", scheme],
        env=os.environ | {"PYTHONPATH": str(directory), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"{directory} failed:\n{result.stderr}")
    return float(json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    """Print minimum, median and maximum of both versions, and the ratio."""
    if len(sys.argv) < 2:
        raise SystemExit(f"the directory BEFORE is missing\n\n{__doc__}")
    versions = {
        "before": Path(sys.argv[1]).resolve(),
        "after": Path(__file__).parents[1].resolve(),
    }
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, CPU seconds")
    ratio = float("nan")
    for scheme in SCHEMES:
        seconds: dict[str, list[float]] = {name: [] for name in versions}
        for _ in range(REPETITIONS):
            for name, directory in versions.items():
                seconds[name].append(in_version(directory, scheme))
        for name, values in seconds.items():
            middle = statistics.median(values)
            print(f"{scheme:<8} {name:<7} {min(values):.2f} / {middle:.2f} / {max(values):.2f} s")
        ratio = statistics.median(seconds["before"]) / statistics.median(seconds["after"])
        print(f"{scheme:<8} before over after: {ratio:.2f}", flush=True)
    print(f"evaluation_before_over_after: {ratio:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(seconds_of(sys.argv[2])))
    else:
        main()
