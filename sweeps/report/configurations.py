"""Data of the interactive list of configurations, with parallel coordinates and details."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clmethods.canonical import canonical_json
from clmethods.config.readout import is_batch_wise, is_upper_bound, readout_notes
from sweeps.analysis.effects.axis_effects import searched_points, varied_axes
from sweeps.analysis.matrices.matrix_history import history_table
from sweeps.analysis.trials.accuracy import Matrix
from sweeps.analysis.trials.metric_choice import SPLITS
from sweeps.report.evidence import Evidence
from sweeps.report.formatting import axis_title, scaled, unit

MAPS = 120
"""Maximum number of configurations with freeze maps: each has blocks x sites x tasks cells."""


def configuration_data(evidence: Evidence) -> dict[str, Any]:
    """Return the data of the list of configurations as JSON values with short keys.

    `configs`: label, role and factors by config_id. `views`: one per readout, with one row per
    configuration: n, front, validation and test values of the objectives as [mean, low, high] in
    the unit of the page, and accuracy matrices in per mille, row by row, null above the diagonal.
    """
    factors = _factors(evidence)
    labels: dict[str, dict[str, Any]] = {}
    views = []
    for readout in evidence.readouts:
        rows = evidence.fronts[readout]
        for row in rows:
            config_id = row["config_id"]
            labels[config_id] = {
                "label": row["label"],
                "role": row["role"],
                "factors": factors.get(config_id, {}),
            }
        views.append(_view(evidence, readout, rows))
    return {
        "objectives": [
            {"name": name, "title": axis_title(name), "direction": direction, "unit": unit(name)}
            for name, direction in evidence.sweep.objectives.items()
        ],
        "axes": _axes(evidence),
        "configs": labels,
        "views": views,
        "maps": _maps(evidence),
        "best": evidence.best,
    }


def _view(evidence: Evidence, readout: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    notes = "; ".join(readout_notes(readout))
    kind = "batch-wise" if is_batch_wise(readout) else "instance-wise"
    kind = "upper bound" if is_upper_bound(readout) else kind
    return {
        "readout": readout,
        "note": notes,
        "kind": kind,
        "rows": [
            {
                "id": row["config_id"],
                "n": row["n_replicates"],
                "front": bool(row["on_front"]),
                "p": row.get("p_front"),
                "v": [_ends(row, "", name) for name in evidence.sweep.objectives],
                "t": [_ends(row, "test ", name) for name in evidence.sweep.objectives],
                "m": [
                    _per_mille(
                        evidence.accuracies.get((row["config_id"], row["readout_id"], split))
                    )
                    for split in SPLITS
                ],
            }
            for row in rows
        ],
    }


def _ends(row: Mapping[str, Any], prefix: str, name: str) -> list[float | None]:
    return [scaled(name, row.get(f"{prefix}{name}{end}")) for end in ("", "_low", "_high")]


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


def _factors(evidence: Evidence) -> dict[str, dict[str, Any]]:
    """Return the factors of each configuration, by config_id and field path."""
    rows = evidence.trials.select(["config_id", "factors"]).to_pylist()
    factors = {row["config_id"]: row["factors"] for row in rows}
    return {
        config_id: {path: _plain(value) for path, value in json.loads(text).items()}
        for config_id, text in factors.items()
    }


def _plain(value: Any) -> Any:
    """Return a number or text unchanged, and any other value as JSON text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number or isinstance(value, str) else canonical_json(value)


def _axes(evidence: Evidence) -> list[dict[str, Any]]:
    """Return the axes with more than one value; `numeric` ones keep their scale."""
    axes = []
    for axis in varied_axes(searched_points(evidence.trials)):
        values = [_plain(value) for value in axis.values]
        numeric = all(isinstance(value, int | float) for value in values)
        axes.append({"path": axis.path, "values": values, "numeric": numeric})
    return axes


def _maps(evidence: Evidence) -> dict[str, Any]:
    """Return freeze map, importance and drift by position of each configuration, over its runs."""
    runs = evidence.maps[:MAPS]
    if not runs:
        return {"sites": [], "blocks": [], "of": {}}
    sites = list(dict.fromkeys(site.site for site in runs[0].sites))
    blocks = sorted({site.block for site in runs[0].sites})
    history = history_table(runs).to_pylist()
    of: dict[str, dict[str, Any]] = {}
    for run in runs:
        shape = (run.frozen.shape[1], len(blocks), len(sites))
        of[run.config_id] = {
            "n": len(run.cells),
            **{name: np.full(shape, np.nan) for name in ("frozen_share", "importance", "drift")},
        }
    for row in history:
        place = (row["position"], blocks.index(row["block"]), sites.index(row["site"]))
        for name in ("frozen_share", "importance", "drift"):
            if row[name] is not None:
                of[row["config_id"]][name][place] = row[name]
    for maps in of.values():
        for name in ("frozen_share", "importance", "drift"):
            maps[name] = _thousandths(maps[name])
    return {"sites": sites, "blocks": blocks, "of": of}


def _thousandths(values: Matrix) -> Any:
    """Return nested lists in per mille, None where there is no value."""
    if not np.isfinite(values).any():
        return None
    whole = np.rint(1000 * values).astype(object)
    whole[~np.isfinite(values)] = None
    return _integers(whole.tolist())


def _integers(nested: Any) -> Any:
    """Return nested lists of floats as nested lists of integers."""
    if isinstance(nested, list):
        return [_integers(item) for item in nested]
    return None if nested is None else int(nested)
