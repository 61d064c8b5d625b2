"""Sweeps of several steps through the driver, without Ray: rows, bounds, and going on."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeps.cli import main
from sweeps.cli.text.plan_overview import plan_text
from sweeps.cli.text.run_summary import result_text
from sweeps.execution.driver import SweepOutcome, run_sweep
from sweeps.execution.executor import SweepExecutor
from sweeps.planning.driver_lock import keep_sweep_file
from sweeps.planning.garbage import find_garbage, needed_stages, stored_stages
from sweeps.planning.plan import make_plan
from sweeps.results import latest_trials, read_table
from sweeps.search.requested_results import read_results
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult
from sweeps.storage import open_storage
from tests.sweeps.execution.tables import final_tables, stage_files
from tests.sweeps.stages.small import Messages, runner_of, small_sweep

SEARCH = {"method.importance_threshold": {"uniform": [0, 0.5]}, "train.lr": {"log": [0.01, 1]}}
MODEL = {"search": SEARCH, "algorithm": {"kind": "tpe", "trials": 3, "batch": 1}}
ORDERS = {"design": "explicit", "list": [[0, 1, 2], [2, 1, 0]]}
STOPPING = {
    "search": SEARCH,
    "algorithm": {"kind": "random", "trials": 4},
    "orders": ORDERS,
    "early_stop": {"after_task": 1, "reduction_factor": 2, "audit": 0.0},
}
RACING = {
    "search": {"method.rank": [1, 2]},
    "orders": ORDERS,
    "seeds": [0, 1],
    "racing": {"start": 2, "step": 1},
}
ALL = {
    "search": SEARCH,
    "algorithm": {"kind": "tpe", "trials": 6, "batch": 2},
    "orders": ORDERS,
    "seeds": [0, 1],
    "early_stop": {"after_task": 1, "reduction_factor": 2, "audit": 0.5},
    "racing": {"start": 2, "step": 1},
}


class Killed(RuntimeError):
    """Stands for the end of a driver."""


class Given(list[str]):
    """Trials that were given to Ray; after `alive` stages everything dies."""

    alive = 1_000_000


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Runs what Ray would be given, in this process."""
    given = Given()

    def run_step(self: SweepExecutor) -> bool:
        for trial in self.todo:
            given.append(trial.label)
            end = len(self.plan.tree.chains[trial.trial_id])
            runner = runner_of(trial, self.store, stages=end)
            while runner.position < end:
                if given.alive == 0:
                    raise Killed
                given.alive -= 1
                self.progress.tally.trained += runner.advance().outcome == "trained"
            if self.plan.is_whole(trial):
                self.account.ended(trial, AttemptResult(status="finished", stages_done=end))
        return True

    monkeypatch.setattr(SweepExecutor, "connected", lambda self, address: nullcontext())
    monkeypatch.setattr(SweepExecutor, "run_step", run_step)
    return given


def swept(folder: Path, **fields: Any) -> SweepOutcome:
    return run_sweep(small_sweep(**fields), store_of(folder))


def store_of(folder: Path) -> StageStore:
    return StageStore(open_storage(str(folder)), Messages())


def states(folder: Path) -> Counter[str]:
    table = read_table(open_storage(str(folder)), "small", "trials").table
    return Counter(latest_trials(table)["status"].to_pylist())


def test_a_model_trains_its_batches_and_is_then_done(given: Given, tmp_path: Path) -> None:
    first = swept(tmp_path, **MODEL)
    assert (first.finished, first.failed, first.interrupted) == (len(given), (), False)
    assert first.plan.step.finished
    assert len(first.plan.step.batches) == 3
    assert len(first.plan.stored) == 0
    before, count = final_tables(tmp_path, "small"), len(given)
    again = swept(tmp_path, **MODEL)
    assert (again.trained, len(given)) == (0, count)
    assert final_tables(tmp_path, "small") == before
    text = result_text(again, open_storage(str(tmp_path)))
    assert f"nothing to train: all {again.plan.tree.distinct} stages" in text
    _is_the_study_of(again, tmp_path, **MODEL)


def _is_the_study_of(outcome: SweepOutcome, folder: Path, **fields: Any) -> None:
    """The dashboard file holds the observations of the model; the sweep does not read it."""
    keep_sweep_file(small_sweep(**fields), open_storage(str(folder)))
    file = folder / "study.log"
    ran = CliRunner().invoke(main, ["dashboard", str(folder), "-o", str(file), "--no-serve"])
    assert ran.exit_code == 0, ran.output
    assert ran.output == f"3 trials of the study small are in {file}\n"
    storage = JournalStorage(JournalFileBackend(str(file)))
    study = optuna.load_study(study_name="small", storage=storage)
    step = outcome.plan.step
    printed = [
        step.outcomes[proposal.configurations[0].run.config_id].values
        for batch in step.batches
        for proposal in batch.proposals
    ]
    assert [tuple(trial.values) for trial in study.trials] == printed
    assert study.trials[0].params.keys() == SEARCH.keys()


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(MODEL, marks=pytest.mark.slow, id="model"),
        pytest.param(STOPPING, id="early stop"),
        pytest.param(RACING, marks=pytest.mark.slow, id="racing"),
        pytest.param(ALL, marks=pytest.mark.slow, id="all"),
    ],
)
def test_a_driver_that_dies_again_and_again_ends_like_an_unbroken_one(
    given: Given, tmp_path: Path, fields: dict[str, Any]
) -> None:
    swept(tmp_path / "unbroken", **fields)
    lives = 0
    while True:
        lives, given.alive = lives + 1, 5
        try:
            swept(tmp_path / "broken", **fields)
        except Killed:
            continue
        break
    assert lives > 1
    assert final_tables(tmp_path / "broken", "small") == final_tables(
        tmp_path / "unbroken", "small"
    )
    assert set(stage_files(tmp_path / "broken")) == set(stage_files(tmp_path / "unbroken"))


def test_stopped_configurations_have_rows_that_say_so(given: Given, tmp_path: Path) -> None:
    outcome = swept(tmp_path, **STOPPING)
    assert states(tmp_path) == {"finished": 2, "stopped": 6}
    table = read_table(open_storage(str(tmp_path)), "small", "trials").table
    rows = table.select(["status", "stages_done", "stages_total"]).to_pylist()
    assert Counter(tuple(row.values()) for row in rows) == {
        ("finished", 3, 3): 2,
        ("stopped", 1, 3): 4,
        ("stopped", 2, 3): 2,
    }
    assert all(outcome.plan.is_recorded(trial) for trial in outcome.plan.trials)


def test_without_the_rule_stopped_configurations_go_on(given: Given, tmp_path: Path) -> None:
    """Their rows stay, and a later attempt says that they have finished."""
    swept(tmp_path, **STOPPING)
    again = swept(tmp_path, **{**STOPPING, "early_stop": None})
    assert again.finished == 8
    assert states(tmp_path) == {"finished": 8}
    table = read_table(open_storage(str(tmp_path)), "small", "trials").table
    assert Counter(table["status"].to_pylist()) == {"finished": 8, "stopped": 6}


def test_a_race_leaves_runs_out(given: Given, tmp_path: Path) -> None:
    outcome = swept(tmp_path, **RACING)
    assert 4 <= len(given) <= 8
    assert {d.by for d in outcome.plan.step.decisions} == {"racing"}
    assert states(tmp_path) == {"finished": len(outcome.plan.trials)}


def test_half_way_every_command_knows_what_is_requested(given: Given, tmp_path: Path) -> None:
    given.alive = 7
    with pytest.raises(Killed):
        swept(tmp_path, **MODEL)
    sweep, store = small_sweep(**MODEL), store_of(tmp_path)
    plan = make_plan(sweep, store)
    assert not plan.step.finished
    assert plan.step.title == "batch 3 of 3"
    text = plan_text(plan)
    assert "step 3, open: batch 3 of 3" in text
    assert "2 of 3 batches complete, 3 of 3 proposals made" in text
    results = read_results(sweep, store.objects)
    assert len(results.trials) == 2
    keys = set(stage_files(tmp_path))
    assert keys <= needed_stages([sweep], store.objects).keys
    needed = needed_stages([sweep], store.objects).keys
    assert not find_garbage(store.objects, stored_stages(store.objects), needed, ()).stages


def test_nothing_is_collected_while_the_requests_are_unknown(given: Given, tmp_path: Path) -> None:
    """A damaged evaluation takes a replay back to its step; what came after it is kept."""
    swept(tmp_path, **MODEL)
    sweep, store = small_sweep(**MODEL), store_of(tmp_path)
    stages = set(stage_files(tmp_path))
    first = make_plan(sweep, store).trials[0]
    for damaged in (tmp_path / "stages").glob(f"*/{first.chain[0].key}/evals/*.json"):
        damaged.write_text("{}")
    assert not make_plan(sweep, store).step.finished
    needed = needed_stages([sweep], store.objects).keys
    assert not find_garbage(store.objects, stored_stages(store.objects), needed, ()).stages
    again = swept(tmp_path, **MODEL)
    assert again.plan.step.finished
    assert again.trained == 0
    assert set(stage_files(tmp_path)) == stages


def test_an_unfinished_plan_says_what_may_still_come(tmp_path: Path) -> None:
    text = plan_text(make_plan(small_sweep(**ALL), store_of(tmp_path)))
    assert "0 of 3 batches complete, 2 of 6 proposals made" in text
    assert "at most 16 more trials with 48 stages will be proposed" in text
    assert "1 in 2 configurations continues" in text
    assert "gets 2 of 4 replicates" in text
    assert text.count("no decision yet") == 2
