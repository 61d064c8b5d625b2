"""run_sweep's book-keeping, with trials run one after the other in place of Ray."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from clmethods.config import InvalidConfigError
from clmethods.training.stage import DivergedError
from sweeps.definition import expand
from sweeps.execution.backlog import Backlog
from sweeps.execution.driver import RunOptions, SweepOutcome, run_sweep
from sweeps.execution.executor import SweepExecutor
from sweeps.planning.driver_lock import presence
from sweeps.results import TABLES, latest_trials, read_table
from sweeps.stages.stage_store import StageStore, folder
from sweeps.stages.trial_rows import AttemptResult
from sweeps.storage import open_storage
from tests.sweeps.execution.tables import final_tables
from tests.sweeps.stages.small import Messages, run_trial, small_sweep, trained_keys


class Log(list[str]):
    """The trials that were given to Ray, by label."""


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Log:
    """Runs what Ray would be given, in this process."""
    given = Log()

    def run_step(self: SweepExecutor) -> bool:
        for trial in self.todo:
            given.append(trial.label)
            try:
                reports = run_trial(trial, self.store)
            except DivergedError as error:
                ending = AttemptResult(
                    status="failed", stages_done=0, error=str(error), error_kind="Fault"
                )
            else:
                self.progress.tally.trained += len(trained_keys(reports))
                ending = AttemptResult(status="finished", stages_done=len(trial.chain))
            self.account.ended(trial, ending)
            self.account.ended(trial, ending)  # Tune says it twice now and then
        return True

    monkeypatch.setattr(SweepExecutor, "connected", lambda self, address: nullcontext())
    monkeypatch.setattr(SweepExecutor, "run_step", run_step)
    return given


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(open_storage(str(tmp_path / "storage")), Messages())


def swept(store: StageStore, retry_failed: bool = False, **fields: Any) -> SweepOutcome:
    return run_sweep(small_sweep(**fields), store, RunOptions(retry_failed=retry_failed))


def attempts(store: StageStore) -> list[tuple[str, int, str]]:
    """(label, attempt, status) of all rows."""
    rows = read_table(store.objects, "small", "trials").table.to_pylist()
    return sorted((row["label"], row["attempt"], row["status"]) for row in rows)


AXIS = {"search": {"method.importance_threshold": [0, 0.2]}}
FAST = {"baselines": [{"label": "too fast", "train": {"lr": 1e30}}]}


def test_what_the_command_refuses_is_refused_from_python_too(
    store: StageStore, no_ray: Log
) -> None:
    """A changed meaning, a name that is taken, and a change under a running sweep."""
    swept(store, **AXIS)
    before = {key: store.objects.get(key) for key in store.objects.list("sweeps")}
    assert "sweeps/small/sweep.yaml" in before
    given = len(no_ray)
    changed = {"train": {"epochs": 2, "batch_size": 8}}
    for fields, words in (
        (AXIS | changed, "Give the sweep a new name"),
        ({"search": {"method.rank": [4, 8]}} | changed, "this file wants none of them"),
    ):
        with pytest.raises(InvalidConfigError, match=words):
            swept(store, **fields)
    sweep = small_sweep(**AXIS, seeds=[0, 1])
    with (
        presence(small_sweep(**AXIS), store.objects, 0.5),
        pytest.raises(InvalidConfigError, match="a driver with another version of it is alive"),
    ):
        run_sweep(sweep, store, RunOptions(time_to_live_s=0.5))
    assert {key: store.objects.get(key) for key in store.objects.list("sweeps")} == before
    assert len(no_ray) == given


def test_run_again_there_is_nothing_to_do(store: StageStore, no_ray: Log) -> None:
    first = swept(store, **AXIS)
    assert (first.trained, first.finished, first.failed, first.interrupted) == (5, 2, (), False)
    again = swept(store, **AXIS)
    assert (again.trained, again.finished) == (0, 2)
    assert len(no_ray) == 2


def test_a_new_value_trains_only_what_is_new(store: StageStore, no_ray: Log) -> None:
    swept(store, **AXIS)
    more = swept(store, search={"method.importance_threshold": [0, 0.2, 0.5]})
    assert (more.trained, more.finished) == (2, 3)
    assert len(no_ray) == 3


def test_every_row_that_was_there_stays_when_the_file_grows(
    store: StageStore, no_ray: Log
) -> None:
    """Values, seeds, readouts, baselines, objectives, resources: all at once."""
    swept(store, **AXIS)
    before = _rows(store)
    more = swept(
        store,
        search={"method.importance_threshold": [0, 0.2, 0.5]},
        seeds=[0, 1],
        readouts=[{"routing": "last"}, {"routing": "instance"}, {"routing": "oracle"}],
        baselines=[{"method": {"kind": "nearest_class_mean"}}],
        objectives={"forgetting": "min"},
        resources={"max_concurrent": 1},
    )
    assert more.finished == len(more.plan.trials) == 8
    after = _rows(store)
    for name, rows in before.items():
        assert rows < after[name], name


def _rows(store: StageStore) -> dict[str, set[str]]:
    """Every row of every table, spelt out; costs included, as nothing is computed again."""
    return {
        name: {str(row) for row in read_table(store.objects, "small", name).table.to_pylist()}
        for name in TABLES
    }


def test_each_table_is_one_file_after_every_run(store: StageStore, no_ray: Log) -> None:
    for thresholds in ([0, 0.2], [0, 0.2, 0.5]):
        swept(store, search={"method.importance_threshold": thresholds})
        files = [name.split("/")[3:] for name in store.objects.list("sweeps/small/results")]
        assert [(table, kind) for table, kind, _ in files] == [
            (table, "merged") for table in sorted(TABLES)
        ]


def test_a_trial_under_a_new_label_gets_a_row_that_says_so(store: StageStore, no_ray: Log) -> None:
    """Its old row stays as well; whoever reads takes the last."""
    swept(store, **AXIS)
    two = {"search": {**AXIS["search"], "method.rank": [2, 4]}}
    swept(store, **two)
    rows = latest_trials(read_table(store.objects, "small", "trials").table).to_pylist()
    assert {row["label"] for row in rows} == {c.label for c in small_sweep(**two).configurations}
    assert len(attempts(store)) == len(rows) + 2
    assert swept(store, **two).trained == 0
    assert len(attempts(store)) == len(rows) + 2


def test_a_subset_of_a_sweep_and_then_the_rest(store: StageStore, no_ray: Log) -> None:
    label = "lorac_ipc importance_threshold=0.2"
    part = run_sweep(small_sweep(**AXIS), store, RunOptions(only=[label]))
    assert (no_ray, part.finished, part.trained) == ([label], 1, 3)
    rest = swept(store, **AXIS)
    assert (len(no_ray), rest.finished, rest.trained) == (2, 2, 2)


def test_new_readouts_are_evaluated_and_recorded(store: StageStore, no_ray: Log) -> None:
    swept(store, readouts=[{"routing": "last"}])
    more = swept(store, readouts=[{"routing": "last"}, {"routing": "oracle"}])
    assert (more.trained, more.finished) == (0, 1)
    assert [status for _, _, status in attempts(store)] == ["finished", "finished"]
    latest = latest_trials(read_table(store.objects, "small", "trials").table).to_pylist()
    assert [row["readout_ids"] for row in latest] == [["last", "oracle"]]


def test_a_failed_trial_is_tried_again_on_demand_only(store: StageStore, no_ray: Log) -> None:
    first = swept(store, **FAST)
    assert (first.finished, len(first.failed)) == (1, 1)
    again = swept(store, **FAST)
    assert again.failed == first.failed
    assert no_ray.count("too fast") == 1
    retried = swept(store, retry_failed=True, **FAST)
    assert len(retried.failed) == 1
    assert no_ray.count("too fast") == 2
    assert [row for row in attempts(store) if row[0] == "too fast"] == [
        ("too fast", 1, "failed"),
        ("too fast", 2, "failed"),
    ]


def test_lost_stages_of_a_finished_trial_are_trained_again(
    store: StageStore, no_ray: Log, tmp_path: Path
) -> None:
    swept(store)
    before = final_tables(tmp_path / "storage", "small")
    (trial,) = expand(small_sweep())
    shutil.rmtree(tmp_path / "storage" / folder(trial.chain[1].key))
    again = swept(store)
    assert (again.trained, again.finished) == (1, 1)
    assert final_tables(tmp_path / "storage", "small") == before


def test_lost_tables_are_written_from_the_stages(
    store: StageStore, no_ray: Log, tmp_path: Path
) -> None:
    """A crash between a stage and its rows, or a folder that somebody deleted."""
    swept(store, **AXIS)
    before = final_tables(tmp_path / "storage", "small")
    shutil.rmtree(tmp_path / "storage" / "sweeps")
    again = swept(store, **AXIS)
    assert (again.trained, again.finished) == (0, 2)
    assert len(no_ray) == 2
    assert final_tables(tmp_path / "storage", "small") == before


@pytest.mark.parametrize("table", ["trials", "stages", "evals", "matrices"])
def test_a_damaged_part_is_written_again(
    store: StageStore, no_ray: Log, tmp_path: Path, table: str
) -> None:
    swept(store, **AXIS)
    before = final_tables(tmp_path / "storage", "small")
    results = tmp_path / "storage" / "sweeps" / "small" / "results"
    (part,) = (results / table).rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:-20])
    swept(StageStore(open_storage(store.objects.location), store.report), **AXIS)
    assert final_tables(tmp_path / "storage", "small") == before
    assert store.report == [
        f"1 damaged parts of the tables are written again: "
        f"['sweeps/small/results/{table}/merged/{part.name}']"
    ]
    assert len(list((results / "damaged").iterdir())) == 1


def test_a_signal_whose_exception_was_lost_is_not_forgotten(store: StageStore) -> None:
    """Python drops an exception that a handler raises in a destructor or in a fork."""
    backlog = Backlog(small_sweep(), store)
    job = SweepExecutor(backlog, backlog.take())
    job.check_interruption()
    assert not job._drain()  # nothing runs yet, so there is nothing to wait for
    with pytest.raises(KeyboardInterrupt):
        job.check_interruption()
