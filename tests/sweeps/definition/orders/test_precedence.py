"""Linear extensions: counted exactly, drawn with equal chances, against brute force."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from clmethods.config import InvalidConfigError
from sweeps.definition.orders import Precedence, cycle_of
from sweeps.definition.orders import precedence as module
from tests.sweeps.definition.orders.tables import obeys, rules

Rule = tuple[int, tuple[tuple[int, int], ...]]
ZIGZAG = ((0, 2), (1, 2), (1, 3), (4, 3), (4, 5))
"""A fence: it can be divided neither into unrelated tasks nor into blocks that follow."""
STACKED = ((0, 2), (0, 3), (1, 2), (1, 3), (2, 4))


@given(rule=rules(most=6))
@settings(deadline=None, max_examples=60)
def test_it_counts_and_lists_exactly_the_orders_that_obey(rule: Rule) -> None:
    num_tasks, pairs = rule
    desired = [order for order in permutations(range(num_tasks)) if obeys(order, pairs)]
    found = Precedence.of(num_tasks, pairs)
    assert [*found.orders()] == desired
    assert found.count() == len(desired)


@given(rule=rules(least=2), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_a_drawn_order_obeys_and_broken_names_a_pair_that_does_not(rule: Rule, seed: int) -> None:
    num_tasks, pairs = rule
    found = Precedence.of(num_tasks, pairs)
    assert obeys(found.draw(random.Random(seed)), pairs)
    shuffled = tuple(random.Random(seed).sample(range(num_tasks), num_tasks))
    broken = found.violated_pair(shuffled)
    assert (broken is None) == obeys(shuffled, pairs)
    if broken is not None:
        assert not obeys(shuffled, (broken,))
        assert found.earlier[broken[1]] >> broken[0] & 1  # the pair is implied


@pytest.mark.parametrize("pairs", [ZIGZAG, STACKED, ((0, 1), (2, 3))])
def test_draws_are_equally_likely(pairs: tuple[tuple[int, int], ...]) -> None:
    rule = Precedence.of(6, pairs)
    generator = random.Random(0)
    drawn = Counter(rule.draw(generator) for _ in range(30 * rule.count()))
    counts = [drawn[order] for order in rule.orders()]
    assert chisquare(counts).pvalue > 0.001


def test_large_rules_are_counted_at_once() -> None:
    chains = [(i, i + 1) for i in range(0, 40, 2)]
    assert Precedence.of(40, chains).count() == math.factorial(40) // 2**20
    star = [(0, i) for i in range(1, 30)]
    assert Precedence.of(30, star).count() == math.factorial(29)
    fence = [pair for i in range(0, 14, 2) for pair in ((i, i + 1), (i + 2, i + 1))]
    assert Precedence.of(15, fence).count() == 1903757312  # the zigzag number of 15


def test_a_rule_beyond_counting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNTED", 3)
    with pytest.raises(InvalidConfigError, match=r"orders.before: .* can be counted"):
        Precedence.of(6, ZIGZAG).count()


@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=9))
@settings(deadline=None)
def test_a_cycle_is_found_exactly_where_no_order_obeys(pairs: list[tuple[int, int]]) -> None:
    cycle = cycle_of(pairs)
    possible = any(obeys(order, tuple(p for p in pairs)) for order in permutations(range(5)))
    assert bool(cycle) == (not possible)
    if cycle:
        assert len(set(cycle)) == len(cycle)
        assert {*pairwise((*cycle, cycle[0]))} <= {*pairs}
