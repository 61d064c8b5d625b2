"""`resources: {gpu: auto}` on a cluster whose GPUs do not exist, with a report that is made up."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.definition import Budget, Resources, Sweep, expand
from sweeps.execution.cluster.node_types import Growth, NodeTypes
from sweeps.execution.driver import RunOptions, SweepOutcome, run_sweep
from sweeps.execution.resources.gpu_measurement import GpuSizing
from sweeps.execution.resources.gpu_memory import Device, GpuProbe, MemoryUse
from sweeps.execution.resources.gpu_sizing import record_of, save_record
from sweeps.execution.resources.trial_resources import GPU_TYPE_LABEL, NodeShape
from sweeps.results import latest_trials, read_table
from sweeps.results.event_kinds import EventBody
from sweeps.results.events import Event, read_events
from sweeps.stages.stage_store import StageStore
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.execution.clusters import Host, cluster_of
from tests.sweeps.execution.drivers import Process, wait_until
from tests.sweeps.execution.resources.made_up_gpu import GB, MadeUp, auto_sweep
from tests.sweeps.execution.tables import stage_files
from tests.sweeps.stages.small import metrics, run_trial


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """One GPU of each type."""
    hosts = [Host(cpus=6, gpus=1, gpu_type="L4"), Host(cpus=6, gpus=1, gpu_type="T4")]
    with cluster_of(hosts) as found:
        yield found


@dataclass(frozen=True)
class Run:
    """Results of a run."""

    outcome: SweepOutcome
    objects: ObjectStore
    said: str

    def events(self, kind: str) -> list[Event]:
        return [event for event in read_events(self.objects, "small") if event.kind == kind]

    def measured(self) -> int:
        return self.said.count("measuring the GPU memory of one stage")


Runner = Callable[..., Run]


@pytest.fixture
def run(
    address: str, environment: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Runner:
    def start(
        sweep: Sweep, probe: GpuProbe | None = None, location: str | None = None, **options: Any
    ) -> Run:
        objects = open_storage(location or str(tmp_path / "runs"))
        store = StageStore(objects)
        settings = RunOptions(address=address, probe=probe or MadeUp(), **options)
        outcome = run_sweep(sweep, store, settings)
        return Run(outcome, objects, capsys.readouterr().out)

    return start


def can_add(gpu_type: str) -> NodeTypes:
    """Nodes that an autoscaler can add: one type, with a GPU of that label or without label."""
    labels = {GPU_TYPE_LABEL: gpu_type} if gpu_type else {}
    shape = NodeShape(name="node type", cpu=64, gpu=1, labels=labels)
    return NodeTypes(growth=Growth.LISTED, shapes=(shape,))


def test_one_stage_is_measured_and_trials_share_the_smallest_gpu(
    run: Runner, tmp_path: Path
) -> None:
    first = run(auto_sweep(search={"method.rank": [2, 4]}))
    assert first.measured() == 1
    assert "on a GPU of its own: lorac_ipc rank=4, order" in first.said  # the most demanding one
    assert "GPU memory, the smallest GPU (T4) has 16 GB: 3 trials run on a GPU\n" in first.said
    (event,) = first.events("gpu_share")
    assert event.body.gpu == 0.3333
    assert event.body.trials_per_gpu == 3
    assert event.body.gpu_type == "T4"
    rows = latest_trials(read_table(first.objects, "small", "trials").table).to_pylist()
    assert {(row["status"], row["gpus"]) for row in rows} == {("finished", 0.3333)}
    stages = first.events("stage")
    trained = [event for event in stages if event.body.outcome == "trained"]
    keys = [event.body.key for event in trained]
    assert sorted(keys) == sorted(stage_files(tmp_path / "runs"))  # each once, and all stored
    assert first.outcome.trained == len(keys)
    assert {event.body.gpus for event in stages} == {"0"}
    alone = StageStore(open_storage("memory://"))
    for trial in first.outcome.plan.trials:
        run_trial(trial, alone)
    assert metrics(first.objects) == metrics(alone.objects)  # the same bits without Ray

    more = run(auto_sweep(orders={"design": "reverse"}))
    assert more.measured() == 0
    assert "resources.gpu auto: 0.3333" in more.said


@pytest.mark.slow
def test_only_types_on_which_trials_may_run_are_considered(run: Runner) -> None:
    found = run(auto_sweep("L4"))
    assert "the smallest GPU (L4) has 24 GB: 4 trials run on a GPU" in found.said
    hosts = {event.body.node for event in found.events("stage")}
    assert len(hosts) == 1


def test_a_record_is_enough_before_any_gpu_is_there(tmp_path: Path) -> None:
    """On a cluster that starts from zero, where the autoscaler can add a node with a GPU."""
    objects, (trial, *others) = open_storage(str(tmp_path)), expand(auto_sweep())
    device = Device(name="NVIDIA L4", total_bytes=24 * GB)
    use = MemoryUse(device=device, peak_bytes=5 * GB, context_bytes=GB)
    save_record(objects, trial, record_of(trial, 0, use, "L4"))
    events: list[EventBody] = []
    callbacks = SimpleNamespace(
        needs_training=lambda trial: True,
        event=events.append,
    )
    nodes = SimpleNamespace(all=list)
    labels = {GPU_TYPE_LABEL: "L4"}
    shape = NodeShape(name="node type l4", cpu=8, gpu=1, labels=labels)
    types = NodeTypes(growth=Growth.LISTED, shapes=(shape,))
    sizing = GpuSizing(objects, nodes, MadeUp(), callbacks)
    share = sizing.share([trial, *others], Resources(gpu="auto"), types)
    assert share.trials == 3
    assert events == [share.event]


@pytest.mark.parametrize(
    ("types", "trials"),
    [
        (None, 11),  # (80 - 1) / 7 GB: the GPU of this machine was exchanged
        (NodeTypes(growth=Growth.NONE), 11),
        (NodeTypes(growth=Growth.UNKNOWN), 3),  # 24 / 7 GB: a node like it may join again
        (can_add("L4"), 3),
        (can_add(""), 3),
        (can_add("H100"), 11),
    ],
)
def test_a_measured_gpu_that_is_gone_limits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: NodeTypes | None, trials: int
) -> None:
    objects, (trial, *others) = open_storage(str(tmp_path)), expand(auto_sweep())
    use = MemoryUse(
        device=Device(name="NVIDIA L4", total_bytes=24 * GB), peak_bytes=5 * GB, context_bytes=GB
    )
    record = replace(record_of(trial, 0, use, "L4"), growth_bytes=0)
    save_record(objects, trial, record)
    assert record.needed_bytes == 7 * GB
    node = SimpleNamespace(
        node_id="n", shown="n", alive=True, labels={}, resources={"CPU": 64.0, "GPU": 1.0}
    )
    callbacks = SimpleNamespace(needs_training=lambda trial: True, event=lambda event: None)
    sizing = GpuSizing(objects, SimpleNamespace(all=lambda: [node]), MadeUp(), callbacks)
    there = [Device(name="NVIDIA H100", total_bytes=80 * GB)]
    monkeypatch.setattr(sizing, "_devices", lambda nodes: [*there])
    monkeypatch.setattr(sizing, "_require_gpu", lambda whole, types: None)
    monkeypatch.setattr(sizing, "_gpu_types", lambda whole, types: set())
    assert sizing.share([trial, *others], Resources(gpu="auto"), types).trials == trials


@pytest.mark.slow
def test_steps_of_a_search_measure_once(run: Runner) -> None:
    found = run(
        auto_sweep(
            search={"method.rank": [2, 4]},
            algorithm={"kind": "tpe", "trials": 4, "batch": 2},
            stream={"dataset": "digits", "tasks": 2, "limit": 8, "validation_fraction": 0.5},
        )
    )
    assert found.outcome.failed == ()
    assert 1 <= found.measured() <= 2  # again only for a larger rank in a later batch
    assert found.said.count("trials run on a GPU") == 1


def test_a_lost_worker_is_replaced(run: Runner, tmp_path: Path) -> None:
    found = run(auto_sweep(), MadeUp(dies=str(tmp_path / "died")))
    assert "the measurement was interrupted" in found.said
    assert "4 trials run on a GPU" not in found.said
    assert "3 trials run on a GPU" in found.said
    assert found.outcome.finished == 1


@pytest.mark.slow
def test_where_nothing_can_be_measured_each_trial_gets_a_gpu(run: Runner) -> None:
    found = run(auto_sweep(), MadeUp(fails=True))
    assert "RuntimeError: no CUDA here" in found.said
    assert "resources.gpu auto: 1, each trial has a GPU of its own" in found.said
    assert found.outcome.finished == 1


@pytest.mark.slow
def test_a_trial_that_fails_is_not_what_is_measured(run: Runner) -> None:
    """The largest one diverges; the next one is measured, and the failure is recorded as usual."""
    baseline = {"label": "too fast", "method": {"rank": 8}, "train": {"lr": 1e30}}
    found = run(auto_sweep(baselines=[baseline]))
    assert "no longer finite" in found.said
    assert found.measured() == 2
    assert "3 trials run on a GPU" in found.said
    assert (found.outcome.finished, len(found.outcome.failed)) == (1, 1)


@pytest.mark.slow
def test_evaluation_alone_is_measured_where_nothing_is_left_to_train(
    run: Runner, tmp_path: Path
) -> None:
    """Its memory is no upper bound for training, so it is not kept."""
    trained = StageStore(open_storage(str(tmp_path / "runs")))
    for trial in expand(auto_sweep()):
        run_trial(trial, trained)
    found = run(auto_sweep(readouts=[{"routing": "last"}, {"routing": "batch"}]))
    assert found.outcome.trained == 0
    assert found.measured() == 1
    assert "3 trials run on a GPU" in found.said
    assert not list(found.objects.list("gpu_memory"))


def test_a_budget_may_be_used_up_by_the_measured_stage(run: Runner) -> None:
    found = run(replace(auto_sweep(), budget=Budget(stages=1)))
    assert found.outcome.budget_used is not None
    assert found.outcome.trained == 1


@pytest.mark.slow
def test_a_stage_of_another_driver_is_waited_for(run: Runner, tmp_path: Path) -> None:
    """The measurement takes the next stage that is free, like every trial."""
    location = str(tmp_path / "shared")
    sweep = auto_sweep()
    first = StageStore(open_storage(location))
    other = threading.Thread(target=lambda: _slowly(first, sweep))
    other.start()
    try:
        found = run(sweep, location=location)
    finally:
        other.join()
    assert found.outcome.finished == 1


def _slowly(store: StageStore, sweep: Sweep) -> None:
    from tests.sweeps.stages.small import runner_of

    runner = runner_of(expand(sweep)[0], store)
    lease = runner.leases.acquire(runner.chain[0].key, "another driver")
    assert lease is not None
    with lease:
        time.sleep(8)


PROGRAM = """
import sys
from sweeps.cli.errors import exit_on_user_error
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from sweeps.execution.driver import RunOptions, run_sweep
from tests.sweeps.execution.resources.made_up_gpu import MadeUp, auto_sweep

address, folder, mark = sys.argv[1:]
options = RunOptions(address=address, probe=MadeUp(waits=mark))
exit_on_user_error(run_sweep)(auto_sweep(), StageStore(open_storage(folder)), options)
"""


def test_a_measurement_can_be_interrupted(address: str, tmp_path: Path) -> None:
    """Its task ends too, so the whole GPU is free for the next run."""
    mark = tmp_path / "measuring"
    arguments = [address, str(tmp_path / "runs"), str(mark)]
    driver = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: mark.exists() or driver.poll() is not None)
        driver.send_signal(signal.SIGINT)
        _, said = driver.communicate(timeout=60)
    finally:
        driver.kill()
    assert driver.returncode == 130, said
    assert "the same command continues" in said
    assert "Traceback" not in said
    measuring = Process.of(int(mark.read_text()))
    wait_until(lambda: measuring is None or not measuring.lives)
