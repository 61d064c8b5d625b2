"""Nearest class mean: exact under any order, so a test of the whole harness."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from clmethods.config import NearestClassMeanConfig, StreamConfig
from clmethods.evaluate import EvalCount
from clmethods.nn.backbone import features
from clmethods.training.sequence import run_sequence
from tests.clmethods.runs import STREAM, tiny_run, train


def final_counts(stream: StreamConfig) -> list[EvalCount]:
    return run_sequence(tiny_run(NearestClassMeanConfig(), stream))[-1].counts["last"]


@pytest.fixture(scope="module")
def natural() -> list[EvalCount]:
    return final_counts(STREAM)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_i36_the_final_accuracies_do_not_depend_on_the_order(
    natural: list[EvalCount], order: tuple[int, ...]
) -> None:
    assert final_counts(replace(STREAM, task_order=order)) == natural


def test_its_predictions_are_those_of_a_few_plain_lines() -> None:
    trained = train(tiny_run(NearestClassMeanConfig()))
    network, preprocess = trained.backbone.build(), trained.backbone.preprocess
    data, test = trained.data(), trained.data(split="test")
    found = features(network, preprocess(data.images))
    means = torch.stack([found[data.labels == label].mean(dim=0) for label in range(10)])
    h = features(network, preprocess(test.images))
    expected = F.cosine_similarity(h[:, None], means[None], dim=2)
    torch.testing.assert_close(trained.predictor(2, 2).scores(test.images), expected)


def test_it_trains_nothing() -> None:
    outcome = train(tiny_run(NearestClassMeanConfig()), until=0).outcomes[0]
    assert outcome.training.steps == 0
    assert outcome.method.trainable_parameters == 0
    assert outcome.delta.keys() == {f"mean.{label}" for label in range(4)}


def test_by_distance_the_scores_rank_as_distances_do() -> None:
    trained = train(tiny_run(NearestClassMeanConfig(metric="euclid")))
    images = trained.data(split="test").images
    predictor, state = trained.predictor(2, 2), trained.state(2)
    means = torch.stack([state[f"mean.{label}"] for label in range(10)])
    distances = torch.cdist(predictor.features(images), means)
    scores = predictor.scores(images)
    expected = 0.5 * (predictor.features(images).square().sum(dim=1)[:, None] - distances**2)
    torch.testing.assert_close(scores, expected)
    assert torch.equal(scores.argmax(dim=1), distances.argmin(dim=1))


def test_i36_by_distance_too_the_order_does_not_matter() -> None:
    method = NearestClassMeanConfig(metric="euclid")
    natural, other = (
        run_sequence(tiny_run(method, replace(STREAM, task_order=order)))[-1].counts["last"]
        for order in (None, (2, 0, 1))
    )
    assert natural == other


def test_i40_prototypes_learned_one_by_one_are_those_of_all_data() -> None:
    steps = train(tiny_run(NearestClassMeanConfig())).state(2)
    whole = train(tiny_run(NearestClassMeanConfig(), replace(STREAM, tasks=1))).state(0)
    assert steps.keys() == whole.keys()
    for name, mean in steps.items():
        torch.testing.assert_close(mean, whole[name])
