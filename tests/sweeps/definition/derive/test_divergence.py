"""The stage at which two trials diverge."""

from __future__ import annotations

from typing import Any

from sweeps.definition import TrialSpec, expand, sweep_from_dict
from sweeps.definition.derive.divergence import divergence


def trials(**changes: Any) -> tuple[TrialSpec, ...]:
    document = {
        "name": "parting",
        "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
        "stream": {"dataset": "digits", "tasks": 5},
        "method": {"kind": "lorac_ipc", "rank": 2},
        "search": {"method.importance_threshold": [0]},
        "orders": {"design": "identity"},
        "seeds": [0],
    }
    return expand(sweep_from_dict(document | changes))


def test_orders_diverge_at_the_first_task_that_differs() -> None:
    orders = {"design": "explicit", "list": [[0, 1, 2, 3, 4], [0, 1, 2, 4, 3]]}
    one, other = trials(orders=orders)
    found = divergence(one, other)
    assert found.shared == 3
    assert [(d.path, d.first, d.second) for d in found.differences] == [("task", [6, 7], [8, 9])]


def test_thresholds_diverge_at_the_second_stage_by_what_they_freeze() -> None:
    one, other = trials(search={"method.importance_threshold": [0, 0.2]})
    found = divergence(one, other)
    assert found.shared == 1
    assert [d.path for d in found.differences] == ["method.newly_frozen", "method.ipc"]


def test_thresholds_that_freeze_alike_never_diverge() -> None:
    # 12 matrices: 0.17 and 0.24 both freeze two of them after each task
    (one,) = trials(search={"method.importance_threshold": [0.17]})
    (other,) = trials(search={"method.importance_threshold": [0.24]})
    found = divergence(one, other)
    assert (found.shared, found.differences) == (5, ())


def test_seeds_diverge_at_the_first_stage() -> None:
    one, other = trials(seeds=[0, 1])
    found = divergence(one, other)
    assert found.shared == 0
    assert [d.path for d in found.differences] == ["seed"]


def test_a_method_of_one_stage_differs_by_its_kind() -> None:
    one, other = trials(baselines=[{"method": {"kind": "joint_lora", "rank": 2}}])
    found = divergence(one, other)
    assert found.lengths == (5, 1)
    assert "method.kind" in [d.path for d in found.differences]
