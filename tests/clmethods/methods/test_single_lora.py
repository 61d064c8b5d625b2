"""The controls: one module fine-tuned task after task, and one trained on all tasks at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clmethods.config import JointLoraConfig, LoraSequentialConfig, StreamConfig
from clmethods.nn.backbone import features
from tests.clmethods.runs import STREAM, differences, same_bits, tiny_run, train


def test_the_module_goes_on_from_where_the_last_task_left_it() -> None:
    trained = train(tiny_run(LoraSequentialConfig(rank=2)))
    images = trained.data(split="test").images
    pixels = trained.backbone.preprocess(images)
    for position in (1, 2):
        started = trained.method(position).network  # type: ignore[attr-defined]
        expected = trained.predictor(position - 1, position - 1).features(images)
        torch.testing.assert_close(
            features(started, pixels).detach(), expected, rtol=1e-10, atol=1e-10
        )
    assert trained.state(0).keys() == trained.state(2).keys()
    assert len(differences(trained.state(0), trained.state(2))) == len(trained.state(0))


def test_the_rank_of_joint_training_is_that_of_all_modules_together() -> None:
    trained = train(tiny_run(JointLoraConfig(rank=2)))
    assert len(trained.chain) == 1
    assert trained.chain[0].classes == tuple(range(10))
    assert trained.deltas[0]["lora.0.q.A"].shape == (2 * 3, 16)
    assert trained.deltas[0]["lora.1.f1.B"].shape == (64, 2 * 3)
    sequential = train(tiny_run(LoraSequentialConfig(rank=2)), until=0)
    assert sequential.deltas[0]["lora.0.q.A"].shape == (2, 16)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_joint_training_does_not_depend_on_the_order(order: tuple[int, ...]) -> None:
    natural = train(tiny_run(JointLoraConfig(rank=2)))
    other = train(tiny_run(JointLoraConfig(rank=2), replace(STREAM, task_order=order)))
    assert other.chain == natural.chain
    assert other.run.order_id == natural.run.order_id == "any"
    assert differences(other.state(0), natural.state(0)) == []


def test_joint_training_does_not_depend_on_the_grouping_but_for_its_rank() -> None:
    natural = train(tiny_run(JointLoraConfig(rank=2)))
    regrouped = train(tiny_run(JointLoraConfig(rank=2), replace(STREAM, class_order_seed=5)))
    assert regrouped.chain[0].key == natural.chain[0].key
    assert differences(regrouped.state(0), natural.state(0)) == []
    # Six modules of rank 1 and three of rank 2 have one rank, but not one scale.
    finer = train(tiny_run(JointLoraConfig(rank=2), StreamConfig(tasks=5, limit=4)))
    assert finer.chain[0].key != natural.chain[0].key


def test_the_report_covers_every_matrix() -> None:
    outcome = train(tiny_run(LoraSequentialConfig(rank=2, sites=("q", "f1"))), until=0).outcomes[0]
    assert [(row.block, row.site) for row in outcome.method.matrices] == [
        *((0, "q"), (0, "f1"), (1, "q"), (1, "f1"))
    ]
    factors = 2 * (2 * (16 + 16) + 2 * (16 + 64))
    head = 4 * (16 + 1)  # four of ten classes
    assert outcome.method.trainable_parameters == factors + head
    assert all(row.delta_norm > 0 and not row.frozen for row in outcome.method.matrices)


def test_networks_share_no_state_with_the_stored_one() -> None:
    trained = train(tiny_run(LoraSequentialConfig(rank=2)), until=1)
    before = {name: tensor.clone() for name, tensor in trained.state(0).items()}
    trained.repeat(1)
    assert all(same_bits(before[name], tensor) for name, tensor in trained.state(0).items())
