"""Small sweeps whose stages take a moment, run without Ray, and what their storage holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clmethods.readout.features import FeatureCache
from sweeps.definition import Sweep, TrialSpec, expand, sweep_from_dict
from sweeps.stages.leases import LeaseTable
from sweeps.stages.stage_store import StageStore
from sweeps.stages.trial_runner import StepReport, TrialRunner
from sweeps.storage import ObjectStore, open_storage

DOCUMENT: dict[str, Any] = {
    "name": "small",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 3, "limit": 4},
    "method": {"kind": "lorac_ipc", "rank": 2, "importance_threshold": 0.2},
    "train": {"epochs": 1, "batch_size": 8},
    "readouts": [{"routing": "last"}, {"routing": "instance"}],
}


def small_sweep(**fields: Any) -> Sweep:
    """The small sweep with fields added or replaced."""
    return sweep_from_dict({**DOCUMENT, **fields})


def small_trial(**fields: Any) -> TrialSpec:
    """The first trial of `small_sweep`."""
    return expand(small_sweep(**fields))[0]


def runner_of(
    trial: TrialSpec,
    store: StageStore,
    time_to_live_s: float = 20.0,
    owner: str = "test",
    stages: int | None = None,
    features: FeatureCache | None = None,
) -> TrialRunner:
    """A runner that has not looked at the store yet."""
    leases = LeaseTable(store.objects, time_to_live_s)
    return TrialRunner("small", trial, store, leases, owner, stages, features)


def run_trial(
    trial: TrialSpec, store: StageStore, features: FeatureCache | None = None
) -> list[StepReport]:
    """Advance a trial to its end; a lease that is met is a fault."""
    runner, reports = runner_of(trial, store, features=features), []
    while not reports or reports[-1].position < len(runner.chain):
        reports.append(runner.advance())
        assert reports[-1].outcome != "waiting"
    return reports


def trained_keys(reports: Iterable[StepReport]) -> list[str]:
    """Keys of the stages that were trained."""
    return [report.key for report in reports if report.outcome == "trained"]


class Messages(list[str]):
    """List of the messages that a store reports."""

    def __call__(self, message: str) -> None:
        self.append(message)


def directory_store(path: Path) -> StageStore:
    """A store in a directory, which keeps its reports."""
    return StageStore(open_storage(str(path)), Messages())


def messages_of(store: StageStore) -> list[str]:
    """Return the messages that a store has reported."""
    assert isinstance(store.report, Messages)
    return store.report


def payloads(objects: ObjectStore, kinds: tuple[str, ...] = ("state-", "result-")) -> set[str]:
    """Names of the payloads, which are named by their content, so equal names are equal bits."""
    return {name for name in objects.list("stages") if name.rsplit("/", 1)[1].startswith(kinds)}


def evaluations(objects: ObjectStore) -> dict[str, bytes]:
    """Counts by name."""
    return {name: objects.get(name) for name in objects.list("stages") if "/evals/" in name}


def metrics(objects: ObjectStore) -> tuple[set[str], dict[str, bytes]]:
    """All that must be equal, bit for bit, whoever computed it in whatever order."""
    return payloads(objects), evaluations(objects)
