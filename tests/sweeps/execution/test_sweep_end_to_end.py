"""A sweep through the command line and the real Ray: tables, exit codes, sharing, equal bits."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest

from clmethods.training.stage import DivergedError
from sweeps.definition import expand, sweep_from_dict
from sweeps.execution.driver import run_sweep
from sweeps.execution.tune.callback import SweepCallback
from sweeps.execution.tune.loggers import folder_name
from sweeps.planning.stage_tree import StageTree
from sweeps.results import latest_trials, read_table
from sweeps.results.event_kinds import NodeJoined, RunEnded, RunStarted, StageDone, TrialEnded
from sweeps.results.events import read_events
from sweeps.stages.live_metrics import metrics_so_far
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.execution.conftest import SECRETS, SWEEP, Ran
from tests.sweeps.execution.drivers import Driver, driver, run_to_end, wait_until, write_sweep
from tests.sweeps.execution.logged import scalars
from tests.sweeps.execution.tables import final_tables, rewritten, stage_files
from tests.sweeps.stages.small import DOCUMENT, metrics, run_trial

HOST = socket.gethostname()


def test_a_failing_trial_fails_alone_with_its_cause(ran: Ran) -> None:
    """And the exit code says so."""
    assert ran.process.returncode == 1, ran.process.stderr
    objects = open_storage(str(ran.storage))
    trials = latest_trials(read_table(objects, "small", "trials").table).to_pylist()
    assert len(trials) == len(expand(ran.sweep)) == 12
    by_status = Counter((row["label"] == "too fast", row["status"]) for row in trials)
    assert by_status == {(True, "failed"): 3, (False, "finished"): 9}
    for row in trials:
        if row["status"] == "failed":
            assert row["error_kind"] == DivergedError.__name__
            assert "no longer finite" in row["error"]
            assert row["stages_done"] == 0
    assert "failed: too fast, order" in ran.process.stdout
    assert "9 of 12 trials finished, 3 failed" in ran.process.stdout


def test_every_stage_was_trained_once(ran: Ran) -> None:
    sound = [trial for trial in expand(ran.sweep) if trial.label != "too fast"]
    assert set(stage_files(ran.storage)) == set(StageTree.of(sound).nodes)
    assert f"trained {StageTree.of(sound).distinct} stages" in ran.process.stdout
    assert rewritten(ran.storage) == []
    assert not [path for path in ran.storage.glob("leases/**/*") if path.is_file()]


def test_every_event_of_the_run_is_in_its_log(ran: Ran) -> None:
    events = [event.body for event in read_events(open_storage(str(ran.storage)), "small")]
    assert all(event is not None for event in events)
    counts = Counter(event.kind for event in events if event is not None)
    trained = len(stage_files(ran.storage))
    assert counts == {
        "run_started": 1,
        "planned": 1,
        "node_joined": 1,
        "stage": counts["stage"],
        "trial": 12,
        "run_ended": 1,
    }
    first, last = events[0], events[-1]
    assert isinstance(first, RunStarted)
    assert (first.file, first.host, first.address) == (str(ran.file), HOST, None)
    assert first.user
    assert isinstance(last, RunEnded)
    assert (last.trained, last.finished, last.failed) == (trained, 9, 3)
    stages = [event for event in events if isinstance(event, StageDone)]
    assert sum(stage.outcome == "trained" for stage in stages) == trained
    assert {stage.node for stage in stages} == {HOST}
    ends = [event for event in events if isinstance(event, TrialEnded)]
    assert {end.node for end in ends if end.status == "failed"} == {HOST}
    (joined,) = [event for event in events if isinstance(event, NodeJoined)]
    assert joined.slots >= 1


def test_the_same_trials_without_ray_have_the_same_bits(ran: Ran) -> None:
    """Workers took over one trial after another; here is a process that knows none of them."""
    store = StageStore(open_storage("memory://"))
    for trial in expand(ran.sweep):
        if trial.label != "too fast":
            run_trial(trial, store)
    assert metrics(store.objects) == metrics(open_storage(str(ran.storage)))


def test_nothing_that_ray_prints_is_seen(ran: Ran) -> None:
    assert ran.process.stderr == ""
    starting, rest = [], []
    for line in ran.process.stdout.splitlines():
        (starting if re.search(r"\bRay\b", line) else rest).append(line)
    assert [line.split("Ray")[1].split(";")[0] for line in starting] == [
        " on this machine",
        " is ready",
    ]
    said = re.sub(r"\S*/\S*", "", "\n".join(rest))  # paths may hold anything
    for word in ("ray", "tune", "warning", "traceback", "gcs", "worker"):
        assert not re.search(rf"\b{word}", said, re.IGNORECASE), word


def test_the_same_command_again_trains_nothing(ran: Ran, tmp_path: Path) -> None:
    """It starts no Ray either: failed trials are tried again on demand only."""
    storage = tmp_path / "copy"
    shutil.copytree(ran.storage, storage)
    before, files = final_tables(storage, "small"), _stamps(storage / "stages")
    again = run_to_end(ran.file, storage)
    assert again.returncode == 1
    assert "no stage was trained" in again.stdout
    assert "no longer finite" in again.stdout
    assert final_tables(storage, "small") == before
    assert _stamps(storage / "stages") == files


@pytest.mark.slow
def test_lost_and_damaged_tables_are_written_again(ran: Ran, tmp_path: Path) -> None:
    """They are copies of what the stages hold; `test_driver.py` damages each table without Ray."""
    storage = tmp_path / "copy"
    shutil.copytree(ran.storage, storage)
    before = final_tables(storage, "small")
    results = storage / "sweeps" / "small" / "results"
    for table in ("trials", "stages", "evals", "matrices"):
        (first,) = (results / table).rglob("*.parquet")
        first.write_bytes(first.read_bytes()[:40])
    again = run_to_end(ran.file, storage)
    assert again.returncode == 1
    assert "4 damaged parts" in again.stdout
    assert final_tables(storage, "small") == before


def _stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("issue", ["storage", "sweep"])
def test_a_users_mistake_is_one_message_and_exit_code_2(tmp_path: Path, issue: str) -> None:
    file, storage = write_sweep(tmp_path / "sweep.yaml", SWEEP), tmp_path / "storage"
    if issue == "storage":
        (tmp_path / "taken").write_text("a file")
        storage = tmp_path / "taken" / "below"
    else:
        write_sweep(file, {**SWEEP, "seeds": [], "method": {"kind": "lorak"}})
    done = run_to_end(file, storage)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "nothing was started" in done.stderr
    assert done.stderr.splitlines()[-1] == "exit code 2: an input was refused"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "storage").exists()


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, environment: None) -> list[dict[str, Any]]:
    """The reports of all steps of a sweep that is run in this process."""
    found: list[dict[str, Any]] = []
    whole = SweepCallback.on_trial_result

    def note(self: Any, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        found.append({**result, "trial": trial.trial_id})
        whole(self, iteration, trials, trial, result, **info)

    monkeypatch.setattr(SweepCallback, "on_trial_result", note)
    return found


def test_two_slots_and_six_trials_of_three_prefixes(
    tmp_path: Path, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits while it holds a slot, and workers are handed on from trial to trial."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    sweep = sweep_from_dict(
        {
            **DOCUMENT,
            "search": {"method.importance_threshold": [0, 0.2]},
            "orders": {"design": "explicit", "list": [[0, 1, 2], [1, 0, 2], [2, 0, 1]]},
            "resources": {"max_concurrent": 2},
        }
    )
    store = StageStore(open_storage(str(tmp_path / "storage")))
    outcome = run_sweep(sweep, store)
    assert list(scratch.glob("sweep-*")) == []  # Tune's own state went with the run
    tree = StageTree.of(expand(sweep))
    assert (len(tree.chains), tree.distinct) == (6, 3 + 6 * 2)
    assert (outcome.finished, outcome.trained) == (6, tree.distinct)
    assert Counter(report["outcome"] for report in reports) == {"trained": tree.distinct}
    assert Counter(report["key"] for report in reports) == dict.fromkeys(tree.nodes, 1)
    trials_of_worker: dict[int, set[str]] = {}
    for report in reports:
        trials_of_worker.setdefault(report["pid"], set()).add(report["trial"])
    assert len(trials_of_worker) <= 2
    assert max(map(len, trials_of_worker.values())) >= 3
    fresh = StageStore(open_storage("memory://"))
    for trial in expand(sweep):
        run_trial(trial, fresh)
    assert metrics(fresh.objects) == metrics(store.objects)


def test_two_drivers_on_one_storage_share_the_work(tmp_path: Path) -> None:
    """Each with one worker; every stage is trained by one of them, and both see all of it."""
    document = {
        **DOCUMENT,
        "search": {"method.importance_threshold": [0, 0.2], "method.ortho_lambda": [0, 1]},
        "train": {"epochs": 3, "batch_size": 4},
        "resources": {"max_concurrent": 1},
    }
    storage = tmp_path / "storage"
    files = [write_sweep(tmp_path / f"{name}.yaml", {**document, "name": name}) for name in "ab"]
    with (
        driver(files[0], storage, tmp_path / "a.log") as a,
        driver(files[1], storage, tmp_path / "b.log") as b,
    ):
        most = _most_workers(a, b)
        codes = a.wait(), b.wait()
        outputs = a.output, b.output
    assert codes == (0, 0), outputs
    assert all("4 of 4 trials finished" in output for output in outputs), outputs
    assert max(most) <= 1, most
    distinct = StageTree.of(expand(sweep_from_dict(document))).distinct
    assert sum(_trained(output) for output in outputs) == distinct
    assert rewritten(storage) == []
    tables = [final_tables(storage, name) for name in "ab"]
    assert tables[0] == tables[1]
    assert len(tables[0]["stages"]) == distinct


LEAVING_S = 1.5
"""More than a worker takes to end after its successor was started, less than a worker lives."""


def _most_workers(*drivers: Driver) -> list[int]:
    """The largest number of workers that each driver had for `LEAVING_S`, until all have ended."""
    most = [0] * len(drivers)
    seen: deque[tuple[float, list[int]]] = deque()

    def ended() -> bool:
        now = time.monotonic()
        seen.append((now, [len(each.workers()) for each in drivers]))
        while now - seen[0][0] > LEAVING_S:
            seen.popleft()
            for index in range(len(drivers)):
                most[index] = max(most[index], min(counts[index] for _, counts in seen))
        return not any(each.running for each in drivers)

    wait_until(ended, "\n".join(each.output for each in drivers))
    return most


def _trained(output: str) -> int:
    """Number of stages that a driver reports as trained."""
    found = re.search(r"trained (\d+) stages", output)
    return int(found[1]) if found else 0


def test_the_storage_holds_stages_and_sweeps(ran: Ran) -> None:
    """And nothing of Tune's or Ray's inside it."""
    names = {path.name for path in ran.storage.iterdir()}
    assert names == {"stages", "sweeps", "leases"}


def test_tensorboard_has_a_run_per_trial_with_the_figures_of_the_tables(ran: Ran) -> None:
    folder = ran.storage / "sweeps" / "small" / "tensorboard"
    store = StageStore(open_storage(str(ran.storage)))
    sound = [trial for trial in expand(ran.sweep) if trial.label != "too fast"]
    names = {trial.trial_id: f"{folder_name(trial)}_{trial.trial_id[:8]}" for trial in sound}
    assert {path.name for path in folder.iterdir()} == set(names.values())
    for trial in sound:
        printed, last = scalars(folder / names[trial.trial_id]), len(trial.chain)
        for name, value in metrics_so_far(store, trial, trial.chain).items():
            assert printed[f"ray/tune/{name}"][last] == pytest.approx(value, abs=1e-6)
        assert "ray/tune/stage_seconds" in printed


def test_no_key_of_a_bucket_is_written_anywhere(ran: Ran) -> None:
    """Ray logs the environment that it is handed for workers, readable for everybody."""
    logs = list(ran.session.rglob("*.log"))
    assert any("runtime_env" in log.name for log in logs)
    for folder in (ran.session, ran.storage):
        for path in folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not [n for n, v in SECRETS.items() if v.encode() in data], path
    assert not any(value in ran.process.stdout + ran.process.stderr for value in SECRETS.values())
