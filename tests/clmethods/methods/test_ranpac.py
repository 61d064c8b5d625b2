"""RanPAC: sums that do not care how the data were cut, and a ridge (I40)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from clmethods.config import InvalidConfigError, LoraSequentialConfig, RanpacConfig, StreamConfig
from clmethods.evaluate import EvalCount
from clmethods.methods.ranpac import projection, regression
from clmethods.nn.backbone import features
from clmethods.nn.ridge import unpack
from clmethods.training.sequence import run_sequence
from tests.clmethods.runs import STREAM, Trained, same_bits, tiny_run, train

FROZEN = RanpacConfig(rank=2, first_session=False, projection=24, ridge=1.0)
RAW = replace(FROZEN, projection=0)
SESSION = replace(FROZEN, first_session=True)


def weights(trained: Trained) -> torch.Tensor:
    return regression(trained.run, trained.backbone, trained.state(trained.last))


@pytest.mark.parametrize("config", [FROZEN, RAW], ids=["projected", "raw"])
def test_i40_any_cut_of_the_data_gives_the_same_sums_and_weights(config: RanpacConfig) -> None:
    cuts = [
        train(tiny_run(config, replace(STREAM, tasks=tasks, task_order=order)))
        for tasks, order in ((1, None), (3, (1, 2, 0)), (10, None))
    ]
    width = config.projection or 16
    whole = cuts[0].state(0)
    for other in cuts[1:]:
        state = other.state(other.last)
        torch.testing.assert_close(state["gram"], whole["gram"], rtol=1e-10, atol=1e-10)
        for label in range(10):
            found, expected = state[f"target.{label}"], whole[f"target.{label}"]
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(weights(other), weights(cuts[0]), rtol=1e-7, atol=1e-9)
        assert unpack(state["gram"], width).dtype == torch.float64


def test_i40_without_projection_it_is_ridge_regression_on_the_features() -> None:
    trained = train(tiny_run(RAW))
    data, test = trained.data(), trained.data(split="test")
    network, preprocess = trained.backbone.build(), trained.backbone.preprocess
    h = features(network, preprocess(data.images))
    onehot = torch.eye(10, dtype=torch.float64)[data.labels]
    solution = torch.linalg.solve(h.T @ h + torch.eye(16), h.T @ onehot)
    expected = features(network, preprocess(test.images)) @ solution
    torch.testing.assert_close(trained.predictor(2, 2).scores(test.images), expected)


def test_the_projection_is_the_seeds_and_is_rectified() -> None:
    trained = train(tiny_run(FROZEN), until=0)
    h = torch.randn(500, 16, dtype=torch.float64)
    inputs = projection(trained.run, trained.backbone)(h)
    assert inputs.shape == (500, 24)
    assert bool((inputs >= 0).all())
    matrix = projection(trained.run, trained.backbone)(torch.eye(16)) - projection(
        trained.run, trained.backbone
    )(-torch.eye(16))
    torch.testing.assert_close(inputs, (h @ matrix).relu())
    assert 0.85 < float(matrix.std()) < 1.15
    other = projection(replace(trained.run, seed=1), trained.backbone)(h)
    assert not torch.allclose(inputs, other)


def final_counts(config: RanpacConfig, stream: StreamConfig) -> list[EvalCount]:
    return run_sequence(tiny_run(config, stream))[-1].counts["last"]


@pytest.mark.parametrize("config", [FROZEN, RAW], ids=["projected", "raw"])
def test_i36_the_final_accuracies_of_the_ridge_do_not_depend_on_the_order(
    config: RanpacConfig,
) -> None:
    natural = final_counts(config, STREAM)
    assert sum(count.correct or 0 for count in natural) > 0
    for order in list(itertools.permutations(range(3)))[1:]:
        assert final_counts(config, replace(STREAM, task_order=order)) == natural


def test_after_the_first_session_the_order_does_not_matter() -> None:
    """Given the same first task, and a fixed penalty."""
    natural = final_counts(SESSION, STREAM)
    assert final_counts(SESSION, replace(STREAM, task_order=(0, 2, 1))) == natural


def test_the_first_session_trains_lora_and_later_ones_nothing() -> None:
    trained = train(tiny_run(SESSION))
    lora = train(tiny_run(LoraSequentialConfig(rank=2)), until=0).state(0)
    first = {n: t for n, t in trained.deltas[0].items() if n.startswith("lora.")}
    assert len(first) == 2 * 12
    assert all(same_bits(tensor, lora[name]) for name, tensor in first.items())
    assert trained.outcomes[0].training.steps > 0
    for outcome in trained.outcomes[1:]:
        assert outcome.training.steps == 0
        assert outcome.method.trainable_parameters == 0
        assert not [name for name in outcome.delta if name.startswith("lora.")]
    assert "head.weight" not in trained.state(2)
    images = trained.data(split="test").images
    found = trained.predictor(2, 2).features(images)
    assert same_bits(found, trained.predictor(0, 0).features(images))
    plain = features(trained.backbone.build(), trained.backbone.preprocess(images))
    assert not torch.allclose(found, plain, atol=1e-3)


def test_rates_act_in_the_first_session_alone() -> None:
    runs = [tiny_run(SESSION, lr=rate) for rate in (0.01, 0.02)]
    first, later = ([run.method.trains_at(t, run.context) for run in runs] for t in (0, 1))
    assert first == [True, True]
    assert later == [False, False]
    frozen = [train(tiny_run(FROZEN, lr=rate)) for rate in (0.01, 0.02)]
    assert [s.key for s in frozen[0].chain] == [s.key for s in frozen[1].chain]


def test_a_penalty_too_small_for_float64_is_refused_with_a_message() -> None:
    trained = train(tiny_run(replace(FROZEN, ridge=1e-300)), until=0)
    with pytest.raises(InvalidConfigError, match=r"method\.ridge: got 1e-300.*Increase it"):
        trained.predictor(0, 0)


def test_a_chosen_penalty_is_a_power_of_ten_and_is_stored() -> None:
    trained = train(tiny_run(replace(FROZEN, ridge=None)))
    for position in range(3):
        chosen = float(trained.state(position)["ridge"])
        assert chosen in {10.0**power for power in range(-8, 9)}
    scores = trained.predictor(2, 2).scores(trained.data(split="test").images)
    assert bool(torch.isfinite(scores).all())
