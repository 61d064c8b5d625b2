"""The stage tree: what trials share, and what is left to do."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.definition import TrialSpec, expand, sweep_from_dict
from sweeps.planning.stage_tree import StageTree


def trials_of(**fields: Any) -> tuple[TrialSpec, ...]:
    base = {
        "name": "test",
        "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
        "stream": {"tasks": 3},
    }
    return expand(sweep_from_dict({**base, **fields}))


THRESHOLDS = trials_of(search={"method.importance_threshold": [0, 0.1, 0.5]})
ORDERS = trials_of(
    orders={"design": "all"}, baselines=[{"method": {"kind": "joint_lora"}}], seeds=[0, 1]
)


def test_thresholds_share_the_first_stage() -> None:
    tree = StageTree.of(THRESHOLDS)
    assert (tree.trials, tree.total, tree.distinct) == (3, 9, 7)
    (root,) = (node for node in tree.nodes.values() if node.parent is None)
    assert (root.position, root.uses) == (0, 3)


def test_orders_that_begin_alike_share_their_beginning() -> None:
    # per seed: 3 first stages, 6 second, 6 third; and one stage of the joint run
    tree = StageTree.of(ORDERS)
    assert (tree.trials, tree.total, tree.distinct) == (14, 38, 32)
    assert sorted({node.uses for node in tree.nodes.values()}) == [1, 2]


def test_nodes_are_linked_and_parents_come_first() -> None:
    tree = StageTree.of(ORDERS)
    seen: set[str] = set()
    for key, node in tree.nodes.items():
        assert (node.parent is None) == (node.position == 0)
        assert node.parent is None or node.parent in seen
        assert node.spec.key == key
        seen.add(key)
    assert sum(node.uses for node in tree.nodes.values()) == tree.total


def test_a_trial_that_comes_twice_counts_once() -> None:
    assert StageTree.of([*THRESHOLDS, *THRESHOLDS]) == StageTree.of(THRESHOLDS)


def test_an_empty_sweep_has_an_empty_tree() -> None:
    tree = StageTree.of([])
    assert (tree.trials, tree.total, tree.distinct, tree.remaining()) == (0, 0, 0, ())


def test_after_the_shared_stage_each_trial_has_its_own_left() -> None:
    tree = StageTree.of(THRESHOLDS)
    shared = tree.chains[THRESHOLDS[0].trial_id][0]
    assert len(tree.remaining({shared})) == 6
    assert {len(chain) for chain in tree.remaining_chains({shared}).values()} == {2}


@given(done=st.sets(st.sampled_from(sorted(StageTree.of(ORDERS).nodes))))
@settings(deadline=None, max_examples=30)
def test_remaining_is_what_is_not_done_whichever_way_it_is_asked(done: set[str]) -> None:
    tree = StageTree.of(ORDERS)
    left = tree.remaining(done)
    assert {node.key for node in left} == set(tree.nodes) - done
    assert left == tree.remaining(lambda key: key in done)
    assert len(tree.remaining()) - len(left) == len(done)
    chains = tree.remaining_chains(done)
    assert {key for chain in chains.values() for key in chain} == {node.key for node in left}
