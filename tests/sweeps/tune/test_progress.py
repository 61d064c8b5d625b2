"""What a person sees while a sweep runs."""

from __future__ import annotations

import io

import pytest

from sweeps.tune.progress import LIVE_EVERY_S, PLAIN_EVERY_S, Progress, Tally, clock_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress_on(stream: io.StringIO, now: list[float]) -> Progress:
    tally = Tally(trials=38, stages=152, finished=12)
    return Progress(tally, stream, lambda: now[0])


def test_the_line() -> None:
    now = [0.0]
    progress = progress_on(io.StringIO(), now)
    assert progress.line() == "stages 0/152 · trials 12/38 · 0 running · 0:00"
    progress.tally.trained, progress.tally.active, now[0] = 57, 2, 48.0
    line = "stages 57/152 · trials 12/38 · 2 running · 0:48, about 1:20 left"
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


def test_a_live_line_in_a_terminal() -> None:
    now, stream = [0.0], Terminal()
    progress = progress_on(stream, now)
    progress.tick()
    assert stream.getvalue() == ""
    now[0] += LIVE_EVERY_S
    progress.tick()
    progress.say("a sentence")
    assert stream.getvalue().endswith("\r\x1b[Ka sentence\n")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (3599.6, "1:00:00"), (3729, "1:02:09")]
)
def test_times(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
