"""Damages to the files of a storage, and a small finished storage with a file of every kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from clmethods.checksummed_json import add_checksum
from clmethods.config import short_id
from sweeps.definition import Sweep, expand, sweep_from_dict
from sweeps.planning.driver_lock import keep_sweep_file, version_of
from sweeps.report import report_key
from sweeps.results import merge_results
from sweeps.results.event_kinds import Planned, RunEnded, RunStarted, StageDone, TrialEnded
from sweeps.results.events import EventLog
from sweeps.search.stored_observations import current_step
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_rows import AttemptResult, record_trial
from sweeps.stages.trial_runner import TrialRunner
from sweeps.storage import ObjectStore, open_storage
from tests.sweeps.cli.conftest import DOCUMENT

DAMAGED_SWEEP = DOCUMENT | {
    "stream": {"dataset": "digits", "tasks": 2, "limit": 6},
    "orders": {"design": "explicit", "list": [[0, 1]]},
    "readouts": [{"routing": "last"}],
    "baselines": [],
    "seeds": [0],
    "budget": {"hours": 1000},
    "early_stop": {"kind": "asha", "metric": "average_accuracy", "after_task": 1, "audit": 0},
}
"""Early stopping reads the evaluations of the stage store in every command, a budget all costs."""

LABELS = ("lorac_ipc importance_threshold=0", "lorac_ipc importance_threshold=0.2")
LIFE_S = 0.05
"""Time to live of the leases of the storage: `status` waits for a beat of each driver."""


def finished_storage(root: Path) -> Sweep:
    """Make the storage with real stages, and one file or more of every kind."""
    objects = open_storage(str(root))
    sweep = sweep_from_dict(DAMAGED_SWEEP)
    keep_sweep_file(sweep, objects)
    train(sweep, objects)
    merge_results(objects, sweep.name, ["evals"], least=2)
    _record_events(sweep, objects)
    objects.put(report_key(sweep.name), b"<html></html>")
    old = {"started_at": "2025-01-01T00:00:00+00:00", "sweep": DOCUMENT}
    objects.put(f"sweeps/{sweep.name}/events/20250101T000000.json", json.dumps(old).encode())
    lease = LeaseTable(objects, LIFE_S).acquire("f" * 64, "run2.1:0:trial")
    assert lease is not None
    driver = LeaseTable(objects, LIFE_S, f"sweeps/{sweep.name}/running")
    assert driver.acquire(f"{version_of(sweep.document)}.{'0' * 32}", "run2") is not None
    LeaseTable(objects, LIFE_S).expire("f" * 64, 0)
    return sweep


def train(sweep: Sweep, objects: ObjectStore) -> None:
    """Do the work of a driver and its workers, as far as it is missing, without Ray."""
    store = StageStore(objects)
    for trial in expand(sweep):
        runner = TrialRunner(sweep.name, trial, store, LeaseTable(objects, LIFE_S), "test")
        outcomes = []
        while not outcomes or outcomes[-1] != "done":
            outcomes.append(runner.advance().outcome)
            assert outcomes[-3:] != ["waiting"] * 3
        ending = AttemptResult(status="finished", stages_done=len(trial.chain))
        record_trial(store, sweep, trial, 1, ending)
    assert current_step(sweep, objects).finished


def _record_events(sweep: Sweep, objects: ObjectStore) -> None:
    log = EventLog(objects, sweep.name, "run1")
    log.add(RunStarted(document=short_id(sweep.document), code_version="1", user="ada", host="h"))
    log.add(Planned(step=1, title="all", trials=2, todo=2, stages=4, stored=0))
    for trial in expand(sweep):
        for position, stage in enumerate(trial.chain):
            log.add(
                StageDone(
                    trial=trial.trial_id,
                    key=stage.key,
                    position=position,
                    outcome="trained",
                    seconds=1.0,
                    node="h",
                )
            )
        log.add(TrialEnded(trial=trial.trial_id, name=trial.name, status="finished", stages=2))
    log.add(RunEnded(trained=4, finished=2))
    log.flush(force=True)


KINDS: dict[str, str] = {
    "sweep file": "sweeps/small/sweep.yaml",
    "version": "sweeps/small/versions/*.yaml",
    "marker": "stages/*/*/stage.json",
    "result": "stages/*/*/result-*.json",
    "state": "stages/*/*/state-*.safetensors",
    "cost": "stages/*/*/cost.json",
    "evaluation cost": "stages/*/*/evaluation_cost.json",
    "counts": "stages/*/*/evals/*.json",
    "events": "sweeps/small/events/*.jsonl",
    "old events": "sweeps/small/events/*.json",
    "lease": "leases/*/0",
    "verdict": "leases/*/0.expired",
    "driver": "sweeps/small/running/*/0",
    "bundle": "sweeps/small/results/bundles/*.zip",
    "merged part": "sweeps/small/results/evals/merged/*.parquet",
    "part": "sweeps/small/results/trials/*.parquet",
    "report": "sweeps/small/report.html",
}
"""Pattern of the files of each kind."""

Damage = Callable[[Path], None]


def _replaced(data: bytes) -> Damage:
    def damage(path: Path) -> None:
        path.write_bytes(data)

    return damage


def _truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _full_folder(path: Path) -> None:
    _folder(path)
    (path / "file").write_bytes(b"1")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nothing")


def _foreign(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _of_another(path: Path) -> None:
    """Another file of the same kind, otherwise of itself, twice."""
    others = [each for each in sorted(path.parent.parent.parent.rglob("*")) if each != path]
    same = [each for each in others if each.suffix == path.suffix and each.is_file()]
    data = (same[-1] if same else path).read_bytes()
    path.write_bytes(data if same else data * 2)


_DEEP = b"[" * 100_000
_DEEP_OBJECT = b'{"a":' * 100_000

DAMAGES: dict[str, Damage] = {
    "empty": _replaced(b""),
    "truncated": _truncated,
    "flipped": _flipped,
    "NUL bytes": _replaced(b"\0" * 512),
    "no UTF-8": _replaced(b"\xff\xfe{}\x80"),
    "deep": _replaced(_DEEP),
    "deep and whole": _replaced(_DEEP + b"]" * 100_000),
    "a deep object": _replaced(_DEEP_OBJECT + b"1" + b"}" * 100_000),
    "a list": _replaced(b"[1, 2]"),
    "a number": _replaced(b"3"),
    "null": _replaced(b"null"),
    "a long number": _replaced(b"9" * 5000),
    "an empty object": _replaced(b"{}"),
    "wrong types": _replaced(
        b'{"content": 1, "sha256": [], "beat": {}, "owner": [1], "at": {}, "since": 3, "lease": 1,'
        b' "time_to_live_s": "x", "host": null, "wall_s": "x", "run": {}, "event": [], '
        b'"started_at": {}, "name": [], "seeds": {}, "torch_version": {}, "peak_rss_bytes": []}'
    ),
    "not finite": _replaced(b'{"wall_s": NaN, "beat": Infinity, "time_to_live_s": 1e999}'),
    "huge numbers": _replaced(
        b'{"wall_s": 1e400, "cpu_s": 1e300, "peak_rss_bytes": 1e30, "time_to_live_s": 1e30, '
        b'"beat": 1e30, "at": "9999-12-31T23:59:59+00:00", "since": "0001-01-01T00:00:00+00:00"}'
    ),
    "a sealed list": _replaced(add_checksum([1, 2])),
    "a sealed object": _replaced(add_checksum({"key": 1})),
    "a sealed text": _replaced(add_checksum("x")),
    "sealed rows": _replaced(add_checksum([{"split": "test"}])),
    "another file": _of_another,
    "an empty folder": _folder,
    "a folder": _full_folder,
    "a link loop": _loop,
    "a dangling link": _dangling,
    "a link to a foreign file": _foreign,
}


def damaged_copy(whole: Path, copy: Path, kind: str, damage: str) -> list[Path]:
    """Copy the storage, damage every file of a kind, and return the paths of these files."""
    shutil.copytree(whole, copy, symlinks=True)
    paths = sorted(copy.glob(KINDS[kind]))
    assert paths
    for path in paths:
        DAMAGES[damage](path)
    return paths
