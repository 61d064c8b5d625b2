"""The front as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clmethods.config.readout import readout_notes
from sweeps.analysis.asking import (
    Results,
    chosen_metric,
    chosen_readout,
    few_replicates,
    summaries,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeps.spec import Sweep

NAMED = 5
"""Configurations that are named where several share a reason; the rest are counted."""


def front_text(
    sweep: Sweep, results: Results, readout: str | None = None, iqm: bool = False
) -> str:
    """The searched configurations, front first, then what they are compared with."""
    from sweeps.analysis.front_rows import front_rows, need_of
    from sweeps.analysis.render import render_table

    name = chosen_readout(sweep, readout)
    by_split = summaries(results)
    rows = front_rows(sweep, by_split, name, iqm)
    if not rows:
        return "\n".join([*results.warnings, "no finished trial yet"])
    table = [
        {
            "front": ("*" if row["on_front"] else "") + (" knee" if row.get("knee") else ""),
            "in": _share(row.get("p_front")),
            "configuration": _titled(row, name),
            "runs": row["n_replicates"],
            **{f"val. {_short(key)}": _shown(row, key) for key in sweep.objectives},
            **{f"test {_short(key)}": _shown(row, f"test {key}") for key in sweep.objectives},
        }
        for row in rows
        if not _stopped(row)
    ]
    mean = "interquartile mean" if iqm else "mean"
    notes = [
        f"readout `{name}`, percent; {mean} ± half of the 95 % interval over orders and seeds",
        f"front: by the validation {mean}s; in: how often it is on the front when orders and "
        "seeds are drawn again (bootstrap)",
        *_volume_text(sweep, rows),
        *(f"`{name}`: {note}" for note in readout_notes(name)),
    ]
    for row in rows:
        if (row["n_missing"] or row["n_fewer"] or row["approximate"]) and not _stopped(row):
            notes.append(f"{row['label']}: {_missing(row)}")
    notes += _stopped_text(rows)
    few = few_replicates(results.trials)
    notes += [few] if few else []
    need = need_of(sweep, by_split, name, chosen_metric(sweep, None))
    return "\n".join(
        [*results.warnings, render_table(table), *notes, *(["", need.text] if need else [])]
    )


def _volume_text(sweep: Sweep, rows: list[dict[str, Any]]) -> list[str]:
    """The hypervolume of the searched means, and over which corner; nothing for one objective."""
    from sweeps.analysis.front_rows import front_volume

    volume = front_volume(sweep, rows)
    if volume is None:
        return []
    worst = ", ".join(f"{_short(n)} {v:.4g}" for n, v in volume.corner.items())
    return [f"hypervolume {volume.value:.4g} over the worst means ({worst}), as fractions"]


def _missing(row: dict[str, Any]) -> str:
    """What a row lacks, in words."""
    lacks = f"{row['n_missing']} of its runs have no metrics; " if row["n_missing"] else ""
    if row["n_fewer"]:
        lacks += f"{row['n_fewer']} fewer runs than others, compared over common runs; "
    return f"{lacks}interval over {row['interval']}"


def _stopped(row: dict[str, Any]) -> bool:
    """Whether early stopping left the configuration without an end."""
    return row["n_replicates"] == 0 and str(row["interval"]).startswith("stopped")


def _stopped_text(rows: list[dict[str, Any]]) -> list[str]:
    """Who was stopped early, by when."""
    by_rung: dict[str, list[str]] = {}
    for row in filter(_stopped, rows):
        by_rung.setdefault(row["interval"], []).append(row["label"])
    return left_out_text(by_rung)


def left_out_text(by_reason: Mapping[str, Sequence[str]]) -> list[str]:
    """One line per reason why configurations take no part, with their labels."""
    return [
        f"left out, {reason}: {', '.join(labels[:NAMED])}"
        + (f" and {len(labels) - NAMED} more" if len(labels) > NAMED else "")
        for reason, labels in sorted(by_reason.items())
    ]


def _share(share: float | None) -> str:
    """A share of bootstrap draws."""
    if share is None:
        return ""
    return (
        f"{share:.0%}"
        if share in {0.0, 1.0} or 0.005 <= share < 0.995
        else ("<1%" if share < 0.5 else ">99%")
    )


def _titled(row: dict[str, Any], readout: str) -> str:
    """The label, with the role of what is compared with, and its readout where it is another."""
    if row["role"] == "search":
        return str(row["label"])
    other = f", {row['readout_id']}" if row["readout_id"] != readout else ""
    return f"{row['label']} ({row['role']}{other})"


def _shown(row: dict[str, Any], name: str) -> str:
    from sweeps.analysis.render import percent

    value, low, high = (row.get(f"{name}{end}") for end in ("", "_low", "_high"))
    if name.endswith("trainable_parameters"):
        return "-" if value is None else f"{value:,.0f}"
    if value is not None and low is not None and high is not None and high - low > 1.0:
        return f"{percent(value)} ± >50"
    return percent(value, low, high)


def _short(name: str) -> str:
    return {"average_accuracy": "accuracy", "average_incremental_accuracy": "incremental"}.get(
        name, name
    )
