"""Nodes of a cluster in the progress output."""

from __future__ import annotations

import io

from sweeps.execution.cluster.node_tally import NAMED, NodeTally
from sweeps.execution.progress import Progress, Tally


def test_nodes_that_come_and_go() -> None:
    nodes = NodeTally()
    assert not nodes.known
    for number, name in enumerate(["head", "w1", "w2"]):
        nodes.joined(name, name, 2 * number)
    assert nodes.sentence() == "cluster of 3 nodes: head no slots, w1 2 slots, w2 4 slots"
    assert nodes.text() == "3 nodes, 6 slots"
    nodes.lost("w2")
    assert nodes.text() == "2 nodes, 2 slots, 1 lost"
    nodes.joined("w2 again", "w2", 1)
    nodes.refused("w2 again")
    assert nodes.text() == "2 nodes, 2 slots, 1 lost, 1 refused"
    nodes.lost("w2 again")  # a refused node that leaves is refused no more
    assert nodes.text() == "2 nodes, 2 slots, 2 lost"
    nodes.lost("w1")
    nodes.lost("head")
    assert nodes.text() == "0 nodes, no slots, 4 lost"
    assert nodes.known


def test_a_large_cluster_is_one_line() -> None:
    nodes = NodeTally()
    for number in range(NAMED + 5):
        nodes.joined(str(number), f"w{number}", 1)
    assert nodes.sentence().endswith(f"w{NAMED - 1} 1 slot, 5 more")


def test_the_line_and_the_table_name_the_nodes_of_a_cluster() -> None:
    tally = Tally(trials=8, stages=20)
    progress = Progress(tally, io.StringIO(), lambda: 0.0)
    assert "node" not in progress.line()
    tally.nodes.joined("a", "w1", 2)
    tally.nodes.lost("b")
    words = "0 running · 1 node, 2 slots, 1 lost · 0:00"
    assert words in progress.line()
    assert ("nodes", "1 node, 2 slots, 1 lost") in [
        tuple(str(cell) for cell in row)
        for row in zip(*(column._cells for column in progress.table().columns), strict=True)
    ]
