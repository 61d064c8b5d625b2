"""Report figures on the effects of position and preceding task on the accuracy of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sweeps.analysis.orders.positions import EffectEstimates, TaskAccuracies
from sweeps.presentation.numbers import p_value, signed_points
from sweeps.report import plots
from sweeps.report.page_model import Figure, table

CURVES = 5
"""Maximum number of configurations in the plot."""
LISTED = 60
SIGNIFICANCE = 0.05
"""p-value below which an effect is significant."""


def effect_figures(
    tasks: Sequence[TaskAccuracies],
    fit: Callable[..., EffectEstimates],
    factor: str,
    figures: list[Figure],
    notes: list[str],
) -> None:
    """Append the figure of effects on the final accuracy, or the reason why there is none.

    `factor`: name of the factor that `fit` estimates, `position` or `preceding task`.
    """
    fitted = [(task.label, fit(task.orders, task.values)) for task in tasks[:LISTED]]
    runs = sorted({len(task.orders) for task in tasks[:LISTED]})
    known = [(label, effects) for label, effects in fitted if effects.reason is None]
    if not known:
        reasons = dict.fromkeys(f.reason for _, f in fitted if f.reason) or {"no finished run": 0}
        notes.append(f"Effect of the {factor} is not known: {'; '.join(map(str, reasons))}.")
        return
    position = factor == "position"
    first = 1 if position else 0
    ticks = [str(k + first) for k in range(len(known[0][1].effects))]
    data: list[plots.PlotPart] = []
    names = plots.plot_labels([label for label, _ in known[:CURVES]], 60)
    for k, (_, fit_result) in enumerate(known[:CURVES]):
        color = plots.COLORS[k % 6]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if position else "markers",
                "name": names[k],
                "x": [
                    i + first + 0.06 * (k - (min(len(known), CURVES) - 1) / 2)
                    for i in range(len(fit_result.effects))
                ],
                "y": [round(100 * v, 2) for v in fit_result.effects.tolist()],
                "error_y": {
                    "type": "data",
                    "array": [round(100 * v, 2) for v in fit_result.half.tolist()],
                    "color": color,
                    "thickness": 1,
                    "width": 0,
                },
                "line": {"color": color, "width": 1.2},
                "marker": {"symbol": plots.SYMBOLS[k % 8], "size": 8, "color": color},
                "hovertemplate": "%{y:.1f} points<extra>%{fullData.name}</extra>",
            }
        )
    look = plots.layout(
        "position in the order" if position else "preceding task",
        "deviation / points",
        height=330 + 22 * len(names),
        shapes=[plots.zero_line(vertical=False)],
        xaxis={"tickvals": [i + first for i in range(len(ticks))], "ticktext": ticks},
    )
    figures.append(
        Figure(
            id="order-position" if position else "order-carry-over",
            title=f"Effect of the {factor}",
            caption=(
                f"Effect of the {factor} on the final validation accuracy of a task, in "
                f"percentage points, with 95 % intervals; n = {'/'.join(map(str, runs))} orders, "
                "after averaging over seeds; least squares, adjusted for order and task. p: F "
                f"test of no effect. The plot shows the best {min(len(known), CURVES)}."
            ),
            spec=plots.plot_spec(data, look),
            table=table(
                [
                    "configuration",
                    "#p",
                    "significant",
                    *(f"#{'at' if position else 'after'} {t}" for t in ticks),
                ],
                [
                    [
                        label,
                        p_value(f.p_value),
                        "yes" if f.p_value is not None and f.p_value < SIGNIFICANCE else "no",
                        *(
                            f"{signed_points(e)} ± {100 * h:.1f}"
                            for e, h in zip(f.effects, f.half, strict=True)
                        ),
                    ]
                    for label, f in known
                ],
            ),
            terms=("position effect",) if position else ("carry-over",),
        )
    )
