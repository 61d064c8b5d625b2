"""Progress within a task: a changing line in a terminal, a line every 15 seconds otherwise."""

from __future__ import annotations

import io

from clmethods.cli.epoch_progress import EpochProgress
from clmethods.config import stage_chain
from clmethods.config.resolve import resolve
from clmethods.training.sequence import run_sequence
from tests.clmethods.runs import tiny_run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_piped_stream_gets_a_line_every_fifteen_seconds() -> None:
    stream, now = io.StringIO(), [0.0]
    stage = stage_chain(resolve(tiny_run()))[0]
    progress = EpochProgress(30, stream, lambda: now[0])
    for done in range(1, 31):
        now[0] += 4.0
        progress.show(stage, done)
    shown = stream.getvalue().splitlines()
    assert shown[0] == "stage 1: epoch 4 of 30"
    assert len(shown) == 7


def test_a_terminal_gets_one_line_that_is_removed_at_the_end() -> None:
    stream = Terminal()
    stage = stage_chain(resolve(tiny_run()))[0]
    progress = EpochProgress(2, stream)
    progress.show(stage, 1)
    assert stream.getvalue().endswith("stage 1: epoch 1 of 2")
    progress.show(stage, 2)
    assert stream.getvalue().endswith("\r\033[K")
    assert "\n" not in stream.getvalue()


def test_every_epoch_of_every_stage_is_reported() -> None:
    run = tiny_run(epochs=2)
    seen: list[tuple[int, int]] = []
    run_sequence(run, on_epoch=lambda stage, done: seen.append((stage.position, done)))
    assert seen == [(stage, done) for stage in range(run.stages) for done in (1, 2)]
