"""The JSON Schema for editors: it takes what loads, and says no where a person slips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sweeps.definition import shipped_studies
from sweeps.definition.file.json_schema import sweep_schema
from sweeps.definition.file.plain_data import read_yaml

VALIDATOR = Draft202012Validator(sweep_schema())


def slips(document: Any) -> set[str]:
    return {error.json_path for error in VALIDATOR.iter_errors(document)}


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(sweep_schema())


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_every_shipped_study_fits(name: str) -> None:
    document, _ = read_yaml(Path(shipped_studies()[name]))
    assert slips(document) == set()


@pytest.mark.parametrize(
    "document",
    [
        {"name": "a", "extends": "digits_demo", "method": {"rank": 3}},
        {
            "name": "a",
            "search": {"train.lr": {"log": [0.01, 1]}, "method.rank": {"integer": [1, 4]}},
        },
        {"name": "a", "search": {"method.depth": [None, 3], "method.sites": [["q"], ["q", "v"]]}},
        {"name": "a", "extends": "b.yaml", "search": {"train.lr": None}},
        {"name": "a", "storage": {"endpoint": "https://host", "region": None, "retry_for_s": 5}},
        {"name": "a", "where": ["method.rank <= 4"]},
        {"name": "a", "orders": {"design": "near_first", "fixed": [0], "before": [["a", 2]]}},
        {
            "name": "a",
            "search": {
                "method": [
                    {"kind": "lorac_ipc", "search": {"rank": [1, 2]}},
                    {"kind": "lora_sequential", "label": "one"},
                ],
                "train": [{"lr": 0.1}],
            },
        },
        {
            "name": "a",
            "ablation": {
                "plan": "leave_one_out",
                "parts": {"p": {"off": {"method.ortho_mode": "none"}}},
            },
        },
    ],
)
def test_what_the_loader_takes_fits(document: Any) -> None:
    assert slips(document) == set()


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({}, "$"),
        ({"name": "a", "nmae": 1}, "$"),
        ({"name": "a", "method": {"kind": "lorac_ipc", "rnak": 2}}, "$.method"),
        ({"name": "a", "method": {"kind": "lora"}}, "$.method.kind"),
        ({"name": "a", "method": {"kind": "lora_sequential", "ortho_mode": "none"}}, "$.method"),
        ({"name": "a", "train": {"epochs": "five"}}, "$.train.epochs"),
        ({"name": "a", "search": {"method.rank": 4}}, "$.search['method.rank']"),
        ({"name": "a", "search": {"method.rank": ["x"]}}, "$.search['method.rank']"),
        ({"name": "a", "search": {"method.kind": ["lorac_ipc"]}}, "$.search"),
        ({"name": "a", "search": {"method.ortho_mode": {"log": [1, 2]}}}, None),
        ({"name": "a", "search": {"stream.task_order": [[0]]}}, "$.search"),
        ({"name": "a", "objectives": {"acuracy": "max"}}, "$.objectives"),
        ({"name": "a", "orders": {"design": "wiliams"}}, "$.orders.design"),
        ({"name": "a", "orders": {"fixed": 2}}, "$.orders.fixed"),
        ({"name": "a", "ablation": {"plan": "all"}}, "$.ablation.plan"),
        ({"name": "a", "seeds": [0.5]}, "$.seeds[0]"),
        ({"name": "a", "storage": {"secret_access_key": "x"}}, "$.storage"),
    ],
)
def test_a_slip_is_seen_where_it_is(document: Any, path: str | None) -> None:
    assert slips(document) == {path or "$.search['method.ortho_mode']"}


def test_hints_are_the_docstrings_of_the_fields() -> None:
    schema = sweep_schema()
    axis = schema["properties"]["search"]["properties"]["method.importance_threshold"]
    assert axis["description"].startswith("Fraction of all adapted matrices")
    assert "r, the rank of the module of one task." in str(schema["$defs"]["LoracIpcConfig"])
    undescribed = [name for name, found in schema["$defs"].items() if not found.get("description")]
    assert undescribed == []
