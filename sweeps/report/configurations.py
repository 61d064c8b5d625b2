"""Data of the interactive list of configurations, with parallel coordinates and details."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from clmethods.canonical import JsonValue, SettingValue, canonical_json
from clmethods.config.readout import is_batch_wise, is_upper_bound, readout_notes
from sweeps.analysis.effects.axis_effects import searched_points, varied_axes
from sweeps.analysis.front.pareto_row import FrontRow
from sweeps.analysis.matrices.matrix_history import history_table
from sweeps.analysis.trials.accuracy import Matrix
from sweeps.analysis.trials.metric_choice import SPLITS
from sweeps.report.formatting import axis_title, scaled, unit
from sweeps.report.report_inputs import ReportInputs

MAPS = 120
"""Maximum number of configurations with freeze maps: each has blocks x sites x tasks cells."""
_MAPPED = ("frozen_share", "importance", "drift")
"""Columns of `history_table` that the details of a configuration show as maps."""

JsonObject: TypeAlias = dict[str, JsonValue]


def configuration_data(inputs: ReportInputs) -> JsonObject:
    """Return the data of the list of configurations as JSON values with short keys.

    `configs`: label, role and factors by config_id. `views`: one per readout, with one row per
    configuration: n, front, validation and test values of the objectives as [mean, low, high] in
    the unit of the page, and accuracy matrices in per mille, row by row, null above the diagonal.
    """
    factors = _factors(inputs)
    labels: dict[str, JsonObject] = {}
    views = []
    for readout in inputs.readouts:
        rows = inputs.fronts[readout]
        for row in rows:
            labels[row.config_id] = {
                "label": row.label,
                "role": row.role,
                "factors": factors.get(row.config_id, {}),
            }
        views.append(_view(inputs, readout, rows))
    return {
        "objectives": [
            {"name": name, "title": axis_title(name), "direction": direction, "unit": unit(name)}
            for name, direction in inputs.sweep.objectives.items()
        ],
        "axes": _axes(inputs),
        "configs": labels,
        "views": views,
        "maps": _maps(inputs),
        "best": inputs.best,
    }


def _view(inputs: ReportInputs, readout: str, rows: Sequence[FrontRow]) -> JsonObject:
    notes = "; ".join(readout_notes(readout))
    kind = "batch-wise" if is_batch_wise(readout) else "instance-wise"
    kind = "upper bound" if is_upper_bound(readout) else kind
    return {
        "readout": readout,
        "note": notes,
        "kind": kind,
        "rows": [
            {
                "id": row.config_id,
                "n": row.n_replicates,
                "front": row.on_front,
                "p": row.p_front,
                "v": [_ends(row, name, "validation") for name in inputs.sweep.objectives],
                "t": [_ends(row, name, "test") for name in inputs.sweep.objectives],
                "m": [
                    _per_mille(
                        inputs.accuracies.get((row.config_id, row.validation.readout_id, split))
                    )
                    for split in SPLITS
                ],
            }
            for row in rows
        ],
    }


def _ends(row: FrontRow, name: str, split: str) -> list[float | None]:
    return [scaled(name, value) for value in row.estimate(name, split)]


def _per_mille(mean: tuple[Matrix, int] | None) -> list[list[int | None]] | None:
    """Return the rows of a mean accuracy matrix in per mille, as integers to save space."""
    if mean is None:
        return None
    matrix = mean[0]
    whole = np.where(np.isfinite(matrix), np.rint(1000 * matrix), -1).astype(int)
    square = len(matrix) == matrix.shape[1]
    return [
        [None if v < 0 else v for v in (row[: t + 1] if square else row)]
        for t, row in enumerate(whole.tolist())
    ]


def _factors(inputs: ReportInputs) -> dict[str, dict[str, float | str]]:
    """Return the factors of each configuration, by config_id and field path."""
    rows = inputs.trials.select(["config_id", "factors"]).to_pylist()
    factors = {row["config_id"]: row["factors"] for row in rows}
    return {
        config_id: {path: _plain(value) for path, value in json.loads(text).items()}
        for config_id, text in factors.items()
    }


def _plain(value: SettingValue) -> float | str:
    """Return a number or text unchanged, and any other value as JSON text."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        return value
    return canonical_json(value)


def _axes(inputs: ReportInputs) -> list[JsonObject]:
    """Return the axes with more than one value; `numeric` ones keep their scale."""
    axes: list[JsonObject] = []
    for axis in varied_axes(searched_points(inputs.trials)):
        values = [_plain(value) for value in axis.values]
        numeric = all(isinstance(value, int | float) for value in values)
        axes.append({"path": axis.path, "values": values, "numeric": numeric})
    return axes


def _maps(inputs: ReportInputs) -> JsonObject:
    """Return freeze map, importance and drift by position of each configuration, over its runs."""
    runs = inputs.maps[:MAPS]
    if not runs:
        return {"sites": [], "blocks": [], "of": {}}
    sites = list(dict.fromkeys(site.site for site in runs[0].sites))
    blocks = sorted({site.block for site in runs[0].sites})
    history = history_table(runs).to_pylist()
    values: dict[str, dict[str, Matrix]] = {}
    for run in runs:
        shape = (run.frozen.shape[1], len(blocks), len(sites))
        values[run.config_id] = {name: np.full(shape, np.nan) for name in _MAPPED}
    for row in history:
        place = (row["position"], blocks.index(row["block"]), sites.index(row["site"]))
        for name in _MAPPED:
            if row[name] is not None:
                values[row["config_id"]][name][place] = row[name]
    of: JsonObject = {
        run.config_id: {
            "n": len(run.cells),
            **{name: _thousandths(values[run.config_id][name]) for name in _MAPPED},
        }
        for run in runs
    }
    return {"sites": sites, "blocks": blocks, "of": of}


def _thousandths(values: Matrix) -> list[list[list[int | None]]] | None:
    """Return a (T, B, S) array in per mille as nested lists, None where there is no value."""
    known = np.isfinite(values)
    if not known.any():
        return None
    whole = np.rint(1000 * np.where(known, values, 0.0)).astype(int)
    return [
        [
            [value if has else None for value, has in zip(row, mask, strict=True)]
            for row, mask in zip(block, masks, strict=True)
        ]
        for block, masks in zip(whole.tolist(), known.tolist(), strict=True)
    ]
