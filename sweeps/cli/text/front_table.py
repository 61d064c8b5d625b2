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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clmethods.canonical import JsonValue
    from sweeps.analysis.front.pareto_row import FrontRow, ParetoRow
    from sweeps.analysis.front.pareto_table import FrontVolume
    from sweeps.definition import Sweep
    from sweeps.presentation.documents import Block, Column, Document, Row

NAMED = 5
"""Maximum number of configurations named for the same reason; the others are counted."""
SHOWN = 8
"""Maximum number of searched configurations at the end of `sweeps run`."""
FEW_RUNS = "needs at least 3 orders x 3 seeds that the configurations have in common"


def front_document(
    sweep: Sweep, results: Results, readout: str | None = None, iqm: bool = False
) -> Document:
    """Return searched configurations, front first, then baselines and references."""
    from sweeps.analysis.front.pareto_table import (
        front_rows,
        front_volume,
        lead_on_validation,
        training_benefit,
    )
    from sweeps.presentation.documents import Block, Document

    name = chosen_readout(sweep, readout)
    by_split = summaries(results)
    rows = front_rows(sweep, by_split, name, iqm)
    mean = "interquartile mean" if iqm else "mean"
    facts: dict[str, JsonValue] = {
        "sweep": sweep.name,
        "readout": name,
        "objectives": dict(sweep.objectives),
    }
    if not rows:
        lines = [*results.warnings, "no finished trial yet"]
        block = Block(key="configurations", notes=lines)
        return Document(command="pareto", facts=facts, blocks=[block], warnings=results.warnings)
    known = any(row.p_front is not None for row in rows)
    lead = (
        None if known else lead_on_validation(sweep, by_split, name, next(iter(sweep.objectives)))
    )
    volume = front_volume(sweep, rows)
    notes = [
        f"readout `{name}`, values in percent: {mean}, in parentheses the 95 % confidence "
        "interval over orders and seeds",
        f"front (*): Pareto front of the validation {mean}s"
        + (
            "; P(front): estimated probability that the configuration is on the front of the "
            "true means"
            if known
            else f"; how sure the front is, is not known: this {FEW_RUNS}"
        ),
        *([lead.text] if lead else []),
        *([_volume_text(volume)] if volume else []),
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
    shown = [row for row in rows if not row.validation.stopped]
    block = Block(
        key="configurations",
        lead=results.warnings,
        columns=_columns(sweep, known),
        rows=[_row(row, name, sweep) for row in shown],
        notes=[*notes, *(["", benefit.text] if benefit else [])],
        facts={
            "mean": mean,
            "hypervolume": None if volume is None else volume.value,
            "stopped": [row.label for row in rows if row.validation.stopped],
        },
    )
    return Document(command="pareto", facts=facts, blocks=[block], warnings=results.warnings)


def brief_front_block(sweep: Sweep, rows: Sequence[FrontRow], readout: str) -> Block:
    """Return the best configurations on test images, for the end of `sweeps run`.

    `rows`: those of `front_rows`. Columns are few, so that most tables fit in 80 columns.
    """
    from sweeps.presentation.documents import Block, Column, ends_cell

    searched = [row for row in rows if row.role == "search" and not row.validation.stopped]
    others = [row for row in rows if row.role != "search"]
    hidden = len(searched) - SHOWN
    metrics = list(sweep.objectives)
    notes = [f"readout `{readout}`, test images, percent: mean and 95 % interval"]
    if hidden > 0:
        notes.append(f"and {hidden} more configurations, which `sweeps pareto` shows")
    return Block(
        key="configurations",
        columns=[
            Column("name", "configuration"),
            *(Column(key, f"test {_short(key)}", number=True) for key in metrics),
        ],
        rows=[
            {
                "name": _titled(row, readout),
                **{key: ends_cell(key, *row.estimate(key, "test")) for key in metrics},
            }
            for row in [*searched[:SHOWN], *others]
        ],
        notes=notes,
    )


def _columns(sweep: Sweep, probabilities: bool) -> list[Column]:
    from sweeps.presentation.documents import Column

    return [
        Column("front", "front"),
        *([Column("p_front", "P(front)", number=True)] if probabilities else []),
        Column("name", "configuration"),
        Column("runs", "runs", number=True),
        *(
            Column(f"{split}_{key}", f"{short} {_short(key)}", number=True)
            for split, short in (("validation", "val."), ("test", "test"))
            for key in sweep.objectives
        ),
    ]


def _row(row: FrontRow, readout: str, sweep: Sweep) -> Row:
    from sweeps.presentation.documents import Cell, ends_cell, probability_cell

    mark = ("*" if row.on_front else "") + (" knee" if row.knee else "")
    return {
        "config_id": row.config_id,
        "label": row.label,
        "role": row.role,
        "readout": row.validation.readout_id,
        "front": Cell(row.on_front, mark),
        "knee": row.knee,
        "p_front": probability_cell(row.p_front, ""),
        "name": _titled(row, readout),
        "runs": row.n_replicates,
        **{
            f"{split}_{key}": ends_cell(key, *row.estimate(key, split))
            for split in ("validation", "test")
            for key in sweep.objectives
        },
    }


def _volume_text(volume: FrontVolume) -> str:
    """Return the hypervolume of the searched means and its reference point."""
    worst = ", ".join(f"{_short(n)} {v:.4g}" for n, v in volume.corner.items())
    return f"hypervolume {volume.value:.4g} relative to the worst means ({worst}), as fractions"


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


def _titled(row: FrontRow, readout: str) -> str:
    """Return the label with the role of a baseline or reference, and a readout that differs."""
    if row.role == "search":
        return row.label
    readout_id = row.validation.readout_id
    other = f", {readout_id}" if readout_id != readout else ""
    return f"{row.label} ({row.role}{other})"


def _short(name: str) -> str:
    return {"average_accuracy": "accuracy", "average_incremental_accuracy": "incremental"}.get(
        name, name
    )
