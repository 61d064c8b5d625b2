"""Errors of a run, lost workers and lost nodes, classified from genuine errors."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch
from ray import cloudpickle
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
)

from sweeps.definition.retries import Retries
from sweeps.execution.cluster.nodes import Actor, Node, Nodes
from sweeps.execution.failures.failure_causes import (
    OUT_OF_MEMORY,
    FailureKind,
    RetryBudget,
    WorkerFailure,
    error_kind,
    error_text,
    worker_failure,
)
from sweeps.execution.failures.worker_failures import WorkerFailures
from sweeps.storage import StorageRefusedError, is_full, is_storage_fault, open_storage
from tests.sweeps.execution.clusters import one_slot
from tests.sweeps.execution.disks import small_disk
from tests.sweeps.execution.drivers import wait_until


def test_memory_that_torch_and_python_do_not_get() -> None:
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(MemoryError) as pythons:
        bytearray(1 << 62)
    for error in (torchs.value, pythons.value, torch.OutOfMemoryError("CUDA out of memory.")):
        assert error_kind(error) == OUT_OF_MEMORY
        assert "Lower train.micro_batch" in error_text(error)


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("shapes"), OSError("gone")])
def test_other_errors_keep_their_name(error: Exception) -> None:
    assert error_kind(error) == type(error).__name__
    assert error_text(error) == str(error)


def test_a_storage_that_refuses(tmp_path: Path) -> None:
    objects = open_storage(str(tmp_path))
    (tmp_path / "a").write_text("a file where a folder must be")
    with pytest.raises(Exception, match="a/b") as raised:
        objects.put("a/b", b"")
    assert is_storage_fault(raised.value)
    assert not is_full(raised.value)
    assert not is_storage_fault(FileNotFoundError("an image"))


def test_a_full_disk_is_seen_through_what_was_raised_from_it(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "100k") as disk:
        with pytest.raises(StorageRefusedError) as raised:
            open_storage(str(disk)).put("a", bytes(1 << 20))
        assert list(open_storage(str(disk)).list()) == []
    wrapped = RuntimeError("what Tune makes of it")
    wrapped.__cause__ = raised.value
    assert is_full(wrapped)
    assert is_full(raised.value)
    assert is_full(OSError(errno.EDQUOT, "quota"))
    assert not is_full(OSError(errno.ENOENT, "no file"))


def test_lost_workers_of_a_real_cluster(cluster: None, tmp_path: Path) -> None:
    """Ray's own record tells a killed process from one that was asked to end."""
    killed = lost_worker(tmp_path / "1", lambda pid: os.kill(pid, signal.SIGKILL))
    assert (killed.kind, killed.detail) == (FailureKind.WORKER_DIED, "a worker died")
    assert killed.budget is RetryBudget.WORKER_FAILURES
    ended = lost_worker(tmp_path / "2", lambda pid: os.kill(pid, signal.SIGTERM))
    assert (ended.kind, ended.budget) == (FailureKind.PREEMPTED, RetryBudget.PREEMPTIONS)
    assert killed.node == ended.node == socket.gethostname()
    assert killed.sentence == f"a worker died on {socket.gethostname()}"


def test_a_worker_that_does_not_start_shows_why(cluster: None) -> None:
    with pytest.raises(RayActorError) as raised:
        ray.get(ray.remote(Stillborn).remote().pid.remote())
    found = worker_failure(raised.value, Nodes())
    assert found.kind is FailureKind.WORKER_NOT_STARTED
    assert "no such library" in found.detail


ACTOR = Actor(node_id="n1", node_died=False, worker_died=False, out_of_memory=False)


@pytest.mark.parametrize(
    ("actor", "alive", "kind"),
    [
        (replace(ACTOR, node_died=True), True, FailureKind.NODE_LOST),
        (replace(ACTOR, worker_died=True), False, FailureKind.NODE_LOST),
        (replace(ACTOR, worker_died=True), True, FailureKind.WORKER_DIED),
        (replace(ACTOR, out_of_memory=True), True, FailureKind.OUT_OF_MEMORY),
        (ACTOR, True, FailureKind.UNKNOWN),
    ],
)
def test_the_record_of_an_actor_decides(
    monkeypatch: pytest.MonkeyPatch, actor: Actor, alive: bool, kind: FailureKind
) -> None:
    nodes = known_nodes(monkeypatch, actor, alive)
    error = ActorDiedError()
    assert worker_failure(error, nodes).kind is kind


def test_a_lost_connection_counts_as_a_lost_node(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = known_nodes(monkeypatch, ACTOR, True)
    found = worker_failure(ActorUnavailableError("no route", None), nodes)
    assert (found.kind, found.budget) == (FailureKind.NODE_LOST, RetryBudget.NODE_LOSSES)


def test_a_preempted_node_counts_as_preemption(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ActorDiedError()
    error._preempted = True
    found = worker_failure(error, known_nodes(monkeypatch, ACTOR, True))
    assert found.budget is RetryBudget.PREEMPTIONS


def test_memory_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    error = OutOfMemoryError("Task was killed due to the node running low on memory.")
    found = worker_failure(error, known_nodes(monkeypatch, None, True))
    assert (found.kind, found.budget) == (FailureKind.OUT_OF_MEMORY, RetryBudget.WORKER_FAILURES)
    assert "train.micro_batch" in found.hint


def test_an_unknown_error_keeps_its_type_and_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cause is named that is not known, and no storage is blamed."""
    nodes = known_nodes(monkeypatch, None, True)
    error = RayTaskError("step", "a traceback", ValueError("first line\nthe last line"))
    found = worker_failure(error, nodes)
    assert found.kind is FailureKind.UNKNOWN
    assert found.detail == "a trial lost its worker (ValueError: the last line)"
    assert found.hint == ""
    assert "no error was reported" in worker_failure(None, nodes).detail


def test_each_kind_of_loss_has_its_own_limit() -> None:
    failures = WorkerFailures(Retries(worker_failures=1, node_losses=2, preemptions=0))
    died = WorkerFailure(kind=FailureKind.WORKER_DIED, node="w1", detail="a worker died")
    lost = WorkerFailure(kind=FailureKind.NODE_LOST, node="w1", detail="a worker lost its node")
    goes_on = [failures.add("t", each) for each in (died, lost, lost, lost)]
    assert goes_on == [True, True, True, False]
    assert failures.add("other", lost)
    result = failures.attempt_result("t", 2)
    assert (result.status, result.error_kind, result.stages_done) == ("failed", "NodeLost", 2)
    assert result.error == (
        "a worker lost its node on w1; failure 3 of its kind, retries.node_losses allows 2. "
        "To try again: --retry-failed."
    )


class Sleeper:
    def pid(self) -> int:
        return os.getpid()

    def sleep(self, started: str) -> None:
        Path(started).touch()
        time.sleep(60)


class Stillborn(Sleeper):
    def __init__(self) -> None:
        raise OSError("no such library")


cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with one_slot():
        yield


def lost_worker(started: Path, end: Callable[[int], None]) -> WorkerFailure:
    """Return the reported failure of an actor whose process is ended in the middle of a task."""
    actor = ray.remote(Sleeper).remote()
    pid = ray.get(actor.pid.remote())
    task = actor.sleep.remote(str(started))
    wait_until(started.exists)
    end(pid)
    with pytest.raises(RayActorError) as raised:
        ray.get(task)
    return worker_failure(raised.value, Nodes())


def known_nodes(monkeypatch: pytest.MonkeyPatch, actor: Actor | None, alive: bool) -> Nodes:
    """Nodes with one that Ray knows as `w1`, and one actor."""
    node = Node(node_id="n1", name="w1", address="10.0.0.1", alive=alive)
    monkeypatch.setattr(Nodes, "all", lambda self: [node])
    monkeypatch.setattr(Nodes, "actor", lambda self, actor_id: actor)
    return Nodes()
