"""SLCA: class statistics, alignment of a copy of the head (I41)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import SequentialFinetuningConfig, SlcaConfig
from clmethods.methods.slca import class_gaussian, draw_features, normalized_logits
from tests.clmethods.runs import Trained, differences, same_bits, tiny_run, train

CONFIG = SlcaConfig(align_samples=16)
HEAD = ("head.weight", "head.bias")


@pytest.fixture(scope="module")
def slca() -> Trained:
    return train(tiny_run(CONFIG))


def test_i41_the_next_task_starts_from_the_head_before_the_alignment(slca: Trained) -> None:
    """The run is sequential fine-tuning with statistics and aligned heads beside it."""
    plain = train(tiny_run(SequentialFinetuningConfig(body_lr_scale=0.01)))
    for position in range(3):
        state = slca.state(position)
        trained = {name: t for name, t in state.items() if name.startswith(("vit.", "head."))}
        assert differences(trained, plain.state(position)) == []
    for position in (1, 2):
        before, started = slca.state(position - 1), slca.method(position)
        weight, bias = started.head.merged()  # type: ignore[attr-defined]
        assert same_bits(weight, before["head.weight"])
        assert same_bits(bias, before["head.bias"])
        aligned = slca.state(position)
        assert not torch.equal(aligned["aligned.weight"], aligned["head.weight"])


def test_predictions_come_from_the_aligned_head(slca: Trained) -> None:
    images = slca.data(split="test").images
    assert "aligned.weight" not in slca.state(0)
    for position, head in ((0, "head"), (1, "aligned"), (2, "aligned")):
        state, predictor = slca.state(position), slca.predictor(position, position)
        expected = F.linear(
            predictor.features(images), state[f"{head}.weight"], state[f"{head}.bias"]
        )
        assert same_bits(predictor.scores(images), expected)
    later = [8, 9]  # rows of classes not yet seen are not aligned
    assert same_bits(slca.state(1)["aligned.weight"][later], slca.state(1)["head.weight"][later])


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 999))
@settings(max_examples=30)
def test_the_root_is_exact_and_no_larger_than_the_covariance(n: int, d: int, seed: int) -> None:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 3
    mean, root = class_gaussian(x)
    assert root.shape == (min(n, d), d)
    torch.testing.assert_close(mean, x.mean(dim=0))
    expected = torch.cov(x.T).reshape(d, d) if n > 1 else torch.zeros(d, d).double()
    torch.testing.assert_close(root.T @ root, expected, rtol=1e-9, atol=1e-9)


def test_statistics_are_those_of_the_network_after_the_task_and_stay(slca: Trained) -> None:
    for position, stage in enumerate(slca.chain):
        data, last = slca.data(position), slca.state(2)
        found = slca.predictor(position, position).features(data.images)
        for label in stage.classes:
            mean, root = class_gaussian(found[data.labels == label])
            torch.testing.assert_close(last[f"class.{label}.mean"], mean)
            torch.testing.assert_close(
                last[f"class.{label}.root"].T @ last[f"class.{label}.root"], root.T @ root
            )
        own = {n for n in slca.deltas[position] if n.startswith("class.")}
        assert own == {f"class.{c}.{part}" for c in stage.classes for part in ("mean", "root")}


def test_drawn_features_have_the_stored_mean_and_covariance() -> None:
    """Within five standard errors, and with a variance of 1e-4 in every direction."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, generator=generator, dtype=torch.float64)  # rank 2 of 5
    mean, root = class_gaussian(x)
    n = 20_000
    drawn = draw_features(mean, root, n, generator)
    covariance = root.T @ root + 1e-4 * torch.eye(5)
    variance = covariance.diagonal()
    error = (drawn.mean(dim=0) - mean).abs() / (variance / n).sqrt()
    assert float(error.max()) < 5
    spread = (covariance.square() + variance[:, None] * variance) / n
    deviation = (torch.cov(drawn.T) - covariance).abs() / spread.sqrt()
    assert float(deviation.max()) < 5


def test_logits_are_divided_by_the_mean_norm_of_the_tasks() -> None:
    logits = torch.tensor([[3.0, 4.0, 0.0, 5.0, 12.0]])
    slices = [torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([3, 4])]
    found = normalized_logits(logits, slices, 0.5)
    torch.testing.assert_close(found, logits / (0.5 * (5.0 + 0.0 + 13.0) / 3))


def test_without_epochs_nothing_is_aligned() -> None:
    off = train(tiny_run(replace(CONFIG, align_epochs=0)))
    assert not [name for name in off.state(2) if name.startswith("aligned.")]


def test_alignment_brings_old_classes_back() -> None:
    """The local loss never compares classes of different tasks; drawn features do."""
    aligned = {"align_epochs": 30, "align_lr": 0.03, "align_samples": 4, "logit_norm": None}
    trained = train(tiny_run(replace(CONFIG, body_lr_scale=0.0, **aligned)))
    data, seen = trained.data(), torch.arange(10)
    features = trained.predictor(2, 2).features(data.images)
    state = trained.state(2)
    losses = {
        head: float(
            F.cross_entropy(
                F.linear(features, state[f"{head}.weight"], state[f"{head}.bias"])[:, seen],
                data.labels,
            )
        )
        for head in ("head", "aligned")
    }
    assert losses["aligned"] < 0.8 * losses["head"]
