"""Nodes are asked for the driver's storage and versions before anything is trained there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.execution.cluster import node_guard
from sweeps.execution.cluster.node_check import StorageProof, check_node, sees, storage_proof
from sweeps.execution.cluster.node_guard import NodeEvents, NodeGuard
from sweeps.execution.cluster.nodes import Node, Nodes
from sweeps.execution.cluster.software_versions import installed_versions, source_checksum
from sweeps.execution.worker.notices import Notices, post_notice
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.execution.clusters import one_slot

HOST = socket.gethostname()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with one_slot():
        yield


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_storage(str(tmp_path / "storage"))


class Seen:
    """Nodes and issues that a guard reported to its driver."""

    def __init__(self) -> None:
        self.joined: list[str] = []
        self.refused: list[ConfigIssue] = []
        self.lost: list[str] = []
        self.events = NodeEvents(
            joined=lambda node: self.joined.append(node.name),
            refused=lambda node, issue: self.refused.append(issue),
            lost=lambda node: self.lost.append(node.name),
        )


def test_a_node_that_sees_the_storage_is_admitted(cluster: None, objects: ObjectStore) -> None:
    seen = Seen()
    with storage_proof(objects, "small") as proof:
        NodeGuard(proof, seen.events, Nodes()).check_present()
    assert (seen.joined, seen.refused) == ([HOST], [])
    assert list(objects.list()) == []


@pytest.mark.parametrize("copied", [False, True])
def test_a_folder_that_is_not_shared_is_refused(
    cluster: None, objects: ObjectStore, tmp_path: Path, copied: bool
) -> None:
    """Also one that has an older copy of everything: the proof is new in every run."""
    with storage_proof(objects, "small") as proof:
        own = tmp_path / "own"
        own.mkdir()
        if copied:
            place = own / proof["key"]
            place.parent.mkdir(parents=True)
            place.write_text("of an earlier run")
        elsewhere = StorageProof(**{**proof, "location": str(own)})
        with pytest.raises(InvalidConfigError) as refused:
            NodeGuard(elsewhere, Seen().events, Nodes()).check_present()
    (issue,) = refused.value.issues
    assert issue.path == "node"
    assert HOST in str(issue.value)
    assert str(own) in str(issue)
    assert "Mount the shared folder" in str(issue)
    assert "s3://" in str(issue)


def test_a_folder_that_is_missing_on_a_node_is_not_created(
    cluster: None, objects: ObjectStore, tmp_path: Path
) -> None:
    gone = tmp_path / "not-mounted"
    with storage_proof(objects, "small") as proof:
        elsewhere = StorageProof(**{**proof, "location": str(gone)})
        with pytest.raises(InvalidConfigError, match="not-mounted"):
            NodeGuard(elsewhere, Seen().events, Nodes()).check_present()
    assert not gone.exists()


def test_other_versions_are_refused_with_both(
    cluster: None, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = replace(installed_versions(), python="3.99.0", package="9 (files abc)")
    monkeypatch.setattr(node_guard, "installed_versions", lambda: mine)
    with storage_proof(objects, "small") as proof, pytest.raises(InvalidConfigError) as refused:
        NodeGuard(proof, Seen().events, Nodes()).check_present()
    text = str(refused.value)
    assert "python 3.99.0" in text
    assert f"python {installed_versions().python}" in text
    assert "package 9 (files abc)" in text
    assert source_checksum() in text


def test_a_node_that_is_refused_later_runs_nothing_more(
    cluster: None, objects: ObjectStore
) -> None:
    seen = Seen()
    with storage_proof(objects, "small") as proof:
        guard = NodeGuard(proof, seen.events, Nodes())
        guard.check_present()
        (node,) = Nodes().all()
        guard.refuse(node.node_id)
        guard.refuse(node.node_id)
        (issue,) = seen.refused
        assert "does not hold what the driver wrote" in str(issue)
        ray.get(guard._reserved[node.node_id].__ray_ready__.remote(), timeout=60)
        waiting = ray.remote(lambda: os.getpid()).options(num_cpus=1).remote()
        ready, _ = ray.wait([waiting], timeout=3)
        assert ready == []
    del guard  # ends the reservation
    assert ray.get(waiting, timeout=60) > 0


def test_nodes_that_join_and_go_are_noticed(
    cluster: None, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, now = Seen(), [0.0]
    with storage_proof(objects, "small") as proof:
        guard = NodeGuard(proof, seen.events, Nodes(), clock=lambda: now[0])
        guard.check_present()
        present = Nodes().all()
        head = Node(node_id="h", name="head", address="10.0.0.4", alive=True)  # without slots
        monkeypatch.setattr(Nodes, "all", lambda self: [*present, head])
        guard.look()
        monkeypatch.setattr(Nodes, "all", lambda self: present)
        guard.look()
        assert seen.lost == []  # it looks now and then only
        now[0] = node_guard.LOOKS_EVERY_S
        guard.look()
    assert (seen.joined, seen.lost) == ([HOST, "head"], ["head"])


def test_a_node_reports_what_keeps_it_from_writing(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ObjectStore, key: str, data: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    with storage_proof(objects, "small") as proof:
        assert sees(objects, proof)
        monkeypatch.setattr(ObjectStore, "put", refuse)
        report = check_node(proof)
    assert (report["shared"], report["writable"]) == (True, False)
    assert "Permission denied" in report["error"]
    assert report["host"] == HOST


def test_sentences_of_workers_reach_the_driver_of_their_run(cluster: None) -> None:
    now = [0.0]
    notices = Notices("run-1", lambda: now[0])
    tell = ray.remote(post_notice)
    ray.get([tell.remote("run-1", "the storage is slow"), tell.remote("run-2", "not for you")])
    assert notices.collect() == [f"{HOST}: the storage is slow"]
    now[0] = 5.0
    assert notices.collect() == []
    assert Notices("run-2").collect() == [f"{HOST}: not for you"]
