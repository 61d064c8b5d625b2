"""A training step does not wait for the device: values are read once per epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from torch import Tensor

from clmethods.checkpoint import fold
from clmethods.config import MethodConfig
from clmethods.methods import METHODS, Method
from clmethods.methods.lorac_ipc import LoracIpc
from clmethods.training.stage import DivergedError, run_stage
from tests.clmethods.read_backs import counted_read_backs
from tests.clmethods.runs import LORAC, Trained, small_method, tiny_run, train

SETTINGS: dict[str, MethodConfig] = {kind: small_method(kind) for kind in METHODS} | {
    f"lorac_ipc, {name}": small_method("lorac_ipc", **changes)
    for name, changes in {
        "qr": {"ortho_mode": "qr"},
        "project": {"ortho_mode": "project"},
        "reparam_qr": {"ortho_mode": "reparam_qr"},
        "reparam_torch": {"ortho_mode": "reparam_torch"},
        "current": {"ipc_target": "current", "omega_current": True},
        "factors": {"ipc_target": "factors", "omega_current": True},
        "direction_magnitude": {"module_weights": "direction_magnitude"},
        "normalised": {"module_weights": "normalised"},
    }.items()
}


def read_backs(trained: Trained, position: int, **settings: Any) -> int:
    """Count the read-backs of a stage that is trained with other settings."""
    run = replace(trained.run, train=replace(trained.run.train, **settings))
    with counted_read_backs() as counts:
        run_stage(run, trained.chain[position], fold(trained.deltas[:position]))
    return counts.total()


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_steps_read_nothing_and_epochs_read_once(name: str) -> None:
    position = 0 if SETTINGS[name].ORDER_FREE else 1
    before = train(tiny_run(SETTINGS[name], precision="float32", epochs=1), until=position)
    one, more_steps, more_epochs = (
        read_backs(before, position, **settings)
        for settings in ({}, {"batch_size": 2}, {"epochs": 4})
    )
    assert more_steps == one
    trains = before.run.method.trains_at(position, before.run.context)
    assert more_epochs - one == (3 if trains else 0)


@pytest.mark.parametrize("place", ["device", "streamed"])
def test_batches_for_a_gpu_read_nothing(place: str) -> None:
    """With the operations of a GPU, on the CPU."""
    before = train(tiny_run(LORAC, precision="float32", augment="crop_flip", epochs=1), until=0)
    with mock.patch("clmethods.training.batches.place_of", return_value=place):
        one, more_steps = (read_backs(before, 0, batch_size=size) for size in (8, 2))
    assert more_steps == one


@pytest.mark.parametrize(
    "wait",
    [Tensor.item, bool, float, Tensor.tolist, Tensor.cpu],
    ids=["item", "bool", "float", "tolist", "cpu"],
)
def test_a_step_that_waits_is_counted(wait: Any) -> None:
    """The test above can fail: a method that reads one value per step is found."""

    class Waiting(LoracIpc):  # type: ignore[misc]  # @final, but this is what must be found
        def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
            terms = super().loss(pixels, labels)
            wait(terms["cross_entropy"].detach())
            return terms

    before = train(tiny_run(LORAC, epochs=1), until=0)
    with mock.patch.dict(METHODS, {"lorac_ipc": Waiting}):
        few, many = (read_backs(before, 0, batch_size=size) for size in (8, 2))
    assert many - few == 6  # 16 images: 2 steps, 8 steps


def diverging(step: int, value: float, error: type[Exception] | None = None) -> type[Method]:
    """LoRAC-IPC whose loss has another value at a step, and whose next step fails."""

    class Diverging(LoracIpc):  # type: ignore[misc]
        taken = 0

        def loss(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
            terms = super().loss(pixels, labels)
            if error is not None and self.taken > step:
                raise error("singular")
            if self.taken == step:
                terms["cross_entropy"] = terms["cross_entropy"] * value
            self.taken += 1
            return terms

    return Diverging


@pytest.mark.parametrize("step", [0, 1, 2, 5])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("error", [None, RuntimeError])
def test_divergence_names_the_first_epoch_and_step(
    step: int, value: float, error: type[Exception] | None
) -> None:
    """16 images in batches of 8 give two steps per epoch; later steps may fail by themselves."""
    run = tiny_run(LORAC, epochs=3)
    with (
        mock.patch.dict(METHODS, {"lorac_ipc": diverging(step, value, error)}),
        pytest.raises(DivergedError) as raised,
    ):
        train(run, until=0)
    where = f"no longer finite at epoch {step // 2 + 1}, step {step + 1}: cross_entropy={value:g}"
    assert where in str(raised.value)


def test_an_error_of_a_finite_run_is_not_hidden() -> None:
    with (
        mock.patch.dict(METHODS, {"lorac_ipc": diverging(0, 1.0, RuntimeError)}),
        pytest.raises(RuntimeError, match="singular") as raised,
    ):
        train(tiny_run(LORAC, epochs=3), until=0)
    assert not isinstance(raised.value, DivergedError)
