"""Text output of `sweeps effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clmethods.config.readout import readout_notes
from sweeps.presentation.difference_columns import difference_cells, difference_columns
from sweeps.presentation.numbers import ADJUSTMENT, count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweeps.analysis.effects.axis_effects import (
        AnalyzedAxis,
        Point,
        ValueEffect,
        ValueInteraction,
    )
    from sweeps.analysis.trials.metric_choice import Results
    from sweeps.analysis.trials.replicates import Replicates
    from sweeps.definition import Sweep
    from sweeps.presentation.documents import Block, Document, Row

SHOWN = 10
"""Maximum number of interactions shown, the largest first."""


def effects_document(
    sweep: Sweep,
    results: Results,
    metrics: Sequence[str],
    readout: str | None,
    baselines: Mapping[str, str],
    split: str,
) -> Document:
    """Return the effects, interactions and importance of all axes, by metric.

    `baselines`: values that the others of an axis are compared with, by path.
    """
    from sweeps.analysis.effects.search_effects import varied_search
    from sweeps.analysis.trials.metric_choice import all_orders
    from sweeps.analysis.trials.replicates import without_runs
    from sweeps.cli.text.front_table import left_out_text
    from sweeps.presentation.documents import Document

    found, points, axes, name, names = varied_search(
        sweep, results, metrics, readout, split, baselines
    )
    blocks: list[Block] = []
    if not found:
        notes = ["no finished trial of the search yet"]
    elif not axes:
        notes = ["no axis of the search takes more than one value: there is no effect to see"]
    else:
        fixed = all_orders(sweep)
        blocks = [b for each in names for b in _blocks(found, points, axes, each, fixed)]
        notes = [
            f"readout `{name}`, {split} images, percentage points where a metric is a fraction; "
            "each difference is paired: same order, same seed, all other axes equal",
            f"{ADJUSTMENT}; shown: adj. p below 0.05",
            *left_out_text(without_runs(found, names)),
            *(f"`{name}`: {note}" for note in readout_notes(name)),
        ]
    facts = {"sweep": sweep.name, "readout": name, "split": split, "metrics": names}
    return Document(
        command="effects", facts=facts, blocks=blocks, notes=notes, warnings=results.warnings
    )


def _blocks(
    found: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[AnalyzedAxis],
    metric: str,
    fixed: bool,
) -> list[Block]:
    from sweeps.analysis.effects.axis_effects import axes_to_compare, axis_effects, interactions
    from sweeps.analysis.trials.metric_choice import direction_of
    from sweeps.presentation.documents import Block, Column

    asked, many = axes_to_compare(axes)
    singles = axis_effects(found, points, asked, metric, fixed_orders=fixed)
    doubles = interactions(found, points, asked, metric, fixed_orders=fixed)
    known = [one for one in doubles if one.comparison is not None]
    known.sort(key=lambda one: -abs(one.comparison.interval.mean if one.comparison else 0.0))
    notes = [
        f"{axis.path}: not compared value by value, it has {len(axis.values):,}"
        for axis in axes
        if axis.path in many
    ]
    missing = sum(one.pairs == 0 for one in singles)
    if missing:
        notes.append(
            f"{missing} of {count(len(singles), 'value')} without a matched pair: no two "
            "configurations differ in them alone; a grid has them all"
        )
    direction = "higher" if direction_of(metric) == "max" else "lower"
    blocks = [
        Block(
            key=f"{metric}_values",
            title=f"{metric} ({direction} is better)",
            columns=[
                Column("axis", "axis"),
                Column("value", "value"),
                Column("against", "against"),
                Column("pairs", "pairs", number=True),
                *difference_columns(),
            ],
            rows=[_single(one) for one in singles],
            notes=notes,
        )
    ]
    if known:
        shown = known[:SHOWN]
        blocks.append(
            Block(
                key=f"{metric}_interactions",
                title=f"Interactions, the {len(shown)} largest of {len(known)}",
                columns=[
                    Column("axis", "effect of"),
                    Column("with", "changes with"),
                    *difference_columns(detectable=False),
                ],
                rows=[_double(one) for one in shown],
            )
        )
    return [*blocks, _importance(found, points, axes, metric)]


def _importance(
    found: Sequence[Replicates],
    points: Mapping[str, Point],
    axes: Sequence[AnalyzedAxis],
    metric: str,
) -> Block:
    from sweeps.analysis.effects.axis_importance import axis_importance
    from sweeps.analysis.trials.metric_choice import direction_of
    from sweeps.presentation.documents import Block, Cell, Column
    from sweeps.presentation.numbers import share_text

    key = f"{metric}_importance"
    shares = axis_importance(found, points, axes, metric, direction_of(metric))
    if isinstance(shares, str):
        return Block(key=key, notes=[f"Importance: not estimated, {shares}"])
    of = sum(one.config_id in points and bool(one.metrics[metric]) for one in found)
    return Block(
        key=key,
        title=f"Importance over the search, n = {count(of, 'configuration')} (no intervals)",
        columns=[Column("axis", "axis"), *(Column(n, n, number=True) for n in shares)],
        rows=[
            {"axis": axis.path}
            | {
                name: Cell(share.get(axis.path, 0.0), share_text(share.get(axis.path, 0.0)))
                for name, share in shares.items()
            }
            for axis in axes
        ],
    )


def _single(one: ValueEffect) -> Row:
    return {
        "axis": one.path,
        "value": str(one.value),
        "against": str(one.baseline),
        "pairs": one.pairs,
        **difference_cells(one.comparison),
    }


def _double(one: ValueInteraction) -> Row:
    first, second = one.first, one.second
    return {
        "axis": f"{first.path} {first.value}",
        "with": f"{second.path} {second.value}",
        **difference_cells(one.comparison),
    }
