"""One name, one sweep: what is an extension, what changes a meaning, and who is running it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from clmethods.config import InvalidConfigError
from sweeps.definition import Sweep, expand, sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file, presence, refuse_other_meaning
from sweeps.results import read_table
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.stages.small import DOCUMENT

THRESHOLDS = {"method.importance_threshold": [0, 0.2]}
TTL_S = 0.5


def sweep(**fields: Any) -> Sweep:
    return sweep_from_dict({**DOCUMENT, "search": THRESHOLDS, **fields})


@pytest.fixture
def stored() -> ObjectStore:
    """A storage on which the sweep was run, all of it failed: no stage, but rows."""
    objects = open_storage("memory://")
    keep_sweep_file(sweep(), objects)
    for trial in expand(sweep()):
        record_trial(
            StageStore(objects), sweep(), trial, 1, AttemptResult(status="failed", stages_done=0)
        )
    return objects


EXTENSIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "value": {"search": {"method.importance_threshold": [0, 0.2, 0.5]}},
    "axis": {"search": {**THRESHOLDS, "method.rank": [2, 4]}},
    "axis in place of a field": {
        "method": {"kind": "lorac_ipc", "rank": 4},
        "search": {**THRESHOLDS, "method.rank": [2, 4]},
    },
    "seeds": {"seeds": [0, 1]},
    "orders": {"orders": {"design": "all"}},
    "readouts": {"readouts": [*DOCUMENT["readouts"], {"routing": "oracle"}]},
    "baseline": {"baselines": [{"method": {"kind": "nearest_class_mean"}}]},
    "resources": {"resources": {"max_concurrent": 1}},
    "objectives": {"objectives": {"forgetting": "min"}},
    "fewer": {"search": {"method.importance_threshold": [0, 0.5]}},
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_more_and_less_of_the_same_is_accepted(stored: ObjectStore, name: str) -> None:
    refuse_other_meaning(sweep(**EXTENSIONS[name]), stored)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "base field": ({"train": {"epochs": 2, "batch_size": 8}}, "train.epochs: 1 | 2"),
    "split": ({"stream": {**DOCUMENT["stream"], "split_seed": 5}}, "stream.split_seed: 0 | 5"),
    "classes": (
        {"stream": {**DOCUMENT["stream"], "class_order_seed": 5}},
        "stream.class_order_seed: null | 5",
    ),
    "method": ({"method": {"kind": "lorac_ipc", "rank": 4}}, "method.rank: 2 | 4"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_label_that_would_stand_for_another_run_is_refused_with_a_diff(
    stored: ObjectStore, name: str
) -> None:
    fields, line = CHANGES[name]
    with pytest.raises(InvalidConfigError) as refusal:
        refuse_other_meaning(sweep(**fields), stored)
    text = str(refusal.value)
    assert line in text
    assert "lorac_ipc importance_threshold=0 and 1 more" in text
    assert "Give the sweep a new name" in text
    assert text.count(" | ") == 2  # the heading and the one field that changed
    refuse_other_meaning(sweep(**fields, name="other"), stored)


def test_rows_of_a_value_that_the_file_has_dropped_count(stored: ObjectStore) -> None:
    keep_sweep_file(sweep(search={"method.importance_threshold": [0.5]}), stored)
    with pytest.raises(InvalidConfigError, match=r"train\.epochs: 1 \| 2"):
        refuse_other_meaning(sweep(train={"epochs": 2, "batch_size": 8}), stored)


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_without_rows_may_be_replaced_by_any_other(stored: ObjectStore, name: str) -> None:
    """Its run was refused or stopped before a trial ended."""
    for key in stored.list("sweeps/small/results"):
        stored.delete(key)
    refuse_other_meaning(sweep(**CHANGES[name][0]), stored)
    refuse_other_meaning(sweep(search={"method.rank": [4, 8]}, train={"epochs": 2}), stored)


def test_a_configuration_in_common_may_be_one_that_has_no_rows_yet() -> None:
    """One trial has ended; the next file leaves its value out and keeps the other one."""
    objects = open_storage("memory://")
    keep_sweep_file(sweep(), objects)
    first = expand(sweep())[0]
    store = StageStore(objects)
    record_trial(store, sweep(), first, 1, AttemptResult(status="failed", stages_done=0))
    refuse_other_meaning(sweep(search={"method.importance_threshold": [0.2, 0.5]}), objects)


def test_a_sweep_with_nothing_in_common_needs_a_name_of_its_own(stored: ObjectStore) -> None:
    other = sweep(search={"method.rank": [4, 8]}, train={"epochs": 2})
    with pytest.raises(InvalidConfigError, match="this file wants none of them"):
        refuse_other_meaning(other, stored)


def test_a_name_that_is_free(stored: ObjectStore) -> None:
    refuse_other_meaning(sweep(name="free", train={"epochs": 2}), stored)


def test_drivers_of_one_file_do_not_mind_each_other(tmp_path: Path) -> None:
    objects = open_storage(str(tmp_path))
    with presence(sweep(), objects, TTL_S), presence(sweep(), objects, TTL_S):
        pass
    assert list(objects.list("sweeps")) == []


def test_another_version_is_refused_while_a_driver_lives(tmp_path: Path) -> None:
    """And both, if they start at once; afterwards it may run."""
    objects = open_storage(str(tmp_path))
    with (
        presence(sweep(), objects, TTL_S),
        pytest.raises(InvalidConfigError, match="a driver with another version of it is alive"),
        presence(sweep(seeds=[0, 1]), objects, TTL_S),
    ):
        raise AssertionError("two versions at once")
    with presence(sweep(seeds=[0, 1]), objects, TTL_S):
        pass


def test_a_driver_that_was_killed_is_waited_for_and_cleared(tmp_path: Path) -> None:
    objects, said = open_storage(str(tmp_path)), list[str]()
    dead = LeaseTable(objects, TTL_S, "sweeps/small/running").acquire("other.version", "driver")
    assert dead is not None  # it never beats
    before = threading.active_count()
    with presence(sweep(), objects, TTL_S, said.append):
        assert not list(objects.list("sweeps/small/running/other.version"))
    assert "up to 0.5 s" in said[0]
    assert threading.active_count() == before


def test_what_killed_drivers_of_the_same_version_left_is_removed_at_the_end(
    tmp_path: Path,
) -> None:
    """Of two that are there at the start, one is alive."""
    objects = open_storage(str(tmp_path))
    table = LeaseTable(objects, TTL_S, "sweeps/small/running")
    with presence(sweep(), objects, TTL_S):
        (own,) = objects.list("sweeps/small/running")
        version = own.split("/")[3].split(".")[0]
        assert table.acquire(f"{version}.dead", "driver") is not None  # it never beats
        with presence(sweep(), objects, TTL_S):
            assert len(list(objects.list("sweeps/small/running"))) == 3
            time.sleep(TTL_S * 1.5)
        assert list(objects.list("sweeps/small/running")) == [own]
    assert list(objects.list("sweeps")) == []


def test_a_short_run_leaves_what_may_be_alive(tmp_path: Path) -> None:
    objects = open_storage(str(tmp_path))
    table = LeaseTable(objects, TTL_S, "sweeps/small/running")
    with presence(sweep(), objects, TTL_S):
        (own,) = objects.list("sweeps/small/running")
    key = f"{own.split('/')[3].split('.')[0]}.other"
    assert table.acquire(key, "driver") is not None
    with presence(sweep(), objects, TTL_S):
        pass
    assert list(objects.list("sweeps/small/running")) == [f"sweeps/small/running/{key}/0"]


SUSPENDED = textwrap.dedent(
    """
    import sys
    from sweeps.execution.backlog import Backlog
    from sweeps.planning.driver_lock import SupersededError, keep_sweep_file, presence
    from sweeps.stages.stage_store import StageStore
    from sweeps.stages.trial_rows import AttemptResult
    from sweeps.storage import open_storage
    from tests.sweeps.planning.test_driver_lock import TTL_S, sweep

    objects = open_storage(sys.argv[1])
    with presence(sweep(), objects, TTL_S) as present:
        keep_sweep_file(sweep(), objects)
        backlog = Backlog(sweep(), StageStore(objects), require_current=present.require_current)
        first, second = backlog.take()
        backlog.record(first, AttemptResult(status="failed", stages_done=0))
        print("present", flush=True)
        sys.stdin.readline()
        try:
            backlog.record(second, AttemptResult(status="failed", stages_done=0))
        except SupersededError as error:
            print(error, flush=True)
        else:
            print("recorded", flush=True)
    """
)


@pytest.mark.parametrize("other_version", [True, False])
def test_a_suspended_driver_writes_no_row_once_another_version_was_run(
    tmp_path: Path, other_version: bool
) -> None:
    """Suspended for longer than its lease lasts; a driver of the same version does not matter."""
    objects = open_storage(str(tmp_path))
    driver = subprocess.Popen(
        [sys.executable, "-c", SUSPENDED, objects.location],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "present\n"
        driver.send_signal(signal.SIGSTOP)
        following = sweep(seeds=[0, 1]) if other_version else sweep()
        with presence(following, objects, TTL_S):
            time.sleep(3 * TTL_S)  # so that a driver of the same version expires, too
            keep_sweep_file(following, objects)
        driver.send_signal(signal.SIGCONT)
        said, _ = driver.communicate("write\n", timeout=60)
    finally:
        driver.kill()
    rows = read_table(objects, "small", "trials").table.num_rows
    if other_version:
        assert "allowed: the version of the sweep file that was run last" in said
        assert rows == 1
    else:
        assert (said, rows) == ("recorded\n", 2)
    assert list(objects.list("sweeps/small/running")) == []


def test_every_version_of_the_file_is_kept_once_under_its_checksum() -> None:
    objects = open_storage("memory://")
    first = keep_sweep_file(sweep(), objects)
    assert keep_sweep_file(sweep(), objects) == first
    second = keep_sweep_file(sweep(seeds=[0, 1]), objects)
    folder = "sweeps/small/versions"
    assert set(objects.list(folder)) == {f"{folder}/{name}.yaml" for name in (first, second)}
    stored = objects.get("sweeps/small/sweep.yaml")
    assert objects.get(f"{folder}/{second}.yaml") == stored
    assert sweep_from_dict(yaml.safe_load(objects.get(f"{folder}/{first}.yaml"))) == sweep()
