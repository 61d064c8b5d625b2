"""Report figure on the association between task similarity and forgetting."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.analysis.orders.task_similarity import similarity_association
from sweeps.definition.orders.task_similarity_measurement import known_tables
from sweeps.presentation.text_tables import NOTHING
from sweeps.report import plots
from sweeps.report.page_model import Column, Figure, table
from sweeps.report.report_inputs import ReportInputs
from sweeps.statistics.intervals import Interval

SHOWN = 12
LISTED = 60


def similarity_figure(
    inputs: ReportInputs, ranked: Mapping[str, int], figures: list[Figure], notes: list[str]
) -> None:
    """Append the figure by configuration to `figures`, or the reason to `notes` if there is none.

    `ranked`: rank of each configuration, which gives the order of the rows.
    """
    tables = known_tables(inputs.sweep)
    if not tables:
        notes.append(
            "Association of task similarity and forgetting is not known: the similarity of the "
            "tasks was not measured. Order designs such as `orders: {design: near_first}` measure "
            "it."
        )
        return
    associations = similarity_association(
        inputs.trials,
        inputs.evals,
        inputs.readout,
        "validation",
        tables,
        fixed_orders=inputs.fixed_orders,
    )
    associations.sort(key=lambda each: ranked.get(each.config_id, len(ranked)))
    known = [(each.label, each.interval) for each in associations if each.interval is not None]
    if not known:
        reasons = dict.fromkeys(each.reason for each in associations if each.reason)
        text = "; ".join(reasons or {"no run has the necessary evaluations": None})
        notes.append(f"Association of task similarity and forgetting is not known: {text}.")
        return
    drawn = known[:SHOWN]
    means, lows, highs = (
        [None if v is None else round(v, 3) for v in column]
        for column in zip(*((i.mean, *_clipped(i)) for _, i in drawn), strict=True)
    )
    trace = plots.marker_trace(
        "correlation",
        means,
        range(len(drawn)),
        color="@1",
        error_x=plots.error_bars(means, lows, highs, "@1"),
    )
    look = plots.dot_rows(
        [label for label, _ in drawn], "rank correlation", shapes=[plots.zero_line()]
    )
    runs = "/".join(map(str, sorted({interval.n for _, interval in known})))
    figures.append(
        Figure(
            id="order-similarity",
            title="Are similar tasks forgotten more?",
            caption=(
                "Rank correlation between the similarity of two tasks and the loss of validation "
                "accuracy on the earlier task while the later one is learned, adjusted for the "
                "number of tasks in between: from -1 to 1, with 95 % intervals, n = "
                f"{runs} runs. If positive, a task is forgotten more while a similar task is "
                "learned. This is an association, not a causal effect: tasks differ in more than "
                "their similarity."
            ),
            spec=plots.plot_spec([trace], look),
            table=table(
                [
                    "configuration",
                    "#runs",
                    Column(title="correlation", number=True, term="similarity association"),
                    "#95 %",
                ],
                [
                    [label, interval.n, f"{interval.mean:+.2f}", _ends(interval)]
                    for label, interval in known[:LISTED]
                ],
                note=f"the first {LISTED} of {len(known):,}" if len(known) > LISTED else "",
            ),
            terms=("similarity association", "95 % interval"),
        )
    )


def _clipped(interval: Interval) -> tuple[float | None, float | None]:
    """Return the ends of an interval, clipped to [-1, 1]."""
    if interval.low is None or interval.high is None:
        return None, None
    return max(interval.low, -1.0), min(interval.high, 1.0)


def _ends(interval: Interval) -> str:
    low, high = _clipped(interval)
    return NOTHING if low is None or high is None else f"{low:+.2f} to {high:+.2f}"
