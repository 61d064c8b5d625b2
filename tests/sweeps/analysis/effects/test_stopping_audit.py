"""Early stopping and races in the tables: nothing is mixed, and the audit tells what it cost."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from scipy.stats import binomtest

from sweeps.analysis.effects.axis_effects import axis_effects, varied_axes
from sweeps.analysis.effects.stopping_audit import proportion_interval, saved_stages, stopping_cost
from sweeps.analysis.front.dominance import front_on_common_cells
from sweeps.analysis.front.pareto import pareto_table
from sweeps.analysis.orders.order_effect import order_sensitivity
from sweeps.analysis.orders.variance_shares import variance_split
from sweeps.analysis.selection.selection import select
from sweeps.analysis.trials.metric_choice import Results
from sweeps.analysis.trials.replicates import replicates, without_runs
from sweeps.analysis.trials.summary import summarize
from sweeps.cli.text.front_table import front_document
from sweeps.cli.text.stopping_audit import stopping_lines
from sweeps.definition import sweep_from_dict

OBJECTIVES = {"average_accuracy": "max", "forgetting": "min"}


def matrix(final, forgotten):
    """Two tasks with this average accuracy at the end, the first of which loses `forgotten`."""
    return [[final + forgotten, 0.0], [final, final]]


def add(study, label, value, *, orders=((0, 1), (1, 0)), seeds=(0, 1), **changes):
    """A configuration in all its cells, the same in each."""
    for order in orders:
        for seed in seeds:
            study.add(
                matrix(value, 0.1),
                order=order,
                seed=seed,
                split="validation",
                config_id=label,
                label=label,
                **changes,
            )


def stopped_after_one(study, label, value):
    """Add a run that a rung stopped after its first stage, with the best metrics of all."""
    add(study, label, value, status="stopped", stages_done=1)


def found_in(study):
    return replicates(summarize(study.trials, study.evals, "validation"), list(OBJECTIVES))


def test_stopped_configurations_are_on_no_front_and_named(study):
    add(study, "good", 0.6)
    add(study, "bad", 0.5)
    stopped_after_one(study, "stopped", 0.9)
    summary = summarize(study.trials, study.evals, "validation")
    table = pareto_table(summary, OBJECTIVES)
    rows = {row["label"]: row for row in table.to_pylist()}
    assert [label for label, row in rows.items() if row["on_front"]] == ["good"]
    assert rows["stopped"]["average_accuracy"] is None
    assert rows["stopped"]["interval"] == "stopped after 1 of 2 tasks"
    assert {label for label, row in rows.items() if row["stopped"]} == {"stopped"}
    assert (rows["stopped"]["n_replicates"], rows["stopped"]["n_fewer"]) == (0, 0)


def test_orders_components_and_the_choice_leave_stopped_configurations_out(study):
    add(study, "good", 0.6)
    add(study, "bad", 0.5)
    stopped_after_one(study, "stopped", 0.9)
    found = found_in(study)
    choice = select(found, OBJECTIVES, [], "average_accuracy")
    assert choice.chosen.replicates.label == "good"
    assert tuple(map(str, choice.incomplete)) == (
        "stopped, readout `last`: stopped after 1 of 2 tasks",
    )
    assert variance_split(found, "average_accuracy").left_out == ("stopped (0 of 4 runs)",)
    table = order_sensitivity(study.trials, study.evals, "last", "validation").to_pylist()
    by_label = {row["label"]: row for row in table}
    assert by_label["stopped"]["n_missing"] == 4
    assert by_label["stopped"]["aopd"] is None


def test_effects_are_those_of_the_configurations_that_ran_to_their_end(study):
    points = {}
    for rank, scheme, value in [(4, "a", 0.5), (8, "a", 0.6), (4, "b", 0.7), (8, "b", None)]:
        label = f"{rank}{scheme}"
        points[label] = {"rank": rank, "scheme": scheme}
        if value is None:
            stopped_after_one(study, label, 0.9)
        else:
            add(study, label, value)
    found, axes = found_in(study), varied_axes(points)
    effects = {effect.path: effect for effect in axis_effects(found, points, axes, "forgetting")}
    assert {path: effect.pairs for path, effect in effects.items()} == {"rank": 1, "scheme": 1}
    by_accuracy = axis_effects(found, points, axes, "average_accuracy")
    assert [e.comparison.interval.mean for e in by_accuracy] == pytest.approx([0.1, 0.2])
    assert all(e.comparison.unpaired == 0 for e in by_accuracy)
    assert without_runs(found, ["forgetting"]) == {"stopped after 1 of 2 tasks": ("8b",)}


def test_the_printed_front_names_who_was_stopped_and_who_raced(study):
    add(study, "good", 0.6)
    add(study, "raced", 0.5, seeds=[0])
    for k in range(7):
        stopped_after_one(study, f"stopped{k}", 0.9)
    tiny = {"name": "tiny_vit8", "weights": "random", "image_size": 8}
    sweep = sweep_from_dict({"name": "test", "backbone": tiny})
    text = front_document(sweep, Results(study.trials, study.evals, ())).text
    assert "raced: 2 fewer runs than others, compared over common runs" in text
    assert "left out, stopped after 1 of 2 tasks: stopped0, stopped1" in text
    assert "stopped4 and 2 more" in text
    table = text.split("readout `last`")[0]
    assert "stopped" not in table


class Decided(NamedTuple):
    by: str
    config_id: str
    verdict: str


def test_the_end_of_a_run_says_what_stopping_spared_and_cost(study):
    add(study, "kept", 0.6)
    add(study, "audited", 0.65)
    stopped_after_one(study, "stopped", 0.9)
    tiny = {"name": "tiny_vit8", "weights": "random", "image_size": 8}
    sweep = sweep_from_dict({"name": "test", "backbone": tiny})
    results = Results(study.trials, study.evals, ())
    decisions = [
        Decided("early_stop", "kept", "goes on"),
        Decided("early_stop", "audited", "goes on"),  # at the first rung
        Decided("early_stop", "audited", "audit"),
        Decided("early_stop", "stopped", "stops"),
        Decided("racing", "kept", "off"),
    ]
    spared, cost = stopping_lines(sweep, results, decisions)
    assert spared == "Early stopping saved 4 of 24 stages (17%) in 4 stopped trials."
    assert "1 of 2 stopped configurations ran to the end; 1 of them would be" in cost
    assert (
        "audited ended 0.05 better than the best configuration that was not stopped, kept" in cost
    )
    assert stopping_lines(sweep, results, decisions[:2]) == []
    (_, unknown) = stopping_lines(sweep, results, [decisions[0], decisions[3]])
    assert "not known" in unknown
    waiting = [*decisions, Decided("early_stop", "elsewhere", "audit")]
    (_, text) = stopping_lines(sweep, results, [d for d in waiting if d.config_id != "audited"])
    assert text == "1 stopped configurations continue for the audit, which is not finished."


def test_a_mean_over_few_runs_is_not_set_against_one_over_many(study):
    """Order 0-1 suits everybody: `raced` was only run there, and is worse there than `full`."""
    add(study, "full", 0.8, orders=[(0, 1)])
    add(study, "full", 0.4, orders=[(1, 0)])
    add(study, "raced", 0.7, orders=[(0, 1)])
    rows = {
        row["label"]: row
        for row in pareto_table(
            summarize(study.trials, study.evals, "validation"), OBJECTIVES
        ).to_pylist()
    }
    assert rows["raced"]["average_accuracy"] > rows["full"]["average_accuracy"]
    assert rows["full"]["on_front"]
    assert not rows["raced"]["on_front"]
    assert (rows["raced"]["n_fewer"], rows["full"]["n_fewer"]) == (2, 0)


def test_configurations_without_a_run_in_common_do_not_meet():
    mask = front_on_common_cells([{"a": [1.0]}, {"b": [0.0]}, {}, {"b": [-1.0]}], ["max"])
    assert mask.tolist() == [True, True, False, False]


@pytest.mark.parametrize(("k", "n"), [(0, 5), (2, 7), (9, 9)])
def test_the_share_has_the_exact_interval(k, n):
    found = proportion_interval(k, n)
    expected = binomtest(k, n).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_audit_measures_the_regret(study):
    add(study, "kept", 0.6)
    add(study, "also kept", 0.5)
    add(study, "lucky", 0.65)
    add(study, "audited", 0.4)
    for k in range(4):
        stopped_after_one(study, f"stopped{k}", 0.9)
    stopped = ["lucky", "audited", *(f"stopped{k}" for k in range(4))]
    found = stopping_cost(
        found_in(study),
        OBJECTIVES,
        kept=["kept", "also kept"],
        stopped=stopped,
        audited=["lucky", "audited"],
    )
    assert (found.stopped, found.audited) == (6, 2)
    assert (found.on_front.k, found.on_front.n) == (1, 2)
    assert found.regret == pytest.approx(0.05)
    assert (found.best_audited, found.best_kept) == ("lucky", "kept")
    assert found.margin == pytest.approx((0.05 - 0.2) / 2)
    assert found.margin_low < found.margin < found.margin_high
    assert found.difference.mean == pytest.approx(0.05)
    text = found.in_words()
    assert "2 of 6 stopped configurations ran to the end; 1 of them would be on the front" in text
    assert "lucky ended 0.05 better than the best configuration that was not stopped, kept" in text


def test_no_regret_is_said_too_and_one_audited_has_no_interval(study):
    add(study, "kept", 0.6)
    add(study, "audited", 0.4)
    decided = {"kept": ["kept"], "stopped": ["audited"], "audited": ["audited"]}
    found = stopping_cost(found_in(study), OBJECTIVES, **decided)
    assert found.regret == 0.0
    assert found.margin_low is None
    assert "None ended better in average_accuracy" in found.in_words()
    nobody = decided | {"audited": []}
    assert stopping_cost(found_in(study), OBJECTIVES, **nobody) is None


def test_what_was_spared_counts_each_stage_once_and_none_that_another_trained(study):
    shared = ["first", "second"]
    add(study, "kept", 0.6, orders=[(0, 1)], seeds=[0], stage_keys=shared)
    for label, keys in (("a", ["first", "third"]), ("b", ["first", "third"]), ("c", shared)):
        add(
            study,
            label,
            0.5,
            orders=[(0, 1)],
            seeds=[0],
            stage_keys=keys,
            status="stopped",
            stages_done=1,
        )
    found = saved_stages(study.trials)
    assert (found.spared, found.whole, found.trials) == (1, 3, 3)
    assert found.in_words() == "Early stopping saved 1 of 3 stages (33%) in 3 stopped trials."
