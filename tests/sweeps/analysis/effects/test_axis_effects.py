"""Matched differences, interactions and importance: by hand and on planted truth."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from clmethods.config import InvalidConfigError
from sweeps.analysis.effects.axis_effects import axis_effects, interactions, varied_axes
from sweeps.analysis.effects.axis_importance import axis_importance
from sweeps.analysis.trials.replicates import Replicates
from sweeps.statistics.intervals import mean_interval
from sweeps.statistics.multiple_comparisons import benjamini_hochberg, holm

ORDERS, SEEDS = ("p", "q", "r"), (0, 1)


def study_of(points, value, orders=ORDERS, seeds=SEEDS):
    """(replicates, points by id): value(point, order index, seed) in every cell."""
    found = [
        Replicates(
            str(k),
            str(k),
            "search",
            "lorac_ipc",
            "last",
            "test",
            {"a": {(o, s): value(point, i, s) for i, o in enumerate(orders) for s in seeds}},
            {},
        )
        for k, point in enumerate(points)
    ]
    return found, {str(k): point for k, point in enumerate(points)}


def grid(**axes):
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


NOISE = np.random.default_rng(0).normal(0, 0.3, (3, 2))


def test_a_matched_difference_excludes_replicate_noise_and_other_axes():
    points = grid(rank=[8, 4, 16], scheme=["ones", "learned"])

    def value(point, i, s):
        return NOISE[i, s] + 0.01 * point["rank"] + (0.5 if point["scheme"] == "learned" else 0.0)

    found, by_id = study_of(points, value)
    axes = varied_axes(by_id)
    assert [(axis.path, axis.values) for axis in axes] == [
        ("rank", (4, 8, 16)),
        ("scheme", ("ones", "learned")),
    ]
    effects = axis_effects(found, by_id, axes, "a")
    assert [(e.value, e.pairs) for e in effects] == [(8, 2), (16, 2), ("learned", 3)]
    assert [e.comparison.interval.mean for e in effects] == pytest.approx([0.04, 0.12, 0.5])
    assert all(e.comparison.significant for e in effects)
    for row in interactions(found, by_id, axes, "a"):
        assert row.comparison.interval.mean == pytest.approx(0.0)
        assert row.squares == 1


def test_the_interval_is_that_of_the_differences_averaged_over_the_pairs():
    points = grid(rank=[4, 8], scheme=["ones", "learned"])
    noise = np.random.default_rng(1).normal(0, 1, (4, 3, 2))
    found, by_id = study_of(points, lambda point, i, s: noise[points.index(point), i, s])
    effect = axis_effects(found, by_id, varied_axes(by_id), "a")[0]
    differences = ((noise[2] - noise[0]) + (noise[3] - noise[1])) / 2
    expected = mean_interval(differences.ravel(), [0, 0, 1, 1, 2, 2], [0, 1] * 3)
    assert effect.comparison.interval.low == pytest.approx(expected.low)


def test_a_planted_interaction_is_found():
    points = grid(a=[0, 1], b=[0, 1], c=[0, 1])
    found, by_id = study_of(points, lambda p, i, s: 0.2 * p["a"] * p["b"] + NOISE[i, s])
    rows = {
        (row.first.path, row.second.path): row.comparison.interval.mean
        for row in interactions(found, by_id, varied_axes(by_id), "a")
    }
    assert rows == {
        ("a", "b"): pytest.approx(0.2),
        ("a", "c"): pytest.approx(0.0),
        ("b", "c"): pytest.approx(0.0),
    }


def test_without_matched_pairs_there_is_no_effect():
    points = [{"a": 0, "b": 0}, {"a": 1, "b": 1}]
    found, by_id = study_of(points, lambda p, i, s: NOISE[i, s])
    for effect in axis_effects(found, by_id, varied_axes(by_id), "a"):
        assert effect.pairs == 0
        assert effect.comparison is None


def test_a_cell_that_one_lacks_leaves_every_pair():
    points = grid(a=[0, 1], b=[0, 1])
    found, by_id = study_of(points, lambda p, i, s: p["a"] + NOISE[i, s])
    del found[3].metrics["a"]["r", 1]
    (effect, _) = axis_effects(found, by_id, varied_axes(by_id), "a")
    assert effect.comparison.interval.n == 5
    assert effect.comparison.unpaired == 1
    assert effect.comparison.interval.mean == pytest.approx(1.0)


def test_another_baseline_can_be_named():
    by_id = {"0": {"rank": 4, "sites": ["q"]}, "1": {"rank": 8, "sites": ["q", "v"]}}
    axes = varied_axes(by_id, {"rank": "8", "sites": '["q","v"]'})
    assert [axis.baseline for axis in axes] == [8, ["q", "v"]]
    with pytest.raises(InvalidConfigError, match="Did you mean 'rank'"):
        varied_axes(by_id, {"rnk": "8"})
    with pytest.raises(InvalidConfigError, match=r"one of \[4, 8\]"):
        varied_axes(by_id, {"rank": "16"})


def test_importance_names_the_axis_that_matters():
    points = grid(rank=[2, 4, 8, 16], lr=[0.1, 0.2, 0.4], scheme=["ones", "learned"])
    found, by_id = study_of(points, lambda p, i, s: 0.05 * p["rank"] + 0.01 * p["lr"])
    axes = varied_axes(by_id)
    shares = axis_importance(found, by_id, axes, "a", "max")
    assert sorted(shares) == ["fanova", "ped_anova"]
    for share in shares.values():
        assert max(share, key=share.get) == "rank"
        assert sum(share.values()) == pytest.approx(1.0)
    assert shares["fanova"]["rank"] > 0.9
    assert axis_importance(found, by_id, axes, "a", "max") == shares


def test_importance_counts_a_field_that_does_not_act_as_blank():
    """The scale acts where the scheme is `learned` only: elsewhere it is no factor."""
    points = grid(scheme=["ones", "learned"], scale=[0.1, 0.2, 0.3, 0.4, 0.5], lr=[1, 2])
    points = [
        {k: v for k, v in p.items() if k != "scale" or p["scheme"] != "ones"} for p in points
    ]
    found, by_id = study_of(points, lambda p, i, s: p.get("scale", 0.0) + 0.001 * p["lr"])
    shares = axis_importance(found, by_id, varied_axes(by_id), "a", "max")
    assert max(shares["fanova"], key=shares["fanova"].get) == "scale"
    assert sorted(shares["ped_anova"]) == ["lr", "scale", "scheme"]


def test_importance_says_why_there_is_none():
    points = grid(rank=[2, 4], lr=[0.1, 0.2])
    found, by_id = study_of(points, lambda p, i, s: 0.5)
    assert "at least 8 are needed" in axis_importance(found, by_id, varied_axes(by_id), "a", "max")
    many, ids = study_of(grid(rank=list(range(1, 10))), lambda p, i, s: 0.5)
    assert (
        axis_importance(many, ids, varied_axes(ids), "a", "max")
        == "a is the same in all configurations"
    )
    assert axis_importance(many, ids, [], "a", "max") == "no axis varies"


def test_optuna_is_not_loaded_before_it_is_asked():
    script = "import sweeps.analysis.effects.axis_importance, sys; print('optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("scale", [10**30, 1e300])
def test_importance_does_not_depend_on_the_unit_of_an_axis(scale):
    """Values that single precision cannot hold have the shares of the same values in other
    units."""
    shares = []
    for unit in (1, scale):
        points = grid(x=[unit, 2 * unit, 3 * unit, 4 * unit], y=[0, 1, 2])
        found, by_id = study_of(points, lambda point, i, s, u=unit: point["y"] + point["x"] / u)
        shares.append(axis_importance(found, by_id, varied_axes(by_id), "a", "max")["fanova"])
    assert shares[0] == pytest.approx(shares[1], abs=1e-6)


@pytest.mark.parametrize("spacing", ["random", "grid"])
def test_a_logarithmic_axis_is_as_important_as_its_effect_is_large(spacing):
    """The effect is linear in the logarithm: 1 of the total variance of 1.1 is due to the rate."""
    rng = np.random.default_rng(8)
    exponents = rng.uniform(-5, -1, 128) if spacing == "random" else np.repeat(range(-8, 0), 16)
    other = rng.uniform(0, 1, 128)
    points = [
        {"train.lr": float(10.0**e), "method.alpha": float(a)}
        for e, a in zip(exponents, other, strict=True)
    ]
    effect = (exponents - exponents.mean()) / exponents.std()
    values = effect + 0.1**0.5 * (other - other.mean()) / other.std()
    value_of = {id(point): float(value) for point, value in zip(points, values, strict=True)}
    found, by_id = study_of(points, lambda point, i, s: value_of[id(point)])
    shares = axis_importance(found, by_id, varied_axes(by_id), "a", "max")
    assert shares["fanova"]["train.lr"] == pytest.approx(1 / 1.1, abs=0.06)
    assert shares["ped_anova"]["train.lr"] > 0.6


def null_sweep(rng, values):
    """A baseline and `values` other values on each of three axes, without any effect.

    The order matters to each configuration in its own way, which makes all runs of an order
    deviate.
    """
    points = [{"a": 0, "b": 0, "c": 0}]
    points += [
        {"a": 0, "b": 0, "c": 0} | {axis: v} for axis in "abc" for v in range(1, values + 1)
    ]
    by_order = {id(point): rng.normal(size=3) for point in points}
    return study_of(
        points,
        lambda point, i, s: by_order[id(point)][i] + 0.3 * rng.normal(),
        seeds=(0, 1, 2),
    )


def test_effects_of_zero_are_rarely_shown():
    """18 effects: at least one is shown in at most 5 % of sweeps, not in more than a fifth."""
    rng = np.random.default_rng(9)
    shown = unadjusted = 0
    for _ in range(100):
        found, by_id = null_sweep(rng, 6)
        effects = axis_effects(found, by_id, varied_axes(by_id), "a")
        assert len(effects) == 18
        shown += any(effect.comparison.significant for effect in effects)
        unadjusted += any(effect.comparison.interval.significant for effect in effects)
    assert shown <= 9  # nominal 5; more than 9 have a probability of 2.8 %
    assert unadjusted > 20


def test_lists_of_more_than_20_effects_are_adjusted_by_benjamini_and_hochberg():
    found, by_id = null_sweep(np.random.default_rng(10), 9)
    comparisons = [e.comparison for e in axis_effects(found, by_id, varied_axes(by_id), "a")]
    p_values = [c.p_value for c in comparisons]
    assert len(p_values) == 27
    assert [c.adjusted for c in comparisons] == pytest.approx(benjamini_hochberg(p_values))
    assert all(
        (c.p_value < 0.05) == c.interval.significant for c in comparisons
    )  # one by one, p value and interval agree
    few, ids = null_sweep(np.random.default_rng(10), 3)
    comparisons = [e.comparison for e in axis_effects(few, ids, varied_axes(ids), "a")]
    assert [c.adjusted for c in comparisons] == pytest.approx(
        holm([c.p_value for c in comparisons])
    )
