"""The cache of features: what it keeps, what it drops, and that chains share it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clmethods.config import ReadoutConfig
from clmethods.evaluate import Evaluator
from clmethods.methods import Predictor
from clmethods.readout.features import FeatureCache
from tests.clmethods.runs import LORAC, tiny_run, train

READOUTS = [ReadoutConfig(), ReadoutConfig(routing="instance"), ReadoutConfig(routing="oracle")]


def asked(cache: FeatureCache, *stages: str) -> list[str]:
    """Return the features that the cache had to compute, in the order of the requests.

    Each takes 1,000 bytes.
    """
    computed: list[str] = []
    for stage in stages:

        def compute(stage: str = stage) -> Tensor:
            computed.append(stage)
            return torch.zeros(250)

        cache.get((stage, "test", "", (0,)), compute)
    return computed


def test_features_are_computed_once() -> None:
    assert asked(FeatureCache(), "a", "b", "a", "b") == ["a", "b"]


def test_the_least_recently_used_features_go_first() -> None:
    assert asked(FeatureCache(max_bytes=2000), "a", "b", "a", "c", "a", "b") == [
        "a",
        "b",
        "c",
        "b",
    ]


def test_forgotten_values_free_memory() -> None:
    cache = FeatureCache(max_bytes=2000)
    asked(cache, "a", "b")
    cache.forget("a")
    assert asked(cache, "c", "b", "c", "a") == ["c", "a"]


def test_chains_that_begin_alike_share_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is frozen before the first task ends, so two thresholds share its stage."""
    one, other = (
        train(tiny_run(replace(LORAC, importance_threshold=threshold)), until=1)
        for threshold in (0.0, 0.5)
    )
    shared = FeatureCache()
    first = Evaluator(one.run, one.chain, features=shared).counts(0, one.state(0), READOUTS)
    alone = Evaluator(other.run, other.chain).counts(1, other.state(1), READOUTS)
    assert alone == Evaluator(other.run, other.chain, features=shared).counts(
        1, other.state(1), READOUTS
    )
    monkeypatch.setattr(Predictor, "features", None)  # from here on whatever is computed fails
    again = Evaluator(other.run, other.chain, features=shared)
    assert again.counts(0, other.state(0), READOUTS) == first
    assert again.counts(1, other.state(1), READOUTS) == alone
    with pytest.raises(TypeError):
        Evaluator(other.run, other.chain).counts(1, other.state(1), READOUTS)
