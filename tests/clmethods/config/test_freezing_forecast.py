"""The k rule, as in the tables of docs/method.md section 4.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config.methods.freezing_forecast import (
    Rounding,
    frozen_forecast,
    last_epoch_samples,
    matrices_per_task,
)


@pytest.mark.parametrize(
    ("matrices", "threshold", "k"),
    [
        (48, 0.05, 2),
        (48, 0.1, 4),
        (48, 0.2, 9),
        (72, 0.05, 3),
        (72, 0.1, 7),
        (72, 0.2, 14),
        (12, 0.05, 0),
        (48, 0.0, 0),
        (48, 1.0, 48),
        (0, 1.0, 0),
        (100, 0.29, 29),  # 0.29 * 100 is 28.999999999999996
    ],
)
def test_i23_matrices_per_task(matrices: int, threshold: float, k: int) -> None:
    assert matrices_per_task(threshold, matrices) == k


@pytest.mark.parametrize(
    ("matrices", "threshold", "frozen"),
    [
        (48, 0.05, (0, 2, 4, 6, 8, 10, 12, 14, 16, 18)),
        (48, 0.1, (0, 4, 8, 12, 16, 20, 24, 28, 32, 36)),
        (48, 0.2, (0, 9, 18, 27, 36, 45, 48, 48, 48, 48)),
        (72, 0.05, (0, 3, 6, 9, 12, 15, 18, 21, 24, 27)),
        (72, 0.1, (0, 7, 14, 21, 28, 35, 42, 49, 56, 63)),
        (72, 0.2, (0, 14, 28, 42, 56, 70, 72, 72, 72, 72)),
        (12, 0.05, (0,) * 10),
    ],
)
def test_i23_frozen_matrices_in_force(
    matrices: int, threshold: float, frozen: tuple[int, ...]
) -> None:
    assert frozen_forecast(threshold, matrices, tasks=10) == frozen


@given(st.floats(0, 1), st.integers(0, 200), st.integers(1, 12))
def test_i20_the_forecast_never_falls_and_never_exceeds_what_is_there(
    threshold: float, matrices: int, tasks: int
) -> None:
    forecast = frozen_forecast(threshold, matrices, tasks)
    assert len(forecast) == tasks
    assert forecast[0] == 0
    assert list(forecast) == sorted(forecast)
    assert forecast[-1] <= matrices


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_fraction_of_k_matrices_means_k(k: int, matrices: int) -> None:
    """k / N, divided and multiplied again, may fall a rounding short of k."""
    k = min(k, matrices)
    assert matrices_per_task(k / matrices, matrices) == k


@pytest.mark.parametrize(
    ("matrices", "threshold", "frozen"),
    [
        (48, 0.05, (0, 2, 4, 6, 8, 10, 11, 12, 13, 14)),
        (48, 0.1, (0, 4, 8, 12, 15, 18, 21, 23, 25, 27)),
        (48, 0.2, (0, 9, 16, 22, 27, 31, 34, 36, 38, 40)),
        (72, 0.05, (0, 3, 6, 9, 12, 15, 17, 19, 21, 23)),
        (72, 0.1, (0, 7, 13, 18, 23, 27, 31, 35, 38, 41)),
        (72, 0.2, (0, 14, 25, 34, 41, 47, 52, 56, 59, 61)),
    ],
)
def test_i23_a_relative_threshold_counts_what_is_left(
    matrices: int, threshold: float, frozen: tuple[int, ...]
) -> None:
    """The rows `ipc_relative` of docs/method.md section 4.3."""
    assert frozen_forecast(threshold, matrices, 10, relative=True) == frozen


@pytest.mark.parametrize(
    ("rounding", "k"),
    [("floor", (0, 0, 2, 29, 7)), ("nearest", (0, 1, 3, 29, 7)), ("ceil", (1, 1, 3, 29, 7))],
)
def test_i23_rounding_is_as_named(rounding: Rounding, k: tuple[int, ...]) -> None:
    """Shares of 0.4, 0.6 and 2.5 matrices, one a rounding short of 29, one above 7."""
    cases = ((0.04, 10), (0.06, 10), (0.25, 10), (0.29, 100), (0.07, 100))
    assert tuple(matrices_per_task(share, n, rounding) for share, n in cases) == k


@given(
    st.floats(0, 1),
    st.integers(0, 200),
    st.integers(1, 12),
    st.sampled_from(["floor", "nearest", "ceil"]),
    st.booleans(),
)
def test_i20_no_rule_ever_releases_or_exceeds(
    threshold: float, matrices: int, tasks: int, rounding: Rounding, relative: bool
) -> None:
    found = frozen_forecast(threshold, matrices, tasks, rounding, relative=relative)
    assert len(found) == tasks
    assert found[0] == 0
    assert list(found) == sorted(found)
    assert found[-1] <= matrices


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 5), st.integers(1, 9))
def test_the_samples_of_the_last_epoch_are_counted_as_they_are_taken(
    images: int, batch: int, epochs: int, every: int
) -> None:
    step, taken = 0, 0
    for _ in range(epochs):
        taken = 0
        for _ in range(0, images, batch):
            taken += step % every == 0
            step += 1
    assert last_epoch_samples(images, batch, epochs, every) == max(1, taken)
