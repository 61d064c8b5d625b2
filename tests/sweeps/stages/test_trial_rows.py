"""Rows of ended trials: none says `finished` for stages that are not in the storage."""

from __future__ import annotations

import pytest

from sweeps.definition import expand
from sweeps.execution.backlog import Backlog
from sweeps.execution.executor import SweepExecutor
from sweeps.results import read_table
from sweeps.stages.stage_rows import bundle_of
from sweeps.stages.stage_store import StageStore, folder
from sweeps.stages.trial_rows import AttemptResult, MissingStagesError, record_trial
from sweeps.storage import open_storage
from tests.sweeps.stages.small import run_trial, small_sweep

SWEEP = small_sweep()
(TRIAL,) = expand(SWEEP)
FINISHED = AttemptResult(status="finished", stages_done=len(TRIAL.chain))


@pytest.fixture
def store() -> StageStore:
    """A storage with the whole trial but for its second stage."""
    store = StageStore(open_storage("memory://"))
    run_trial(TRIAL, store)
    key = TRIAL.chain[1].key
    gone = [*store.objects.list(folder(key)), bundle_of(SWEEP.name, TRIAL, key)]
    store.objects.delete_all(gone)
    return StageStore(store.objects)


def statuses(store: StageStore) -> list[str]:
    return read_table(store.objects, SWEEP.name, "trials").table["status"].to_pylist()


def test_a_trial_that_lacks_a_stage_gets_no_row_as_finished(store: StageStore) -> None:
    with pytest.raises(MissingStagesError, match="1 of 3 stages are missing or damaged"):
        record_trial(store, SWEEP, TRIAL, 1, FINISHED)
    assert statuses(store) == []


def test_the_run_counts_it_as_failed_until_its_stages_are_there(store: StageStore) -> None:
    executor = SweepExecutor(Backlog(SWEEP, store), [TRIAL])
    executor.account.ended(TRIAL, FINISHED)
    assert "1 of 3 stages" in executor.account.failed[TRIAL.trial_id]
    assert executor.progress.tally.finished == 0
    assert statuses(store) == []
    run_trial(TRIAL, store)
    again = SweepExecutor(Backlog(SWEEP, store), [TRIAL])
    again.account.ended(TRIAL, FINISHED)
    assert again.account.failed == {}
    assert statuses(store) == ["finished"]
