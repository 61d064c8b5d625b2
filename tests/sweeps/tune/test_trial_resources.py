"""What trials reserve, how many are released, and what a cluster can never give."""

from __future__ import annotations

import pytest

from clmethods.config import InvalidConfigError
from sweeps.spec.sweep import Resources
from sweeps.tune.trial_resources import Demand, Slots, distinct, impossible_demands


@pytest.mark.parametrize(
    ("threads", "most", "limited", "cpus", "slots"),
    [
        ([1], None, True, 4, 8),  # four that run, four that wait for their workers
        ([2], None, True, 4, 4),
        ([4, 1], None, True, 4, 8),  # as many as could run of the smallest
        ([1], 2, True, 2, 4),  # the cluster itself was limited
        ([4, 1], 1, True, 4, 1),
        ([1], 3, False, 8, 3),
        ([1], None, False, 0, 8),  # an autoscaler adds nodes for trials that wait
        ([1], 2, False, 0, 2),
        ([1], 20, False, 0, 8),
    ],
)
def test_how_many_trials_are_released(
    threads: list[int], most: int | None, limited: bool, cpus: int, slots: int
) -> None:
    demands: list[Demand] = [{"CPU": float(n)} for n in threads]
    found = Slots(Resources(max_concurrent=most), limited_cluster=limited)
    assert found.count(demands, {"CPU": float(cpus)}) == slots


def test_each_demand_counts_once() -> None:
    assert distinct([{"CPU": 1.0}, {"CPU": 2.0}, {"CPU": 1.0}]) == [{"CPU": 1.0}, {"CPU": 2.0}]


@pytest.mark.parametrize(
    ("demand", "local", "most", "message"),
    [
        ({"GPU": 1.0}, True, None, "resources.gpu: got 1.0, allowed: at most the 0 GPU of this m"),
        ({"CPU": 99.0}, True, None, "train.threads: got 99.0, allowed: at most the 4 CPU"),
        ({"CPU": 9.0}, False, {"CPU": 8.0}, "at most the 8 CPU of this cluster, as large as"),
    ],
)
def test_what_can_never_be_met_is_refused(
    demand: Demand, local: bool, most: dict[str, float] | None, message: str
) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        impossible_demands([demand], {"CPU": 4.0}, most, local)
    assert message in str(refused.value)


def test_what_may_join_later_is_announced() -> None:
    (sentence,) = impossible_demands([{"GPU": 0.5}], {"CPU": 4.0}, None, local=False)
    assert sentence == (
        "a trial asks for 0.5 GPU, and the cluster has 0: it waits until a node with that many "
        "joins"
    )
    assert impossible_demands([{"CPU": 9.0}], {"CPU": 4.0}, {"CPU": 16.0}, local=False) == []
