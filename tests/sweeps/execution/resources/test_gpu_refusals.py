"""Machines and clusters on which no GPU can be measured or shared, and a real GPU."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.execution.backlog import Backlog
from sweeps.execution.driver import RunOptions, run_sweep
from sweeps.execution.executor import SweepExecutor
from sweeps.execution.resources.gpu_sizing import MemoryRecord
from sweeps.results.events import read_events
from sweeps.stages.stage_store import StageStore
from sweeps.storage import open_storage
from tests.sweeps.execution.clusters import Host, cluster_of
from tests.sweeps.execution.resources.made_up_gpu import MadeUp, auto_sweep
from tests.sweeps.stages.small import small_sweep


@pytest.mark.parametrize("guarded", [True, False])
def test_a_gpu_that_is_too_small_for_the_share_runs_nothing(tmp_path: Path, guarded: bool) -> None:
    """On a machine of its own there is no other GPU: the run ends instead of trying for ever."""
    store = StageStore(open_storage(str(tmp_path)))
    backlog = Backlog(small_sweep(), store)
    executor = SweepExecutor(backlog, backlog.take())
    refused: list[tuple[str, ConfigIssue]] = []
    if guarded:
        guard: Any = SimpleNamespace(refuse=lambda *reason: refused.append(reason))
        executor.watch._guard = guard
    executor.watch.exclude_unusable(
        {  # type: ignore[typeddict-item]
            "outcome": "gpu_too_small",
            "node_id": "node-1",
            "host": "worker",
            "error": "0.5 of the 2 GB of its GPU (T4) is less than 3 GB",
        }
    )
    if guarded:
        ((node, issue),) = refused
        assert (node, issue.value, executor.halted) == ("node-1", "worker", "")
        assert "2 GB of its GPU (T4)" in str(issue)
        assert "resources.gpu_type" in str(issue)
    else:
        assert executor.halted.endswith("Set resources.gpu to a larger share")


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (
            [Host(cpus=2)],
            "resources.gpu: got 'auto', allowed: a number, as no node here has a GPU",
        ),
        pytest.param(  # what no node holds is refused in test_impossible_demands too
            [Host(cpus=2, gpus=1, gpu_type="T4")],
            "got 'H100', allowed: types of this cluster: ['T4",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_without_a_gpu_auto_is_refused(
    hosts: list[Host], message: str, environment: None, tmp_path: Path
) -> None:
    store = StageStore(open_storage(str(tmp_path / "runs")))
    sweep = auto_sweep("H100" if hosts[0].gpus else None)
    with cluster_of(hosts) as place, pytest.raises(InvalidConfigError) as refused:
        run_sweep(sweep, store, RunOptions(address=place, probe=MadeUp()))
    assert len(refused.value.issues) == 1
    assert message in str(refused.value)
    assert not list(store.objects.list("stages"))


def test_a_machine_without_a_gpu_refuses_auto(environment: None, tmp_path: Path) -> None:
    store = StageStore(open_storage(str(tmp_path / "runs")))
    with pytest.raises(InvalidConfigError) as refused:
        run_sweep(auto_sweep(), store)
    (issue,) = refused.value.issues
    assert str(issue) == (
        "resources.gpu: got 'auto', allowed: a number, as this machine has no GPU whose memory "
        "could be measured"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_auto_on_a_real_gpu(
    environment: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The made-up report is replaced by torch's; the trials then share the real device."""
    for name in [name for name in os.environ if name.startswith(("RAY_", "TUNE_"))]:
        del os.environ[name]
    store = StageStore(open_storage(str(tmp_path / "runs")))
    sweep = small_sweep(
        seeds=[0, 1],
        train={"epochs": 1, "batch_size": 8, "device": "cuda"},
        resources={"gpu": "auto"},
    )
    outcome = run_sweep(sweep, store)
    assert (outcome.finished, outcome.failed) == (2, ())
    (name,) = store.objects.list("gpu_memory")
    record = MemoryRecord(**json.loads(store.objects.get(name)))
    assert 0 < record.peak_bytes < record.device_bytes
    assert 0 < record.context_bytes < record.device_bytes
    said = capsys.readouterr().out
    assert "measuring the GPU memory of one stage" in said
    assert "on a GPU" in said
    (event,) = (e for e in read_events(store.objects, "small") if e.kind == "gpu_share")
    assert event.body.trials_per_gpu >= 1
