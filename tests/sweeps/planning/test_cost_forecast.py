"""Cost forecasts: the fitted model, the probed stages, and the use of a budget."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError
from sweeps.definition import Budget, expand
from sweeps.planning.cost_forecast import CostModel, Measured, cost_forecast, fitted, probe_trials
from sweeps.planning.plan import make_plan
from sweeps.planning.spending import Spending, spent
from tests.sweeps.stages.small import directory_store, run_trial, runner_of, small_sweep


@given(
    start=st.floats(0.1, 10),
    growth=st.floats(0, 1),
    look=st.floats(0, 10),
    look_growth=st.floats(0, 1),
    known=st.integers(3, 9),
)
def test_a_linear_cost_is_fitted_from_its_first_positions(
    start: float, growth: float, look: float, look_growth: float, known: int
) -> None:
    model = CostModel(start, growth, look, look_growth)
    measured = [
        Measured(p, 2 + p % 2, (start + p * growth) * (2 + p % 2), look + p * look_growth)
        for p in range(known)
    ]
    assert fitted(measured).seconds(20, 2) == pytest.approx(model.seconds(20, 2), rel=1e-6)


def test_two_positions_give_a_mean_per_class_and_one_per_evaluation() -> None:
    """Whatever is learned, the images of all tasks are looked at after every stage."""
    model = fitted([Measured(0, 2, 1.0, 0.2), Measured(1, 4, 2.0, None), Measured(1, 4, 2.0, 0.4)])
    assert model.seconds(7, 2) == pytest.approx(2 * 5.0 / 10 + 0.3)


def test_a_kind_whose_evaluation_was_never_timed_has_a_training_cost_alone() -> None:
    assert fitted([Measured(0, 2, 1.0, None)]) == CostModel(0.5, 0.0)


def test_what_was_measured_tells_the_cost_of_what_is_left(tmp_path: Path) -> None:
    """Other thresholds and seeds cost what these cost; another rank is unknown until probed."""
    store = directory_store(tmp_path)
    run_trial(expand(small_sweep())[0], store)
    search = {"method.importance_threshold": [0.2, 0.5], "train.lr": [0.005, 0.01]}
    plan = make_plan(small_sweep(search=search, seeds=[0, 1]), store)
    forecast = cost_forecast(plan, store)
    assert (forecast.stages, forecast.unknown) == (len(plan.tree.nodes) - 3, 0)
    assert forecast.seconds > 0
    assert probe_trials(plan) == []
    plan = make_plan(small_sweep(search={"method.rank": [2, 3]}), store)
    forecast = cost_forecast(plan, store)
    assert (forecast.stages, forecast.unknown) == (3, 3)
    (probed,) = probe_trials(plan)
    assert [t.run.method.rank for t in plan.trials if t.trial_id == probed] == [3]


@pytest.mark.slow
def test_a_probe_of_two_tasks_tells_the_cost_of_a_sweep_within_a_fifth(tmp_path: Path) -> None:
    """CPU seconds of a real backbone on the digits; sharing is counted once."""
    store = directory_store(tmp_path)
    sweep = small_sweep(
        backbone={},
        stream={"dataset": "digits", "limit": 60},
        method={"kind": "lorac_ipc", "rank": 4},
        train={"epochs": 3},
        search={"method.importance_threshold": [0, 0.2]},
        seeds=[0, 1],
        baselines=[{"method": {"kind": "nearest_class_mean"}}],
    )
    trials = expand(sweep)
    for trial in trials:
        if trial.trial_id in probe_trials(make_plan(sweep, store)):
            runner = runner_of(trial, store)
            runner.advance()
            runner.advance()
    plan = make_plan(sweep, store)
    left = plan.tree.remaining(plan.stored)
    forecast = cost_forecast(plan, store, "cpu_s")
    assert (forecast.stages, forecast.unknown) == (len(left), 0)
    for trial in trials:
        run_trial(trial, store)
    assert sum(store.stage_seconds(node.key, "cpu_s") for node in left) == pytest.approx(
        forecast.seconds, rel=0.2
    )


def test_a_sweep_has_spent_what_it_trained_itself(tmp_path: Path) -> None:
    store = directory_store(tmp_path)
    run_trial(expand(small_sweep())[0], store)  # by the sweep `small`
    budget = {"stages": 3, "hours": 1.0}
    mine = spent(make_plan(small_sweep(budget=budget), store), store)
    assert mine.stages == 3
    assert mine.stage_s > 0
    assert mine.reached(Budget(stages=3)) == "stages: 3 of 3 are used"
    assert mine.reached(Budget(stages=4, hours=1)) is None
    other = spent(make_plan(small_sweep(name="other", budget=budget), store), store)
    assert (other.stages, other.stage_s) == (0, 0.0)


def test_gpu_hours_are_stage_hours_times_the_gpus_of_a_trial() -> None:
    spending = Spending(gpus=0.5).with_stage(7200).with_trial()
    assert spending.used() == {"gpu_hours": 1.0, "hours": 2.0, "stages": 1, "trials": 1}


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"hours": 0}, ["budget.hours", "greater than 0"]),
        ({"stages": -1}, ["budget.stages", "greater than 0"]),
        ({"gpu_hours": 1}, ["budget.gpu_hours", "resources.gpu"]),
        ({"gpu_hour": 1}, ["budget.gpu_hour", "gpu_hours"]),
    ],
)
def test_an_invalid_budget_is_refused(budget: dict[str, float], words: list[str]) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        small_sweep(budget=budget)
    assert all(word in str(caught.value) for word in words)
