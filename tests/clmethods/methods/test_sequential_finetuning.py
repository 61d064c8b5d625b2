"""Fine-tuning of all weights: everything moves, and nothing of it reaches the shared backbone."""

from __future__ import annotations

import pytest
import torch

from clmethods.config import SequentialFinetuningConfig
from clmethods.nn.backbone import features
from tests.clmethods.runs import copied, differences, same_bits, tiny_run, train


@pytest.mark.parametrize("head_loss", ["local", "global"])
def test_the_loss_decides_which_rows_of_the_head_move(head_loss: str) -> None:
    method = SequentialFinetuningConfig(head_loss=head_loss)  # type: ignore[arg-type]
    trained = train(tiny_run(method), until=1)
    before, after = trained.state(0)["head.weight"], trained.state(1)["head.weight"]
    moved = {c for c in range(10) if not same_bits(before[c], after[c])}
    now, seen = set(range(4, 8)), set(range(8))
    assert moved == (now if head_loss == "local" else seen)


def test_the_first_task_is_the_same_under_both_losses() -> None:
    local, global_ = (
        train(tiny_run(SequentialFinetuningConfig(head_loss=loss)), until=0)  # type: ignore[arg-type]
        for loss in ("local", "global")
    )
    assert local.chain[0].key == global_.chain[0].key
    assert differences(local.state(0), global_.state(0)) == []
    assert local.chain[1].key != global_.chain[1].key


def test_all_weights_move_and_the_backbone_stays() -> None:
    trained = train(tiny_run(SequentialFinetuningConfig(body_lr_scale=1.0)), until=0)
    original = copied(trained.backbone.tensors)
    method, outcome = trained.repeat(0)
    assert differences(original, trained.backbone.tensors) == []
    stored = {n.removeprefix("vit."): t for n, t in outcome.delta.items() if n.startswith("vit.")}
    assert stored.keys() == original.keys()
    assert set(differences(original, stored)) == original.keys()
    head = 4 * (16 + 1)  # four of ten classes
    assert outcome.method.trainable_parameters == head + sum(t.numel() for t in original.values())
    images = trained.data(split="test").images
    network = method.network  # type: ignore[attr-defined]
    torch.testing.assert_close(
        features(network, trained.backbone.preprocess(images)).detach(),
        trained.predictor(0, 0).features(images),
    )


def test_without_a_rate_for_the_body_it_is_a_linear_probe() -> None:
    trained = train(tiny_run(SequentialFinetuningConfig(body_lr_scale=0.0)))
    images = trained.data(split="test").images
    plain = features(trained.backbone.build(), trained.backbone.preprocess(images))
    assert same_bits(trained.predictor(2, 2).features(images), plain)
