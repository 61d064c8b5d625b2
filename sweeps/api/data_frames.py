"""Conversion of tables to pandas data frames, which are imported at the first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd

INTERVAL_ENDS = ("", "_low", "_high")
"""Suffixes of the columns of an estimate: mean, lower end and upper end of its interval."""


def frame_of_table(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a data frame, without categorical columns.

    For categories, `groupby` would count all combinations.

    Raises:
        ImportError: If pandas is not installed.
    """
    _require_pandas()
    fields = [
        f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f
        for f in table.schema
    ]
    frame: pd.DataFrame = table.cast(pa.schema(fields)).to_pandas()
    return frame


def frame_of_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], numbers: Sequence[str] = ()
) -> pd.DataFrame:
    """Return rows as a data frame with these columns, also if there is no row.

    `numbers`: columns of floating-point numbers, in which None becomes NaN.

    Raises:
        ImportError: If pandas is not installed.
    """
    pandas = _require_pandas()
    frame: pd.DataFrame = pandas.DataFrame(list(rows), columns=list(columns))
    return frame.astype(dict.fromkeys(numbers, "float64"))


def interval_columns(name: str, estimate: Sequence[float | None]) -> dict[str, float | None]:
    """Return mean and interval as the columns NAME, NAME_low and NAME_high."""
    return {f"{name}{end}": value for end, value in zip(INTERVAL_ENDS, estimate, strict=True)}


def _require_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "data frames need pandas, which is not installed: pip install pandas; the Arrow "
            "tables (.trials, .summary, …) and .query need no pandas"
        ) from error
    return pandas
