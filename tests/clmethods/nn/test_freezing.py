"""Properties of the selection: k, ties, scopes, and scores that are not finite."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from clmethods.nn.freezing import freeze_top

N = 8
distinct = st.lists(
    st.floats(1e-6, 1e6, allow_nan=False), min_size=N, max_size=N, unique=True
).map(lambda values: torch.tensor(values, dtype=torch.float64))
flags = st.lists(st.booleans(), min_size=N, max_size=N).map(torch.tensor)
counts = st.integers(0, N + 2)


@given(distinct, flags, counts)
def test_i20_masks_grow_by_k_or_by_what_is_left(scores: Tensor, frozen: Tensor, k: int) -> None:
    before = frozen.clone()
    after = freeze_top(scores, frozen, k)
    assert bool((after | ~before).all())
    assert int(after.sum() - before.sum()) == min(k, int((~before).sum()))
    assert torch.equal(frozen, before)


@given(distinct, flags, counts)
def test_the_frozen_ones_are_the_most_important_of_those_left(
    scores: Tensor, frozen: Tensor, k: int
) -> None:
    after = freeze_top(scores, frozen, k)
    chosen, left = scores[after & ~frozen], scores[~after]
    if len(chosen) and len(left):
        assert float(chosen.min()) > float(left.max())


@given(distinct, flags, counts, st.integers(-9, 9), st.permutations(range(N)))
def test_i26_selection_ignores_the_scale_and_the_enumeration(
    scores: Tensor, frozen: Tensor, k: int, power: int, order: list[int]
) -> None:
    expected = freeze_top(scores, frozen, k)
    # A power of two: any other factor could round two neighbours into a tie.
    assert torch.equal(freeze_top(scores * 2.0**power, frozen, k), expected)
    assert torch.equal(freeze_top(scores[order], frozen[order], k), expected[order])


def test_ties_fall_to_the_earlier_matrix_and_exactly_k_are_taken() -> None:
    frozen = torch.tensor([False, True, False, False])
    after = freeze_top(torch.ones(4), frozen, 2)
    assert after.tolist() == [True, True, True, False]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_freezes_nothing(bad: float) -> None:
    scores = torch.tensor([bad, 2.0, 1.0])
    none = torch.zeros(3, dtype=torch.bool)
    assert freeze_top(scores, none, 1).tolist() == [False, True, False]
    assert freeze_top(scores, none, 3).tolist() == [False, True, True]


groups = st.lists(st.sampled_from("abc"), min_size=N, max_size=N)


@given(distinct, flags, counts, groups)
def test_i20_groups_change_who_is_frozen_and_never_how_many(
    scores: Tensor, frozen: Tensor, k: int, labels: list[str]
) -> None:
    after = freeze_top(scores, frozen, k, labels)
    assert bool((after | ~frozen).all())
    assert int(after.sum() - frozen.sum()) == min(k, int((~frozen).sum()))


@given(distinct, flags, counts, groups)
def test_every_group_gives_its_best_and_the_best_of_all_make_up_the_rest(
    scores: Tensor, frozen: Tensor, k: int, labels: list[str]
) -> None:
    """By plain lists: an equal share each, then whoever is left."""
    left = sorted((float(-scores[i]), i) for i in range(N) if not frozen[i])
    each = k // len(set(labels))
    chosen: list[int] = []
    for label in set(labels):
        chosen += [i for _, i in left if labels[i] == label][:each]
    chosen += [i for _, i in left if i not in chosen][: k - len(chosen)]
    expected = frozen.clone()
    expected[chosen] = True
    assert torch.equal(freeze_top(scores, frozen, k, labels), expected)


def test_one_group_is_no_group() -> None:
    scores, frozen = torch.tensor([1.0, 3.0, 2.0, 4.0]), torch.zeros(4, dtype=torch.bool)
    assert torch.equal(freeze_top(scores, frozen, 2, ["x"] * 4), freeze_top(scores, frozen, 2))
