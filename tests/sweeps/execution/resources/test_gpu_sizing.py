"""Number of trials that share a GPU: from a record, the devices and the nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config.methods import METHOD_CONFIGS
from sweeps.definition import TrialSpec, expand, sweep_from_dict
from sweeps.definition.resources import share_of, trials_per_device
from sweeps.execution.resources.gpu_memory import Device, MemoryUse
from sweeps.execution.resources.gpu_sizing import (
    MARGIN,
    MOST_TRIALS,
    GpuShare,
    MemoryRecord,
    decide,
    find_record,
    growth_bytes,
    memory_estimate,
    most_demanding,
    record_of,
    save_record,
)
from sweeps.execution.resources.trial_resources import NodeShape
from sweeps.results.event_kinds import GpuShareDecided
from sweeps.storage import open_storage
from tests.sweeps.stages.small import DOCUMENT, small_sweep, small_trial

GB = 1_000_000_000
RECORD = MemoryRecord(
    device="L4",
    device_bytes=24 * GB,
    peak_bytes=2 * GB,
    context_bytes=GB // 2,
    growth_bytes=GB // 2,
    estimate=100,
    stage="ab",
)
USE = MemoryUse(
    device=Device(name="NVIDIA L4", total_bytes=24 * GB), peak_bytes=2 * GB, context_bytes=GB
)


def node(cpu: float, gpu: float = 1) -> NodeShape:
    return NodeShape(name="node", cpu=cpu, gpu=gpu, labels={})


def test_a_trial_needs_its_peak_its_growth_a_margin_and_a_context() -> None:
    assert RECORD.needed_bytes == 2.5 * GB * (1 + MARGIN) + GB // 2


@pytest.mark.parametrize(
    ("devices", "nodes", "threads", "trials"),
    [
        ([], [], 1, 6),  # 24 / 3.5
        ([Device(name="T4", total_bytes=16 * GB)], [], 1, 4),  # the smallest decides
        ([Device(name="H100", total_bytes=80 * GB)], [], 1, 22),  # the measured one is gone
        (
            [Device(name="T4", total_bytes=16 * GB), Device(name="L4", total_bytes=24 * GB)],
            [],
            1,
            4,
        ),
        ([Device(name="T4", total_bytes=2 * GB)], [], 1, 1),  # too small for one: it is tried
        ([], [node(4)], 1, 4),  # no more than there are CPUs for
        ([], [node(4), node(16)], 1, 6),
        ([], [node(4)], 2, 2),
        ([], [node(4)], 8, 1),
        ([], [node(8, 2)], 1, 4),
        ([], [node(1000)], 1, 6),
    ],
)
def test_how_many_share_a_gpu(
    devices: list[Device], nodes: list[NodeShape], threads: int, trials: int
) -> None:
    share = decide(RECORD, devices, nodes, threads)
    assert share.trials == trials
    assert trials_per_device(share.gpu) == trials


def test_no_more_than_ray_can_tell_apart() -> None:
    tiny = replace(RECORD, peak_bytes=1, growth_bytes=0, context_bytes=1)
    assert decide(tiny, [], [node(1000)], 1).trials == MOST_TRIALS


@given(st.integers(1, MOST_TRIALS))
def test_a_share_is_large_enough_for_exactly_its_number(trials: int) -> None:
    """Ray cuts shares off at four digits: seven of 1/7, rounded up, would not fit."""
    share = share_of(trials)
    assert trials_per_device(share) == trials
    assert share * trials <= 1
    assert share > 1 / (trials + 1)


def test_the_decision_in_words() -> None:
    share = decide(RECORD, [Device(name="T4", total_bytes=16 * GB)], [node(2)], 1)
    assert share.sentence == (
        "resources.gpu auto: 0.5. A trial needs 3.5 GB of GPU memory, the smallest GPU (T4) has "
        "16 GB: 2 trials run on a GPU (the CPUs of the nodes allow no more)"
    )
    assert share.event == GpuShareDecided(
        gpu=0.5,
        trials_per_gpu=2,
        needed_bytes=int(3.5 * GB),
        gpu_type="T4",
        gpu_bytes=16 * GB,
    )
    whole = GpuShare(trials=1, needed_bytes=0)
    assert whole.sentence == "resources.gpu auto: 1, each trial has a GPU of its own"


def trials_with(**fields: Any) -> list[TrialSpec]:
    return list(expand(small_sweep(**fields)))


@pytest.mark.parametrize(
    ("fields", "largest"),
    [
        ({"search": {"method.rank": [2, 16, 4]}}, lambda run: run.method.rank == 16),
        ({"search": {"train.batch_size": [8, 2, 32]}}, lambda run: run.train.batch_size == 32),
        (  # what only reads the frozen network keeps nothing for a backward pass
            {"baselines": [{"method": {"kind": "nearest_class_mean"}}]},
            lambda run: run.method.kind == "lorac_ipc",
        ),
        (
            {"baselines": [{"method": {"kind": "sequential_finetuning"}}]},
            lambda run: run.method.kind == "sequential_finetuning",
        ),
    ],
)
def test_the_most_demanding_trial(fields: dict[str, Any], largest: Any) -> None:
    assert largest(most_demanding(trials_with(**fields)).run)


@pytest.mark.parametrize("kind", sorted(METHOD_CONFIGS))
def test_every_method_has_an_estimate_and_a_growth(kind: str) -> None:
    trial = expand(
        sweep_from_dict(
            {**DOCUMENT, "method": {"kind": kind}, "readouts": [{"routing": "last"}], "search": {}}
        )
    )[0]
    assert memory_estimate(trial) > 0
    grown = [growth_bytes(trial, position) for position in range(len(trial.chain))]
    assert grown[-1] == 0
    assert grown == sorted(grown, reverse=True)


def test_later_tasks_are_forecast() -> None:
    """A method that keeps a module for each task needs more in the end."""
    trial = small_trial(method={"kind": "o_lora", "rank": 2})
    assert growth_bytes(trial, 0) > growth_bytes(trial, 1) > 0


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"seeds": [3]}, True),
        ({"train": {**DOCUMENT["train"], "lr": 0.1, "epochs": 9}}, True),
        ({"orders": {"design": "reverse"}}, True),
        ({"train": {**DOCUMENT["train"], "batch_size": 16}}, False),
        ({"method": {**DOCUMENT["method"], "rank": 4}}, False),
        ({"backbone": {**DOCUMENT["backbone"], "image_size": 16}}, False),
    ],
)
def test_a_record_is_found_by_what_memory_depends_on(fields: dict[str, Any], same: bool) -> None:
    objects, trial = open_storage("memory://"), small_trial()
    record = record_of(trial, 0, USE, "L4")
    save_record(objects, trial, record)
    assert find_record(objects, trial) == record
    assert (find_record(objects, small_trial(**fields)) == record) == same


def test_a_record_of_a_more_demanding_trial_is_valid() -> None:
    """So the second run of a sweep, in which the largest trials are done, measures nothing."""
    objects = open_storage("memory://")
    small, medium, large = sorted(
        trials_with(search={"method.rank": [2, 4, 8]}), key=memory_estimate
    )
    for trial, gigabytes in ((large, 5), (medium, 3)):
        use = replace(USE, peak_bytes=gigabytes * GB)
        save_record(objects, trial, record_of(trial, 0, use, "L4"))
    found = find_record(objects, small)
    assert found is not None
    assert found.peak_bytes == 3 * GB
    more = max(trials_with(search={"method.rank": [16]}), key=memory_estimate)
    assert find_record(objects, more) is None


def test_a_record_counts_for_the_types_on_which_trials_may_run() -> None:
    objects, trial = open_storage("memory://"), small_trial()
    save_record(objects, trial, record_of(trial, 0, USE, "L4"))
    assert find_record(objects, trial, ["T4"]) is None
    assert find_record(objects, trial, ["T4", "L4"]) is not None
    save_record(objects, trial, record_of(trial, 0, replace(USE, peak_bytes=GB), "T4"))
    found = find_record(objects, trial, ["T4", "L4"])
    assert found is not None
    assert found.device == "L4"  # the larger of the two


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, value) for name in ("estimate", "peak_bytes") for value in ("1", None, 1.5, -1)),
        ("device_bytes", 0),
        ("device_bytes", [1]),
        ("growth_bytes", True),
        ("context_bytes", {}),
        ("device", None),
        ("stage", 3),
    ],
)
def test_a_record_with_a_value_of_another_type_is_no_record(field: str, value: object) -> None:
    """Also for another trial, for which estimates are compared."""
    objects, trial = open_storage("memory://"), small_trial()
    save_record(objects, trial, record_of(trial, 0, USE, "L4"))
    (name,) = objects.list("gpu_memory")
    objects.put(name, json.dumps({**json.loads(objects.get(name)), field: value}).encode())
    assert find_record(objects, trial) is None
    assert find_record(objects, small_trial(method={**DOCUMENT["method"], "rank": 1})) is None
    save_record(objects, trial, record_of(trial, 0, USE, "T4"))
    assert find_record(objects, trial) is not None


@pytest.mark.parametrize("text", [b"", b"[1]", b'{"device": "L4"}'])
def test_a_damaged_record_is_measured_again(text: bytes) -> None:
    objects, trial = open_storage("memory://"), small_trial()
    save_record(objects, trial, record_of(trial, 0, USE, ""))
    (name,) = objects.list("gpu_memory")
    objects.put(name, text)
    assert find_record(objects, trial) is None


def test_a_node_without_a_label_is_named_by_its_device() -> None:
    assert record_of(small_trial(), 0, USE, "").device == "NVIDIA L4"
