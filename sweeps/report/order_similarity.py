"""Whether learning a task costs similar tasks more than unlike ones."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.analysis.orders.task_similarity import similarity_association
from sweeps.definition.orders.task_similarity_measurement import known_tables
from sweeps.report import plots
from sweeps.report.evidence import Evidence
from sweeps.report.model import NOTHING, Column, Figure, table
from sweeps.statistics.intervals import Interval

SHOWN = 12
LISTED = 60


def similarity_figure(
    evidence: Evidence, ranked: Mapping[str, int], figures: list[Figure], notes: list[str]
) -> None:
    """The association by configuration, or in the notes why there is none."""
    tables = known_tables(evidence.sweep)
    if not tables:
        notes.append(
            "Whether similar tasks cost each other more: how alike they are was not measured. "
            "Curricula (`orders: {design: near_first}` and the like) measure it."
        )
        return
    found = similarity_association(
        evidence.trials,
        evidence.evals,
        evidence.readout,
        "validation",
        tables,
        fixed_orders=evidence.fixed_orders,
    )
    found.sort(key=lambda one: ranked.get(one.config_id, len(ranked)))
    known = [(one.label, one.interval) for one in found if one.interval is not None]
    if not known:
        reasons = dict.fromkeys(one.reason for one in found if one.reason) or {"no run has it": 0}
        notes.append(f"Whether similar tasks cost each other more: {'; '.join(reasons)}.")
        return
    drawn = known[:SHOWN]
    means, lows, highs = (
        [None if v is None else round(v, 3) for v in column]
        for column in zip(*((held.mean, *_clipped(held)) for _, held in drawn), strict=True)
    )
    marks = plots.marks(
        "correlation",
        means,
        range(len(drawn)),
        colour="@1",
        error_x=plots.errors(means, lows, highs, "@1"),
    )
    look = plots.dot_rows(
        [label for label, _ in drawn], "rank correlation", shapes=[plots.zero_line()]
    )
    runs = "/".join(map(str, sorted({held.n for _, held in known})))
    figures.append(
        Figure(
            id="order-similarity",
            title="Do similar tasks cost each other more?",
            caption=(
                "Rank correlation of the similarity of two tasks with what the earlier one loses, "
                "in validation accuracy, while the later one is learned, given how long ago it "
                f"was learned: from -1 to 1, with 95 % intervals, n = {runs} runs. To the right, "
                "similar tasks cost each other more. An association only: tasks differ in more "
                "than their distance."
            ),
            spec=plots.spec([marks], look),
            table=table(
                [
                    "configuration",
                    "#runs",
                    Column(title="correlation", number=True, term="similarity association"),
                    "#95 %",
                ],
                [
                    [label, held.n, f"{held.mean:+.2f}", _ends(held)]
                    for label, held in known[:LISTED]
                ],
                note=f"the first {LISTED} of {len(known):,}" if len(known) > LISTED else "",
            ),
            terms=("similarity association", "95 % interval"),
        )
    )


def _clipped(held: Interval) -> tuple[float | None, float | None]:
    """The ends, as far as a correlation can go."""
    if held.low is None or held.high is None:
        return None, None
    return max(held.low, -1.0), min(held.high, 1.0)


def _ends(held: Interval) -> str:
    low, high = _clipped(held)
    return NOTHING if low is None or high is None else f"{low:+.2f} to {high:+.2f}"
