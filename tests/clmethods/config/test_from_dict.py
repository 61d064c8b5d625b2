"""From JSON to a run and back; everything that is wrong is said at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from clmethods.config import (
    InvalidConfigError,
    LoracIpcConfig,
    NearestClassMeanConfig,
    RunConfig,
    canonical_json,
    run_from_dict,
    run_to_dict,
)
from tests.strategies import runs


@given(runs())
def test_a_run_survives_json(run: RunConfig) -> None:
    text = json.dumps(run_to_dict(run))
    again = run_from_dict(json.loads(text))
    assert again == run
    assert type(again.method) is type(run.method)
    assert again.trial_id == run.trial_id


@given(runs())
def test_a_run_survives_canonical_json(run: RunConfig) -> None:
    """Canonical JSON writes 1.0 as 1; reading restores the float."""
    again = run_from_dict(json.loads(canonical_json(run)))
    assert again == run
    assert type(again.train.lr) is float


def test_what_is_left_out_takes_its_default() -> None:
    assert run_from_dict({}) == RunConfig()
    run = run_from_dict({"method": {"kind": "lorac_ipc", "rank": 3}})
    assert run.method == LoracIpcConfig(rank=3)
    assert run_from_dict({"method": {"kind": "nearest_class_mean"}}).method == (
        NearestClassMeanConfig()
    )


def faults_of(data: Any) -> dict[str, str]:
    with pytest.raises(InvalidConfigError) as refused:
        run_from_dict(data)
    return {issue.path: str(issue) for issue in refused.value.issues}


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ({"method": {"kind": "lorac_icp"}}, "method.kind", "Did you mean 'lorac_ipc'?"),
        ({"method": {"rank": 2}}, "method.kind", "got None, allowed: one of ["),
        ({"method": 3}, "method.kind", "got None"),
        (
            {"method": {"kind": "lorac_ipc", "rnak": 2}},
            "method.rnak",
            "Did you mean 'rank'?",
        ),
        (
            {"method": {"kind": "lorac_ipc", "rank": "two"}},
            "method.rank",
            "got 'two', allowed: a value of type int",
        ),
        ({"method": {"kind": "lorac_ipc", "rank": True}}, "method.rank", "of type int"),
        ({"method": {"kind": "lorac_ipc", "rank": 2.5}}, "method.rank", "of type int"),
        ({"method": {"kind": "lorac_ipc", "rank": 0}}, "method.rank", "got 0, allowed: 1 or more"),
        (
            {"method": {"kind": "lorac_ipc", "importance_threshold": 1.5}},
            "method.importance_threshold",
            "got 1.5, allowed: from 0 to 1. It is a fraction of the matrices, not a score.",
        ),
        (
            {"method": {"kind": "lorac_ipc", "sites": ["q", "kv"]}},
            "method.sites[1]",
            "got 'kv', allowed: one of ['q', 'k', 'v', 'o', 'f1', 'f2']",
        ),
        ({"method": {"kind": "lorac_ipc", "sites": "qkv"}}, "method.sites", "a list"),
        ({"stream": {"tasks": 11}}, "stream.tasks", "1 to 10, the number of classes of digits"),
        (
            {"stream": {"tasks": 3, "task_order": [0, 1, 1]}},
            "stream.task_order",
            "a permutation of 0..2, each group once",
        ),
        (
            {"train": {"precision": "float16"}},
            "train.precision",
            "['float32', 'bfloat16', 'float64']",
        ),
        ({"train": None}, "train", "a mapping of fields"),
        ({"seeds": 1}, "seeds", "Did you mean 'seed'?"),
        ([], "run", "a mapping of fields"),
    ],
)
def test_an_issue_names_its_path_and_the_constraint(data: Any, path: str, message: str) -> None:
    issues = faults_of(data)
    assert list(issues) == [path]
    assert message in issues[path]


def test_all_faults_come_together() -> None:
    issues = faults_of(
        {
            "seed": "x",
            "stream": {"tasks": 0, "limit": 1},
            "method": {"kind": "lorac_ipc", "rank": 0, "ipc_beta1": 1.0},
            "train": {"lr": -1, "epochs": -1},
        }
    )
    assert set(issues) >= {
        *("seed", "stream.tasks", "stream.limit", "method.rank", "method.ipc_beta1"),
        *("train.lr", "train.epochs"),
    }


def test_a_long_value_is_shortened() -> None:
    (message,) = faults_of({"method": {"kind": "x" * 500}}).values()
    assert len(message.splitlines()[0]) < 400
