"""Validation in our own words, going on behind the first fault."""

from __future__ import annotations

from typing import Any

import pytest

from clmethods.config import LoracIpcConfig, StreamConfig, TrainConfig
from sweeps.definition.file.file_fields import SweepFile
from sweeps.definition.file.validation import validated


def messages(kind: type[Any], data: object) -> list[str]:
    return [str(issue) for issue in validated(kind, data).issues]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"rank": "4"}, "rank: got '4', allowed: a whole number"),
        ({"rank": 4.0}, "rank: got 4.0, allowed: a whole number"),
        ({"rank": True}, "rank: got True, allowed: a whole number"),
        ({"depth": "all"}, "depth: got 'all', allowed: a whole number, or null"),
        ({"lora_alpha": "x"}, "lora_alpha: got 'x', allowed: a number"),
        ({"sites": "q"}, "sites: got 'q', allowed: a list"),
        ({"rank": 0}, "rank: got 0, allowed: 1 or more"),
        (
            {"ortho_mode": "gran"},
            "ortho_mode: got 'gran', allowed: one of ['none', 'gram', 'gram_sq', 'cross', "
            "'cross_l1', 'qr', 'project', 'reparam_qr', 'reparam_torch', 'fixed_basis']. "
            "Did you mean 'gram'?",
        ),
        ([], "got [], allowed: a mapping of fields"),
    ],
)
def test_an_issue_is_reported_in_our_words(data: object, message: str) -> None:
    (found,) = messages(LoracIpcConfig, data)
    assert message in found


def test_an_unknown_field_offers_the_nearest_one() -> None:
    (found,) = messages(LoracIpcConfig, {"importance_treshold": 0.1})
    assert found.startswith("importance_treshold: got 0.1, allowed: one of the fields ['rank',")
    assert found.endswith("Did you mean 'importance_threshold'?")
    assert "__" not in found


def test_a_wrong_type_does_not_hide_a_violated_constraint() -> None:
    found = validated(TrainConfig, {"epochs": -1, "lr": "fast", "batchsize": 3, "threads": 0})
    assert {issue.path for issue in found.issues} == {"epochs", "lr", "batchsize", "threads"}
    assert found.value == TrainConfig()


def test_valid_fields_survive_invalid_ones() -> None:
    found = validated(LoracIpcConfig, {"rank": 0, "lora_alpha": 4, "sites": ["q", "z"]})
    assert {issue.path for issue in found.issues} == {"rank", "sites[1]"}
    assert found.value == LoracIpcConfig(lora_alpha=4.0)
    assert found.valid == {"lora_alpha": 4}


def test_defaults_that_stand_in_for_faulty_fields_are_not_judged() -> None:
    found = messages(StreamConfig, {"dataset": "digit", "tasks": 50})
    assert len(found) == 1
    assert found[0].startswith("dataset: got 'digit'")


def test_a_whole_number_serves_where_a_number_is_asked_for() -> None:
    assert validated(TrainConfig, {"lr": 1}).value.lr == 1.0


def test_a_choice_between_plain_types_is_one_fault() -> None:
    """pydantic speaks of each type at a path of its own, which is none of the file's."""
    data = {"orders": {"before": [[0, 1.5]], "fixed": [True, "a"], "desing": "all"}}
    found = [str(issue) for issue in validated(SweepFile, data).issues]
    assert "orders.before[0][1]: got 1.5, allowed: a whole number or text" in found
    assert "orders.fixed[0]: got True, allowed: a whole number or text" in found
    assert len(found) == 3


def test_one_bad_item_does_not_hide_the_others() -> None:
    data = {"baselines": [{"label": 3}, 3, {"mehtod": {}}], "seeds": [0, "x"]}
    found = validated(SweepFile, data)
    paths = [issue.path for issue in found.issues]
    assert paths == ["baselines[0].label", "baselines[1]", "baselines[2].mehtod", "seeds[1]"]
    assert len(found.value.baselines) == 3
