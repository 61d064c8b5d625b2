"""Rungs: promotion is independent of the sequence and never prefers a dominated one."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.definition import EarlyStop
from sweeps.search.rungs import decide_rung

OBJECTIVES = {"average_accuracy": "max", "forgetting": "min"}
CELLS = (("0-1-2", 0), ("2-1-0", 1))


def scores_of(points, cells=CELLS):
    """Configurations c00, c01, … with the same figures in every cell."""
    return {
        f"c{i:02}": {cell: dict(zip(OBJECTIVES, point, strict=True)) for cell in cells}
        for i, point in enumerate(points)
    }


figures = st.lists(st.tuples(*[st.integers(0, 4).map(lambda v: v / 4)] * 2), max_size=20)
rules = st.builds(
    EarlyStop,
    kind=st.sampled_from(["asha", "non_dominated"]),
    reduction_factor=st.sampled_from([1.2, 2.0, 3.0]),
    audit=st.sampled_from([0.0, 0.25, 1.0]),
    seed=st.integers(0, 5),
)


@given(figures, rules)
def test_the_declared_share_goes_on_and_is_never_beaten_by_one_that_stops(points, rule):
    scores = scores_of(points)
    found = decide_rung(scores, rule, OBJECTIVES, 2)
    assert sorted(found.kept + found.stopped) == sorted(scores) == sorted(found.because)
    assert len(found.kept) == ceil(round(len(points) / rule.reduction_factor, 9))
    value = {c: next(iter(runs.values())) for c, runs in scores.items()}
    for kept in found.kept:
        for stopped in found.stopped:
            a, b = value[stopped], value[kept]
            if rule.kind == "asha":
                assert a["average_accuracy"] <= b["average_accuracy"]
            elif a != b:
                better = a["average_accuracy"] >= b["average_accuracy"]
                assert not (better and a["forgetting"] <= b["forgetting"])


@given(figures, rules, st.randoms(use_true_random=False))
def test_the_sequence_of_configurations_and_cells_changes_nothing(points, rule, random):
    scores = scores_of(points)
    ids = list(scores)
    random.shuffle(ids)
    shuffled = {c: dict(reversed(scores[c].items())) for c in ids}
    assert decide_rung(shuffled, rule, OBJECTIVES, 2) == decide_rung(scores, rule, OBJECTIVES, 2)


@given(figures, rules)
def test_the_audit_has_its_share_and_is_drawn_again_alike(points, rule):
    found = decide_rung(scores_of(points), rule, OBJECTIVES, 2)
    assert set(found.audited) <= set(found.stopped)
    assert abs(len(found.audited) - rule.audit * len(found.stopped)) < 1
    assert found == decide_rung(scores_of(points), rule, OBJECTIVES, 2)


def test_in_the_long_run_every_stopped_one_is_audited_equally_often():
    points = [(k / 10, 0.0) for k in range(7)]
    seen = [0] * 7
    for seed in range(200):
        rule = EarlyStop(audit=0.3, seed=seed)
        for config_id in decide_rung(scores_of(points), rule, OBJECTIVES, 1).audited:
            seen[int(config_id[1:])] += 1
    assert seen[4:] == [0, 0, 0]
    assert all(0.18 < count / 200 < 0.42 for count in seen[:4])  # standard error 0.03


def test_the_mean_over_the_cells_decides_not_any_one_of_them():
    scores = scores_of([(0.5, 0.0)] * 2)
    scores["c00"][CELLS[0]] = {"average_accuracy": 0.9, "forgetting": 0.0}
    scores["c00"][CELLS[1]] = {"average_accuracy": 0.2, "forgetting": 0.0}
    scores["c01"][CELLS[0]] = {"average_accuracy": 0.7, "forgetting": 0.0}
    found = decide_rung(scores, EarlyStop(reduction_factor=2, audit=0), OBJECTIVES, 3)
    assert found.kept == ("c01",)
    assert found.because["c01"] == (
        "continues after 3 tasks: rank 1 of 2, the best 1 continue (average_accuracy 0.6)"
    )


def test_only_configurations_with_the_same_cells_are_compared():
    scores = scores_of([(0.5, 0.0)] * 3)
    del scores["c01"][CELLS[1]]
    with pytest.raises(ValueError, match=r"c01 lacks order 2-1-0 with seed 1$"):
        decide_rung(scores, EarlyStop(), OBJECTIVES, 1)


def test_failed_runs_rank_last_however_good_the_others_are():
    scores = scores_of([(0.9, 0.0), (0.5, 0.0), (0.4, 0.0), (0.99, 0.0)])
    scores["c00"][CELLS[0]] = {}
    scores["c03"][CELLS[0]] = {"average_accuracy": float("nan"), "forgetting": 0.0}
    found = decide_rung(scores, EarlyStop(reduction_factor=2, audit=0), OBJECTIVES, 1)
    assert found.kept == ("c01", "c02")
    assert found.stopped == ("c03", "c00")
    assert "rank 4 of 4, the best 2 continue (1 run failed)" in found.because["c00"]


def test_a_metric_that_nobody_has_yet_is_left_out():
    scores = scores_of([(0.9, None), (0.5, None)])
    rule = EarlyStop(kind="non_dominated", reduction_factor=2, audit=0)
    assert decide_rung(scores, rule, OBJECTIVES, 1).kept == ("c00",)


def test_within_a_front_the_most_crowded_stops():
    points = [(0.0, 0.0), (0.5, 0.5), (0.52, 0.52), (1.0, 1.0)]  # all on the front
    rule = EarlyStop(kind="non_dominated", reduction_factor=4 / 3, audit=0)
    found = decide_rung(scores_of(points), rule, OBJECTIVES, 2)
    assert set(found.kept) == {"c00", "c01", "c03"}
    rule = EarlyStop(kind="non_dominated", reduction_factor=2, audit=0)
    assert set(decide_rung(scores_of(points), rule, OBJECTIVES, 2).kept) == {"c00", "c03"}


def test_those_of_an_earlier_batch_are_ranked_among_and_not_decided_again():
    scores = scores_of([(0.9, 0.0), (0.8, 0.0), (0.7, 0.0), (0.85, 0.0)])
    rule = EarlyStop(reduction_factor=2, audit=0)
    found = decide_rung(scores, rule, OBJECTIVES, 1, decided={"c00", "c01"})
    assert found.kept == ("c03",)
    assert found.stopped == ("c02",)
    assert set(found.because) == {"c02", "c03"}
