"""`sweeps.run`: the same work as the command, with the result as an object."""

from __future__ import annotations

import pytest

import sweeps
from clmethods.config import InvalidConfigError
from tests.sweeps.run_files import TINY_SWEEP


def test_a_sweep_is_run_and_its_results_are_loaded(tmp_path) -> None:
    sweep = sweeps.Sweep(**TINY_SWEEP)
    first = sweeps.run(sweep, tmp_path)
    assert (first.finished, first.trials, first.trained, first.failed) == (1, 1, 2, ())
    assert first.ended_early == ""
    assert "1 of 1 trials finished, 0 failed; trained 2 stages" in repr(first)
    front = first.load().front()
    assert front["on_front"].tolist() == [True]
    again = sweeps.run(TINY_SWEEP, str(tmp_path))
    assert again.trained == 0
    assert again.load().front().equals(front)


def test_missing_data_is_refused_before_a_storage_is_made(tmp_path) -> None:
    stream = {"dataset": "cifar100", "tasks": 10, "root": str(tmp_path / "nowhere")}
    document = {**TINY_SWEEP, "stream": stream, "orders": {"design": "random", "count": 1}}
    with pytest.raises(InvalidConfigError, match=r"stream\.root"):
        sweeps.run(document, tmp_path / "storage")
    assert not (tmp_path / "storage").exists()
