"""The variance that each axis explains: by hand, by brute force, and compared with Optuna."""

from __future__ import annotations

from itertools import product

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import create_trial
from sklearn.tree import DecisionTreeRegressor

from sweeps.statistics.fanova import Leaves, fanova, leaves_of, marginal_variance


def test_a_worked_tree():
    """0 left of x = 1/2; on the right 2 below y = 1/4 and 6 above. The mean is 2.5."""
    leaves = Leaves(
        low=np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 0.25]]),
        high=np.array([[0.5, 1.0], [1.0, 0.25], [1.0, 1.0]]),
        values=np.array([0.0, 2.0, 6.0]) - 2.5,
    )
    assert marginal_variance(leaves, [0]) == pytest.approx(2.5**2)  # over x: 0 and 5
    assert marginal_variance(leaves, [1]) == pytest.approx(0.25 * 1.5**2 + 0.75 * 0.5**2)  # 1, 3
    whole = 0.5 * 2.5**2 + 0.125 * 0.5**2 + 0.375 * 3.5**2
    assert marginal_variance(leaves, [0, 1]) == pytest.approx(whole)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_marginal_is_the_mean_over_all_other_columns(seed):
    """Four columns of 0 and 1, so that every cell of the cube can be looked at."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 2, (30, 4)).astype(float), rng.standard_normal(30)
    tree = DecisionTreeRegressor(random_state=0).fit(x, y)
    leaves = leaves_of(tree, np.tile([0.0, 1.0], (4, 1)))
    cube = tree.predict(list(product([0.0, 1.0], repeat=4))).reshape(2, 2, 2, 2)
    for columns in ([0], [2], [0, 1], [1, 3], [0, 1, 2, 3]):
        others = tuple(sorted({0, 1, 2, 3} - set(columns)))
        assert marginal_variance(leaves, columns) == pytest.approx(cube.mean(axis=others).var())


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_shares_are_those_of_optuna():
    """A float, an integer and a category; the same forest, from the same seed."""
    rng = np.random.default_rng(0)
    a, b, c = rng.random(40), rng.integers(2, 17, 40), rng.integers(0, 3, 40)
    y = a**2 + 0.05 * b + 0.3 * (c == 1) + 0.2 * a * (c == 2)
    bounds = np.array([[0.0, 1.0], [2.0, 16.0], *[[0.0, 1.0]] * 3])
    scales = {
        "a": FloatDistribution(0.0, 1.0),
        "b": IntDistribution(2, 16),
        "c": CategoricalDistribution("xyz"),
    }
    study = optuna.create_study(direction="maximize")
    for row in range(40):
        params = {"a": float(a[row]), "b": int(b[row]), "c": "xyz"[c[row]]}
        study.add_trial(create_trial(params=params, distributions=scales, value=float(y[row])))
    expected = optuna.importance.get_param_importances(
        study, evaluator=FanovaImportanceEvaluator(seed=5), normalize=False
    )
    x = np.column_stack([a, b, *(c == kind for kind in range(3))]).astype(float)
    found = fanova(x, y, bounds, [[0], [1], [2, 3, 4]], 5)
    assert found == pytest.approx([expected[name] for name in "abc"], rel=1e-9)


def test_thousands_of_points_take_seconds_and_interaction_is_in_no_share():
    """3,000 points of x and y with the product of their signs: neither explains it alone."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1.0, 1.0, (3000, 2))
    shares = fanova(x, np.sign(x[:, 0] * x[:, 1]), np.tile([-1.0, 1.0], (2, 1)), [[0], [1]], 0)
    assert shares.max() < 0.05
