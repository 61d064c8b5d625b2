"""From a sweep to its trials."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import stage_chain
from sweeps.definition import TrialSpec, expand, sweep_from_dict

BASE: dict[str, Any] = {
    "name": "test",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"tasks": 3},
    "method": {"rank": 2},
    "search": {
        "method.importance_threshold": [0, 0.1],
        "method.module_weights": ["ones", "learned"],
    },
    "baselines": [
        {"method": {"kind": "lora_sequential", "rank": 2}},
        {"method": {"kind": "joint_lora", "rank": 4}},
        {"method": {"kind": "nearest_class_mean"}},
        {"train": {"epochs": 1}, "label": "short"},
    ],
    "readouts": [{"routing": "last"}, {"routing": "instance"}],
    "orders": {"design": "williams"},
    "seeds": [0, 7],
}


def trials_of(**fields: Any) -> tuple[TrialSpec, ...]:
    return expand(sweep_from_dict({**BASE, **fields}))


def test_trials_are_configurations_by_orders_by_seeds() -> None:
    trials = trials_of()
    count: dict[str, int] = defaultdict(int)
    for trial in trials:
        count[trial.label] += 1
    orders, seeds = 6, 2
    assert count == {
        "lorac_ipc importance_threshold=0 module_weights=ones": orders * seeds,
        "lorac_ipc importance_threshold=0 module_weights=learned": orders * seeds,
        "lorac_ipc importance_threshold=0.1 module_weights=ones": orders * seeds,
        "lorac_ipc importance_threshold=0.1 module_weights=learned": orders * seeds,
        "lora_sequential": orders * seeds,
        "joint_lora rank=4": seeds,  # it sees all tasks at once: one order says it all
        "nearest_class_mean": orders * seeds,
        "short": orders * seeds,
    }
    assert len({trial.trial_id for trial in trials}) == len(trials)


def test_every_configuration_sees_the_same_orders_and_seeds() -> None:
    seen: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for trial in trials_of():
        if not trial.run.method.ORDER_FREE:
            seen[trial.config_id].add((trial.order_id, trial.seed))
    assert len(seen) == 7
    assert len({frozenset(pairs) for pairs in seen.values()}) == 1


def test_roles_follow_from_where_a_method_stands() -> None:
    roles = {trial.run.method.kind: trial.role for trial in reversed(trials_of())}
    assert roles == {
        "lorac_ipc": "search",
        "lora_sequential": "baseline",
        "joint_lora": "reference",
        "nearest_class_mean": "baseline",
    }


def test_factors_say_what_makes_a_configuration() -> None:
    factors = {trial.label: trial.factors for trial in trials_of()}
    assert factors["lorac_ipc importance_threshold=0.1 module_weights=ones"] == {
        "method.importance_threshold": 0.1,
        "method.module_weights": "ones",
    }
    assert factors["joint_lora rank=4"] == {"method.kind": "joint_lora", "method.rank": 4}
    assert factors["short"] == {"train.epochs": 1}


def test_a_readout_that_the_method_lacks_is_left_out() -> None:
    ids = {t.run.method.kind: [r.readout_id for r in t.readouts] for t in trials_of()}
    assert ids["lorac_ipc"] == ["last", "instance-cosine"]
    assert ids["lora_sequential"] == ["last"]


def test_a_baseline_without_any_of_the_readouts_is_read_with_the_last_snapshot() -> None:
    trials = trials_of(readouts=[{"routing": "instance"}])
    ids = {t.run.method.kind: [r.readout_id for r in t.readouts] for t in trials}
    assert ids["lorac_ipc"] == ["instance-cosine"]
    assert ids["lora_sequential"] == ["last"]


def test_a_trial_that_is_asked_for_twice_appears_once() -> None:
    same = {"method": {"importance_threshold": 0.1, "module_weights": "ones"}, "label": "again"}
    assert trials_of(baselines=[same]) == trials_of(baselines=[])


def test_a_method_of_the_same_kind_is_merged_and_another_kind_replaces_it() -> None:
    trials = trials_of(
        baselines=[
            {"method": {"kind": "lorac_ipc", "lora_alpha": 3}},
            {"method": {"kind": "lora_sequential"}},
        ]
    )
    labels = [trial.label for trial in trials]
    assert "lorac_ipc lora_alpha=3" in labels  # keeps rank 2 of the base
    assert "lora_sequential rank=16" in labels  # rank is back at its default


@given(
    axis=st.sampled_from(
        [
            ("method.importance_threshold", [0, 0.1, 0.5]),
            ("method.module_weights", ["ones", "learned"]),
            ("train.lr", [0.1, 1, 0.01]),
            ("method.sites", [["q", "v"], ["q"]]),
            ("stream.class_order_seed", [None, 1, 2]),
        ]
    ),
    kept=st.integers(1, 2),
    seeds=st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True),
)
@settings(deadline=None, max_examples=15)
def test_more_values_and_seeds_keep_the_ids_of_what_was_there(
    axis: tuple[str, list[Any]], kept: int, seeds: list[int]
) -> None:
    path, values = axis
    small = trials_of(search={path: values[:kept]}, seeds=seeds, baselines=[])
    large = trials_of(search={path: values}, seeds=[*seeds, 9], baselines=[])
    ids = {trial.trial_id: trial.run for trial in large}
    assert all(ids[trial.trial_id] == trial.run for trial in small)
    assert len(large) > len(small)


def test_class_orders_and_task_orders_are_varied_apart() -> None:
    """Three groupings of the classes by two orders of the tasks: neither is in the other's id."""
    orders = {"design": "explicit", "list": [[0, 1, 2], [2, 0, 1]]}
    axis = {"stream.class_order_seed": [None, 1, 2]}
    trials = trials_of(search=axis, orders=orders, seeds=[0], baselines=[])
    cells = {(t.run.stream.class_order_seed, t.order_id) for t in trials}
    assert cells == {(seed, order) for seed in (None, 1, 2) for order in ("0-1-2", "2-0-1")}
    assert len(trials) == len(cells) == len({t.trial_id for t in trials})
    assert len({t.config_id for t in trials}) == 1  # class orders are replicates, as seeds are
    assert {t.label for t in trials} == {"lorac_ipc"}
    assert all("stream.class_order_seed" not in t.factors for t in trials)
    assert len({t.run.stream.groups() for t in trials}) == 3
    for trial in trials:
        same = next(t for t in trials if t.order_id == trial.order_id)
        assert trial.run.stream.order == same.run.stream.order


@pytest.mark.parametrize("index", [0, 15, -1])
def test_json_gives_the_trial_back(index: int) -> None:
    trial = trials_of()[index]
    text = trial.to_json()
    assert TrialSpec.from_json(text) == trial
    assert TrialSpec.from_json(text).to_json() == text


@given(
    lr=st.floats(1e-9, 1e9),
    threshold=st.floats(0, 1),
    sites=st.lists(st.sampled_from(["q", "k", "v", "o"]), min_size=1, unique=True),
    limit=st.none() | st.integers(2, 99),
)
@settings(deadline=None, max_examples=30)
def test_json_gives_any_run_back(
    lr: float, threshold: float, sites: list[str], limit: int | None
) -> None:
    search = {
        "train.lr": [lr],
        "method.importance_threshold": [threshold],
        "method.sites": [sites],
    }
    trial = trials_of(search={**search, "stream.limit": [limit]}, baselines=[])[0]
    again = TrialSpec.from_json(trial.to_json())
    assert again == trial
    assert again.run.trial_id == trial.trial_id


def test_the_chain_is_that_of_the_run() -> None:
    trial = trials_of()[0]
    assert trial.chain == stage_chain(trial.run)
    assert len(trial.chain) == 3


def test_runs_are_resolved() -> None:
    for trial in trials_of():
        assert trial.run.stream.task_order is not None
        assert trial.run.trial_id == trial.trial_id


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_a_sampled_search_draws_that_many_configurations(kind: str) -> None:
    search = {"train.lr": {"log": [0.001, 0.1]}, "method.rank": {"integer": [1, 4]}}
    trials = trials_of(search=search, algorithm={"kind": kind, "trials": 5}, baselines=[])
    assert len({trial.config_id for trial in trials}) == 5
    assert len({trial.label for trial in trials}) == 5


def test_a_single_run_is_a_sweep_too() -> None:
    (trial,) = trials_of(search={}, baselines=[], orders={}, seeds=[3])
    assert (trial.label, trial.order_id, trial.seed) == ("lorac_ipc", "0-1-2", 3)
