"""The bytes that a plan forecasts equal the size of trained stages and their statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clmethods.checkpoint import state_to_bytes
from clmethods.config import METHOD_CONFIGS, LoracIpcConfig, ReadoutConfig, StreamConfig, resolve
from clmethods.config.methods.run_shapes import Size, total
from clmethods.determinism import open_run
from clmethods.evaluate import Evaluator
from clmethods.forecast.memory import StageSize, run_memory
from clmethods.methods import State
from tests.clmethods.runs import TINY, small_method, tiny_run, train

HEADER_BYTES = 24
"""By how much the header of a file may differ from its forecast, for every tensor."""


def size_of(state: State) -> Size:
    return Size(len(state), sum(tensor.nbytes for tensor in state.values()))


UNEVEN = StreamConfig(init_classes=4, increment=3, limit=4)
"""Tasks of 4, 3 and 3 classes."""

EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in METHOD_CONFIGS if kind not in {"inflora", "lorac_ipc"}},
    "ewc lora": ("ewc", {"scope": "lora"}),
    "euclid": ("nearest_class_mean", {"metric": "euclid"}),
    "no session": ("ranpac", {"first_session": False, "projection": 0}),
    "not aligned": ("slca", {"align_epochs": 0}),
    "lorac": ("lorac_ipc", {"sites": ("q", "v", "o")}),  # all of one size
    "live": ("lorac_ipc", {"sites": ("q", "v"), "module_weights": "live"}),
    "all frozen": (
        "lorac_ipc",
        {"sites": ("f1", "f2"), "importance_threshold": 0.5, "module_weights": "live"},
    ),
    "factors": ("lorac_ipc", {"importance_threshold": 0, "ipc_target": "factors"}),
    "sampled": ("lorac_ipc", {"sites": ("k",), "ipc_every": 2, "ipc_window": 300}),
    "probe": ("lorac_ipc", {"depth": 0}),
    "no magnitude": ("sd_lora", {"depth": 0}),
}


@pytest.mark.parametrize("name", EXACT)
def test_forecast_bytes_of_stages_and_states_are_exact(name: str) -> None:
    kind, fields = EXACT[name]
    recurs = METHOD_CONFIGS[kind].RECURRING_CLASSES
    stream = UNEVEN if recurs else replace(UNEVEN, task_order=(1, 0, 2))
    trained = train(tiny_run(small_method(kind, **fields), stream, epochs=1, batch_size=16))
    found = [
        StageSize(size_of(delta), size_of(trained.state(position)))
        for position, delta in enumerate(trained.deltas)
    ]
    assert list(run_memory(trained.run).stages) == found
    for size, delta in zip(run_memory(trained.run).stages, trained.deltas, strict=True):
        differs = abs(size.delta.file_bytes - len(state_to_bytes(delta)))
        assert differs <= HEADER_BYTES * len(delta)


@pytest.mark.parametrize(("kind", "share"), [("inflora", 0.5), ("lorac_ipc", 0.8)])
def test_what_data_decides_is_at_most_the_forecast(kind: str, share: float) -> None:
    """Bases that may grow, and matrices of two sizes of which some freeze."""
    trained = train(tiny_run(small_method(kind), precision="float32", epochs=1))
    for position, size in enumerate(run_memory(trained.run).stages):
        state = size_of(trained.state(position))
        assert size.state.tensors == state.tensors
        assert share * size.state.nbytes <= state.nbytes <= size.state.nbytes


def test_a_short_window_of_samples_is_counted_also_where_the_data_is_not_known() -> None:
    method = LoracIpcConfig(rank=2, ipc_window=100, importance_threshold=0.2)
    known = tiny_run(method, StreamConfig(tasks=5, limit=16), epochs=5, batch_size=4)
    rows = 5 * 2 * 16 // 4
    matrices = method.matrices(2)
    first = run_memory(known).stages[0].delta.nbytes
    unknown = run_memory(replace(known, stream=StreamConfig(tasks=5))).stages[0].delta.nbytes
    assert unknown - first == (100 - rows) * matrices * 8


READOUTS: dict[str, list[ReadoutConfig]] = {
    "none": [ReadoutConfig()],
    "means": [ReadoutConfig(routing="instance")],
    "one covariance": [ReadoutConfig(routing="instance", metric="cov", clusters=1)],
    "shared": [
        ReadoutConfig(routing="instance", metric="corr", clusters=1),
        ReadoutConfig(routing="batch", metric="shared_cov", clusters=1, batch_size=8),
        ReadoutConfig(tap=True, tap_storage="variance", tap_epochs=1),
        ReadoutConfig(tap=True, tap_storage="covariance", tap_epochs=1),
    ],
}


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_forecast_bytes_of_statistics_are_exact_without_clusters(
    name: str, precision: str
) -> None:
    forecast, found = kept(precision, READOUTS[name])
    assert forecast == found


def test_clusters_that_are_too_small_make_statistics_smaller() -> None:
    readouts = [
        ReadoutConfig(routing="instance", metric="corr", clusters=3),
        ReadoutConfig(tap=True, tap_clusters=3, tap_epochs=1),
    ]
    forecast, found = kept("float64", readouts)
    assert forecast.tensors == found.tensors
    assert 0.6 * forecast.nbytes <= found.nbytes <= forecast.nbytes


def kept(precision: str, readouts: list[ReadoutConfig]) -> tuple[Size, Size]:
    """(forecast, found) of all statistics after the last task."""
    trained = train(
        tiny_run(stream=replace(UNEVEN, limit=7), precision=precision, epochs=1, batch_size=16)
    )
    evaluator = Evaluator(trained.run, trained.chain)
    state = trained.state(trained.last)
    for readout in readouts:
        evaluator.statistics_for(trained.last, state, [readout])
    found = size_of(evaluator.statistics.tensors())
    return total(run_memory(trained.run, readouts).statistics), found


def test_the_network_is_as_large_as_forecast() -> None:
    run = resolve(tiny_run())
    assert run_memory(run).network == size_of(open_run(run)[0].tensors)
    nano = replace(run, backbone=replace(TINY, name="nano_vit32", weights="shipped"))
    small = replace(nano, backbone=replace(nano.backbone, image_size=16, pooling="avg"))
    for desired in map(resolve, (nano, small)):
        assert run_memory(desired).network == size_of(open_run(desired)[0].tensors)
