"""Text tables of accuracy matrices and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from clmethods.config import RunConfig
from clmethods.config.task_contents import task_contents, task_title
from clmethods.metrics import METRICS

if TYPE_CHECKING:
    from clmethods.archive import ReadoutMetrics


def task_names(run: RunConfig) -> list[str]:
    """Return titles such as `task 2 zoo` of the tasks, in learning order."""
    return [task_title(group) for group in run.stream.sequence()]


def metrics_text(results: Mapping[str, ReadoutMetrics], run: RunConfig, split: str) -> str:
    """Return one table per readout: the accuracy matrix in percent, then every metric."""
    names = task_names(run)
    learned = names if run.stages == len(names) else ["all tasks"]
    lines: list[str] = []
    for readout, result in results.items():
        lines.append(f"readout {readout}: {split} accuracy in percent, tasks in the order learned")
        rows = [["after", *names]]
        for name, row in zip(learned, result["accuracy"], strict=True):
            rows.append([name, *(percent(a) for a in row)])
        lines.append(columns(rows))
        lines += [f"  {line}" for line in task_contents(run.stream, learned=True)]
        for name, metric in METRICS.items():
            lines.append(f"  {name:30}{percent(result[name]):>6}   {metric.definition}")
        lines.append("")
    return "\n".join(lines)


def percent(value: float | None) -> str:
    """Return a fraction in percent with one decimal; a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Align rows in columns, the first one to the left and the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
