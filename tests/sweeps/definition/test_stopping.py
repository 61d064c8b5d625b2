"""Early stopping and racing in a sweep file: schedules, refusals, and the rule in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from clmethods.config import InvalidConfigError
from sweeps.definition import EarlyStop, Racing, replicate_sequence, sweep_from_dict
from sweeps.definition.file.json_schema import sweep_schema

TINY = {"name": "tiny_vit8", "weights": "random", "image_size": 8}


def sweep_of(**fields: Any) -> dict[str, Any]:
    return {"name": "test", "backbone": TINY, **fields}


def test_both_are_off_unless_a_file_says_otherwise_and_null_turns_them_off() -> None:
    assert sweep_from_dict(sweep_of()).early_stop is None
    both = sweep_from_dict(
        sweep_of(
            early_stop={"kind": "asha", "after_task": 3, "metric": "average_accuracy"},
            racing={"start": 3},
            orders={"design": "latin_square"},
        )
    )
    assert both.early_stop == EarlyStop(after_task=3, metric="average_accuracy")
    assert both.racing == Racing(start=3)
    assert sweep_from_dict({**both.document, "early_stop": None}).early_stop is None
    assert sweep_from_dict(both.document) == both


@pytest.mark.parametrize(
    ("rule", "tasks", "rungs"),
    [
        (EarlyStop(), 10, (1, 3, 9)),
        (EarlyStop(), 9, (1, 3)),
        (EarlyStop(reduction_factor=1.5), 6, (1, 2, 3, 5)),
        (EarlyStop(after_task=3, every=2), 10, (3, 5, 7, 9)),
        (EarlyStop(after_task=3), 3, ()),
    ],
)
def test_rungs_come_geometrically_or_evenly_and_never_after_the_last_task(
    rule: EarlyStop, tasks: int, rungs: tuple[int, ...]
) -> None:
    assert rule.rungs(tasks) == rungs


def test_the_last_look_is_at_all_replicates() -> None:
    assert Racing(start=4, step=3).looks(12) == (4, 7, 10, 12)
    assert Racing(start=4, step=4).looks(12) == (4, 8, 12)


@given(st.integers(1, 9), st.integers(1, 9))
def test_replicates_are_balanced_at_every_moment(orders: int, seeds: int) -> None:
    sequence = replicate_sequence(range(orders), range(seeds))
    assert sorted(sequence) == [(i, j) for i in range(orders) for j in range(seeds)]
    for k in range(1, len(sequence) + 1):
        for factor, levels in ((0, orders), (1, seeds)):
            used = Counter(cell[factor] for cell in sequence[:k])
            counts = [used[level] for level in range(levels)]
            assert max(counts) - min(counts) <= 1
    diagonal = sequence[: min(orders, seeds)]
    assert len({i for i, _ in diagonal}) == len({j for _, j in diagonal}) == len(diagonal)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"early_stop": {"kind": "ahsa"}}, "early_stop.kind", "Did you mean 'asha'?"),
        ({"early_stop": {"after": 2}}, "early_stop.after", "one of the fields ['kind', 'after_t"),
        ({"early_stop": {"after_task": 0}}, "early_stop.after_task", "1 or more"),
        ({"early_stop": {"after_task": 5}}, "early_stop.after_task", "before the last of 5 tasks"),
        ({"early_stop": {"every": 0}}, "early_stop.every", "1 or more"),
        ({"early_stop": {"audit": 1.5}}, "early_stop.audit", "a share from 0 to 1"),
        ({"early_stop": {"reduction_factor": 1}}, "early_stop.reduction_factor", "greater than 1"),
        (
            {"early_stop": {"metric": "avrage_accuracy"}},
            "early_stop.metric",
            "Did you mean 'average_accuracy'?",
        ),
        (
            {"early_stop": {"kind": "non_dominated", "after_task": 2, "metric": "bwt"}},
            "early_stop.metric",
            "ranks by all objectives",
        ),
        (
            {"early_stop": {}, "objectives": {"trainable_parameters": "min"}},
            "early_stop.metric",
            "is the same for all runs of a configuration",
        ),
        (
            {"early_stop": {"kind": "non_dominated"}},
            "early_stop.after_task",
            "Undefined after one task: forgetting.",
        ),
        ({"early_stop": {}, "stream": {"tasks": 1}}, "early_stop", "the stream has one task"),
        (
            {"early_stop": {}, "search": {"stream.tasks": [2, 5]}},
            "early_stop",
            "where stream.tasks varies",
        ),
        ({"early_stop": 3}, "early_stop", "a mapping of fields, or null"),
        ({"racing": {"start": 1}}, "racing.start", "One is too few."),
        ({"racing": {"start": 3}, "seeds": [0, 1]}, "racing.start", "orders (1) x seeds (2)"),
        (
            {"racing": {}, "orders": {"design": "curricula"}},
            "racing.start",
            "orders (4) x seeds (1)",
        ),
        ({"racing": {"step": 0}}, "racing.step", "1 or more"),
        ({"racing": {"confidence": 1}}, "racing.confidence", "below 1"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict(sweep_of(**fields))
    (issue,) = refused.value.issues
    assert issue.path == path
    assert message in str(issue)


def test_editors_know_both() -> None:
    schema = Draft202012Validator(sweep_schema())
    good = sweep_of(early_stop={"kind": "asha", "after_task": 3}, racing=None)
    assert not list(schema.iter_errors(good))
    slip = sweep_of(early_stop={"kind": "hyperband"}, racing={"begin": 3})
    assert {error.json_path for error in schema.iter_errors(slip)} == {"$.early_stop", "$.racing"}


def test_the_rule_is_said_in_words() -> None:
    rule = EarlyStop(kind="non_dominated", after_task=2)
    printed = rule.in_words(5, {"average_accuracy": "max", "forgetting": "min"})
    assert printed.startswith("After 2 of 5 tasks, 1 in 3 configurations continues")
    assert "average_accuracy (max) and forgetting (min)" in printed
    assert "4 of 12 replicates" in Racing().in_words(12)
