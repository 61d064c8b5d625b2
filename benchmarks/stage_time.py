"""CPU seconds of stages, split into their parts, before and after a change of the code.

    python benchmarks/stage_time.py BEFORE [digits] [glyph100] [embedded4]

BEFORE is a directory with an earlier version of the packages, such as a worktree of git. Both
versions run the same stages, in turn, each stage in one thread of a process of its own version.
Parts are measured around functions that both versions have; *evaluation* is the rest of the
evaluation. Fields of the configuration that the earlier version lacks keep their defaults there.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest import mock

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
from clmethods.evaluate import Evaluator, stage_predictions
from clmethods.methods import Predictor, State
from clmethods.training import stage as training_stage

PARTS = ("training", "features", "statistics", "adaptation", "evaluation")
NANO16 = BackboneConfig(name="nano_vit32", image_size=16)
NANO32 = BackboneConfig(name="nano_vit32", image_size=32)
ROUTINGS = ("last", "instance", "batch", "oracle")

RUNS: dict[str, tuple[RunConfig, tuple[ReadoutConfig, ...], int]] = {
    "digits": (
        RunConfig(
            backbone=NANO16,
            stream=StreamConfig(dataset="digits", tasks=5),
            method=LoracIpcConfig(
                rank=4, lora_alpha=4, ortho_lambda=0.1, importance_threshold=0.2
            ),
            train=TrainConfig(epochs=5, batch_size=32, lr=0.005),
        ),
        (ReadoutConfig(routing="last"), ReadoutConfig(routing="instance")),
        2,
    ),
    "glyph100": (
        RunConfig(
            backbone=NANO32,
            stream=StreamConfig(dataset="glyph100", tasks=10, limit=20),
            method=LoracIpcConfig(rank=4),
            train=TrainConfig(epochs=5, batch_size=32, lr=0.005),
        ),
        (ReadoutConfig(routing="last"), ReadoutConfig(routing="instance")),
        2,
    ),
    "embedded4": (
        RunConfig(
            backbone=NANO32,
            stream=StreamConfig(dataset="embedded4", limit=80),
            method=LoracIpcConfig(rank=8),
            train=TrainConfig(epochs=10, batch_size=32, lr=0.005),
        ),
        tuple(ReadoutConfig(routing=routing, tap=True) for routing in ROUTINGS),
        2,
    ),
}
"""Run, readouts, and the number of stages that are measured."""


class Clock:
    """CPU seconds by part. A part that is measured inside another one is not counted twice."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inside = [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose time is added to a part."""

        def measured(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            self._inside.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                total = time.process_time() - start
                self.seconds[part] += total - self._inside.pop()
                self._inside[-1] += total

        return measured


def measure(name: str, changes: dict[str, object]) -> list[dict[str, float]]:
    """Train and evaluate stages in this process; return the seconds of each, by part."""
    run, readouts, stages = RUNS[name]
    run = resolve(replace(run, method=_changed(run.method, changes)))
    chain, state, found = stage_chain(run), State(), list[dict[str, float]]()
    evaluator = Evaluator(run, chain)
    for stage in chain[:stages]:
        clock = Clock()
        with ExitStack() as stack:
            for owner, function, part in (
                (Predictor, "features", "features"),
                (stage_predictions, "fit", "statistics"),
                (stage_predictions, "align_head", "adaptation"),
            ):
                timed = clock.timed(part, getattr(owner, function))
                if owner is Predictor:
                    timed = _method(timed)
                stack.enter_context(mock.patch.object(owner, function, timed))
            outcome = clock.timed("training", training_stage.run_stage)(run, stage, state)
            state = state | outcome.delta
            clock.timed("evaluation", evaluator.counts)(stage.position, state, readouts)
        found.append(clock.seconds)
    return found


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, images: function(self, images)


def _changed(config: Any, changes: dict[str, object]) -> Any:
    known = {field.name for field in fields(config)}
    return replace(config, **{n: v for n, v in changes.items() if n in known})


def in_version(directory: Path, name: str, changes: dict[str, object]) -> list[dict[str, float]]:
    """Measure in a process that imports the packages of a directory."""
    result = subprocess.run(
        [sys.executable, __file__, "--measure", name, json.dumps(changes)],
        env=os.environ | {"PYTHONPATH": str(directory), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise SystemExit(f"{name} in {directory} failed:\n{result.stderr}")
    found: list[dict[str, float]] = json.loads(result.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print one table per run, for the last of its stages that are measured."""
    if len(sys.argv) < 2:
        raise SystemExit(f"the directory BEFORE is missing\n\n{__doc__}")
    before, names = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(RUNS)
    here = Path(__file__).resolve().parents[1]
    versions: dict[str, tuple[Path, dict[str, object]]] = {
        "before": (before, {}),
        "after": (here, {}),
        "after, auto": (here, {"ipc_unobserved": "auto", "ipc_window": 86}),
    }
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, CPU seconds of a stage")
    for name in names:
        print(f"{name}, stage {RUNS[name][2]}")
        print(f"{'':<12} " + " ".join(f"{part:>10}" for part in (*PARTS, "total")))
        for version, (directory, changes) in versions.items():
            seconds = in_version(directory, name, changes)[-1]
            values = [*(seconds[part] for part in PARTS), sum(seconds.values())]
            print(f"{version:<12} " + " ".join(f"{value:>10.2f}" for value in values), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        main()
