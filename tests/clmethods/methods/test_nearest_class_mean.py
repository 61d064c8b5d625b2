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
from clmethods.sequence import run_sequence
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
