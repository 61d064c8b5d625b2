"""Progress output while a sweep runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sweeps.execution.progress import LIVE_EVERY_S, PLAIN_EVERY_S, Progress, Tally, clock_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress_on(stream: io.StringIO, now: list[float]) -> Progress:
    tally = Tally(
        trials=38,
        stages=152,
        finished=12,
        reused=40,
        objectives={"average_accuracy": "max", "forgetting": "min"},
    )
    return Progress(tally, stream, lambda: now[0])


def test_the_line() -> None:
    now = [0.0]
    progress = progress_on(io.StringIO(), now)
    assert progress.line() == "stages 0/152 · trials 12/38 · 0 running · 0:00"
    tally = progress.tally
    tally.trained, tally.active, tally.most_active, now[0] = 57, 2, 2, 48.0
    tally.stage_seconds = 57 * 1.6
    line = "stages 57/152 · trials 12/38 · 2 running · 0:48, about 1:16 left"
    assert progress.line() == line
    progress.tally.failed = 1
    assert " · 2 running · 1 failed · " in progress.line()
    progress.tally.trained = 152
    assert "left" not in progress.line()


def test_now_and_then_a_line_where_nobody_watches() -> None:
    now, stream = [0.0], io.StringIO()
    progress = progress_on(stream, now)
    for _ in range(60):
        now[0] += 1.0
        progress.tick()
    assert len(stream.getvalue().splitlines()) == 60 / PLAIN_EVERY_S
    assert "\r" not in stream.getvalue()


def test_a_live_table_in_a_terminal() -> None:
    now, stream = [0.0], Terminal()
    with progress_on(stream, now) as progress:
        progress.tick()
        assert stream.getvalue() == ""
        now[0] += LIVE_EVERY_S
        progress.tick()
        first = stream.getvalue()
        assert "12 finished · 0 running · 26 waiting, of 38" in first
        assert "0 trained · 40 reused · 152 left, of 192" in first
        progress.say("a [sentence] of its own")
        assert "a [sentence] of its own\n" in stream.getvalue()
    assert stream.getvalue().count("\x1b[?25h") >= stream.getvalue().count("\x1b[?25l")


def rows_of(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(progress.table())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table() -> None:
    now = [0.0]
    progress = progress_on(io.StringIO(), now)
    assert "speed" not in rows_of(progress)
    tally = progress.tally
    tally.trained, tally.active, tally.failed, tally.stage_seconds, now[0] = 57, 2, 1, 91.2, 48.0
    tally.most_active = 2
    tally.note("a", {"average_accuracy": 0.5, "forgetting": 0.1, "cross_entropy": 3.0})
    tally.note("a", {"average_accuracy": 0.9})
    tally.note("b", {"average_accuracy": 0.8, "forgetting": 0.2})
    printed = [" ".join(line.split()) for line in rows_of(progress).splitlines()]
    assert printed == [
        "trials 12 finished · 2 running · 23 waiting · 1 failed, of 38",
        "stages 57 trained · 40 reused · 95 left, of 192",
        "speed 71.2 stages a minute, 1.6 s each",
        "time 0:48, about 1:16 left",
        "best average_accuracy 80.0 %: b (1 run, validation)",
        "best forgetting 10.0 %: a (1 run, validation)",
    ]
    line = progress.line()
    assert "best average_accuracy on validation images 80.0 %: b · best forgetting on" in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (3599.6, "1:00:00"), (3729, "1:02:09")]
)
def test_times(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
