"""Axes and the points that grid, random and Sobol' search pick."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError
from sweeps.definition.space.axes import Axis, parse_axis
from sweeps.definition.space.sampling import ALGORITHMS, MAX_POINTS, Algorithm, Point, grid
from sweeps.definition.space.sampling import points as all_points

CHOICE = Axis(path="method.module_weights", values=("ones", "learned", "other"))
LOG = Axis(path="train.lr", scale="log", values=(1e-4, 1.0))
WHOLE = Axis(path="method.rank", scale="integer", values=(1, 4))
LINEAR = Axis(path="method.importance_threshold", scale="uniform", values=(0.0, 0.3))
AXES = (CHOICE, LOG, WHOLE, LINEAR)


def points(axes: Sequence[Axis], algorithm: Algorithm) -> list[Point]:
    return all_points(axes, algorithm, lambda point: True)[0]


def test_a_grid_is_every_combination_with_the_last_axis_fastest() -> None:
    axes = [Axis(path="a.x", values=(1, 2)), Axis(path="a.y", values=("p", "q"))]
    found = [tuple(point.values()) for point in grid(axes, 0, 0)]
    assert found == list(itertools.product((1, 2), ("p", "q")))
    assert grid([], 0, 0) == [{}]


def test_a_grid_beyond_measure_is_refused_by_its_size() -> None:
    axes = [Axis(path=f"a.{i}", values=tuple(range(10))) for i in range(6)]
    with pytest.raises(InvalidConfigError, match=f"got 1000000, allowed: at most {MAX_POINTS}"):
        grid(axes, 0, 0)


@pytest.mark.parametrize("kind", ["random", "sobol"])
@given(trials=st.integers(1, 20), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_draws_stay_in_range_and_repeat(kind: str, trials: int, seed: int) -> None:
    algorithm = Algorithm(kind=kind, trials=trials, seed=seed)  # type: ignore[arg-type]
    found = points(AXES, algorithm)
    assert found == points(AXES, algorithm)
    assert len(found) == trials
    for point in found:
        assert point[CHOICE.path] in CHOICE.values
        assert 1e-4 <= point[LOG.path] <= 1.0
        assert point[WHOLE.path] in {1, 2, 3, 4}
        assert 0.0 <= point[LINEAR.path] <= 0.3
        assert point[LOG.path] == float(f"{point[LOG.path]:.6g}")


@pytest.mark.parametrize("kind", ["random", "sobol"])
@given(fewer=st.integers(1, 9), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_more_draws_keep_the_earlier_ones(kind: str, fewer: int, seed: int) -> None:
    draw = ALGORITHMS[kind]
    assert draw(AXES, 12, seed)[:fewer] == draw(AXES, fewer, seed)


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_the_order_of_the_axes_in_the_file_does_not_matter(kind: str) -> None:
    draw = ALGORITHMS[kind]
    assert draw(AXES, 8, 3) == draw(AXES[::-1], 8, 3)


def test_a_further_axis_leaves_random_draws_on_the_others() -> None:
    few, more = (ALGORITHMS["random"](axes, 8, 3) for axes in (AXES[:2], AXES))
    assert [point[LOG.path] for point in few] == [point[LOG.path] for point in more]


@given(power=st.integers(0, 5), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
def test_a_sobol_net_has_one_draw_in_every_equal_part(power: int, seed: int) -> None:
    trials = 2**power
    axis = Axis(path="a.x", scale="uniform", values=(0.0, float(trials)))
    parts = sorted(int(point["a.x"]) for point in ALGORITHMS["sobol"]([axis, LOG], trials, seed))
    assert parts == list(range(trials))


@given(fraction=st.floats(0, 1, exclude_max=True), axis=st.sampled_from(AXES))
@settings(deadline=None)
def test_an_axis_stays_between_its_ends(fraction: float, axis: Axis) -> None:
    value = axis.at(fraction)
    if axis.scale == "list":
        assert value in axis.values
    else:
        assert axis.values[0] <= value <= axis.values[1]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "search.a.x: got [], allowed: a list of one or more values"),
        (3, "Put a single value into the section of its field instead"),
        ({"normal": [0, 1]}, "one of ['uniform', 'log', 'integer']"),
        ({"uniform": [0, 1], "log": [1, 2]}, "one of ['uniform', 'log', 'integer']"),
        ({"uniform": [1, 1]}, "search.a.x.uniform: got [1, 1], allowed: [low, high] with low"),
        ({"uniform": [0]}, "search.a.x.uniform: got [0], allowed: [low, high], two numbers"),
        ({"log": [0, 1]}, "ends greater than 0 on a log scale"),
        ({"integer": [1, 2.5]}, "two whole numbers"),
    ],
)
def test_an_axis_that_is_none_is_refused(written: object, message: str) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        parse_axis("a.x", written, "random", "search.a.x")
    assert message in str(refused.value)


def test_a_grid_takes_no_ranges() -> None:
    with pytest.raises(InvalidConfigError, match="as the algorithm is `grid`"):
        parse_axis("a.x", {"uniform": [0, 1]}, "grid", "search.a.x")


def test_only_draws_are_counted() -> None:
    with pytest.raises(InvalidConfigError, match="the values of a grid determine the number"):
        Algorithm(kind="grid", trials=3)
    with pytest.raises(InvalidConfigError, match="Set the number of configurations that `random`"):
        Algorithm(kind="random")
