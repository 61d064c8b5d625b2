"""Section `replicates`: pairs of order and seed, their balance, refusals, and unchanged trials."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from clmethods.config import InvalidConfigError
from sweeps.definition import ReplicateDesign, Sweep, expand, replicate_sequence, sweep_from_dict
from sweeps.definition.derive.fork import fork_document
from sweeps.definition.derive.path_sweep import path_document
from sweeps.definition.file.json_schema import sweep_schema

TINY = {"name": "tiny_vit8", "weights": "random", "image_size": 8}
NINE = {"kind": "spread", "runs": 9}


def document(**fields: Any) -> dict[str, Any]:
    return {"name": "test", "backbone": TINY, "orders": {"design": "latin_square"}, **fields}


def cells(sweep: Sweep) -> list[tuple[str, int]]:
    return [(trial.order_id, trial.seed) for trial in expand(sweep)]


def test_without_the_section_each_order_runs_with_each_seed() -> None:
    sweep = sweep_from_dict(document(seeds=[0, 1, 2]))
    written = sweep_from_dict(document(seeds=[0, 1, 2], replicates={"kind": "grid"}))
    orders = list(dict.fromkeys(order for order, _ in cells(sweep)))
    assert cells(sweep) == [(order, seed) for order in orders for seed in (0, 1, 2)]
    assert expand(written) == expand(sweep)
    assert sweep.replicate_count == 15


def test_a_spread_design_selects_trials_of_the_grid_without_changing_them() -> None:
    grid = {t.trial_id: t for t in expand(sweep_from_dict(document(seeds=[*range(9)])))}
    sweep = sweep_from_dict(document(seeds=[*range(9)], replicates=NINE))
    assert [grid[trial.trial_id] for trial in expand(sweep)] == list(expand(sweep))
    assert sweep.replicate_count == len(expand(sweep)) == 9
    assert Counter(seed for _, seed in cells(sweep)) == dict.fromkeys(range(9), 1)
    assert sorted(Counter(order for order, _ in cells(sweep)).values()) == [1, 2, 2, 2, 2]
    assert sweep_from_dict(sweep.document) == sweep


@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_pairs_differ_and_use_levels_equally_often(
    orders: int, seeds: int, data: st.DataObject
) -> None:
    runs = data.draw(st.integers(2, max(2, orders * seeds)))
    pairs = ReplicateDesign(kind="spread", runs=runs).pairs(range(orders), range(seeds))
    assert len(pairs) == len(set(pairs)) == min(runs, orders * seeds)
    for factor, levels in ((0, orders), (1, seeds)):
        used = Counter(pair[factor] for pair in pairs)
        counts = [used[level] for level in range(levels)]
        assert max(counts) - min(counts) <= 1
    assert pairs == replicate_sequence(range(orders), range(seeds))[:runs]


def test_more_runs_keep_the_pairs_that_exist() -> None:
    fields = {"seeds": [*range(12)], "orders": {"design": "random", "count": 12}}
    few, many = (
        cells(sweep_from_dict(document(**fields, replicates={"kind": "spread", "runs": runs})))
        for runs in (6, 12)
    )
    assert many[:6] == few


def test_a_method_without_orders_runs_with_each_seed_of_the_design() -> None:
    sweep = sweep_from_dict(
        document(
            seeds=[*range(9)], replicates=NINE, baselines=[{"method": {"kind": "joint_linear"}}]
        )
    )
    joint = [trial.seed for trial in expand(sweep) if trial.role != "search"]
    assert joint == [*range(9)]


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (
            {"replicates": {"kind": "spread"}, "seeds": [0, 0]},
            ["replicates.runs: got None, allowed: a number of runs", "seeds[1]: got 0"],
        ),
        ({"replicates": {"runs": 3}}, ["replicates.runs: got 3, allowed: to be left out or null"]),
        ({"replicates": {"kind": "spread", "runs": 1}}, ["replicates.runs: got 1, allowed: 2 or"]),
        (
            {"replicates": {"kind": "spred", "runs": 2.5}},
            ["Did you mean 'spread'?", "replicates.runs: got 2.5, allowed: a whole number"],
        ),
        ({"replicates": 9}, ["replicates: got 9", "Example: `replicates: {kind: spread"]),
        (
            {"replicates": NINE, "seeds": [0]},
            ["replicates.runs: got 9, allowed: at most 5", "seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8]"],
        ),
        (
            {"replicates": NINE, "seeds": [1, 2], "orders": {"design": "all"}, "name": "?"},
            ["replicates.kind: got 'spread', allowed: `grid` where", "name: got '?'"],
        ),
        (
            {"replicates": NINE, "seeds": [1, 2, 3], "racing": {"start": 9}},
            ["racing.start: got 9, allowed: below 9, the declared replicates: replicates.runs"],
        ),
    ],
)
def test_all_faults_are_named_at_once(fields: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(InvalidConfigError) as error:
        sweep_from_dict(document(**fields))
    for message in messages:
        assert message in str(error.value)


def test_the_schema_knows_the_section() -> None:
    validator = Draft202012Validator(sweep_schema())
    assert validator.is_valid(document(seeds=[*range(9)], replicates=NINE))
    assert not validator.is_valid(document(replicates={"kind": "spred"}))


def test_a_path_keeps_the_pairs_and_a_fork_is_one_trial() -> None:
    sweep = sweep_from_dict(
        document(
            search={"method.rank": [2, 4]},
            method={"kind": "lora_sequential"},
            seeds=[*range(9)],
            replicates=NINE,
        )
    )
    settings = [{"method.rank": 2}, {"method.rank": 4}]
    path = sweep_from_dict(path_document(sweep, "path", settings, [("method.rank", 2, 4)]))
    assert {trial.trial_id for trial in expand(path)} == {t.trial_id for t in expand(sweep)}
    trial = expand(sweep)[7]
    fork = sweep_from_dict(fork_document(sweep, trial, "fork"))
    assert [one.trial_id for one in expand(fork)] == [trial.trial_id]
