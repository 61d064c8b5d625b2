"""Selection: limits kept for sure, the worst order, the card, and regret on simulated truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from clmethods.config import (
    InvalidConfigError,
    LoracIpcConfig,
    ReadoutConfig,
    RunConfig,
    StreamConfig,
    run_from_dict,
    run_to_dict,
)
from sweeps.analysis.selection.selection import MetricLimit, metric_estimate, select
from sweeps.analysis.trials.replicates import Replicates
from sweeps.presentation.production_file import production_document, production_run
from sweeps.presentation.selection_card import SelectionQuestion, selection_card_text
from sweeps.statistics.intervals import mean_interval
from sweeps.statistics.prediction_intervals import prediction_interval

OBJECTIVES = {"average_accuracy": "max", "forgetting": "min"}


def configuration(label, accuracy, forgetting=None, role="search", readout="last"):
    """Replicates from grids of orders x seeds."""
    forgetting = np.zeros_like(accuracy) if forgetting is None else forgetting
    metrics = {
        name: {
            (f"order{i}", j): float(v)
            for i, row in enumerate(grid)
            for j, v in enumerate(row)
            if not np.isnan(v)
        }
        for name, grid in (("average_accuracy", accuracy), ("forgetting", forgetting))
    }
    return Replicates(label, label, role, "lorac_ipc", readout, "validation", metrics, {})


def flat(value, spread=0.0, orders=4, seeds=3, seed=0):
    noise = np.random.default_rng(seed).standard_normal((orders, seeds))
    return value + spread * noise


def asked(limits=(), prefer="average_accuracy", **changes):
    return SelectionQuestion(
        **{
            "objectives": OBJECTIVES,
            "limits": tuple(limits),
            "prefer": prefer,
            "basis": "pessimistic",
            "fixed_orders": False,
            "order": None,
            "chosen_on": None,
        }
        | changes
    )


def test_the_pessimistic_number_is_the_worse_of_interval_and_order():
    steady = np.array([[0.70, 0.72], [0.71, 0.70], [0.70, 0.71]])
    held = metric_estimate(configuration("a", steady), "average_accuracy", "max")
    expected = mean_interval(steady.ravel(), [0, 0, 1, 1, 2, 2], [0, 1] * 3)
    assert held.pessimistic == pytest.approx(min(expected.low, held.worst))
    assert held.worst_order in {"order0", "order1", "order2"}
    low = metric_estimate(configuration("a", steady), "average_accuracy", "min")
    assert low.pessimistic == pytest.approx(max(expected.high, low.worst))
    one_run = metric_estimate(configuration("a", [[0.7]]), "average_accuracy", "max")
    assert (one_run.pessimistic, one_run.worst_order) == (0.7, None)
    assert one_run.interval.low is None


def test_a_steady_one_beats_a_better_mean_with_a_bad_order():
    wild = np.array([[0.95] * 3, [0.95] * 3, [0.95] * 3, [0.60] * 3])
    found = [configuration("wild", wild), configuration("steady", flat(0.8, 0.001))]
    assert wild.mean() > 0.8
    assert select(found, OBJECTIVES, [], "average_accuracy").chosen.replicates.label == "steady"
    by_mean = select(found, OBJECTIVES, [], "average_accuracy", basis="mean")
    assert by_mean.chosen.replicates.label == "wild"


def test_limits_are_kept_even_in_the_worst_order_or_nothing_is_chosen():
    forgets = np.array([[0.01] * 3, [0.01] * 3, [0.01] * 3, [0.09] * 3])
    found = [
        configuration("best", flat(0.9, 0.001), forgets),
        configuration("safe", flat(0.7, 0.001), flat(0.02, 0.001)),
    ]
    limit = MetricLimit("forgetting", "max", 0.05)
    assert forgets.mean() < 0.05
    choice = select(found, OBJECTIVES, [limit], "average_accuracy")
    assert choice.chosen.replicates.label == "safe"
    assert choice.unlimited.replicates.label == "best"
    assert [c.replicates.label for c in choice.refused] == ["best"]
    nothing = select(
        found, OBJECTIVES, [MetricLimit("forgetting", "max", 0.001)], "average_accuracy"
    )
    assert nothing.chosen is None
    text = selection_card_text(asked([MetricLimit("forgetting", "max", 0.001)]), nothing, {})
    assert "nothing: no configuration satisfies forgetting <= 0.1 %, by the pessimistic" in text
    assert text.index("nearest   safe") < text.index("nearest   best")


def test_a_limit_against_the_direction_is_refused():
    with pytest.raises(InvalidConfigError, match="Use --min"):
        select([], OBJECTIVES, [MetricLimit("average_accuracy", "max", 0.5)], None)


def test_without_a_preference_the_knee_is_chosen():
    found = [
        configuration("accurate", flat(0.90), flat(0.30)),
        configuration("knee", flat(0.88), flat(0.10)),
        configuration("stable", flat(0.60), flat(0.08)),
    ]
    assert select(found, OBJECTIVES, [], None).chosen.replicates.label == "knee"


def test_references_oracles_and_configurations_without_runs_are_not_chosen():
    found = [
        configuration("joint", flat(0.99), role="reference"),
        configuration("told", flat(0.98), readout="oracle"),
        configuration("leaks", flat(0.97), readout="batch-cosine"),
        configuration("empty", np.full((2, 2), np.nan)),
        configuration("plain", flat(0.5)),
    ]
    choice = select(found, OBJECTIVES, [], "average_accuracy")
    assert choice.chosen.replicates.label == "plain"
    assert choice.incomplete == ("empty, readout `last`: no run has all the metrics",)
    assert choice.runner_up is None


def test_the_card_says_how_far_the_runner_up_is_and_what_would_settle_it():
    a, b = flat(0.80, 0.03, seed=1), flat(0.79, 0.03, seed=2)
    found = [configuration("one", a), configuration("two", b)]
    choice = select(found, OBJECTIVES, [], "average_accuracy")
    text = selection_card_text(asked(), choice, {})
    assert text.splitlines()[0].startswith("choose    ")
    assert "not significant" in text
    assert "would detect this one" in text or "too small for any design" in text
    clear = [configuration("one", a + 0.2), configuration("two", a)]
    text = selection_card_text(asked(), select(clear, OBJECTIVES, [], "average_accuracy"), {})
    assert "20.0 better, paired over 12 runs, 95 % 20.0 to 20.0: significant" in text


def test_the_choice_looks_at_some_runs_and_is_reported_on_the_others():
    """Configuration `lucky` is ahead on seed 0 only."""
    lucky = flat(0.6)
    lucky[:, 0] = 0.9
    found = [configuration("lucky", lucky), configuration("steady", flat(0.7))]
    looked = [(f"order{i}", 0) for i in range(4)]
    choice = select(found, OBJECTIVES, [], "average_accuracy", cells=looked)
    assert choice.chosen.replicates.label == "lucky"
    text = selection_card_text(
        asked(chosen_on=tuple(looked)), choice, {("lucky", "last"): found[0]}
    )
    assert "validation 90.0" in text
    assert "on the 8 held-out runs, validation: average_accuracy 60.0" in text
    assert "10.0 worse, paired over 8 runs" in text


def test_production_is_the_run_in_the_order_asked_for_with_a_fresh_seed(study):
    run = RunConfig(
        stream=StreamConfig(tasks=2, task_order=(1, 0)), method=LoracIpcConfig(rank=2), seed=1
    )
    text = json.dumps(run_to_dict(run))
    study.add([[0.9, 0.0], [0.8, 0.7]], order=[1, 0], seed=1, run=text, config_id="c")
    study.add([[0.9, 0.0], [0.8, 0.7]], order=[0, 1], seed=4, run=text, config_id="c")
    shipped = production_run(study.trials, "c", "0-1")
    assert shipped.stream.order == (0, 1)
    assert shipped.seed == 5
    assert shipped.method == run.method
    assert production_run(study.trials, "c", None).stream.order == (1, 0)
    for wrong in ("0-0", "0-2", "0-x", "0"):
        with pytest.raises(InvalidConfigError, match="--order"):
            production_run(study.trials, "c", wrong)


def test_the_production_file_has_run_readout_and_the_prediction(tmp_path):
    accuracy = flat(0.8, 0.02)
    one = configuration("one", accuracy)
    choice = select([one], OBJECTIVES, [], "average_accuracy")
    run = RunConfig(stream=StreamConfig(tasks=2), seed=3)
    document = production_document(
        "demo", run, ReadoutConfig(), choice.chosen, asked(), {("one", "last"): one}, [0, 1, 2]
    )
    again = yaml.safe_load(yaml.safe_dump(document))
    assert again == document
    assert run_from_dict(again["run"]) == run
    expected = prediction_interval(
        accuracy.ravel(), [i for i in range(4) for _ in range(3)], [0, 1, 2] * 4
    )
    predicted = again["evidence"]["prediction"]["average_accuracy"]
    assert (predicted["low"], predicted["high"]) == pytest.approx((expected.low, expected.high))
    assert predicted["split"] == "test"
    assert again["evidence"]["chosen"]["by"] == "pessimistic"


def simulated_regret(rng, basis):
    """Regret of the choice against the best possible choice, in a bad order.

    Configurations differ in their mean and in how much the order matters to them. What counts in
    production is the accuracy that they reach in 95 % of all orders.
    """
    mean, spread = rng.normal(0.7, 0.02, 8), rng.uniform(0.0, 0.08, 8)
    truth = mean - 1.645 * spread
    found = [
        configuration(
            str(c),
            mean[c]
            + spread[c] * rng.standard_normal((5, 1))
            + 0.005 * rng.standard_normal((5, 2)),
        )
        for c in range(8)
    ]
    choice = select(found, OBJECTIVES, [], "average_accuracy", basis=basis)
    return truth.max() - truth[int(choice.chosen.replicates.label)]


def test_the_pessimistic_pick_regrets_less_than_the_best_mean():
    """Equal budget, the same 100 simulated sweeps."""
    regret = {
        basis: np.mean([simulated_regret(np.random.default_rng(k), basis) for k in range(100)])
        for basis in ("pessimistic", "mean")
    }
    assert regret["pessimistic"] < 0.6 * regret["mean"]


def test_limits_chosen_for_sure_are_broken_less_often():
    """The pick's true mean forgetting against the limit, 100 simulated sweeps."""
    broken = dict.fromkeys(("pessimistic", "mean"), 0)
    chosen = dict.fromkeys(("pessimistic", "mean"), 0)
    for k in range(100):
        rng = np.random.default_rng(k)
        truth = rng.uniform(0.0, 0.1, 8)
        found = [
            configuration(
                str(c),
                0.6 + 2 * truth[c] + np.zeros((4, 3)),
                truth[c] + 0.02 * rng.standard_normal((4, 1)) + 0.01 * rng.standard_normal((4, 3)),
            )
            for c in range(8)
        ]
        for basis in broken:
            choice = select(
                found,
                OBJECTIVES,
                [MetricLimit("forgetting", "max", 0.05)],
                "average_accuracy",
                basis=basis,
            )
            if choice.chosen is not None:
                chosen[basis] += 1
                broken[basis] += truth[int(choice.chosen.replicates.label)] > 0.05
    assert broken["pessimistic"] <= 0.05 * chosen["pessimistic"]
    assert broken["mean"] > 0.2 * chosen["mean"]
