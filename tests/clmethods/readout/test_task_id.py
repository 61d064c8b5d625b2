"""Task-ID inference from class means: separable features, and no dependence on the ids."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clmethods.readout.task_id import ClassMeans

Metric = Literal["cosine", "euclid"]
METRICS: list[Metric] = ["cosine", "euclid"]
TASKS = {0: (3, 8), 1: (0, 5), 2: (1, 9)}


def clouds(seed: int, spread: float) -> dict[int, Tensor]:
    """Per class, 12 features around a direction of its own."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(16, 10, generator=generator).double()).Q.T
    noise = torch.randn(10, 12, 16, generator=generator).double()
    return {label: 5 * directions[label] + spread * noise[label] for label in range(10)}


def fitted(features: dict[int, Tensor], tasks: dict[int, tuple[int, ...]]) -> ClassMeans:
    means = ClassMeans()
    for task, classes in tasks.items():
        means.add_task(
            task,
            torch.cat([features[label] for label in classes]),
            torch.tensor([label for label in classes for _ in range(12)]),
        )
    return means


@pytest.mark.parametrize("metric", METRICS)
@given(seed=st.integers(0, 10**6))
def test_i28_separable_features_are_always_routed_to_their_task(seed: int, metric: Metric) -> None:
    features = clouds(seed, spread=0.1)
    means = fitted(features, TASKS)
    for task, classes in TASKS.items():
        for label in classes:
            assert means.infer(features[label], metric).tolist() == [task] * 12


@pytest.mark.parametrize("metric", METRICS)
@given(seed=st.integers(0, 10**6), ids=st.permutations(range(10)))
def test_i28_renaming_the_classes_changes_nothing(
    seed: int, ids: list[int], metric: Metric
) -> None:
    features = clouds(seed, spread=3.0)  # far from separable
    renamed = {ids[label]: cloud for label, cloud in features.items()}
    tasks = {task: tuple(ids[label] for label in classes) for task, classes in TASKS.items()}
    x = torch.cat(list(features.values()))
    expected = fitted(features, TASKS).infer(x, metric)
    assert torch.equal(fitted(renamed, tasks).infer(x, metric), expected)
    assert set(expected.tolist()) <= set(TASKS)


@pytest.mark.parametrize("metric", METRICS)
def test_i33_means_of_old_classes_do_not_move(metric: Metric) -> None:
    """A task that lies far away leaves the routing between the earlier ones as it was."""
    features = clouds(0, spread=3.0)
    x = torch.cat([features[label] for label in (3, 8, 0, 5)])
    two = {task: TASKS[task] for task in (0, 1)}
    far = features | {
        1: -100 * x.mean(dim=0).expand(12, -1),
        9: -99 * x.mean(dim=0).expand(12, -1),
    }
    before = fitted(features, two).infer(x, metric)
    after = fitted(far, TASKS).infer(x, metric)
    assert torch.equal(before[after != 2], after[after != 2])
    assert int((after != 2).sum()) > 20


@pytest.mark.parametrize("metric", METRICS)
def test_the_length_of_a_feature_does_not_matter(metric: Metric) -> None:
    features = clouds(0, spread=3.0)
    means, x = fitted(features, TASKS), torch.cat(list(features.values()))
    assert torch.equal(means.infer(x, metric), means.infer(8 * x, metric))
