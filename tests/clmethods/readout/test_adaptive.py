"""Task-adaptive prediction: what is drawn, what the aligned head changes, and what it is worth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clmethods.config import ReadoutConfig
from clmethods.readout.adaptive import ClassMixtures, align_head
from clmethods.readout.gaussians import RIDGE, Gaussians
from tests.clmethods.readout.clouds import TASKS, clouds, fitted
from tests.clmethods.runs import bits

SEEN = sorted(label for classes in TASKS.values() for label in classes)


def tap(**fields: Any) -> ReadoutConfig:
    return ReadoutConfig(tap=True, **{"tap_epochs": 2, **fields})


def tasks_of(readout: ReadoutConfig, spread: float = 1.0, images: int = 40) -> list[Gaussians]:
    return fitted(clouds(0, spread, images), TASKS, readout.tap_kind)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def head() -> tuple[Tensor, Tensor]:
    weight = torch.randn(10, 16, generator=generator(5)).double() / 10
    return weight, torch.zeros(10).double()


def aligned(readout: ReadoutConfig, **fields: Any) -> tuple[Tensor, Tensor]:
    return align_head(head(), tasks_of(readout, **fields), readout, 40, generator())


@pytest.mark.parametrize("storage", ["multi_centroid", "covariance", "variance"])
def test_i32_drawn_features_have_the_moments_of_their_cluster(storage: str) -> None:
    readout = tap(tap_storage=storage)
    tasks, draws = tasks_of(readout), 4000
    mixtures, flat = ClassMixtures(tasks), [(t, i) for t in tasks for i in range(len(t))]
    for cluster, (task, index) in enumerate(flat[:6]):
        x = mixtures.draw(torch.full((draws,), cluster), generator(cluster))
        variance = task.variances(index) + RIDGE
        error = (variance / draws).sqrt()
        assert ((x.mean(dim=0) - task.means[index]).abs() < 5 * error).all()
        spread = variance * (2 / (draws - 1)) ** 0.5
        assert ((x.var(dim=0) - variance).abs() < 5 * spread).all()


def test_equal_images_are_drawn_with_the_ridge_alone() -> None:
    readout = tap()
    tasks = fitted({3: torch.ones(8, 16).double()}, {0: (3,)}, readout.tap_kind)
    drawn = ClassMixtures(tasks).draw(torch.zeros(5000, dtype=torch.int64), generator())
    assert float(drawn.var()) == pytest.approx(RIDGE, rel=0.05)


def test_a_whole_covariance_is_drawn_with_its_correlations() -> None:
    readout = tap(tap_storage="covariance")
    x = clouds(0, 1.0, 40)[3] @ torch.randn(16, 16, generator=generator(2)).double()
    tasks = fitted({3: x}, {0: (3,)}, readout.tap_kind)
    drawn = ClassMixtures(tasks).draw(torch.zeros(20000, dtype=torch.int64), generator())
    torch.testing.assert_close(torch.corrcoef(drawn.T), torch.corrcoef(x.T), rtol=0, atol=0.05)


@pytest.mark.parametrize("mix", ["size", "uniform"])
def test_i32_every_class_is_drawn_equally_often_and_its_clusters_by_the_mix(mix: str) -> None:
    readout = tap(tap_mix=mix, tap_clusters=3)
    mixtures = ClassMixtures(tasks_of(readout))
    drawn = mixtures.epoch(6, 300, readout, generator())
    assert drawn.shape == (6, 300)
    counts = torch.bincount(drawn.flatten(), minlength=len(mixtures.labels)).double()
    for label in SEEN:
        own = mixtures.labels == label
        assert counts[own].sum() == 300
        weights = mixtures.sizes[own] if mix == "size" else torch.ones(int(own.sum())).double()
        expected = 300 * weights / weights.sum()
        assert ((counts[own] - expected).abs() <= 1 + 1e-9).all()
    assert len(set(mixtures.sizes.tolist())) > 1  # or the two mixes would be one
    assert not torch.equal(drawn.flatten().sort().values, drawn.flatten())


def test_the_public_code_draws_as_many_of_every_cluster_and_uses_a_part() -> None:
    readout = tap(tap_steps="ref", tap_mix="uniform", tap_clusters=3)
    mixtures = ClassMixtures(tasks_of(readout))
    clusters = len(mixtures.labels)
    everything = mixtures.epoch(clusters, 50, readout, generator())
    assert torch.bincount(everything.flatten()).tolist() == [50] * clusters
    assert mixtures.epoch(4, 50, readout, generator()).shape == (4, 50)


@pytest.mark.parametrize("steps", ["ours", "ref"])
def test_i32_only_rows_of_the_classes_seen_change(steps: str) -> None:
    before = head()
    after = aligned(tap(tap_steps=steps))
    unseen = [label for label in range(10) if label not in SEEN]
    for old, new in zip(before, after, strict=True):
        assert bits(old[unseen]) == bits(new[unseen])
        assert not torch.isclose(old[SEEN], new[SEEN]).all(dim=-1).any()
    assert bits(before[0]) == bits(head()[0])  # the head itself is left alone


def test_the_steps_of_an_epoch_are_the_classes_seen_or_the_old_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    usual = ClassMixtures.epoch

    def counting(self: ClassMixtures, steps: int, *rest: Any) -> Tensor:
        taken.append(steps)
        return usual(self, steps, *rest)

    monkeypatch.setattr(ClassMixtures, "epoch", counting)
    aligned(tap(tap_epochs=2))
    aligned(tap(tap_epochs=3, tap_steps="ref"))
    assert taken == [6, 6, 4, 4, 4]


def test_the_rate_ends_near_zero_and_one_epoch_runs_at_the_full_rate() -> None:
    """One step of SGD on one class-balanced batch, by hand."""
    readout = tap(tap_epochs=1, tap_lr=0.1)
    one = {0: (3,)}
    tasks = fitted(clouds(0, 1.0, 40), one, readout.tap_kind)
    weight, bias = head()
    found = align_head((weight, bias), tasks, readout, 40, generator())
    # a single class: the loss is 0 and only the decay moves the row
    torch.testing.assert_close(found[0][3], weight[3] * (1 - 0.1 * 5e-4))
    assert torch.equal(found[1], bias)


@pytest.mark.parametrize("storage", ["multi_centroid", "covariance", "variance"])
def test_the_aligned_head_tells_the_classes_apart(storage: str) -> None:
    assert worst(head()) < 0.5
    assert worst(aligned(tap(tap_storage=storage, tap_epochs=5))) > 0.85


def worst(found: tuple[Tensor, Tensor]) -> float:
    """Accuracy on the class that fares worst, among the classes seen."""
    features, rows = clouds(0, 1.0, 40), torch.tensor(SEEN)
    return min(
        float(
            (F.linear(features[c], found[0][rows], found[1][rows]).argmax(1) == i).double().mean()
        )
        for i, c in enumerate(SEEN)
    )


def test_the_same_seed_gives_the_same_bits() -> None:
    assert bits(aligned(tap())[0]) == bits(aligned(tap())[0])
