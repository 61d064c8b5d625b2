"""Columns of searched fields, with one type per field over all sweeps that are read together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

_LARGEST = 2**63 - 1


def with_factor_columns(
    summaries: Sequence[pa.Table], trials: Sequence[pa.Table]
) -> list[pa.Table]:
    """Return each summary with a column per searched field of its sweep, named by its path.

    `trials`: table `trials` of the same sweeps. A field that several sweeps search has the same
    type in all of them, so that their summaries can be concatenated.
    """
    factors = [
        {
            trial["trial_id"]: json.loads(trial["factors"])
            for trial in table.select(["trial_id", "factors"]).to_pylist()
        }
        for table in trials
    ]
    values: dict[str, list[Any]] = {}
    for of_trial in factors:
        for point in of_trial.values():
            for path, value in point.items():
                values.setdefault(path, []).append(value)
    types = {path: _type(distinct) for path, distinct in values.items()}
    extended = []
    for summary, of_trial in zip(summaries, factors, strict=True):
        points = [of_trial[trial] for trial in summary["trial_id"].to_pylist()]
        for path in dict.fromkeys(path for point in of_trial.values() for path in point):
            column = _column([point.get(path) for point in points], types[path])
            summary = summary.append_column(path, column)
        extended.append(summary)
    return extended


def _type(values: Iterable[Any]) -> pa.DataType:
    """Return the type that holds all values exactly; text for lists and mixed types.

    Canonical JSON writes a float with an integer value as an integer: 1e30 is read as an integer
    that no integer type holds. Such a column is one of floats.
    """
    given = [value for value in values if value is not None]
    kinds = {type(value) for value in given}
    if not kinds:
        return pa.null()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(-_LARGEST <= value <= _LARGEST for value in given):
        return pa.int64()
    if kinds <= {int, float} and all(map(_is_exact_as_float, given)):
        return pa.float64()
    return pa.string()


def _is_exact_as_float(value: float) -> bool:
    try:
        return float(value) == value  # Python compares an integer and a float exactly
    except OverflowError:
        return False


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    elif pa.types.is_floating(kind):
        values = [None if v is None else float(v) for v in values]
    return pa.array(values, kind)
