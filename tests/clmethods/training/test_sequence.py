"""run_sequence: the same record again, from any checkpoint, in any process (I42)."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from clmethods.config import ReadoutConfig, RunConfig, run_to_dict, stage_chain
from clmethods.methods import METHODS
from clmethods.metrics import every_metric
from clmethods.nn import backbone as backbone_module
from clmethods.nn.backbone import load_backbone
from clmethods.training.sequence import (
    SequenceStep,
    accuracy_matrix,
    run_sequence,
    sequence_counts,
)
from clmethods.training.stage import StageOutcome
from tests.clmethods.runs import STREAM, MemoryArchive, small_method, tiny_run

Record = tuple[list[SequenceStep], MemoryArchive]


READOUTS = [
    *(ReadoutConfig(routing=routing) for routing in ("last", "instance", "batch", "oracle")),
    ReadoutConfig(routing="instance", metric="corr", tap=True, tap_epochs=1),
    ReadoutConfig(tap=True, tap_epochs=1, tap_restore=False),
]


def readouts(run: RunConfig) -> list[ReadoutConfig]:
    return [readout for readout in READOUTS if not readout.issues_in(run)]


def record(run: RunConfig, archive: MemoryArchive | None = None) -> Record:
    archive = MemoryArchive() if archive is None else archive
    return run_sequence(run, readouts(run), archive), archive


def figures(outcome: StageOutcome) -> tuple[object, object]:
    return outcome.training, outcome.method


@pytest.fixture(scope="module", params=sorted(METHODS))
def unbroken(request: pytest.FixtureRequest) -> tuple[RunConfig, Record]:
    """A whole chain of every method, in the precision of real runs."""
    run = tiny_run(small_method(request.param), STREAM, precision="float32")
    return run, record(run)


def test_i42_the_same_run_gives_the_same_record(unbroken: tuple[RunConfig, Record]) -> None:
    """Also with a backbone loaded afresh and the process left in another state."""
    run, (steps, archive) = unbroken
    load_backbone.cache_clear()
    torch.manual_seed(12345)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    again, other = record(run)
    assert again == steps
    assert other.stages == archive.stages
    assert {k: figures(o) for k, o in other.outcomes.items()} == {
        k: figures(o) for k, o in archive.outcomes.items()
    }


def test_runs_of_one_process_load_the_backbone_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker runs many trials; the second and later ones do not read the weights again."""
    loads: list[object] = []
    load = backbone_module._load

    def counted(config: Any, facts: Any, network: Any) -> Any:
        loads.append(config)
        return load(config, facts, network)

    monkeypatch.setattr(backbone_module, "_load", counted)
    load_backbone.cache_clear()
    first = tiny_run(small_method("nearest_class_mean"), STREAM, precision="float32")
    other_method = tiny_run(small_method("linear_probe"), STREAM, precision="float32")
    for run in (first, replace(first, seed=1), other_method):
        record(run)
    assert loads == [first.backbone]


def test_i42_another_seed_gives_another_record(unbroken: tuple[RunConfig, Record]) -> None:
    run, (_, archive) = unbroken
    _, other = record(replace(run, seed=1))
    same = [data for data in other.stages.values() if data in archive.stages.values()]
    drawn = [run.method.draws_at(position, run.context) for position in range(run.stages)]
    assert len(same) == drawn.count(False)
    assert any(drawn) or run.method.kind == "nearest_class_mean"


def test_i42_resuming_anywhere_gives_the_unbroken_record(
    unbroken: tuple[RunConfig, Record],
) -> None:
    run, (steps, archive) = unbroken
    keys = [step.stage.key for step in steps]
    for done in range(1, len(keys) + 1):
        partly = MemoryArchive({key: archive.stages[key] for key in keys[:done]})
        resumed, after = record(run, partly)
        assert [step.reused for step in resumed] == [True] * done + [False] * (len(keys) - done)
        assert [step.counts for step in resumed] == [step.counts for step in steps]
        assert after.stages == archive.stages


def test_i42_another_process_gives_the_same_bits() -> None:
    run = tiny_run(small_method("lorac_ipc"), STREAM, precision="float32")
    steps, archive = record(run)
    script = """
import hashlib, json, sys
from clmethods.config import run_from_dict
from clmethods.training.sequence import run_sequence
from clmethods.checkpoint import state_to_bytes
class Archive:
    digests = []
    def load_delta(self, key): return None
    def save(self, stage, outcome, cost):
        self.digests.append(hashlib.sha256(state_to_bytes(outcome.delta)).hexdigest())
archive = Archive()
run_sequence(run_from_dict(json.loads(sys.argv[1])), archive=archive)
print(json.dumps(archive.digests))
"""
    arguments = [sys.executable, "-c", script, json.dumps(run_to_dict(run))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [archive.digest(step.stage.key) for step in steps]


def test_readouts_never_feed_back_into_training() -> None:
    run = tiny_run(small_method("lorac_ipc"))
    silent, evaluated = MemoryArchive(), MemoryArchive()
    run_sequence(run, (), silent)
    run_sequence(run, readouts(run), evaluated)
    assert silent.stages == evaluated.stages


def test_a_finished_prefix_is_shared_by_another_order() -> None:
    run = tiny_run(small_method("lorac_ipc"), STREAM)
    _, archive = record(run)
    other = replace(run, stream=replace(STREAM, task_order=(0, 2, 1)))
    steps, _ = record(other, archive)
    assert [step.reused for step in steps] == [True, False, False]
    fresh, _ = record(other)
    assert [step.counts for step in steps] == [step.counts for step in fresh]


def test_the_accuracy_matrix_is_in_the_order_of_learning() -> None:
    run = tiny_run(small_method("lorac_ipc"), replace(STREAM, task_order=(2, 0, 1)))
    steps, _ = record(run)
    a = accuracy_matrix(run, steps, "last")
    for t, step in enumerate(steps):
        for j, stage in enumerate(stage_chain(run)):
            rows = [
                row
                for row in step.counts["last"]
                if row.split == "test" and row.class_id in stage.classes
            ]
            if j > t:
                assert math.isnan(a[t][j])
            else:
                assert a[t][j] == sum(row.correct or 0 for row in rows) / sum(r.n for r in rows)


def test_i37_counts_are_counts() -> None:
    run = tiny_run(small_method("lorac_ipc"))
    steps, _ = record(run)
    for step in steps:
        for row in (row for rows in step.counts.values() for row in rows):
            hits = [row.correct, row.correct_task_given, row.task_id_correct]
            assert all(
                isinstance(hit, int) and 0 <= hit <= row.n for hit in hits if hit is not None
            )
            assert json.loads(json.dumps(asdict(row))) == asdict(row)


def test_every_metric_of_a_run_and_of_the_untrained_model_beside_it() -> None:
    stream = replace(STREAM, task_order=(2, 0, 1))
    run = tiny_run(small_method("lorac_ipc"), stream)
    steps, _ = record(run)
    idle = tiny_run(small_method("lorac_ipc"), stream, epochs=0)
    untrained = sequence_counts(idle, record(idle)[0], "last").task_incremental[0]
    counts = sequence_counts(run, steps, "last", references={"untrained": untrained.tolist()})
    a = accuracy_matrix(run, steps, "last")
    for t in range(3):
        assert counts.class_incremental[t, : t + 1].tolist() == a[t][: t + 1]
        assert np.isnan(counts.class_incremental[t, t + 1 :]).all()
    values = every_metric(counts)
    til = counts.task_incremental
    expected = (til[0, 1] - untrained[1] + til[1, 2] - untrained[2]) / 2
    assert values["fwt_til"] == pytest.approx(expected)
    assert 0 < values["model_size_efficiency"] < 1  # modules add up
    assert values["task_id_accuracy"] is None
    routed = every_metric(sequence_counts(run, steps, "instance-cosine"))
    assert routed["task_id_accuracy"] is not None
    assert routed["fwt_til"] is None
