"""Races on planted truth: the true front stays, replicates are saved, the rest is bookkeeping."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sweeps.definition import Racing, replicate_sequence
from sweeps.search.racing import decide_race

OBJECTIVES = {"average_accuracy": "max", "forgetting": "min"}
FAR_APART = np.array([[0, 0], [3, -3], [-30, -40], [-60, -40], [-50, -70], [-80, -80.0]])
"""Gains of six configurations: two on the front, four far off it."""


class Bench:
    """A sweep whose true means are known: what a configuration would give in each cell."""

    def __init__(self, truth, orders, seeds, noise=(0.5, 0.5, 0.5), seed=0, step=1e-9):
        rng = np.random.default_rng(seed)
        self.sequence = replicate_sequence([f"o{i}" for i in range(orders)], range(seeds))
        shapes = ((orders, 1), (1, seeds), (orders, seeds))
        shared = 5 * rng.standard_normal((1, 2, orders, seeds))  # cancels in pairs
        parts = [
            s * rng.standard_normal((len(truth), 2, *shape))
            for s, shape in zip(noise, shapes, strict=True)
        ]
        gain = np.asarray(truth)[:, :, None, None] + shared + sum(parts)
        self.gain = np.round(gain / step) * step  # (C, 2, I, J)
        self.racers = [f"c{c}" for c in range(len(truth))]

    def run(self, config_id, cell):
        accuracy, less_forgetting = self.gain[int(config_id[1:]), :, int(cell[0][1:]), cell[1]]
        return {"average_accuracy": accuracy, "forgetting": -less_forgetting}

    def scores(self, replicates):
        cells = self.sequence[:replicates]
        return {c: {cell: self.run(c, cell) for cell in cells} for c in self.racers}

    def race(self, racing):
        """Every decision from the first look to the end, and the runs that were made."""
        scores, decisions = self.scores(racing.start), []
        while not decisions or decisions[-1].requested:
            decisions.append(decide_race(scores, racing, OBJECTIVES, self.sequence))
            for config_id, cells in decisions[-1].requested.items():
                scores[config_id] |= {cell: self.run(config_id, cell) for cell in cells}
        return decisions, scores


@pytest.mark.parametrize(
    ("design", "noise"),
    [
        ((4, 4), (0, 0, 1)),
        ((4, 4), (1, 0, 0.1)),
        ((6, 3), (0, 1, 0.1)),
        ((6, 3), (0.5, 0.5, 0.5)),
    ],
)
def test_equal_configurations_are_rarely_decided_apart(
    design: tuple[int, int], noise: tuple[float, float, float]
) -> None:
    """All are on the true front: each decision `off` is an error of the joint statement, which may
    happen in 1 race of 5 at this confidence. The standard error over 15 races is 10 %."""
    racing = Racing(start=3, step=3, confidence=0.8)
    wrong = 0
    for seed in range(15):
        decisions, _ = Bench(np.zeros((4, 2)), *design, noise, seed).race(racing)
        wrong += any(decision.decided_off for decision in decisions)
    assert wrong <= 6


def test_the_true_front_stays_and_replicates_are_saved():
    """Three seeds, and four configurations that are 4 to 11 standard deviations off the front."""
    racing = Racing(start=3, step=3)
    lost = runs = 0
    for seed in range(15):
        decisions, scores = Bench(FAR_APART / 8, 6, 3, (0.3, 0.3, 0.5), seed).race(racing)
        on, off = decisions[-1].decided_on, decisions[-1].decided_off
        lost += bool({"c0", "c1"} & {*off} or {*on} - {"c0", "c1"})
        runs += sum(map(len, scores.values()))
    assert lost <= 2
    assert runs < 0.75 * 15 * 6 * 18


def test_a_race_goes_on_where_it_was_interrupted_and_takes_nothing_back():
    racing = Racing(start=3, step=2)
    bench = Bench(FAR_APART / 6, 6, 3, seed=3)
    decisions, scores = bench.race(racing)
    assert decide_race(scores, racing, OBJECTIVES, bench.sequence) == decisions[-1]
    for earlier, later in pairwise(decisions):
        assert set(earlier.decided_on) <= set(later.decided_on)
        assert set(earlier.decided_off) <= set(later.decided_off)
    assert not decisions[-1].requested


def test_the_sequence_of_configurations_changes_nothing():
    bench = Bench(FAR_APART, 5, 4, seed=1)
    scores, racing = bench.scores(12), Racing()
    backwards = {c: dict(reversed(scores[c].items())) for c in reversed(scores)}
    forwards = decide_race(scores, racing, OBJECTIVES, bench.sequence)
    assert decide_race(backwards, racing, OBJECTIVES, bench.sequence) == forwards
    assert forwards.decided_off


def test_one_replicate_decides_nothing_and_asks_for_the_start():
    bench = Bench(FAR_APART, 4, 4)
    found = decide_race(bench.scores(1), Racing(start=3), OBJECTIVES, bench.sequence)
    assert found.undecided == tuple(bench.racers)
    assert found.requested == dict.fromkeys(bench.racers, bench.sequence[1:3])
    assert "undecided after 1 replicate: c1, c2, c3 and 2 more may" in found.because["c0"]


def test_only_the_undecided_and_those_that_may_dominate_them_go_on():
    """c0 and c1 are close, c2 trades off against both, c3 is far off."""
    truth = np.array([[0, 0], [0.3, 0.3], [40, -40], [-60, -60.0]])
    bench = Bench(truth, 6, 6, seed=2)
    found = decide_race(bench.scores(6), Racing(start=6), OBJECTIVES, bench.sequence)
    assert found.decided_off == ("c3",)
    assert found.decided_on == ("c2",)
    assert found.undecided == ("c0", "c1")
    assert set(found.requested) == {"c0", "c1"}
    assert found.because["c2"].startswith("on the front after 6 replicates")
    assert "is better, by at least" in found.because["c3"]


def test_a_rival_of_an_undecided_one_goes_on_although_it_is_decided():
    """By its parameters c0 is on the front; whether it dominates c1 is open."""
    objectives = {"average_accuracy": "max", "trainable_parameters": "min"}
    sequence = replicate_sequence(["a", "b", "c", "d"], range(4))
    rng = np.random.default_rng(0)
    scores = {
        c: {
            cell: {"average_accuracy": rng.random(), "trainable_parameters": size}
            for cell in sequence[:4]
        }
        for c, size in (("c0", 10), ("c1", 20))
    }
    found = decide_race(scores, Racing(), objectives, sequence)
    assert (found.decided_on, found.undecided) == (("c0",), ("c1",))
    assert found.requested == dict.fromkeys(["c0", "c1"], sequence[4:6])
    # one pair, one uncertain objective, looks at 4, 8, 10, 12, 14, 16: 6 cells tell what 4 do
    assert found.intervals == 6


def test_differences_that_do_not_vary_prove_nothing():
    """Two runs with the same count of right answers more are no certainty."""
    bench = Bench([[0, 0], [9, 9.0]], 4, 4, (0, 0, 0), step=1.0)
    found = decide_race(bench.scores(16), Racing(), OBJECTIVES, bench.sequence)
    assert found.undecided == ("c0", "c1")
    assert not found.requested


def test_a_failed_configuration_is_left_out_and_named():
    bench = Bench(FAR_APART, 4, 4)
    scores = bench.scores(4)
    scores["c1"][bench.sequence[2]] = {}
    scores["c2"][bench.sequence[0]]["forgetting"] = None
    found = decide_race(scores, Racing(), OBJECTIVES, bench.sequence)
    assert found.failed == ("c1", "c2")
    assert found.because["c1"] == "failed: the run of order o2 with seed 2"
    assert found.because["c2"] == "left out: no forgetting in order o0 with seed 0"
    assert not {"c1", "c2"} & set(found.requested)


def test_cells_out_of_sequence_are_refused_by_name():
    bench = Bench(FAR_APART, 4, 4)
    scores = bench.scores(4)
    del scores["c3"][bench.sequence[1]]
    with pytest.raises(ValueError, match="c3 with 3 runs lacks order o1 with seed 1"):
        decide_race(scores, Racing(), OBJECTIVES, bench.sequence)


def test_configurations_that_may_still_come_widen_the_intervals():
    bench = Bench(FAR_APART, 6, 6)
    few = decide_race(bench.scores(6), Racing(start=6), OBJECTIVES, bench.sequence)
    many = decide_race(bench.scores(6), Racing(start=6), OBJECTIVES, bench.sequence, among=60)
    assert many.intervals == few.intervals * (60 * 59) // (6 * 5)
    assert set(many.decided_off) <= set(few.decided_off)
