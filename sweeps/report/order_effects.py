"""Whether it matters at which position a task comes, and after which other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sweeps.analysis.orders.positions import Fitted, TaskAccuracies
from sweeps.report import plots
from sweeps.report.formatting import p_value, points
from sweeps.report.model import Figure, table

CURVES = 5
"""Configurations whose effects are drawn."""
LISTED = 60
LIKELY = 0.05


def effect_figures(
    tasks: Sequence[TaskAccuracies],
    fit: Callable[..., Fitted],
    what: str,
    figures: list[Figure],
    notes: list[str],
) -> None:
    """Deviations of a task's final accuracy, by position or by the task before it."""
    fitted = [(one.label, fit(one.orders, one.values)) for one in tasks[:LISTED]]
    runs = sorted({len(one.orders) for one in tasks[:LISTED]})
    known = [(label, found) for label, found in fitted if found.reason is None]
    if not known:
        reasons = dict.fromkeys(f.reason for _, f in fitted if f.reason) or {"no finished run": 0}
        notes.append(f"Whether the {what} matters: {'; '.join(map(str, reasons))}.")
        return
    position = what == "position"
    first = 1 if position else 0
    ticks = [str(k + first) for k in range(len(known[0][1].effects))]
    data = []
    names = plots.texts([label for label, _ in known[:CURVES]], 60)
    for k, (_, found) in enumerate(known[:CURVES]):
        colour = plots.COLOURS[k % 6]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if position else "markers",
                "name": names[k],
                "x": [
                    i + first + 0.06 * (k - (min(len(known), CURVES) - 1) / 2)
                    for i in range(len(found.effects))
                ],
                "y": [round(100 * v, 2) for v in found.effects.tolist()],
                "error_y": {
                    "type": "data",
                    "array": [round(100 * v, 2) for v in found.half.tolist()],
                    "color": colour,
                    "thickness": 1,
                    "width": 0,
                },
                "line": {"color": colour, "width": 1.2},
                "marker": {"symbol": plots.SYMBOLS[k % 8], "size": 8, "color": colour},
                "hovertemplate": "%{y:.1f} points<extra>%{fullData.name}</extra>",
            }
        )
    look = plots.layout(
        "position in the order" if position else "task learned just before",
        "deviation / points",
        height=330 + 22 * len(names),
        shapes=[plots.zero_line(vertical=False)],
        xaxis={"tickvals": [i + first for i in range(len(ticks))], "ticktext": ticks},
    )
    title = "early or late" if position else "what came before"
    figures.append(
        Figure(
            id="order-position" if position else "order-carry-over",
            title=f"Does it matter {title}?",
            caption=(
                f"Effect of the {what} on a task's final validation accuracy, in percentage "
                f"points, with 95 % intervals; n = {'/'.join(map(str, runs))} orders, seeds "
                "averaged first; least squares, with order and task taken out. "
                f"p: of no effect at all (F test). The best {min(len(known), CURVES)} are drawn."
            ),
            spec=plots.spec(data, look),
            table=table(
                [
                    "configuration",
                    "#p",
                    "shown",
                    *(f"#{'at' if position else 'after'} {t}" for t in ticks),
                ],
                [
                    [
                        label,
                        p_value(found.p_value),
                        "yes" if found.p_value is not None and found.p_value < LIKELY else "no",
                        *(
                            f"{points(e)} ± {100 * h:.1f}"
                            for e, h in zip(found.effects, found.half, strict=True)
                        ),
                    ]
                    for label, found in known
                ],
            ),
            terms=("position effect",) if position else ("carry-over",),
        )
    )
