"""The trainable as a worker uses it, without Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any
from unittest import mock

import pytest

from clmethods.training.stage import run_stage
from sweeps.definition import TrialSpec, expand
from sweeps.execution.cluster.node_check import StorageProof, storage_proof
from sweeps.execution.worker.trainable import StageTrainable, resources_of
from sweeps.execution.worker.trial_message import StepResult, TrialMessage
from sweeps.stages.leases import BlockedLeaseError
from sweeps.stages.stage_store import StageStore, folder
from sweeps.storage import open_storage
from tests.sweeps.stages.small import metrics, run_trial, small_sweep

SWEEP = small_sweep(search={"method.importance_threshold": [0, 0.2]})


def config_of(
    trial: TrialSpec, storage: Path, proof: StorageProof | None = None
) -> dict[str, Any]:
    message = TrialMessage(
        trial=trial.to_json(),
        stages=trial.run.stages,
        sweep="small",
        storage=str(storage),
        proof=proof,
        run_id="run",
        owner="driver:trial",
        time_to_live_s=20.0,
        objectives=["learning_accuracy"],
        demand={"CPU": 1.0},
        gpu_types=[],
        gpu_bytes=0,
    )
    return {"trial_id": trial.trial_id, "message": message}


def steps(worker: StageTrainable) -> list[StepResult]:
    found = [worker.step()]
    while not found[-1]["done"]:
        found.append(worker.step())
    return found


def test_a_worker_that_takes_over_gives_the_bits_of_a_fresh_one(tmp_path: Path) -> None:
    first, second = expand(SWEEP)
    worker = StageTrainable(config_of(first, tmp_path / "one"))
    assert [step["outcome"] for step in steps(worker)] == ["trained"] * 3
    assert worker.reset_config(config_of(second, tmp_path / "one"))
    assert [step["outcome"] for step in steps(worker)] == ["trained"] * 2  # the first is shared
    fresh = StageStore(open_storage("memory://"))
    for trial in (first, second):
        run_trial(trial, fresh)
    assert metrics(open_storage(str(tmp_path / "one"))) == metrics(fresh.objects)


def test_a_worker_may_take_over_in_the_middle(tmp_path: Path) -> None:
    first, second = expand(SWEEP)
    worker = StageTrainable(config_of(first, tmp_path))
    assert worker.step()["position"] == 1
    worker.reset_config(config_of(second, tmp_path))
    assert worker.step()["position"] == 2
    worker.reset_config(config_of(first, tmp_path))
    assert [step["position"] for step in steps(worker)] == [2, 3]


def test_a_node_with_other_versions_trains_nothing(tmp_path: Path) -> None:
    """A trial may start on a node before the guard of the driver has checked that node."""
    trial = expand(SWEEP)[0]
    with storage_proof(open_storage(str(tmp_path)), "small") as proof:
        versions = proof["versions"] | {"package": "0.0.9 (files 000000000000)"}
        other = StorageProof(**{**proof, "versions": versions})
        step = StageTrainable(config_of(trial, tmp_path, other)).step()
        assert (step["outcome"], step["done"]) == ("other_versions", False)
        assert "0.0.9 (files 000000000000)" in step["error"]
        assert StageStore(open_storage(str(tmp_path))).finished() == {}
        assert StageTrainable(config_of(trial, tmp_path, proof)).step()["outcome"] == "trained"


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_directory_that_replaces_the_storage_is_noticed(tmp_path: Path, moment: str) -> None:
    """As after an unmount: the path is there, and empty."""
    storage, away = tmp_path / "storage", tmp_path / "away"
    trial = expand(SWEEP)[0]

    def replace() -> None:
        storage.rename(away)
        storage.mkdir()

    with storage_proof(open_storage(str(storage)), "small") as proof:
        worker = StageTrainable(config_of(trial, storage, proof))
        assert worker.step()["outcome"] == "trained"
        if moment == "before":
            replace()
            step = worker.step()
            assert not any(storage.iterdir())
        else:
            with mock.patch("clmethods.training.completion.run_stage", before(replace, run_stage)):
                step = worker.step()
        assert (step["outcome"], step["done"]) == ("unshared", False)
        rmtree(storage)
        rmtree(away / "leases")  # of the interrupted stage; a driver would let it expire
        away.rename(storage)
        assert [step["outcome"] for step in steps(worker)] == ["trained"] * 2


def before(first: Callable[[], None], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls `first` and then `function`."""

    def both(*arguments: Any) -> Any:
        first()
        return function(*arguments)

    return both


@pytest.mark.parametrize("spoilt", ["storage", "trial"])
def test_what_cannot_be_opened_is_a_result_with_its_cause(tmp_path: Path, spoilt: str) -> None:
    """A worker that raised would be started again and again, and the cause be lost."""
    trial = expand(SWEEP)[0]
    config = config_of(trial, tmp_path)
    if spoilt == "storage":
        (tmp_path / "taken").write_text("a file")
        config["message"]["storage"] = str(tmp_path / "taken" / "below")
    else:
        config["message"]["trial"] = trial.to_json().replace("lorac_ipc", "lorak_ipc")
    step = StageTrainable(config).step()
    assert (step["outcome"], step["position"], step["done"]) == ("failed", 0, True)
    assert step["error_kind"] == "InvalidConfigError"
    assert ("below" if spoilt == "storage" else "lorak_ipc") in step["error"]


def test_damage_that_a_worker_finds_is_reported(tmp_path: Path) -> None:
    """The worker's own output is nowhere to be seen."""
    first, second = expand(SWEEP)
    steps(StageTrainable(config_of(first, tmp_path)))
    (state,) = (tmp_path / folder(first.chain[0].key)).glob("state-*")
    state.write_bytes(b"")
    found = steps(StageTrainable(config_of(second, tmp_path)))
    assert [bool(step["notes"]) for step in found] == [True, False, False]
    assert "is damaged" in found[0]["notes"]
    assert "trained again" in found[0]["notes"]


def test_what_a_trial_takes(tmp_path: Path) -> None:
    assert resources_of(config_of(expand(SWEEP)[0], tmp_path)).required_resources == {"CPU": 1.0}


def test_waiting_for_a_lease_that_is_a_folder_ends_with_an_error(tmp_path: Path) -> None:
    """A measurement waits in its worker, where the scheduler does not see it."""
    trial = expand(SWEEP)[0]
    key = trial.chain[0].key
    (tmp_path / "leases" / key / "0" / "x").mkdir(parents=True)
    worker = StageTrainable(config_of(trial, tmp_path))
    step = worker.step()
    assert (step["outcome"], step["key"]) == ("waiting", key)
    with pytest.raises(BlockedLeaseError, match="is a folder, not a lease: remove it"):
        worker.require_leasable(key)
    (tmp_path / "leases" / key / "0" / "x").rmdir()
    (tmp_path / "leases" / key / "0").rmdir()
    worker.require_leasable(key)
    assert worker.step()["outcome"] == "trained"
