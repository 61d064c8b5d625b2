"""Steps of a sweep: the same whoever finished first and wherever it was broken off."""

from __future__ import annotations

import random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.definition import expand
from sweeps.definition.trials import trials_of
from sweeps.search.controller import next_step
from sweeps.search.search_state import Request
from tests.sweeps.search.steps import Done, finish, learning_sweep, made_up, observed, to_the_end
from tests.sweeps.stages.small import small_sweep

BASELINES = [{"method": {"kind": "nearest_class_mean"}}]
RULES: dict[str, dict[str, Any]] = {
    "model": {"algorithm": {"kind": "tpe", "trials": 8, "batch": 4}},
    "early stop": {
        "algorithm": {"kind": "random", "trials": 6},
        "early_stop": {"after_task": 1, "metric": "average_accuracy", "reduction_factor": 2},
    },
    "racing": {"algorithm": {"kind": "random", "trials": 4}, "racing": {"start": 2, "step": 1}},
    "all": {
        "algorithm": {"kind": "nsga2", "trials": 8, "batch": 4},
        "early_stop": {"after_task": 1, "metric": "average_accuracy", "reduction_factor": 2},
        "racing": {"start": 2, "step": 1},
    },
}
SEARCH = {"method.importance_threshold": {"uniform": [0, 0.5]}, "train.lr": {"log": [1e-4, 1]}}


def ruled(name: str, **fields: Any) -> Any:
    """A sweep under one of the rules."""
    return small_sweep(
        search=SEARCH,
        orders={"design": "random", "count": 2},
        seeds=[0, 1],
        baselines=BASELINES,
        **RULES[name],
        **fields,
    )


def test_a_sweep_that_is_known_whole_is_one_step() -> None:
    """It looks at nothing."""
    sweep = small_sweep(search={"method.rank": [1, 2]}, seeds=[0, 1])

    def look(request: object) -> None:
        raise AssertionError

    step = next_step(sweep, look)
    assert step.finished
    assert step.trials == expand(sweep)
    assert set(step.lengths.values()) == {3}


@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=2)
def test_broken_off_anywhere_it_ends_the_same(name: str, seed: int) -> None:
    """Runs finish in any sequence, and every now and then the driver forgets all it knew."""
    sweep, dice, done = ruled(name), random.Random(seed), Done()
    while not (step := next_step(sweep, observed(done, failing=0.2))).finished:
        left = [r for r in step.requests if (r.trial.trial_id, r.stages) not in done]
        for request in dice.sample(left, dice.randint(1, len(left))):
            finish(request, done)
    assert step == to_the_end(sweep, failing=0.2)


@pytest.mark.parametrize("name", RULES)
def test_what_the_storage_holds_beyond_what_was_asked_changes_nothing(name: str) -> None:
    """Another sweep may have trained more: decisions see what this one has asked for."""
    sweep, done = ruled(name), Done()
    end = to_the_end(sweep)
    for request in end.requests:  # everything to its last stage, before anything is asked for
        finish(request._replace(stages=request.trial.run.stages), done)
    assert next_step(sweep, observed(done)) == end


@pytest.mark.parametrize("name", RULES)
def test_requests_only_grow(name: str) -> None:
    """A requested stage is never withdrawn, so every trained stage is used."""
    sweep, done, lengths = ruled(name), Done(), dict[str, int]()
    while True:
        step = next_step(sweep, observed(done))
        assert all(step.lengths.get(t, 0) >= stages for t, stages in lengths.items())
        lengths = step.lengths
        if step.finished:
            break
        for request in step.requests:
            finish(request, done)
    assert {t.label for t in step.trials if t.role == "baseline"} == {"nearest_class_mean"}


def test_stopped_configurations_stop_in_all_their_runs() -> None:
    sweep = ruled("early stop")
    end = to_the_end(sweep)
    by_configuration: dict[str, set[int]] = {}
    for request in end.requests:
        by_configuration.setdefault(request.trial.config_id, set()).add(request.stages)
    assert all(len(stages) == 1 for stages in by_configuration.values())
    stopped = {d.config_id for d in end.decisions if d.verdict == "stops"}
    assert stopped
    assert {c for c, stages in by_configuration.items() if max(stages) < 3} == stopped
    assert {t.config_id for t in end.trials if t.trial_id in end.stopped} == stopped
    assert len(end.stopped) == 4 * len(stopped)


def test_audited_configurations_run_on() -> None:
    rule = {"after_task": 1, "metric": "average_accuracy", "reduction_factor": 2, "audit": 1.0}
    sweep = small_sweep(
        search=SEARCH,
        algorithm={"kind": "random", "trials": 6},
        early_stop=rule,
        orders={"design": "random", "count": 2},
    )
    end = to_the_end(sweep)
    assert end.stopped == frozenset()
    assert set(end.lengths.values()) == {3}
    audited = {d.config_id for d in end.decisions if d.verdict == "audit"}
    assert len(audited) == 3 + 1  # at both rungs
    assert all(end.outcomes[config_id].values is not None for config_id in audited)


def test_a_race_spends_replicates_where_the_front_is_undecided() -> None:
    sweep = ruled("racing")
    end = to_the_end(sweep)
    searched = [t for t in end.trials if t.role == "search"]
    spent = {c: sum(t.config_id == c for t in searched) for c in {t.config_id for t in searched}}
    assert min(spent.values()) >= 2
    assert max(spent.values()) <= 4
    assert {d.by for d in end.decisions} == {"racing"}
    assert len(end.decisions) == 4


def test_a_failed_run_fails_its_configuration() -> None:
    sweep = ruled("model")
    end = to_the_end(sweep, failing=0.4)
    without = [outcome for outcome in end.outcomes.values() if outcome.values is None]
    assert without
    assert len(end.outcomes) == sum(len(batch.new) for batch in end.batches)


def test_the_model_hears_the_mean_over_orders_and_seeds() -> None:
    sweep = learning_sweep(trials=4, batch=4, objectives={"average_accuracy": "max"})
    end = to_the_end(sweep)
    for config_id, outcome in end.outcomes.items():
        runs = [t for t in end.trials if t.config_id == config_id]
        assert len(runs) == 4
        values = [made_up(Request(t, 3)).values[-1]["average_accuracy"] for t in runs]
        assert outcome.values == pytest.approx((fmean(v for v in values if v is not None),))


def test_a_race_adds_the_pairs_of_a_spread_design_in_their_sequence() -> None:
    """With fewer runs than orders, too: the race knows only the orders that are run."""
    for orders, seeds, runs in ((6, 6, 5), (3, 6, 6), (4, 4, 9)):
        sweep = small_sweep(
            search={"method.importance_threshold": [0, 0.1, 0.3]},
            orders={"design": "random", "count": orders},
            seeds=[*range(seeds)],
            replicates={"kind": "spread", "runs": runs},
            racing={"start": 2, "step": 1, "confidence": 0.999},
            stream={"dataset": "digits", "tasks": 5},
        )
        declared = [(t.order_id, t.seed) for t in trials_of(sweep, sweep.configurations[:1])]
        asked = next_step(sweep, observed(set())).requests
        first = {(r.trial.order_id, r.trial.seed) for r in asked if r.trial.role == "search"}
        assert first == set(declared[:2])
        step = to_the_end(sweep)
        assert {d.by for d in step.decisions} == {"racing"}
        for configuration in sweep.configurations:
            identity = configuration.run.config_id
            cells = [(t.order_id, t.seed) for t in step.trials if t.config_id == identity]
            if configuration.role == "search":
                assert set(cells) == set(declared[: len(cells)])


def test_a_model_hears_of_all_pairs_of_a_spread_design() -> None:
    sweep = learning_sweep(
        trials=4,
        orders={"design": "random", "count": 2},
        seeds=[0, 1, 2, 3],
        replicates={"kind": "spread", "runs": 4},
    )
    step = to_the_end(sweep)
    assert len(step.outcomes) == 4
    for identity in step.outcomes:
        cells = [(t.order_id, t.seed) for t in step.trials if t.config_id == identity]
        assert len(set(cells)) == 4
        assert len({seed for _, seed in cells}) == 4
