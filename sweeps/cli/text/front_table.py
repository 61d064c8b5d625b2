"""Text output of `sweeps pareto`: the front, baselines and references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clmethods.config.readout import readout_notes
from sweeps.analysis.trials.metric_choice import (
    Results,
    chosen_metric,
    chosen_readout,
    replicate_warning,
    summaries,
)
from sweeps.cli.text.layout import fits, fitted, wrapped
from sweeps.presentation.numbers import probability_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeps.analysis.front.pareto_row import FrontRow, ParetoRow
    from sweeps.definition import Sweep

NAMED = 5
"""Maximum number of configurations named for the same reason; the others are counted."""
FEW_RUNS = "needs at least 3 orders and 3 seeds that the configurations have in common"


def front_text(
    sweep: Sweep, results: Results, readout: str | None = None, iqm: bool = False
) -> str:
    """Return searched configurations, front first, then baselines and references, as a table."""
    from sweeps.analysis.front.pareto_table import front_rows, lead_on_validation, training_benefit
    from sweeps.presentation.text_tables import render_table

    name = chosen_readout(sweep, readout)
    by_split = summaries(results)
    rows = front_rows(sweep, by_split, name, iqm)
    if not rows:
        return "\n".join([*_noted(results.warnings), "no finished trial yet"])
    table = [
        {
            "front": ("*" if row.on_front else "") + (" knee" if row.knee else ""),
            "P(front)": _probability(row.p_front),
            "configuration": _titled(row, name),
            "runs": row.n_replicates,
            **{f"val. {_short(key)}": _shown(row, key, "validation") for key in sweep.objectives},
            **{f"test {_short(key)}": _shown(row, key, "test") for key in sweep.objectives},
        }
        for row in rows
        if not row.validation.stopped
    ]
    mean = "interquartile mean" if iqm else "mean"
    known = any(row.p_front is not None for row in rows)
    lead = (
        None if known else lead_on_validation(sweep, by_split, name, next(iter(sweep.objectives)))
    )
    notes = [
        f"readout `{name}`, values in percent: {mean}, in parentheses the 95 % confidence "
        "interval over orders and seeds",
        f"front (*): Pareto front of the validation {mean}s; P(front): estimated probability that "
        "the configuration is on the front of the true means"
        + ("" if known else f" ({FEW_RUNS})"),
        *([lead.text] if lead else []),
        *_volume_text(sweep, rows),
        *(f"`{name}`: {note}" for note in readout_notes(name)),
    ]
    for row in rows:
        found = row.validation
        if (found.n_missing or found.n_fewer or found.approximate) and not found.stopped:
            notes.append(f"{row.label}: {_missing(found)}")
    notes += _stopped_text(rows)
    few = replicate_warning(results.trials)
    notes += [few] if few else []
    benefit = training_benefit(sweep, by_split, name, chosen_metric(sweep, None))
    return "\n".join(
        [
            *_noted(results.warnings),
            render_table(table) if fits(table) else _listed(table),
            *_noted(notes),
            *(["", *fitted(benefit.text)] if benefit else []),
        ]
    )


def _listed(rows: Sequence[Mapping[str, object]]) -> str:
    """Return the rows of the front as a list, for a terminal narrower than the table."""
    lines = [""]
    for row in rows:
        p_front = f", P(front) {row['P(front)']}" if row["P(front)"] else ""
        mark = f"{row['front']} " if row["front"] else ""
        lines += wrapped(f"{mark}{row['configuration']}: {row['runs']} runs{p_front}", other="  ")
        for split in ("val.", "test"):
            values = [
                f"{name.removeprefix(f'{split} ')} {value}"
                for name, value in row.items()
                if name.startswith(f"{split} ")
            ]
            lines += wrapped(", ".join(values), f"    {split:<5}", " " * 9)
    return "\n".join([*lines, ""])


def _noted(notes: Sequence[str]) -> list[str]:
    return [line for note in notes for line in fitted(note)]


def _volume_text(sweep: Sweep, rows: Sequence[FrontRow]) -> list[str]:
    """Return the hypervolume of the searched means and its reference point.

    The result is empty for one objective.
    """
    from sweeps.analysis.front.pareto_table import front_volume

    volume = front_volume(sweep, rows)
    if volume is None:
        return []
    worst = ", ".join(f"{_short(n)} {v:.4g}" for n, v in volume.corner.items())
    return [f"hypervolume {volume.value:.4g} relative to the worst means ({worst}), as fractions"]


def _missing(row: ParetoRow) -> str:
    """Return the missing runs of a row, and the design of its interval."""
    missing = f"{row.n_missing} of its runs have no metrics; " if row.n_missing else ""
    if row.n_fewer:
        missing += f"{row.n_fewer} fewer runs than others, compared over common runs; "
    return f"{missing}interval over {row.interval}"


def _stopped_text(rows: Sequence[FrontRow]) -> list[str]:
    """Return one line per rung with the configurations that were stopped early."""
    by_rung: dict[str, list[str]] = {}
    for row in rows:
        if row.validation.stopped:
            by_rung.setdefault(row.validation.interval, []).append(row.label)
    return left_out_text(by_rung)


def left_out_text(by_reason: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one line per reason for leaving configurations out, with their labels."""
    return [
        f"left out, {reason}: {', '.join(labels[:NAMED])}"
        + (f" and {len(labels) - NAMED} more" if len(labels) > NAMED else "")
        for reason, labels in sorted(by_reason.items())
    ]


def _probability(p_front: float | None) -> str:
    return "" if p_front is None else probability_text(p_front)


def _titled(row: FrontRow, readout: str) -> str:
    """Return the label with the role of a baseline or reference, and a readout that differs."""
    if row.role == "search":
        return row.label
    readout_id = row.validation.readout_id
    other = f", {readout_id}" if readout_id != readout else ""
    return f"{row.label} ({row.role}{other})"


def _shown(row: FrontRow, name: str, split: str) -> str:
    from sweeps.presentation.text_tables import percent

    value, low, high = row.estimate(name, split)
    if name == "trainable_parameters":
        return "-" if value is None else f"{value:,.0f}"
    return percent(value, low, high)


def _short(name: str) -> str:
    return {"average_accuracy": "accuracy", "average_incremental_accuracy": "incremental"}.get(
        name, name
    )
