"""Section `orders` of a sweep file: properties of every design, constraints, errors."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError
from sweeps.definition.orders import (
    BALANCES,
    CHAINS,
    MEASURED,
    ORDERS,
    Order,
    OrderDesign,
    balance_lines,
)
from tests.sweeps.definition.orders.tables import EVERY_DESIGN, obeys, rules, table_of

Rule = tuple[int, tuple[tuple[int, int], ...]]
BALANCED = {"latin_square", "williams"}
NAMES = ("clipart", "infograph", "painting", "quickdraw")


def designed(design: str, num_tasks: int, seed: int = 0, **fields: Any) -> tuple[Order, ...]:
    """The orders of any design, with a count and a list where it needs them."""
    if design in {"random", "space_filling"}:
        fields.setdefault("count", 1)
    if design == "explicit":
        fields.setdefault("list", (tuple(range(num_tasks)),))
    whole = OrderDesign(design=design, seed=seed, **fields)  # type: ignore[arg-type]
    table = table_of(num_tasks, seed) if whole.needs_table else None
    return whole.orders(num_tasks, (), table)


def test_every_choice_is_made_by_something_and_says_what_it_balances() -> None:
    assert set(EVERY_DESIGN) == {*ORDERS, *MEASURED, "explicit"} == {*BALANCES}
    assert set(CHAINS) < set(MEASURED)


@pytest.mark.parametrize("design", EVERY_DESIGN)
@given(rule=rules(most=6), seed=st.integers(0, 99), data=st.data())
@settings(deadline=None, max_examples=25)
def test_every_design_obeys_its_constraints_and_its_fixed_start(
    design: str, rule: Rule, seed: int, data: st.DataObject
) -> None:
    """Or refuses: a balanced design puts every task at every position."""
    num_tasks, pairs = rule
    some = next(order for order in permutations(range(num_tasks)) if obeys(order, pairs))
    fixed = some[: data.draw(st.integers(0, num_tasks - 1))]
    fields: dict[str, Any] = {"before": pairs, "fixed": fixed}
    if design == "explicit":
        fields["list"] = (some,)
    if design in BALANCED and not all(a in fixed for a, _ in pairs):
        with pytest.raises(InvalidConfigError, match="cannot keep"):
            designed(design, num_tasks, seed, **fields)
        return
    orders = designed(design, num_tasks, seed, **fields)
    assert all(sorted(order) == [*range(num_tasks)] for order in orders)
    assert len(set(orders)) == len(orders) > 0
    assert all(order[: len(fixed)] == fixed for order in orders)
    assert all(obeys(order, pairs) for order in orders)
    assert orders == designed(design, num_tasks, seed, **fields)


@given(rule=rules(most=6))
@settings(deadline=None, max_examples=25)
def test_all_and_exhausted_draws_are_every_order_that_obeys(rule: Rule) -> None:
    num_tasks, pairs = rule
    desired = {order for order in permutations(range(num_tasks)) if obeys(order, pairs)}
    assert set(designed("all", num_tasks, before=pairs)) == desired
    if len(desired) <= 24:
        for design in ("random", "space_filling"):
            found = designed(design, num_tasks, before=pairs, count=len(desired))
            assert set(found) == desired


def test_all_is_exhaustive_whatever_its_constraints_and_nothing_else_is() -> None:
    assert OrderDesign(design="all", before=((0, 1),)).exhaustive
    assert not OrderDesign(design="random", count=6).exhaustive
    assert not OrderDesign(design="williams").exhaustive


def test_natural_orders_bend_as_far_as_they_must() -> None:
    assert designed("identity", 4, before=((2, 0),)) == ((1, 2, 0, 3),)
    assert designed("reverse", 4, before=((0, 3),)) == ((2, 1, 0, 3),)


def test_fixed_tasks_come_first_and_the_rest_is_designed() -> None:
    orders = designed("latin_square", 5, fixed=(3, 1))
    assert [order[:2] for order in orders] == [(3, 1)] * 3
    assert [order[2:] for order in orders] == [(0, 2, 4), (2, 4, 0), (4, 0, 2)]
    assert balance_lines(orders)[1] == "the first 2 tasks are the same in every order"
    assert balance_lines(orders)[2].startswith("11 stages per configuration and seed, 15 without")


def test_tasks_may_be_called_by_name() -> None:
    design = OrderDesign(design="all", fixed=("painting",), before=(("quickdraw", 0),))
    assert design.orders(4, NAMES) == ((2, 1, 3, 0), (2, 3, 0, 1), (2, 3, 1, 0))


def test_a_large_stream_is_ordered_under_constraints() -> None:
    """20 tasks: drawn with equal chances, so a pair that no rule binds goes either way."""
    pairs = tuple((i, i + 1) for i in range(0, 10, 2))
    orders = designed("random", 20, count=200, before=pairs)
    assert all(obeys(order, pairs) for order in orders)
    assert 60 < sum(order.index(0) < order.index(2) for order in orders) < 140


@pytest.mark.parametrize(
    ("design", "fields", "message"),
    [
        ("random", {"before": ((0, 5),)}, "orders.before[0]: got 5, allowed: a task from 0 to 3"),
        ("all", {"before": ((0, "1"),)}, "The tasks of this stream have no names."),
        ("all", {"before": ((1, 1),)}, "cycle: 1 before 1."),
        ("all", {"before": ((0, 1), (1, 2), (2, 0))}, "cycle: 0 before 1 before 2 before 0."),
        ("near_first", {"before": ((0, 1), (1, 0))}, "cycle: 0 before 1 before 0."),
        ("identity", {"fixed": (4,)}, "orders.fixed[0]: got 4, allowed: a task from 0 to 3"),
        ("identity", {"fixed": (0, 1, 2, 3)}, "allowed: fewer than the 4 tasks. One order is"),
        ("identity", {"fixed": (1, 1)}, "orders.fixed[1]: got 1, allowed: each task once"),
        (
            "identity",
            {"fixed": (1,), "before": ((0, 1),)},
            "orders.fixed: got [1], allowed: first tasks with 0 before 1, as `before` requires",
        ),
        (
            "williams",
            {"before": ((2, 1),)},
            "orders.design: got 'williams', allowed: a design that can keep the constraints. "
            "`williams` puts every task at every position, so it cannot keep 2 before 1.",
        ),
        ("latin_square", {"before": ((3, 2),), "fixed": (0,)}, "it cannot keep 3 before 2"),
        (
            "random",
            {"before": ((0, 1),), "count": 13},
            "1 to 12, the number of orders of 4 tasks that",
        ),
        (
            "explicit",
            {"list": ((0, 1, 2, 3), (1, 0, 2, 3)), "before": ((0, 1),)},
            "orders.list[1]: got [1, 0, 2, 3], allowed: an order with 0 before 1",
        ),
        (
            "explicit",
            {"list": ((0, 1, 2, 3),), "fixed": (1,)},
            "allowed: an order that starts with the fixed tasks [1]",
        ),
    ],
)
def test_what_cannot_be_is_refused(design: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        designed(design, 4, **fields)
    assert message in str(refused.value)


def test_a_name_that_does_not_exist_offers_the_nearest() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        OrderDesign(before=(("clpart", "painting"),)).check(4, NAMES)
    assert "or one of ['clipart', " in str(refused.value)
    assert "Did you mean 'clipart'?" in str(refused.value)


def test_all_is_refused_where_constraints_leave_too_many_orders() -> None:
    with pytest.raises(InvalidConfigError, match="9 tasks have 181440 orders left by the"):
        designed("all", 9, before=((0, 1),))
    assert len(designed("all", 9, fixed=(0, 1, 2, 3))) == 120


def test_a_measured_design_needs_the_table_of_its_tasks() -> None:
    design = OrderDesign(design="near_first")
    design.check(4)
    with pytest.raises(ValueError, match="needs the table of the 4 tasks"):
        design.orders(4, (), table_of(3))


def test_listed_orders_are_taken_as_they_are() -> None:
    listed = ((0, 1, 2), (2, 1, 0))
    assert OrderDesign(design="explicit", list=listed).orders(3) == listed


def test_listed_orders_must_be_distinct_permutations() -> None:
    design = OrderDesign(design="explicit", list=((0, 1, 2), (0, 0, 1), (0, 1, 2)))
    with pytest.raises(InvalidConfigError) as refused:
        design.orders(3)
    assert [issue.path for issue in refused.value.issues] == ["orders.list[1]", "orders.list[2]"]
    assert "got [0, 0, 1], allowed: a permutation of 0..2, each task once" in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"design": "explicit"}, "list"),
        ({"design": "explicit", "list": ((0,),), "count": 1}, "count"),
        ({"design": "random", "count": 1, "list": ((0,),)}, "list"),
        ({"design": "curricula", "count": 2}, "count"),
    ],
)
def test_a_list_goes_with_the_explicit_design_only(fields: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        OrderDesign(**fields)  # type: ignore[arg-type]
    assert [issue.path for issue in refused.value.issues] == [path]
