"""Similarity and forgetting: found when planted, not when only the age matters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from clmethods.config.task_table import TaskTable
from sweeps.analysis.orders.task_similarity import partial_rank_correlation, similarity_association


def distances(rng, tasks):
    places = rng.normal(size=(tasks, 2))
    return np.linalg.norm(places[:, None] - places[None], axis=2)


def run(rng, distance, similar=0.0, noise=0.002):
    """(T, T) accuracies: the loss decreases with age and increases with `similar`."""
    tasks = len(distance)
    accuracy = np.full((tasks, tasks), np.nan)
    for i in range(tasks):
        accuracy[i, i] = 0.9
        for t in range(i + 1, tasks):
            lost = 0.2 / (t - i) - similar * distance[i, t] + rng.normal(0, noise)
            accuracy[t, i] = accuracy[t - 1, i] - lost
    return accuracy


@pytest.mark.parametrize(("similar", "sign"), [(0.05, 1), (-0.05, -1)])
def test_a_planted_association_is_found_with_its_sign(similar, sign):
    rng = np.random.default_rng(0)
    found = [
        partial_rank_correlation(run(rng, d, similar), d)
        for d in (distances(rng, 6) for _ in range(20))
    ]
    assert sign * np.mean(found) > 0.6


def test_the_age_alone_is_no_association():
    """Neighbours are near and lose most: plainly correlated, but not given the age."""
    rng = np.random.default_rng(1)
    line = np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0)))
    plain, given_age = [], []
    for _ in range(200):
        distance = line + np.abs(rng.normal(0, 0.3, line.shape))
        distance = (distance + distance.T) / 2
        accuracy = run(rng, distance, noise=0.01)
        early, late = np.triu_indices(8, 1)
        lost = accuracy[late - 1, early] - accuracy[late, early]
        plain.append(spearmanr(-distance[early, late], lost).statistic)
        given_age.append(partial_rank_correlation(accuracy, distance))
    assert np.mean(plain) > 0.8
    assert abs(np.mean(given_age)) < 0.05


def test_what_cannot_be_known_is_none():
    rng = np.random.default_rng(0)
    three = distances(rng, 3)
    assert partial_rank_correlation(run(rng, three), three) is None
    alike = np.ones((5, 5)) - np.eye(5)
    assert partial_rank_correlation(run(rng, alike), alike) is None


def table(distance):
    tasks = len(distance)
    zeros = (0.0,) * tasks
    rows = tuple(map(tuple, distance.tolist()))
    return TaskTable(of="made up", distance=rows, error=zeros, ambiguity=zeros)


def test_runs_are_averaged_over_orders_and_seeds(study):
    rng = np.random.default_rng(0)
    distance = distances(rng, 5)
    for seed in (0, 1, 2):
        for order in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2], [2, 4, 0, 1, 3]):
            seen = distance[np.ix_(order, order)]
            accuracy = np.nan_to_num(run(rng, seen, 0.05)).clip(0, 1)
            study.add(accuracy.round(2).tolist(), order=order, seed=seed)
    study.add([[0.9] * 5], config_id="joint")  # all tasks at once: no loss to speak of
    trial = study.trials.to_pylist()[0]
    key = (trial["partition_id"], trial["split_seed"])
    (found,) = similarity_association(
        study.trials, study.evals, "last", "test", {key: table(distance)}
    )
    assert found.reason is None
    assert found.interval.n == 9
    assert found.interval.design == "crossed"
    assert found.interval.low > 0
    assert similarity_association(study.trials, study.evals, "last", "test", {}) == []


def test_equal_losses_are_reported(study):
    study.add([[0.9, 0, 0, 0], [0.9, 0.9, 0, 0], [0.9] * 3 + [0], [0.9] * 4], order=[0, 1, 2, 3])
    trial = study.trials.to_pylist()[0]
    key = (trial["partition_id"], trial["split_seed"])
    tables = {key: table(distances(np.random.default_rng(0), 4))}
    (found,) = similarity_association(study.trials, study.evals, "last", "test", tables)
    assert found.interval is None
    assert "no correlation" in found.reason
