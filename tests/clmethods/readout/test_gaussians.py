"""Clusters and the Gaussians kept of them: what they hold, and what they take."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.checkpoint import state_from_bytes, state_to_bytes
from clmethods.config.readout import ROWS_PER_CLASS, GaussianKind
from clmethods.readout.clusters import k_means, split_class
from clmethods.readout.gaussians import fit
from clmethods.readout.statistics import ReadoutStatistics
from tests.clmethods.runs import bits, differences

FULL = GaussianKind(features="own", clusters=4, covariance=True)
DIAGONAL = GaussianKind(features="own", clusters=4, covariance=False)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_separate_groups_are_found(seed: int) -> None:
    centres = 100 * torch.eye(4, 6).double()
    x = torch.cat([c + torch.randn(10, 6, generator=generator(seed)) for c in centres])
    found = sorted(rows.tolist() for rows in split_class(x, 4, generator(seed)))
    assert found == [list(range(start, start + 10)) for start in (0, 10, 20, 30)]


@settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 60), clusters=st.integers(1, 12), seed=st.integers(0, 99), few=st.booleans()
)
def test_every_image_is_in_one_cluster_and_none_is_too_small(
    n: int, clusters: int, seed: int, few: bool
) -> None:
    """D12, with images that repeat too."""
    x = torch.randn(n, 3, generator=generator(seed)).double().pow(3)
    x = x.round() if few else x
    found = split_class(x, clusters, generator(seed))
    assert torch.equal(torch.cat(found).sort().values, torch.arange(n))
    assert len(found) <= max(1, min(clusters, n // 2))
    assert len(found) == 1 or min(map(len, found)) >= max(2, 0.05 * n)


def test_at_most_half_as_many_clusters_as_images_are_asked_for() -> None:
    """Two distant pairs stay together; four centers would split them and merge arbitrarily."""
    x = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    for seed in range(20):
        found = split_class(x, 4, generator(seed))
        assert sorted(rows.tolist() for rows in found) == [[0, 1], [2, 3]]
    with mock.patch("clmethods.readout.clusters.k_means", wraps=k_means) as asked:
        split_class(x, 4, generator())
    assert asked.call_args.args[1] == 2


def test_lloyd_ends_where_every_image_is_with_its_nearest_centre() -> None:
    x = torch.randn(200, 5, generator=generator()).double()
    labels = k_means(x, 6, generator())
    centres = torch.stack([x[labels == k].mean(dim=0) for k in range(6)])
    assert torch.equal(torch.cdist(x, centres).argmin(dim=1), labels)


def test_equal_images_are_one_cluster() -> None:
    assert k_means(torch.ones(9, 3), 4, generator()).tolist() == [0] * 9


@pytest.mark.parametrize("images", [40, 700])
def test_the_diagonal_is_exact_and_the_rest_too_while_images_are_few(images: int) -> None:
    mix = torch.randn(20, 20, generator=generator()).double()
    x = torch.randn(images, 20, generator=generator(1)).double() @ mix
    kind = GaussianKind(features="own", clusters=1, covariance=True)
    found = fit(x, torch.zeros(images, dtype=torch.int64), kind, seed=0)
    expected, root = torch.cov(x.T), found.root(0)
    torch.testing.assert_close(found.variances(0), expected.diagonal(), rtol=1e-6, atol=0)
    covariance = root.T @ root + torch.diag(found.spread[0])
    torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-4)
    assert float(found.covariances[0]) == pytest.approx(
        float((expected.sum() - expected.trace()) / (20 * 19)), rel=1e-9
    )


def test_a_root_that_is_cut_keeps_the_largest_directions() -> None:
    """More images than rows are kept, in more dimensions: the spread takes up the rest."""
    scales = torch.cat([torch.full((100,), 5.0), torch.full((500,), 0.5)])
    x = (torch.randn(600, 600, generator=generator()) * scales).double()
    kind = GaussianKind(features="own", clusters=1, covariance=True)
    found = fit(x, torch.zeros(600, dtype=torch.int64), kind, seed=0)
    assert found.ranks.tolist() == [ROWS_PER_CLASS]
    expected, root = torch.cov(x.T), found.root(0)
    torch.testing.assert_close(found.variances(0), expected.diagonal(), rtol=1e-6, atol=1e-6)
    left_out = torch.linalg.norm(expected - root.T @ root - torch.diag(found.spread[0]))
    assert left_out < 0.01 * torch.linalg.norm(expected)


@pytest.mark.parametrize("images", [425, 2000])
def test_statistics_of_a_hundred_classes_fit_in_120_mb(images: int) -> None:
    """Width 768, 4 clusters; 400 dense covariances would take 944 MB."""
    x = torch.randn(images, 768, generator=generator())
    kind = GaussianKind(features="first", clusters=4, covariance=True)
    found = fit(x, torch.zeros(images, dtype=torch.int64), kind, seed=0)
    statistics = ReadoutStatistics()
    statistics.put(kind, 0, found)
    stored = state_to_bytes(statistics.tensors())
    assert abs(len(stored) - statistics.nbytes) < 2000
    assert 100 * len(stored) <= 120e6
    assert len(found) > 1


def test_single_images_borrow_the_variance_of_the_others() -> None:
    x = torch.randn(11, 4, generator=generator()).double()
    labels = torch.tensor([0] * 10 + [1])
    kind = GaussianKind(features="own", clusters=1, covariance=False)
    found = fit(x, labels, kind, seed=0)
    torch.testing.assert_close(found.means[1], x[10])
    assert found.spread[1].tolist() == pytest.approx([float(x[:10].var(dim=0).mean())] * 4)


@pytest.mark.parametrize("kind", [FULL, DIAGONAL], ids=lambda k: k.name)
def test_statistics_survive_being_stored_bit_for_bit(kind: GaussianKind) -> None:
    x = torch.randn(60, 8, generator=generator())
    labels = torch.arange(60) % 3
    statistics = ReadoutStatistics()
    statistics.put(kind, 2, fit(x, labels, kind, seed=0))
    tensors = statistics.tensors()
    again = ReadoutStatistics(state_from_bytes(state_to_bytes(tensors)))
    assert differences(again.tensors(), tensors) == []
    found = again.get(kind, 2)
    assert found is not None
    assert bits(found.root(1)) == bits(fit(x, labels, kind, seed=0).root(1))
    assert again.get(kind, 1) is None
