"""Progress output for users: a live table in a terminal, occasional lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TextIO, final

from sweeps.execution.cluster.node_tally import NodeTally

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.table import Table

LIVE_EVERY_S = 0.5
PLAIN_EVERY_S = 15.0


@final
@dataclass(frozen=True, slots=True)
class Best:
    """Best configuration so far by one objective."""

    label: str
    mean: float
    """Mean on validation images, over its trials that this run has finished."""
    runs: int


@final
@dataclass(slots=True)
class Tally:
    """Counts of a run so far."""

    trials: int
    stages: int
    """Number of stages to train."""
    finished: int = 0
    failed: int = 0
    active: int = 0
    most_active: int = 0
    reused: int = 0
    """Number of stages that were stored before."""
    trained: int = 0
    """Number of stages that this run of the sweep trained."""
    stage_seconds: float = 0.0
    nodes: NodeTally = field(default_factory=NodeTally)
    """Nodes of a cluster; empty if Ray runs only on this machine."""
    objectives: Mapping[str, Literal["max", "min"]] = field(default_factory=dict)
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Metrics of finished trials by objective, then by label."""

    def note(self, label: str, figures: Mapping[str, float]) -> None:
        """Record the metrics of a trial that has finished."""
        for name in self.objectives:
            if name in figures:
                self.values.setdefault(name, {}).setdefault(label, []).append(figures[name])

    def best(self) -> dict[str, Best]:
        """Return the best configuration by objective, for objectives that a finished trial has."""
        found: dict[str, Best] = {}
        for name, by_label in self.values.items():
            means = [
                Best(label, sum(values) / len(values), len(values))
                for label, values in by_label.items()
            ]
            sign = 1.0 if self.objectives[name] == "max" else -1.0
            found[name] = max(means, key=lambda best: sign * best.mean)
        return found


@final
class Progress:
    """Shows the tally; all messages of a running sweep are printed through this class.

    Used as a context manager: the live table is removed when the block ends.
    """

    def __init__(
        self,
        tally: Tally,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tally = tally
        self._stream, self._clock = stream or sys.stdout, clock
        self._in_terminal = self._stream.isatty()
        self._live: Live | None = None
        self._start = clock()
        self._next = self._start + (LIVE_EVERY_S if self._in_terminal else PLAIN_EVERY_S)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            if kind is None:
                self._live.update(self.table(), refresh=True)  # the final state
            self._live.stop()
            self._live = None

    def close(self) -> None:
        """Remove the live table from the terminal, so that plain lines follow."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def tick(self) -> None:
        """Show the tally if its interval has passed."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (LIVE_EVERY_S if self._in_terminal else PLAIN_EVERY_S)
        if self._in_terminal:
            self._shown().update(self.table(), refresh=True)
        else:
            self._write(self.line())

    def say(self, message: str) -> None:
        """Print a sentence on a separate line, above the table if there is one."""
        if self._live is None:
            self._write(message)
        else:
            self._live.console.print(message, markup=False, highlight=False)

    def line(self) -> str:
        """Return one line of progress, for example:

        `stages 57/152 · trials 12/38 · 2 running · 3 nodes, 1 lost · 0:48, about 1:16 left`
        """
        tally = self.tally
        parts = [
            f"stages {tally.trained}/{tally.stages}",
            f"trials {tally.finished}/{tally.trials}",
            f"{tally.active} running",
        ]
        if tally.nodes.known:
            parts.append(tally.nodes.text())
        if tally.failed:
            parts.append(f"{tally.failed} failed")
        parts.append(self._time())
        parts += [
            f"best {name} on validation images {shown(name, best.mean)}: {best.label}"
            for name, best in tally.best().items()
        ]
        return " · ".join(parts)

    def table(self) -> Table:
        """Return the content of `line` and more details as a table, for a terminal."""
        from rich.table import Table
        from rich.text import Text

        tally = self.tally
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="ellipsis", no_wrap=True)
        waiting = tally.trials - tally.finished - tally.failed - tally.active
        states = [f"{tally.finished} finished", f"{tally.active} running", f"{waiting} waiting"]
        states += [f"{tally.failed} failed"] if tally.failed else []
        left = tally.stages - tally.trained
        stages = [f"{tally.trained} trained", f"{tally.reused} reused", f"{left} left"]
        rows = [
            ("trials", f"{' · '.join(states)}, of {tally.trials}"),
            ("stages", f"{' · '.join(stages)}, of {tally.reused + tally.stages}"),
        ]
        if tally.trained:
            minutes = max(self._clock() - self._start, 1e-9) / 60
            mean = tally.stage_seconds / tally.trained
            speed = f"{tally.trained / minutes:.3g} stages a minute, {mean:.3g} s each"
            rows.append(("speed", speed))
        if tally.nodes.known:
            rows.append(("nodes", tally.nodes.text()))
        rows.append(("time", self._time()))
        for name, best in tally.best().items():
            runs = f"{best.runs} run{'s' * (best.runs > 1)}"
            text = f"{name} {shown(name, best.mean)}: {best.label} ({runs}, validation)"
            rows.append(("best", text))
        for head, text in rows:
            grid.add_row(head, Text(text))
        return grid

    def _time(self) -> str:
        """Return the time used and the estimated time left.

        The estimate assumes the mean time per stage so far, on the maximum number of slots that
        were busy.
        """
        tally, spent = self.tally, clock_text(self._clock() - self._start)
        if 0 < tally.trained < tally.stages:
            mean = tally.stage_seconds / tally.trained
            left = mean * (tally.stages - tally.trained) / max(1, tally.most_active)
            spent += f", about {clock_text(left)} left"
        return spent

    def _shown(self) -> Live:
        """Return the live table; create it at the first call."""
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, force_terminal=True)
            self._live = Live(
                console=console,
                auto_refresh=False,  # no thread: the driver refreshes it
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
            console.show_cursor()  # a killed driver cannot restore the cursor
        return self._live

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def shown(metric: str, value: float) -> str:
    """Return a metric as text: fractions in percent, numbers of parameters unchanged."""
    return f"{value:,.0f}" if metric == "trainable_parameters" else f"{100 * value:.1f} %"


def clock_text(seconds: float) -> str:
    """Return `4:05`, or `1:02:09` for an hour or more."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
