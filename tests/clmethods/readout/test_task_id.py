"""Task-ID inference: the textbook distances, separable features, no dependence on the ids."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clmethods.config import ReadoutConfig
from clmethods.config.readout import GAUSSIAN_METRICS
from clmethods.methods.base import DivergedError
from clmethods.readout.gaussians import RIDGE
from clmethods.readout.task_id import Ellipsoid, infer_tasks, task_distances, vote
from tests.clmethods.readout.clouds import IMAGES, TASKS, clouds, fitted, routed

METRICS = ["cosine", "euclid", *GAUSSIAN_METRICS]
SHRINKAGES = [(1.0, 0.0), (0.5, 0.5), (3.0, 1.0), (0.0, 0.0)]


def infer(readout: ReadoutConfig, features: dict[int, Tensor], x: Tensor) -> Tensor:
    return infer_tasks(readout, fitted(features, TASKS, readout.task_id_kind), x)


def dense_covariance(samples: Tensor, diag: float, off: float) -> Tensor:
    """S of docs/method.md section 5.1, term by term."""
    sigma = torch.cov(samples.T) + RIDGE * torch.eye(samples.shape[1]).double()
    eye = torch.eye(len(sigma)).double()
    away = 1 - eye
    mean_off = (sigma * away).sum() / away.sum()
    return sigma + diag * sigma.diagonal().mean() * eye + off * mean_off * away


def correlation(s: Tensor) -> Tensor:
    scale = s.diagonal().rsqrt()
    return scale.unsqueeze(1) * s * scale


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_i28_separable_features_are_always_routed_to_their_task(seed: int, metric: str) -> None:
    features, readout = clouds(seed, spread=0.1), routed(metric=metric)
    tasks = fitted(features, TASKS, readout.task_id_kind)
    for task, classes in TASKS.items():
        for label in classes:
            found = infer_tasks(readout, tasks, features[label])
            assert found.tolist() == [task] * IMAGES


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), ids=st.permutations(range(10)))
def test_i28_renaming_the_classes_changes_nothing(seed: int, ids: list[int], metric: str) -> None:
    """Not even the clusters: every class draws the same random numbers."""
    features, readout = clouds(seed, spread=3.0), routed(metric=metric)  # far from separable
    renamed = {ids[label]: cloud for label, cloud in features.items()}
    tasks = {task: tuple(ids[label] for label in classes) for task, classes in TASKS.items()}
    x = torch.cat(list(features.values()))
    expected = infer(readout, features, x)
    again = fitted(renamed, tasks, readout.task_id_kind)
    assert torch.equal(infer_tasks(readout, again, x), expected)
    assert set(expected.tolist()) <= set(TASKS)


@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize(("diag", "off"), SHRINKAGES)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_a_distance_is_the_textbook_one_without_its_matrix(
    seed: int, diag: float, off: float, correlated: bool
) -> None:
    samples = F.normalize(clouds(seed, spread=2.0, images=9)[0], dim=1)  # 9 samples in R^16
    readout = routed(
        metric="corr" if correlated else "cov", clusters=1, shrinkage_diag=diag, shrinkage_off=off
    )
    (task,) = fitted({0: samples}, {0: (0,)}, readout.task_id_kind)
    x = F.normalize(clouds(seed + 1, spread=2.0)[4], dim=1)
    s = dense_covariance(samples, diag, off)
    inverse = torch.linalg.inv(correlation(s) if correlated else s)
    differences = x - samples.mean(dim=0)
    expected = (differences @ inverse * differences).sum(dim=1)
    found = task_distances(readout, task, x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)  # roots are single here


@pytest.mark.parametrize(("diag", "off"), SHRINKAGES[:3])
def test_i29_the_correlation_form_has_a_unit_diagonal_and_is_positive_definite(
    diag: float, off: float
) -> None:
    """Read off the implementation: its quadratic form on pairs of axes gives the inverse."""
    samples = F.normalize(clouds(3, spread=2.0)[0], dim=1)
    readout = routed(metric="corr", clusters=1, shrinkage_diag=diag, shrinkage_off=off)
    (task,) = fitted({0: samples}, {0: (0,)}, readout.task_id_kind)
    measure = Ellipsoid(
        task.root(0), task.spread[0], float(task.covariances[0]), diag, off, correlation=True
    )
    axes = torch.eye(16).double()
    pairs = (axes.unsqueeze(0) + axes.unsqueeze(1)).reshape(-1, 16)
    alone = measure(axes)
    inverse = 0.5 * (measure(pairs).reshape(16, 16) - alone - alone.unsqueeze(1))
    r = torch.linalg.inv(inverse)
    torch.testing.assert_close(r.diagonal(), torch.ones(16).double(), rtol=1e-6, atol=0)
    assert torch.linalg.eigvalsh(r).min() > 0


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_i29_much_shrinkage_leaves_the_euclidean_order_of_the_centroids(seed: int) -> None:
    features = clouds(seed, spread=3.0)
    readout = routed(metric="corr", clusters=2, shrinkage_diag=1e9)
    tasks = fitted(features, TASKS, readout.task_id_kind)
    x = F.normalize(torch.cat(list(features.values())), dim=1)
    centroids = torch.stack([torch.cdist(x, task.means).min(dim=1).values for task in tasks])
    assert torch.equal(infer_tasks(readout, tasks, x), centroids.argmin(dim=0))
    squared = torch.stack([task_distances(readout, task, x) for task in tasks])
    torch.testing.assert_close(squared, centroids.square(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("metric", GAUSSIAN_METRICS)
@settings(deadline=None, max_examples=15)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=6),
    repeated=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_i29_distances_are_finite_however_few_or_equal_the_images(
    metric: str, sizes: list[int], repeated: list[bool]
) -> None:
    """D12: a class of one image, or of equal ones, must not capture every input."""
    whole = clouds(0, spread=1.0)
    labels = [label for classes in TASKS.values() for label in classes]
    features = {
        label: (whole[label][:1].expand(size, -1) if same else whole[label][:size])
        for label, size, same in zip(labels, sizes, repeated, strict=True)
    }
    readout = routed(metric=metric)
    tasks = fitted(features, TASKS, readout.task_id_kind)
    x = torch.cat([whole[label] for label in labels])
    if metric != "shared_cov":
        found = torch.stack([task_distances(readout, task, x) for task in tasks])
        assert torch.isfinite(found).all()
        assert found.min() >= 0
    assert len(infer_tasks(readout, tasks, x).unique()) > 1


def test_one_covariance_for_all_is_that_of_pooled_deviations() -> None:
    features = clouds(5, spread=2.0)
    readout = routed(metric="shared_cov", clusters=1, shrinkage_diag=0.2, shrinkage_off=0.1)
    unit = {label: F.normalize(cloud, dim=1) for label, cloud in features.items()}
    used = [label for classes in TASKS.values() for label in classes]
    deviations = torch.cat([unit[label] - unit[label].mean(dim=0) for label in used])
    sigma = deviations.T @ deviations / (len(deviations) - len(used))
    sigma += RIDGE * torch.eye(16).double()
    away = 1 - torch.eye(16).double()
    mean_off = (sigma * away).sum() / away.sum()
    s = sigma + 0.2 * sigma.diagonal().mean() * torch.eye(16) + 0.1 * mean_off * away
    x = torch.cat([unit[label] for label in used])
    inverse = torch.linalg.inv(s)

    def distance(label: int) -> Tensor:
        differences = x - unit[label].mean(dim=0)
        return (differences @ inverse * differences).sum(dim=1)

    expected = torch.stack([torch.stack([*map(distance, TASKS[t])]).amin(dim=0) for t in TASKS])
    clear = expected.sort(dim=0).values.diff(dim=0)[0] > 1e-3  # roots are single precision
    assert clear.sum() > 60
    assert torch.equal(infer(readout, features, x)[clear], expected.argmin(dim=0)[clear])


def test_the_metrics_differ() -> None:
    """On features where all of them agree, the tests above would prove little."""
    features = clouds(1, spread=3.0)
    features |= {label: cloud * torch.linspace(0.2, 4, 16) for label, cloud in features.items()}
    x = torch.cat([features[label] for classes in TASKS.values() for label in classes])
    found = {
        metric: tuple(infer(routed(metric=metric), features, x).tolist()) for metric in METRICS
    }
    assert len(set(found.values())) == len(METRICS)


@pytest.mark.parametrize("metric", [m for m in METRICS if m != "shared_cov"])
def test_i33_distances_to_old_classes_do_not_move(metric: str) -> None:
    """A task that lies far away leaves the routing between the earlier ones as it was."""
    readout, features = routed(metric=metric), clouds(0, spread=3.0)
    x = torch.cat([features[label] for label in (3, 8, 0, 5)])
    two = {task: TASKS[task] for task in (0, 1)}
    far = features | {label: -100 * x.mean(dim=0) + 0.1 * features[label] for label in TASKS[2]}
    before = infer_tasks(readout, fitted(features, two, readout.task_id_kind), x)
    after = infer_tasks(readout, fitted(far, TASKS, readout.task_id_kind), x)
    assert torch.equal(before[after != 2], after[after != 2])
    assert int((after != 2).sum()) > 20


@pytest.mark.parametrize("metric", METRICS)
def test_the_length_of_a_feature_does_not_matter(metric: str) -> None:
    features, readout = clouds(0, spread=3.0), routed(metric=metric)
    x = torch.cat(list(features.values()))
    assert torch.equal(infer(readout, features, x), infer(readout, features, 8 * x))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features = clouds(0, spread=1.0)
    readout = routed(metric="corr")
    tasks = fitted(features, TASKS, readout.task_id_kind)
    x = features[0].clone()
    x[2, 3] = bad
    with pytest.raises(DivergedError, match="no longer finite"):
        task_distances(readout, tasks[0], x)
    with pytest.raises(DivergedError, match="no longer finite"):
        fitted(features | {0: x}, TASKS, readout.task_id_kind)


def test_a_vote_is_the_majority_of_neighbours_in_the_dataset() -> None:
    inferred = torch.tensor([2, 0, 1, 1, 2, 0, 2])
    places = torch.tensor([10, 50, 20, 30, 60, 40, 70])  # sorted: 2 1 1 | 0 0 2 | 2
    assert vote(inferred, places, 3).tolist() == [1, 0, 1, 1, 0, 0, 2]
    assert vote(inferred, places, 2).tolist() == [1, 0, 1, 0, 0, 0, 2]  # ties: the earlier task


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_i30_a_batch_of_one_votes_for_itself(tasks: list[int]) -> None:
    inferred = torch.tensor(tasks)
    assert torch.equal(vote(inferred, torch.arange(len(tasks)), 1), inferred)
