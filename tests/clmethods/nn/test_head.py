"""The classifier: rows of other classes are out of reach."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from clmethods.nn.head import TaskHead, initial_head

CLASSES = (2, 5, 7)


def test_i10_cross_entropy_is_that_of_all_logits_with_the_others_at_minus_infinity() -> None:
    weight, bias = initial_head(10, 4, seed=0)
    head = TaskHead(weight, bias + torch.arange(10), CLASSES)
    features = torch.rand(6, 4, dtype=torch.float64)
    labels = torch.tensor([7, 2, 5, 5, 7, 2])
    logits = F.linear(features, weight, bias + torch.arange(10))
    others = [c for c in range(10) if c not in CLASSES]
    logits[:, others] = -torch.inf
    expected = F.cross_entropy(logits, labels)
    torch.testing.assert_close(head.cross_entropy(features, labels), expected)


def test_i10_only_the_rows_of_the_task_are_parameters() -> None:
    weight, bias = initial_head(10, 4, seed=0)
    head = TaskHead(weight, bias, CLASSES)
    assert sum(p.numel() for p in head.parameters()) == len(CLASSES) * (4 + 1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(1.0)
    merged_weight, merged_bias = head.merged()
    expected = torch.zeros(10, 1, dtype=torch.float64)
    expected[list(CLASSES)] = 1.0
    assert torch.equal(merged_weight, weight + expected)
    assert torch.equal(merged_bias, bias + expected.flatten())


def test_a_row_depends_on_its_class_and_the_seed_alone() -> None:
    few, _ = initial_head(4, 16, seed=0)
    many, bias = initial_head(10, 16, seed=0)
    assert torch.equal(few, many[:4])
    assert not torch.equal(many, initial_head(10, 16, seed=1)[0])
    assert not bias.any()
    assert float(many.std()) < 0.03  # truncated normal with std 0.02
    assert len(torch.unique(many)) == many.numel()
