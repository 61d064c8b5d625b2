"""Rows of ended trials that cannot be written: what the run does then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clmethods.config import ConfigIssue
from sweeps.execution.tune.callback import SweepCallback
from sweeps.planning.driver_lock import SupersededError
from sweeps.stages.trial_rows import AttemptResult
from tests.sweeps.stages.small import small_trial

SUPERSEDED = SupersededError([ConfigIssue("sweep file", "small", "the version that was run last")])


@pytest.mark.parametrize(
    ("error", "halted"), [(SUPERSEDED, [str(SUPERSEDED)]), (ValueError("a defect"), None)]
)
def test_a_superseded_driver_starts_no_further_stages(
    error: Exception, halted: list[str] | None
) -> None:
    """A defect is not hidden."""
    reasons: list[str] = []

    def ended(trial: object, ending: object) -> None:
        raise error

    run = SimpleNamespace(account=SimpleNamespace(ended=ended), halt=reasons.append)
    callback = SweepCallback(run, SimpleNamespace(), SimpleNamespace())
    ending = AttemptResult(status="finished", stages_done=3)
    if halted is None:
        with pytest.raises(ValueError, match="a defect"):
            callback._ended(small_trial(), ending)
    else:
        callback._ended(small_trial(), ending)
        assert reasons == halted
