"""Position and carry-over: found when planted, absent when not, refused if unknowable."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.analysis.orders.positions import carry_over, position_effects, task_accuracies
from sweeps.definition import OrderDesign


def orders_of(design, tasks, count=None, **fields):
    return np.array(OrderDesign(design=design, count=count, **fields).orders(tasks))


def planted(orders, rng, position=0.0, preceding=0.0, noise=0.02):
    """Accuracies (R, T) with random order and task effects and the given planted ones.

    `position` is the loss from the first to the last position, `preceding` what task 0 costs the
    task after it.
    """
    r, t = orders.shape
    y = 0.7 + rng.normal(0, 0.1, (r, 1)) + rng.normal(0, 0.1, t)[orders]
    y = y - position * np.arange(t) / (t - 1)
    y[:, 1:] -= preceding * (orders[:, :-1] == 0)
    return y + rng.normal(0, noise, (r, t))


@pytest.mark.parametrize("design", ["latin_square", "williams", "all"])
def test_exact_effects_of_the_position_are_found_exactly(design):
    tasks = 5 if design != "all" else 3
    orders = orders_of(design, tasks)
    y = planted(orders, np.random.default_rng(0), position=0.2, noise=0.0)
    found = position_effects(orders, y)
    expected = 0.2 * (0.5 - np.arange(tasks) / (tasks - 1))
    assert found.reason is None
    assert found.effects == pytest.approx(expected)
    assert found.half == pytest.approx(np.zeros(tasks), abs=1e-6)


@pytest.mark.parametrize(("tasks", "design"), [(4, "williams"), (5, "williams"), (4, "all")])
def test_exact_carry_over_is_found_exactly(tasks, design):
    orders = orders_of(design, tasks)
    y = planted(orders, np.random.default_rng(0), position=0.1, preceding=0.3, noise=0.0)
    found = carry_over(orders, y)
    expected = -0.3 * (np.eye(tasks)[0] - 1 / tasks)
    assert found.reason is None
    assert found.effects == pytest.approx(expected)
    assert position_effects(orders, y).reason is None


def test_a_latin_square_cannot_tell_carry_over_and_says_so():
    found = carry_over(orders_of("latin_square", 5), np.zeros((5, 5)))
    assert found.effects.size == 0
    assert "a Williams design does" in found.reason


def test_one_order_two_orders_and_too_few_are_refused_with_a_reason():
    one = orders_of("identity", 4)
    assert "one order" in position_effects(one, np.zeros((1, 4))).reason
    assert "one order" in carry_over(one, np.zeros((1, 4))).reason
    two = orders_of("williams", 2)
    assert "degrees of freedom" in position_effects(two, np.zeros((2, 2))).reason
    assert carry_over(orders_of("random", 5, 2), np.zeros((2, 5))).reason is not None


def test_what_designed_orders_tell_and_what_they_do_not():
    """Herded orders tell both effects; tasks that always come first tell neither."""
    rng = np.random.default_rng(0)
    herded = orders_of("space_filling", 4, 12)
    y = planted(herded, rng, position=0.2, preceding=0.3, noise=0.0)
    assert position_effects(herded, y).reason is None
    assert carry_over(herded, y).effects == pytest.approx(-0.3 * (np.eye(4)[0] - 1 / 4))
    ruled = orders_of("all", 4, before=((0, 1),))
    assert position_effects(ruled, planted(ruled, rng, position=0.2, noise=0.0)).reason is None
    fixed = orders_of("all", 5, fixed=(0, 1))
    found = position_effects(fixed, planted(fixed, rng, position=0.2))
    assert "do not separate the position from the task" in found.reason
    assert carry_over(fixed, planted(fixed, rng)).reason is not None


@pytest.mark.parametrize("tasks", [4, 5])
def test_planted_effects_are_seen_and_effects_that_are_not_there_are_not(tasks):
    """120 draws each: false alarms at 5 % have a standard error of 2 %."""
    rng = np.random.default_rng(1)
    orders = orders_of("williams", tasks)
    draws, held, alarms, seen = 120, 0, np.zeros(2), np.zeros(2)
    for _ in range(draws):
        nothing, placed = planted(orders, rng), planted(orders, rng, position=0.15)
        after = planted(orders, rng, position=0.15, preceding=0.15)
        fits = [fit(orders, nothing) for fit in (position_effects, carry_over)]
        alarms += [fit.p_value < 0.05 for fit in fits]
        carried = carry_over(orders, after)
        seen += [position_effects(orders, placed).p_value < 0.05, carried.p_value < 0.05]
        truth = -0.15 * (np.eye(tasks)[0] - 1 / tasks)
        held += (np.abs(carried.effects - truth) <= carried.half).mean()
    assert (alarms / draws <= 0.11).all()
    assert (seen / draws >= 0.8).all()
    assert held / draws >= 0.91


def test_accuracies_come_by_order_averaged_over_seeds(study):
    study.add([[0.9, 0.0], [0.5, 0.7]], order=[0, 1], seed=0)
    study.add([[0.7, 0.0], [0.3, 0.5]], order=[0, 1], seed=1)
    study.add([[0.8, 0.0], [0.6, 0.6]], order=[1, 0], seed=0)
    study.add([[0.9]], order=[0], config_id="joint", stages_total=1)
    study.add([[0.8, 0.0], [0.6, 0.6]], order=[1, 0], seed=1, status="failed", stages_done=1)
    final, single = task_accuracies(study.trials, study.evals, "last", "test")
    assert final.orders.tolist() == [[0, 1], [1, 0]]
    assert final.values == pytest.approx(np.array([[0.4, 0.6], [0.6, 0.6]]))
    learned, _ = task_accuracies(study.trials, study.evals, "last", "test", "learned")
    assert learned.values == pytest.approx(np.array([[0.8, 0.6], [0.8, 0.6]]))
    assert single.orders.shape == (1, 1)
