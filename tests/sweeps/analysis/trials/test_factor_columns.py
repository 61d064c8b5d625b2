"""Columns of searched fields hold every value exactly, with one type over all sweeps."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from sweeps.analysis.trials.factor_columns import with_factor_columns


def columns(*sweeps: list[Any]) -> list[pa.ChunkedArray]:
    """Return the column `x` of each sweep, whose trials have these values."""
    ids = [[str(k) for k in range(len(values))] for values in sweeps]
    trials = [
        pa.table({"trial_id": names, "factors": [json.dumps({"x": value}) for value in values]})
        for names, values in zip(ids, sweeps, strict=True)
    ]
    summaries = [pa.table({"trial_id": names}) for names in ids]
    return [table["x"] for table in with_factor_columns(summaries, trials)]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], pa.int64()),
        ([2**63 - 1, -(2**63) + 1], pa.int64()),
        ([0.5, 1], pa.float64()),
        ([0.5, int(1e30)], pa.float64()),
        ([int(1e30), int(1e31)], pa.float64()),
        ([True, False, None], pa.bool_()),
        (["a", "b"], pa.string()),
        ([None, None], pa.null()),
    ],
)
def test_the_values_are_unchanged(values: list[Any], kind: pa.DataType) -> None:
    (column,) = columns(values)
    assert column.type == kind
    assert column.to_pylist() == values


@pytest.mark.parametrize(
    "values",
    [[0.5, 2**53 + 1], [10**400, 1], [True, 1], ["a", 1], [[1, 2], [3]], [{"uniform": [0, 1]}]],
    ids=str,
)
def test_values_that_no_number_type_holds_exactly_are_text(values: list[Any]) -> None:
    (column,) = columns(values)
    assert column.type == pa.string()
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    assert column.to_pylist() == texts


def test_a_field_has_the_same_type_in_all_sweeps() -> None:
    whole, broken, large, blank = columns([1, 2], [0.5], [int(1e30)], [None])
    assert {c.type for c in (whole, broken, large, blank)} == {pa.float64()}
    assert whole.to_pylist() == [1.0, 2.0]
    texts = columns([1, 2], ["auto"])
    assert [c.to_pylist() for c in texts] == [["1", "2"], ["auto"]]


def test_a_field_of_one_sweep_is_no_column_of_the_others() -> None:
    trials = [
        pa.table({"trial_id": ["0"], "factors": ['{"x": 1}']}),
        pa.table({"trial_id": ["0"], "factors": ["{}"]}),
    ]
    summaries = [pa.table({"trial_id": ["0"]}) for _ in trials]
    first, second = with_factor_columns(summaries, trials)
    assert first.column_names == ["trial_id", "x"]
    assert second.column_names == ["trial_id"]
