"""Ablation paths over made-up configurations: only what was run is a step."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError
from sweeps.analysis.effects.paths import (
    MAX_FACTORS,
    change_between,
    find_configuration,
    path_steps,
    shortest_paths,
    signed_means,
    smallest_gap,
)
from sweeps.analysis.trials.replicates import Replicates


def named(points):
    """Configurations by the text of their point."""
    return {" ".join(f"{k}{v}" for k, v in point.items()): point for point in points}


def cube(*names):
    return named(
        dict(zip(names, values, strict=True)) for values in product([0, 1], repeat=len(names))
    )


def with_values(name, cells):
    metrics = {"average_accuracy": cells}
    return Replicates(name, name, "search", "lorac_ipc", "last", "validation", metrics, {})


def test_a_full_factorial_has_every_order_of_changes_best_first():
    points = cube("a", "b")
    rank = {"a0 b0": 0.5, "a1 b0": 0.6, "a0 b1": 0.7, "a1 b1": 0.8}
    paths = shortest_paths(points, "a0 b0", "a1 b1", rank, 9)
    assert paths == [("a0 b0", "a0 b1", "a1 b1"), ("a0 b0", "a1 b0", "a1 b1")]
    assert shortest_paths(points, "a0 b0", "a1 b1", rank, 1) == paths[:1]
    assert len(shortest_paths(cube("a", "b", "c"), "a0 b0 c0", "a1 b1 c1", {}, 99)) == 6


def test_a_detour_is_found_where_the_straight_steps_were_not_run():
    points = named([{"a": 0, "b": 0}, {"a": 2, "b": 0}, {"a": 2, "b": 1}, {"a": 1, "b": 1}])
    (path,) = shortest_paths(points, "a0 b0", "a1 b1", {}, 9)
    assert path == ("a0 b0", "a2 b0", "a2 b1", "a1 b1")


def test_thousands_of_configurations_are_searched_in_a_moment():
    """4,000 settings of three factors; the ends differ in all three."""
    points = named(
        {"a": a, "b": b, "c": c} for a, b, c in product(range(10), range(10), range(40))
    )
    paths = shortest_paths(points, "a0 b0 c0", "a9 b9 c39", {}, 99)
    assert len(paths) == 6
    assert all(len(path) == 4 for path in paths)


def test_a_factor_that_is_idle_at_one_side_is_no_second_change():
    off, on = {"threshold": 0, "rank": 4}, {"threshold": 0.2, "selector": "inverse", "rank": 4}
    assert str(change_between(off, on)) == "threshold: 0 -> 0.2"
    assert change_between(off, on | {"rank": 8}) is None
    assert change_between(on, dict(on)) is None


def test_the_difference_of_a_step_is_paired():
    """Both seeds gain 0.1, whatever their replicate noise."""
    cells = {("0-1", 0): 0.5, ("0-1", 1): 0.8}
    found = {
        "a0": with_values("a0", cells),
        "a1": with_values("a1", {cell: value + 0.1 for cell, value in cells.items()}),
    }
    points = named([{"a": 0}, {"a": 1}])
    first, second = path_steps(["a0", "a1"], points, found, "average_accuracy")
    assert (first.change, first.comparison) == (None, None)
    assert first.interval.mean == pytest.approx(0.65)
    assert second.comparison.interval.mean == pytest.approx(0.1)
    assert second.comparison.interval.low == pytest.approx(0.1)
    assert second.comparison.significant
    assert signed_means(list(found.values()), "average_accuracy", "min")["a1"] == pytest.approx(
        -0.75
    )


def test_the_gap_is_what_completes_a_path_with_the_fewest_runs():
    points = cube("a", "b", "c")
    run = {k: points[k] for k in ("a0 b0 c0", "a0 b1 c0", "a1 b1 c1")}
    lacking = smallest_gap(run, "a0 b0 c0", "a1 b1 c1")
    assert lacking.changes[0].path == "b"
    assert len(lacking.missing) == 1
    assert lacking.points[0] == run["a0 b0 c0"]
    assert lacking.points[-1] == run["a1 b1 c1"]


def test_a_setting_that_acts_like_one_that_was_run_is_not_missing():
    off = {"threshold": 0, "rank": 4}
    end = {"threshold": 0.2, "rank": 8, "selector": "inverse"}
    wide = {"threshold": 0, "rank": 8}
    lacking = smallest_gap(named([off, end, wide]), *list(named([off, end])))
    assert lacking.missing == ()
    assert [change.path for change in lacking.changes] == ["rank", "threshold"]
    assert lacking.points[1] == {"threshold": 0, "rank": 8, "selector": "inverse"}


@settings(max_examples=40)
@given(st.data())
def test_a_path_exists_exactly_where_nothing_is_missing_on_a_grid(data):
    """Two values per factor: a shortest path changes each factor once, and so does the gap's."""
    points = cube(*"abc")
    kept = data.draw(st.sets(st.sampled_from(sorted(points))))
    ends = ("a0 b0 c0", "a1 b1 c1")
    run = {k: v for k, v in points.items() if k in kept | set(ends)}
    paths = shortest_paths(run, *ends, {}, 99)
    lacking = smallest_gap(run, *ends)
    assert any(len(path) == 4 for path in paths) == (not lacking.missing)
    completed = run | named(lacking.missing)
    assert shortest_paths(completed, *ends, {}, 99)
    for path in paths:
        assert all(change_between(run[a], run[b]) is not None for a, b in pairwise(path))


def test_too_many_factors_are_refused():
    names = [f"f{i}" for i in range(MAX_FACTORS + 1)]
    points = {"one": dict.fromkeys(names, 0), "other": dict.fromkeys(names, 1)}
    with pytest.raises(InvalidConfigError, match="at most 12 factors"):
        smallest_gap(points, "one", "other")


def test_a_configuration_is_found_by_label_id_or_its_beginning():
    found = [
        Replicates(i, label, "search", "lorac_ipc", "last", "test", {}, {})
        for i, label in (("abc1", "rank 4"), ("abd2", "rank 8"))
    ]
    assert find_configuration("rank 8", found, "A") == "abd2"
    assert find_configuration("abc", found, "A") == "abc1"
    with pytest.raises(InvalidConfigError, match="Did you mean 'rank 8'"):
        find_configuration("rnk 8", found, "A")
    with pytest.raises(InvalidConfigError, match="allowed: a configuration by its label or id"):
        find_configuration("ab", found, "A")
