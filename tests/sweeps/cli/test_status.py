"""`sweeps status`: what a person and what a program read, of one sweep and of several."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from obstore.exceptions import BaseError

from sweeps.cli.commands.status import watched_text
from sweeps.cli.text.layout import duration
from sweeps.definition import expand, sweep_from_dict
from sweeps.planning import sweep_status
from sweeps.planning.driver_lock import keep_sweep_file, presence
from sweeps.results.event_kinds import (
    HeadLost,
    NodeJoined,
    NodeRefused,
    Notice,
    RunEnded,
    RunStarted,
    StageDone,
    TrialEnded,
    WorkerLost,
)
from sweeps.results.events import EventLog
from sweeps.results.load import locate
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.cli.conftest import DOCUMENT
from tests.sweeps.run_files import store_as_run
from tests.sweeps.stages.small import runner_of

Command = Callable[..., Result]
SMALL = {**DOCUMENT, "stream": {"dataset": "digits", "tasks": 3, "limit": 4}, "baselines": []}
SMALL["orders"] = {"design": "explicit", "list": [[0, 1, 2]]}
"""Four trials of three stages."""
LONG = "the loss of task 1 is no longer finite at epoch 1, step 2: cross_entropy=nan. " * 2
RUN = "0123456789ab"
PROGRAM = "from sweeps.__main__ import main; main()"


def eventful(objects: ObjectStore, document: dict[str, Any]) -> None:
    """A sweep with a finished trial, a failed one, and all that can happen to a cluster."""
    sweep = sweep_from_dict(document)
    keep_sweep_file(sweep, objects)
    store, log = StageStore(objects), EventLog(objects, sweep.name, RUN)
    log.add(
        RunStarted(document="d", code_version="c", user="ada", host="head", pid=42, file="my.yaml")
    )
    for name in ("w1", "w2", "w3"):
        log.add(
            NodeJoined(
                node=name, address=f"10.0.0.{name[1]}", node_id=name, cpus=2, gpus=0, slots=2
            )
        )
    reason = "node: got 'w3', allowed: a node that sees the storage of this run. Mount it there."
    log.add(NodeRefused(node="w3", address="10.0.0.3", node_id="w3", reason=reason))
    first, second, *_ = expand(sweep)
    runner = runner_of(first, store)
    while (report := runner.advance()).outcome == "trained":
        log.add(
            StageDone(
                trial=first.trial_id,
                key=report.key,
                position=report.position - 1,
                outcome="trained",
                seconds=1.0,
                node="w1",
            )
        )
        if report.position == len(first.chain):
            break
    record_trial(store, sweep, first, 1, AttemptResult(status="finished", stages_done=3))
    error = AttemptResult(status="failed", stages_done=0, error=LONG, error_kind="DivergedError")
    record_trial(store, sweep, second, 1, error)
    log.add(
        TrialEnded(
            trial=second.trial_id,
            name=second.name,
            status="failed",
            stages=0,
            error_kind="DivergedError",
            error=LONG,
            node="w2",
        )
    )
    for detail in ("first", "a worker lost its node"):
        log.add(WorkerLost(trial="t", name="n", node="w2", cause="NodeLost", detail=detail))
    for number in range(7):
        log.add(Notice(text=f"w1: the storage has been out of reach ({number})"))
    log.flush(force=True)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    eventful(open_storage(str(tmp_path)), SMALL)
    return tmp_path


def words(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_what_a_person_reads_of_a_running_sweep(sweeps_command: Command, storage: Path) -> None:
    objects, sweep = open_storage(str(storage)), sweep_from_dict(SMALL)
    third = expand(sweep)[2]
    with presence(sweep, objects, 0.4, run=RUN):
        lease = LeaseTable(objects, 20.0).acquire(third.chain[2].key, f"{RUN}.x:{third.trial_id}")
        assert lease is not None
        result = sweeps_command("status", storage)
    said = words(result)
    for text in (
        "small: running",
        "trials 4 in 2 configurations: 1 finished, 1 running, 1 waiting, 1 failed",
        "stages 10 distinct: 3 stored, 5 to train",
        "over the last hour (3 trained)",
        "left about",
        "driver ada@head, process 42, for",
        f"my.yaml (run {RUN})",
        "w1 (10.0.0.1) 2 0 3",
        "w2 (10.0.0.2) 2 0 0",
        f"stage 3 of 3: {third.name}",
        "on w2: DivergedError: the loss of task 1",
        "2 NodeLost on w2: a worker lost its node",
        "w3: node: got 'w3'",
        "storage outages and halts, the last of 7",
        "w1: the storage has been out of reach (6)",
        f"results {storage}/sweeps/small",
    ):
        assert text in said
    assert "w3 (10.0.0.3)" not in said  # it is refused, so it has no slots
    assert "out of reach (1)" not in said
    assert "--from-storage" not in said
    longest = max(result.output.splitlines(), key=len)
    assert len(longest) <= 80 or str(storage) in longest
    assert "\x1b" not in result.output


def test_what_a_person_reads_after_a_kill(sweeps_command: Command, storage: Path) -> None:
    beat = {"owner": RUN, "host": "head", "time_to_live_s": 0.2, "beat": 3}
    open_storage(str(storage)).put("sweeps/small/running/h.i/0", json.dumps(beat).encode())
    said = words(sweeps_command("status", storage))
    assert "small: no driver is alive; one was killed, or cannot reach the storage" in said
    assert "driver ada@head is silent: its beat stands still" in said
    assert f"sweeps run --from-storage small --storage {storage}" in said
    assert "once a driver runs" in said


def test_what_a_person_reads_after_the_head_was_lost(
    sweeps_command: Command, storage: Path
) -> None:
    """The driver has logged it; its lease may be left, as it could not reach the storage."""
    objects = open_storage(str(storage))
    log = EventLog(objects, "small", "later")
    log.add(
        RunStarted(
            document="d",
            code_version="c",
            address="10.0.0.1:6379",
            only=("lorac_ipc importance*", "abc"),
            time_to_live_s=5.0,
        )
    )
    log.add(HeadLost())
    log.flush(force=True)
    beat = {"owner": "later", "host": "head", "time_to_live_s": 0.2, "beat": 3}
    objects.put("sweeps/small/running/h.i/0", json.dumps(beat).encode())
    said = words(sweeps_command("status", storage))
    assert "small: the Ray cluster of the last run was lost, and something is left to do" in said
    assert "silent" not in said
    assert "UTC: cluster lost, 0 stages trained" in said
    assert (
        f"continue sweeps run --from-storage small --storage {storage} --address 10.0.0.1:6379 "
        "--only 'lorac_ipc importance*' --only abc --lease-ttl 5 once that cluster is up again"
    ) in said


def test_what_a_person_reads_after_an_interruption(sweeps_command: Command, storage: Path) -> None:
    log = EventLog(open_storage(str(storage)), "small", "later")
    log.add(RunStarted(document="d", code_version="c", user="bob", host="w9"))
    log.add(RunEnded(interrupted=True))
    log.flush(force=True)
    said = words(sweeps_command("status", f"{storage}/sweeps/small"))
    assert "small: no driver is running, and something is left to do" in said
    assert "last run bob@w9, 2" in said
    assert "UTC: interrupted, 0 stages trained" in said
    assert f"sweeps run --from-storage small --storage {storage} or the command" in said


def test_a_finished_sweep_says_so(sweeps_command: Command, finished: Path) -> None:
    said = words(sweeps_command("status", finished))
    assert "small: finished" in said
    assert "14 in 4 configurations: 14 finished, 0 failed" in said
    for word in ("left", "continue", "speed", "silent"):
        assert f" {word} " not in said


def test_several_sweeps_are_one_line_each(sweeps_command: Command, storage: Path) -> None:
    eventful(open_storage(str(storage)), {**SMALL, "name": "other-sweep", "seeds": [5, 6]})
    result = sweeps_command("status", storage)
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if line}
    assert rows["sweep"][:4] == ["state", "trials", "failed", "to"]
    assert rows["small"][:4] == ["stopped", "1/4", "1", "5"]
    assert rows["other-sweep"][:4] == ["stopped", "1/4", "1", "5"]
    assert f"sweeps status {storage}/sweeps/NAME" in result.output
    assert max(map(len, result.output.splitlines())) <= max(80, len(str(storage)) + 40)
    one = words(sweeps_command("status", f"{storage}/sweeps/other-sweep"))
    assert "other-sweep: no driver is running" in one


def test_trials_are_listed_of_one_sweep_only(sweeps_command: Command, storage: Path) -> None:
    listed = sweeps_command("status", storage, "--trials")
    states = [
        line.split()[-1] for line in listed.output.splitlines() if line.split()[-2:-1] == ["0/3"]
    ]
    assert sorted(states) == ["failed", "open"]
    eventful(open_storage(str(storage)), {**SMALL, "name": "other", "seeds": [5, 6]})
    refused = sweeps_command("status", storage, "--trials")
    assert refused.exit_code == 2
    assert "STORAGE/sweeps/NAME" in refused.output


def test_what_a_program_reads(sweeps_command: Command, storage: Path) -> None:
    result = sweeps_command("status", storage, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    (sweep,) = found["sweeps"]
    assert found["storage"] == str(storage)
    assert (sweep["name"], sweep["state"], sweep["exact"]) == ("small", "stopped", True)
    numbers = ("trials", "finished", "waiting", "failed", "stages", "stored", "to_train")
    assert [sweep[name] for name in numbers] == [4, 1, 2, 1, 10, 3, 5]
    assert sweep["stages_trained"] == {"last_hour": 3, "all": 3}
    assert sweep["seconds_left"] > 0
    assert [node["node"] for node in sweep["all_nodes"]] == ["w1", "w2", "w3"]
    assert sweep["failed_trials"][0]["error"] == LONG
    assert len(sweep["notices"]) == 7
    (run,) = sweep["runs"]
    assert (run["trained"], run["started"]["user"], run["ended"]) == (3, "ada", None)
    documented = (Path(__file__).parents[3] / "sweeps" / "README.md").read_text(encoding="utf-8")
    for name in sweep:
        assert f"`{name}`" in documented, name


def test_without_weights_the_output_says_what_it_counted(
    sweeps_command: Command, storage: Path
) -> None:
    place = storage / "sweeps" / "small" / "sweep.yaml"
    text = place.read_text().replace("weights: random", "weights: /gone.safetensors")
    store_as_run(open_storage(str(storage)), "small", yaml.safe_load(text))
    said = words(sweeps_command("status", storage))
    assert "Counted from the event log" in said
    assert "/gone.safetensors" in said
    assert "trials 2: 1 finished, 1 failed" in said
    listed = words(sweeps_command("status", storage, "--trials"))
    assert "the trials cannot be listed: backbone.weights" in listed


def test_nothing_is_written(sweeps_command: Command, storage: Path) -> None:
    def times() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in [storage, *storage.rglob("*")]}

    before = times()
    sweeps_command("status", storage)
    sweeps_command("status", storage, "--json")
    assert times() == before


def test_a_storage_without_sweeps_is_refused(sweeps_command: Command, tmp_path: Path) -> None:
    for place, words_ in ((tmp_path, "Run `sweeps run`"), (tmp_path / "no", "an existing")):
        refused = sweeps_command("status", place)
        assert refused.exit_code == 2
        assert words_ in refused.output


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_it_looks_again_until_it_is_interrupted(storage: Path, options: tuple[str, ...]) -> None:
    arguments = ["status", str(storage), "--watch", "1", *options]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    seen: list[str] = []
    try:
        while sum("small" in line for line in seen) < (2 if options else 4):
            seen.append(process.stdout.readline())
            assert seen[-1], process.stderr.read() if process.stderr is not None else ""
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")
    assert "\x1b" not in "".join(seen) + rest
    if options:
        assert all(json.loads(line)["sweeps"] for line in seen)
    else:
        stamps = [line for line in seen if line[:2] == "20"]
        assert len(stamps) >= 2
        assert time.strptime(stamps[0].strip(), "%Y-%m-%d %H:%M:%S") <= time.strptime(
            stamps[1].strip(), "%Y-%m-%d %H:%M:%S"
        )


@pytest.mark.parametrize("error", [BaseError("s3: connection refused\nmore"), OSError("stale")])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_storage_that_fails_for_a_moment_does_not_end_it(
    storage: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, as_json: bool
) -> None:
    def fail(*arguments: object) -> list[object]:
        raise error

    monkeypatch.setattr(sweep_status, "read_statuses", fail)
    place = locate(str(storage))
    said = watched_text(str(storage), place, trials=False, as_json=as_json)
    said = json.loads(said)["error"] if as_json else said
    assert said == f"the storage cannot be read: {str(error).splitlines()[0]}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5369, "89 min"),
        (5399, "1 h 30 min"),
        (13_260, "3 h 41 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
