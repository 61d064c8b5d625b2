"""The k rule, as in the tables of method.md section 4.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config.freezing import frozen_forecast, matrices_per_task


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
