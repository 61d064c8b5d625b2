"""Figures for papers, drawn by matplotlib from the data of the report.

One column of a two-column page is 3.35 inches wide; texts have a size of 8 points in print. PDF
and SVG files contain texts as text, not as paths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.analysis.front.pareto_row import MeanEstimate
from sweeps.report.formatting import axis_title, scaled, unit
from sweeps.report.front_plots import label_with_role
from sweeps.report.report_inputs import ReportInputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN = 3.35
"""Width of a column in inches."""
SHOWN = 12
"""Maximum number of configurations in a plot with one row per configuration."""
FORMATS = ("pdf", "svg", "png")
BLUE, VERMILION, GRAY = "#0072b2", "#d55e00", "#8a949e"
STYLE: Any = {  # matplotlib has a literal type for each key
    "font.size": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "sweeps",  # equal figures are equal files
    "savefig.dpi": 300,
    "text.parse_math": False,  # labels are a user's text
}


def write_figures(inputs: ReportInputs, target: Path) -> list[Path]:
    """Write every figure for which there are results, in each of `FORMATS`; return the paths.

    Raises `InvalidConfigError` if matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        constraint = "a directory, once matplotlib is installed"
        hint = 'Install it with `pip install "lorac-sweeps[figures]"`.'
        raise InvalidConfigError(
            [ConfigIssue("--figures", str(target), constraint, hint)]
        ) from error
    if not inputs.finished:
        return []
    target.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(STYLE):
        for name, draw in DRAWN.items():
            figure = Figure(layout="constrained")
            if not draw(inputs, figure):
                continue
            for kind in FORMATS:
                path = target / f"{name}.{kind}"
                no_date = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
                figure.savefig(path, metadata=no_date)
                written.append(path)
    return written


def _front(inputs: ReportInputs, figure: Figure) -> bool:
    """Draw the validation means of the first two objectives with their intervals."""
    names = list(inputs.sweep.objectives)
    if len(names) < 2:
        return False
    y, x = names[:2]
    figure.set_size_inches(COLUMN, 2.6)
    axes = figure.add_subplot()
    rows = [r for r in inputs.fronts[inputs.readout] if r.mean(y) is not None]
    for label, color, marker, kept in (
        ("searched", GRAY, "o", [r for r in rows if r.role == "search" and not r.on_front]),
        ("on the front", BLUE, "o", [r for r in rows if r.on_front]),
        ("baselines", VERMILION, "D", [r for r in rows if r.role == "baseline"]),
    ):
        points = [(r.estimate(x), r.estimate(y)) for r in kept if r.mean(x) is not None]
        if points:
            axes.errorbar(
                _scaled(x, [on_x.mean for on_x, _ in points]),
                _scaled(y, [on_y.mean for _, on_y in points]),
                xerr=_bars([on_x for on_x, _ in points], x),
                yerr=_bars([on_y for _, on_y in points], y),
                fmt=marker,
                color=color,
                markersize=4,
                elinewidth=0.6,
                label=label,
            )
    for row in rows:
        if row.role == "reference":
            height = float(_scaled(y, [row.mean(y)])[0])
            axes.axhline(height, color="black", linewidth=0.6, linestyle="--")
            axes.annotate(
                row.label,
                (1, height),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=7,
            )
    _limits(axes, x, y)
    axes.set_xlabel(f"validation {axis_title(x)}")
    axes.set_ylabel(f"validation {axis_title(y)}")
    axes.legend(loc="best")
    return True


def _scaled(name: str, values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """Return values of a metric in the unit of its axis."""
    return np.array([scaled(name, value) for value in values], dtype=np.float64)


def _limits(axes: Axes, x: str, y: str) -> None:
    """Limit the axes to values that a fraction can have."""
    if unit(y) == "%":
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -3), min(high, 103))
    if unit(x) == "%":
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -40), min(high, 103))


def _order(inputs: ReportInputs, figure: Figure) -> bool:
    """Draw the AOPD of the best configurations, and the seed floor."""
    known = {row["config_id"]: row for row in inputs.disparities if row["aopd"] is not None}
    listed = [r for r in inputs.fronts[inputs.readout] if r.config_id in known][:SHOWN]
    if not listed:
        return False
    axes = _rows(figure, [label_with_role(row) for row in listed])
    place = np.arange(len(listed))
    values = [known[row.config_id] for row in listed]
    floor = [np.nan if v["seed_aopd"] is None else 100 * v["seed_aopd"] for v in values]
    axes.plot(floor, place, "o", color=GRAY, markersize=4, label="between seeds")
    axes.plot(
        [np.nan if v["aopd"] is None else 100 * v["aopd"] for v in values],
        place,
        "o",
        color=BLUE,
        markersize=4,
        label="between orders",
    )
    axes.set_xlabel("AOPD of validation accuracy / points")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return True


def _ranking(inputs: ReportInputs, figure: Figure) -> bool:
    """Draw the first objective of the best configurations, on validation and test images."""
    name = next(iter(inputs.sweep.objectives))
    rows = [r for r in inputs.fronts[inputs.readout] if r.mean(name) is not None][:SHOWN]
    if not rows:
        return False
    axes = _rows(figure, [label_with_role(row) for row in rows])
    for shift, split, color, fill in (
        (-0.15, "validation", BLUE, BLUE),
        (0.15, "test", VERMILION, "white"),
    ):
        estimates = [(k, row.estimate(name, split)) for k, row in enumerate(rows)]
        kept = [(k, estimate) for k, estimate in estimates if estimate.mean is not None]
        axes.errorbar(
            _scaled(name, [estimate.mean for _, estimate in kept]),
            [k + shift for k, _ in kept],
            xerr=_bars([estimate for _, estimate in kept], name),
            fmt="o",
            color=color,
            markerfacecolor=fill,
            markersize=4,
            elinewidth=0.6,
            label=split,
        )
    axes.set_xlabel(axis_title(name))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return True


def _matrix(inputs: ReportInputs, figure: Figure) -> bool:
    """Draw the accuracy matrix of the choice on test images."""
    chosen = inputs.choice.chosen
    if chosen is None:
        return False
    key = (chosen.replicates.config_id, chosen.replicates.readout_id, "test")
    mean = inputs.accuracies.get(key)
    if mean is None or len(mean[0]) < 2:
        return False
    matrix, n = mean
    figure.set_size_inches(COLUMN, COLUMN * 0.9)
    axes = figure.add_subplot()
    shown = np.where(np.tril(np.ones(matrix.shape, dtype=bool)), 100 * matrix, np.nan)
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=100)
    for t in range(len(shown)) if len(shown) <= 12 else ():
        for j in range(t + 1):
            color = "white" if shown[t, j] > 55 else "black"
            axes.text(j, t, f"{shown[t, j]:.0f}", ha="center", va="center", color=color)
    ticks = np.arange(len(shown))
    axes.set_xticks(ticks, [str(k + 1) for k in ticks])
    axes.set_yticks(ticks, [str(k + 1) for k in ticks])
    axes.set_xlabel(f"task, as learned (test accuracy / %, n = {n})")
    axes.set_ylabel("after task")
    axes.spines[:].set_visible(False)
    return True


def _rows(figure: Figure, labels: Sequence[str]) -> Axes:
    """Return axes with one row per label, the first at the top."""
    figure.set_size_inches(2 * COLUMN, 0.7 + 0.24 * len(labels))
    axes = figure.add_subplot()
    axes.set_yticks(np.arange(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.spines.left.set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    return axes


def _bars(estimates: Sequence[MeanEstimate], metric: str) -> npt.NDArray[np.float64]:
    """Return error bar lengths below and above the means, of shape (2, N); 0 if no interval."""
    factor = 100.0 if unit(metric) == "%" else 1.0
    gaps = [
        (0.0, 0.0) if mean is None or low is None or high is None else (mean - low, high - mean)
        for mean, low, high in estimates
    ]
    return np.asarray(np.maximum(factor * np.array(gaps).reshape(-1, 2).T, 0.0))


DRAWN: dict[str, Callable[[ReportInputs, Figure], bool]] = {
    "front": _front,
    "ranking": _ranking,
    "orders": _order,
    "accuracy_matrix": _matrix,
}
"""Drawing functions by file name; each returns False if there is nothing to draw."""
