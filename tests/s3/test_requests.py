"""Number of requests that a sweep sends to a real bucket, counted by a forwarder."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

import clmethods.training.completion
from clmethods.config import StageSpec
from clmethods.evaluate import EvalCount
from clmethods.methods import MethodReport
from clmethods.training.stage import StageOutcome, TrainingReport
from sweeps.definition import TrialSpec, sweep_from_dict
from sweeps.execution.driver import run_sweep
from sweeps.execution.executor import SweepExecutor
from sweeps.execution.worker.trainable import StageTrainable
from sweeps.execution.worker.trial_message import StepResult
from sweeps.planning.plan import make_plan
from sweeps.planning.stage_tree import StageTree
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.s3.forwarder import Forwarder, Request
from tests.sweeps.execution.drivers import clean_environment, wait_until
from tests.sweeps.stages.small import DOCUMENT

PER_STAGE = 20
"""Most requests for each stage that is trained, by worker and driver together."""
UNCHANGED = 40
"""Most requests of a finished sweep that is asked for again."""

SMALL: dict[str, Any] = {
    **DOCUMENT,
    "readouts": [{"routing": "last"}],
    "search": {"method.importance_threshold": [0, 0.2]},
    "orders": {"design": "explicit", "list": [[0, 1, 2], [0, 2, 1], [2, 0, 1]]},
    "seeds": [0, 1],
}
"""Twelve trials of three tasks, of which some begin alike."""

LARGE: dict[str, Any] = {
    **SMALL,
    "name": "large",
    "method": {"kind": "joint_lora", "rank": 2},
    "search": {"train.lr": [0.001, 0.01, 0.1]},
    "orders": {"design": "identity"},
    "seeds": list(range(100)),
}
"""Three hundred trials of one stage, in which all tasks are trained at once."""


def is_beat(request: Request) -> bool:
    """Return True if a request is for a driver's own lease, which lasts as long as the run."""
    return "/running/" in request.key


def command(file: Path, location: str) -> list[str]:
    program = "from sweeps.cli import main; main()"
    return [sys.executable, "-c", program, "run", str(file), "--storage", location]


def run_command(file: Path, location: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(file, location),
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=240,
    )


def printed(requests: list[Request]) -> str:
    return "\n".join(map(str, requests))


def test_a_sweep_of_twelve_trials_through_ray(
    front: Forwarder, location: str, tmp_path: Path
) -> None:
    """Then the same again, from the command line as well."""
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    sweep = sweep_from_dict(SMALL)
    done = run_command(file, location)
    assert done.returncode == 0, done.stderr
    tree = StageTree.of(make_plan(sweep, StageStore(open_storage(location))).trials)
    assert f"12 of 12 trials finished, 0 failed; trained {tree.distinct} stages" in done.stdout
    assert tree.distinct == 28
    requests = front.taken()
    assert len(requests) <= PER_STAGE * tree.distinct, printed(requests)
    again = run_command(file, location)
    assert "nothing to train: all 28 stages were found" in again.stdout
    requests = front.taken()
    assert len(requests) <= UNCHANGED, printed(requests)


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs what Ray would be given, in this process, eight trials at once; nothing is trained."""

    def run_stage(run: Any, stage: StageSpec, state: Any, on_epoch: Any) -> StageOutcome:
        import torch

        method = MethodReport(trainable_parameters=1)
        return StageOutcome(
            delta={"weight": torch.zeros(4)}, training=TrainingReport(steps=1), method=method
        )

    class Counter:
        def __init__(self, run: Any, *sources: Any) -> None:
            self._groups = run.stream.groups()

        def counts(self, position: int, state: Any, readouts: Any) -> dict[str, list[EvalCount]]:
            rows = [
                EvalCount(
                    split=split,
                    task=group.index,
                    class_id=class_id,
                    seen=True,
                    n=4,
                    correct=1,
                    correct_task_given=2,
                    task_id_correct=None,
                )
                for split in ("validation", "test")
                for group in self._groups
                for class_id in group.classes
            ]
            return {readout.readout_id: rows for readout in readouts}

    def advance(executor: SweepExecutor, trial: TrialSpec) -> StepResult:
        worker = StageTrainable({"message": executor._message(trial)})
        while not (step := worker.step())["done"]:
            assert step["outcome"] == "trained", step
        return step

    def run_step(self: SweepExecutor) -> bool:
        from sweeps.stages.trial_rows import AttemptResult

        with ThreadPoolExecutor(8) as pool:
            ends = list(pool.map(lambda trial: advance(self, trial), self.todo))
        for trial, step in zip(self.todo, ends, strict=True):
            assert step["outcome"] == "trained", step
            self.progress.tally.trained += len(trial.chain)
            result = AttemptResult(status="finished", stages_done=len(trial.chain))
            self.account.ended(trial, result)
        return True

    monkeypatch.setattr(clmethods.training.completion, "run_stage", run_stage)
    monkeypatch.setattr(clmethods.training.completion, "Evaluator", Counter)
    monkeypatch.setattr(SweepExecutor, "connected", lambda self, address: nullcontext())
    monkeypatch.setattr(SweepExecutor, "run_step", run_step)


@pytest.mark.usefixtures("without_ray")
def test_a_sweep_of_three_hundred_trials(
    sweeps_command: Callable[..., Result], front: Forwarder, location: str, tmp_path: Path
) -> None:
    sweep = sweep_from_dict(LARGE)
    outcome = run_sweep(sweep, StageStore(open_storage(location)))
    assert (outcome.finished, len(outcome.plan.trials)) == (300, 300)
    requests = front.taken()
    assert len(requests) <= PER_STAGE * outcome.plan.tree.distinct
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(LARGE), encoding="utf-8")
    again = sweeps_command("run", file, "--storage", location)
    assert "nothing to train" in again.output
    requests = [request for request in front.taken() if not is_beat(request)]
    assert len(requests) <= UNCHANGED, printed(requests)


@pytest.mark.slow  # the sweep once more, and a long pause in its middle
def test_an_outage_in_the_middle_of_a_sweep_costs_no_trial(
    front: Forwarder, location: str, tmp_path: Path
) -> None:
    """An outage longer than the client itself waits; workers and driver continue afterwards."""
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    log = tmp_path / "log"
    with log.open("w") as output:
        running = subprocess.Popen(
            command(file, location), stdout=output, stderr=output, env=clean_environment()
        )
    try:
        wait_until(lambda: committed(front) >= 6, "no stage was stored")
        front.refuse()
        time.sleep(20)
        assert running.poll() is None, log.read_text()
        front.listen()
        assert running.wait(timeout=240) == 0, log.read_text()
    finally:
        running.kill()
        running.wait()
    said = log.read_text()
    assert "12 of 12 trials finished, 0 failed; trained 28 stages" in said
    assert "goes on from its last stage" not in said  # no worker died of it
    assert f"the storage {location} has been out of reach since" in said
    assert f"the storage {location} is back after" in said


def committed(front: Forwarder) -> int:
    """Number of stages stored so far."""
    return sum(r.method == "PUT" and r.path.endswith("/stage.json") for r in front.requests)
