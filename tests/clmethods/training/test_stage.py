"""The training loop: rates, batches, and a loss that stops being finite."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config import LoraSequentialConfig, TrainConfig
from clmethods.training.stage import DivergedError, learning_rate
from tests.clmethods.runs import LORAC, STREAM, differences, tiny_run, train


@given(
    epochs=st.integers(1, 30),
    lr=st.floats(1e-4, 1.0),
    position=st.integers(0, 3),
    lr_first_task=st.none() | st.floats(1e-4, 1.0),
)
def test_the_cosine_starts_at_the_rate_and_falls(
    epochs: int, lr: float, position: int, lr_first_task: float | None
) -> None:
    config = TrainConfig(epochs=epochs, lr=lr, lr_first_task=lr_first_task)
    start = lr_first_task if lr_first_task is not None and position == 0 else lr
    rates = [learning_rate(config, position, epoch) for epoch in range(epochs)]
    assert rates[0] == pytest.approx(start)
    assert rates == sorted(rates, reverse=True)
    for epoch, rate in enumerate(rates):
        half = (1 + math.cos(math.pi * epoch / epochs)) / 2
        assert rate == pytest.approx(config.lr_min + (start - config.lr_min) * half)
    constant = replace(config, schedule="constant")
    assert [learning_rate(constant, position, epoch) for epoch in range(epochs)] == [
        start
    ] * epochs


def test_the_public_codes_cosine_lags_one_epoch() -> None:
    ours = TrainConfig(epochs=4)
    theirs = replace(ours, schedule="cosine_ref")
    rates = [learning_rate(ours, 1, epoch) for epoch in range(4)]
    assert [learning_rate(theirs, 1, epoch) for epoch in range(4)] == [rates[0], *rates[:3]]


@pytest.mark.parametrize(("batch_size", "steps"), [(1, 24), (5, 6), (12, 2), (64, 2)])
def test_every_epoch_visits_every_image_once(batch_size: int, steps: int) -> None:
    stream = replace(STREAM, limit=3)
    outcome = train(tiny_run(LORAC, stream, batch_size=batch_size), until=0).outcomes[0]
    assert outcome.training.steps == steps  # 4 classes x 3 images, 2 epochs


def test_no_epochs_leave_everything_as_it_was_drawn() -> None:
    trained = train(tiny_run(LORAC, epochs=0))
    assert not any(t.any() for n, t in trained.state(2).items() if n.endswith(".B"))
    assert trained.outcomes[0].training.steps == 0
    assert trained.outcomes[0].training.cross_entropy is None
    assert trained.deltas[0]["trace.0"].shape == (0, 12)


def test_reported_losses_are_means_over_the_images_of_the_last_epoch() -> None:
    """With a rate too small to move anything, the mean over batches is the loss at the start."""
    trained = train(tiny_run(LORAC, lr=1e-12, lr_min=0.0, batch_size=5), until=0)
    method, data = trained.method(0), trained.data(0)
    terms = method.loss(trained.backbone.preprocess(data.images), data.labels)
    report = trained.outcomes[0].training
    for name in ("cross_entropy", "orthogonality"):
        assert getattr(report, name) == pytest.approx(terms[name].item(), rel=1e-6)
    assert report.grad_norm is not None
    assert report.grad_norm > 0


def test_clipping_bounds_the_step() -> None:
    """With plain descent of one step, the update is rate times the clipped gradient."""
    one_step = {"optimizer": "sgd", "epochs": 1, "batch_size": 64, "lr": 1.0}
    for clip in (0.125, 0.25):
        trained = train(tiny_run(LORAC, grad_clip=clip, **one_step), until=0)
        untouched = train(tiny_run(LORAC, epochs=0), until=0)
        names = [n for n in trained.state(0) if n.startswith(("lora", "head"))]
        moved = [(trained.state(0)[n] - untouched.state(0)[n]).square().sum() for n in names]
        assert float(torch.stack(moved).sum().sqrt()) == pytest.approx(clip, rel=1e-5)


@pytest.mark.parametrize("method", [LORAC, LoraSequentialConfig(rank=2)], ids=lambda m: m.kind)
def test_a_diverging_run_stops_and_shows_its_loss_terms(method: LoraSequentialConfig) -> None:
    with pytest.raises(DivergedError) as raised:
        train(tiny_run(method, lr=1e9, precision="float32", epochs=5))
    message = str(raised.value)
    assert message.startswith("the loss of task 0 is no longer finite at epoch ")
    terms = ["cross_entropy=", "grad_norm="]
    for term in [*terms, "orthogonality="] if method is LORAC else terms:
        assert term in message
    assert "Lower train.lr or set train.grad_clip" in message


def test_training_reads_no_global_generator() -> None:
    torch.manual_seed(1)
    first = train(tiny_run(), until=0)
    torch.manual_seed(2)
    assert differences(train(tiny_run(), until=0).state(0), first.state(0)) == []
