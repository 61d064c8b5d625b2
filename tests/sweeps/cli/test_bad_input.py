"""Invalid input: one message with field, value, constraint and hint; no run is started."""

from __future__ import annotations

import errno
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from safetensors.numpy import save_file

from sweeps.definition import load_sweep
from sweeps.planning.driver_lock import keep_sweep_file, presence
from sweeps.results.event_kinds import RunStarted
from sweeps.results.events import EventLog
from sweeps.storage import FULL, StorageUnreachableError, open_storage

Command = Callable[..., Result]
FileOf = Callable[..., Path]


def refused(result: Result) -> str:
    """The message of a refusal, which must be exit code 2 without a traceback."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert "nothing was started" in result.output
    return result.output


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"method__rank": 0}, ["method.rank", "0", "1 or more"]),
        ({"method__rnk": 2}, ["method.rnk", "rank"]),
        ({"method__kind": "lorac"}, ["method.kind", "'lorac'", "lorac_ipc"]),
        ({"stream__tasks": 11}, ["stream.tasks", "11", "1 to 10"]),
        (
            {"search": {"method.importance_threshold": [0.1, 1.5]}},
            ["search.method.importance_threshold[1]", "1.5", "from 0 to 1"],
        ),
        (
            {"orders": {"design": "explicit", "list": [[0, 1, 2, 3, 3]]}},
            ["orders.list", "permutation"],
        ),
        ({"backbone__weights": "nowhere.safetensors"}, ["backbone.weights", "nowhere"]),
        ({"sedes": [1]}, ["sedes", "seeds"]),
        ({"seeds": [0, 1.5]}, ["seeds[1]", "1.5", "whole number"]),
        ({"seeds": ["one"]}, ["seeds[0]", "'one'", "whole number"]),
        ({"seeds": 3}, ["seeds", "3", "list"]),
        ({"seeds": [3, 3]}, ["seeds[1]", "3", "each seed once"]),
        ({"readouts": [{"routing": "last"}, {"routing": "last"}]}, ["readouts[1]", "once"]),
        (
            {"baselines": [{"label": "a"}, {"label": "a", "train": {"epochs": 2}}]},
            ["baselines[1].label", "'a'", "no other configuration"],
        ),
        (
            {"where": ["method.importance_threshold > 0.5"]},
            ["where", "at least one setting meets", "Of 2 settings where[0] rejects 2"],
        ),
        ({"orders": {"design": "all", "count": 3}}, ["orders.count", "or 120"]),
        ({"train__device": "cuda"}, ["resources.gpu", "as train.device is cuda"]),
    ],
)
def test_an_issue_names_field_value_and_constraint(
    sweeps_command: Command,
    sweep_file: FileOf,
    tmp_path: Path,
    changes: dict[str, object],
    parts: list[str],
) -> None:
    storage = tmp_path / "storage"
    message = refused(sweeps_command("run", sweep_file(**changes), "--storage", storage))
    for part in parts:
        assert part in message
    assert not storage.exists()


def test_all_faults_come_together(sweeps_command: Command, sweep_file: FileOf) -> None:
    file = sweep_file(method__rank=0, stream__tasks=11, train__lr=-1)
    message = refused(sweeps_command("plan", file))
    assert "3 issues" in message
    assert all(name in message for name in ("method.rank", "stream.tasks", "train.lr"))


def test_yaml_that_does_not_parse_says_where(sweeps_command: Command, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("name: x\nmethod: {rank: 4\n", encoding="utf-8")
    message = refused(sweeps_command("plan", file))
    assert "line" in message


def test_a_weights_file_with_another_checksum_is_refused(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"not what was asked for")
    backbone = {"name": "tiny_vit8", "image_size": 8, "weights": str(weights)}
    file = sweep_file(backbone=backbone | {"weights_sha256": "0" * 64})
    message = refused(sweeps_command("plan", file))
    assert "backbone.weights" in message
    assert "0" * 64 in message


@pytest.mark.parametrize("command", ["plan", "run"])
def test_weights_that_do_not_fit_are_refused_once_before_anything_starts(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path, command: str
) -> None:
    """Several trials share the backbone."""
    weights = tmp_path / "weights.safetensors"
    save_file({"norm.weight": np.ones(16, np.float32), "extra": np.ones(3, np.float32)}, weights)
    file = sweep_file(
        backbone={"name": "tiny_vit8", "image_size": 8, "weights": str(weights)},
        search={"train.lr": [0.1, 0.2]},
    )
    message = refused(sweeps_command(command, file, "--storage", tmp_path / "runs"))
    assert "weights.safetensors does not fit tiny_vit8: missing" in message
    assert "surplus extra" in message
    assert message.count("backbone.weights") == 1
    assert not (tmp_path / "runs").exists()


def test_an_unknown_study_offers_the_nearest(sweeps_command: Command) -> None:
    message = refused(sweeps_command("plan", "digits_dmeo"))
    assert "digits_demo" in message


@pytest.mark.parametrize("command", ["run", "plan"])
def test_storage_that_cannot_be_written_is_refused(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    message = refused(sweeps_command(command, sweep_file(), "--storage", tmp_path / "file/x"))
    assert "storage" in message


def test_a_directory_without_a_sweep_is_refused(sweeps_command: Command, tmp_path: Path) -> None:
    assert "DIR" in refused(sweeps_command("status", tmp_path / "nowhere"))
    assert "sweeps run" in refused(sweeps_command("status", tmp_path))


def test_a_name_that_another_sweep_has_is_refused_with_a_diff(
    sweeps_command: Command, sweep_file: FileOf, finished: Path
) -> None:
    """Planning says so too, and the storage stays as it was."""
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    for command in ("plan", "run"):
        changed = sweep_file(train__lr=0.5, stream__split_seed=3)
        message = refused(sweeps_command(command, changed, "--storage", finished))
        assert "Give the sweep a new name" in message
        assert re.search(r"train\.lr: \S+ \| 0\.5 ", message)
        assert "stream.split_seed: 0 | 3" in message
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert after == before


def test_a_file_that_changed_under_a_running_sweep_is_refused(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path
) -> None:
    objects = open_storage(str(tmp_path / "storage"))
    sweep = load_sweep(sweep_file())
    keep_sweep_file(sweep, objects)
    before = {key: objects.get(key) for key in objects.list("sweeps")}
    with presence(sweep, objects, 1.0):
        changed = sweep_file(seeds=[0, 1, 2])
        message = refused(sweeps_command("run", changed, "--storage", tmp_path / "storage"))
    assert "a driver with another version of it is alive" in message
    assert f"It runs on {platform.node()} (run driver)" in message  # it has logged nothing yet
    assert "Ctrl-C loses nothing" in message
    assert {key: objects.get(key) for key in objects.list("sweeps")} == before


def test_the_driver_that_is_alive_is_named_with_what_it_logged(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path
) -> None:
    objects = open_storage(str(tmp_path / "storage"))
    sweep = load_sweep(sweep_file())
    log = EventLog(objects, sweep.name, "0123456789ab")
    started = RunStarted(
        document="d", code_version="c", user="ada", host="head", pid=42, file="my.yaml"
    )
    log.add(started)
    log.flush(force=True)
    with presence(sweep, objects, 1.0, run="0123456789ab"):
        changed = sweep_file(seeds=[0, 1, 2])
        message = refused(sweeps_command("run", changed, "--storage", tmp_path / "storage"))
    who = "It runs on ada@head, process 42, file my.yaml (run 0123456789ab)."
    assert "sweep file: got 'small'" in message
    assert who in message


def last_line(result: Result) -> str:
    return result.output.splitlines()[-1]


def test_a_refused_run_says_its_exit_code_last(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path
) -> None:
    """Other commands do not: `ray submit` runs none of them for its code."""
    expected = "exit code 2: an input was refused"
    bad = sweep_file(seeds=3)
    assert last_line(sweeps_command("run", bad, "--storage", tmp_path / "storage")) == expected
    planned = sweeps_command("plan", bad, "--storage", tmp_path / "storage")
    assert "exit code" not in refused(planned)
    for options in (("--no-such",), ("--lease-ttl", "0"), ("a", "b"), ()):
        wrong = sweeps_command("run", *options)
        assert wrong.exit_code == 2
        assert "Usage: " in wrong.output
        assert last_line(wrong) == expected


@pytest.mark.parametrize(
    ("error", "code", "first", "last"),
    [
        (
            StorageUnreachableError("/x", "read", 600.0, "no answer"),
            1,
            "stopped: the storage /x",
            "exit code 1: stopped before the end; the same command continues",
        ),
        (
            OSError(errno.ENOSPC, "full"),
            1,
            f"stopped: {FULL}",
            "exit code 1: stopped before the end; the same command continues",
        ),
        (
            KeyboardInterrupt(),
            130,
            "stopped; the same command continues where it was",
            "exit code 130: interrupted before the end; the same command continues",
        ),
        (ZeroDivisionError("odd"), 1, "Traceback", "exit code 1: an unexpected ZeroDivisionError"),
    ],
)
def test_a_run_that_breaks_off_says_its_exit_code_last(
    sweeps_command: Command,
    sweep_file: FileOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    first: str,
    last: str,
) -> None:
    def breaks(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("sweeps.cli.errors._leave", sys.exit)
    monkeypatch.setattr("sweeps.execution.driver.run_sweep", breaks)
    result = sweeps_command("run", sweep_file(), "--storage", tmp_path / "storage")
    lines = [line for line in result.output.splitlines() if line]
    assert result.exit_code == code
    assert lines[0].startswith(first)
    assert lines[-1] == last


def test_a_subset_that_does_not_exist_is_refused(
    sweeps_command: Command, sweep_file: FileOf, tmp_path: Path
) -> None:
    options = ("--storage", tmp_path / "storage", "--only", "*threshold=0.7*")
    assert "--only: got '*threshold=0.7*'" in refused(
        sweeps_command("run", sweep_file(), *options)
    )


def test_a_sweep_that_is_not_in_the_storage_is_refused(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    options = ("--from-storage", "--storage", finished)
    message = refused(sweeps_command("run", "smal", *options))
    assert "SWEEP: got 'smal'" in message
    assert "['small']" in message
    assert "Did you mean 'small'?" in message
    nowhere = tmp_path / "nowhere"
    refused(sweeps_command("run", "small", "--from-storage", "--storage", nowhere))
    assert not nowhere.exists()
    assert "No sweep was run on" in refused(
        sweeps_command("run", "small", "--from-storage", "--storage", tmp_path)
    )
