"""Conditions of `where`: what they mean, and what is no condition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import ConfigIssue, InvalidConfigError
from sweeps.definition.space.conditions import parse_condition
from sweeps.definition.space.run_fields import field_facts

FIELDS = field_facts(["lorac_ipc"])
VALUES: dict[str, Any] = {
    "method.kind": "lorac_ipc",
    "method.rank": 8,
    "method.module_weights": "learned",
    "method.sites": ["q", "v"],
    "method.depth": None,
    "method.importance_threshold": 0.25,
    "train.lr": 0.5,
    "stream.tasks": 5,
}


def holds(text: str, **values: Any) -> bool:
    known = VALUES | {path.replace("__", "."): value for path, value in values.items()}
    return parse_condition(text, "where[0]", FIELDS).holds(known.__getitem__)


def refusal(text: str) -> str:
    with pytest.raises(InvalidConfigError) as refused:
        holds(text)
    (issue,) = refused.value.issues
    assert issue.path == "where[0]"
    assert issue.value == text
    return str(issue)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("method.rank == 8", True),
        ("method.rank != 8", False),
        ("method.rank == 8.0", True),
        ("4 < method.rank <= 8", True),
        ("4 < method.rank < 8", False),
        ("method.module_weights in ['ones', 'learned']", True),
        ("method.module_weights not in ('ones', 'learned')", False),
        ("'q' in method.sites and 'k' not in method.sites", True),
        ("method.sites == ['q', 'v']", True),
        ("len(method.sites) * method.rank <= 16", True),
        ("method.depth == null", True),
        ("method.depth == None or method.depth <= 3", True),
        ("not (method.rank > 4 and train.lr > 1)", True),
        ("-method.rank + 2 * 5 - 1 >= 7 // 7 % 2", True),
        ("max(method.rank, stream.tasks) / min(2, 4) == abs(-4)", True),
        ("true", True),
        ("method.module_weights == 'ones' or method.rank <= 4", False),
    ],
)
def test_a_condition_means_what_python_means(text: str, expected: bool) -> None:
    assert holds(text) is expected


@given(rank=st.integers(-50, 50), low=st.integers(-50, 50), step=st.integers(1, 9))
@settings(deadline=None, max_examples=50)
def test_arithmetic_and_order_agree_with_python(rank: int, low: int, step: int) -> None:
    text = f"{low} <= method.rank // {step} + method.rank % {step} < 2 * {step}"
    expected = low <= rank // step + rank % step < 2 * step
    assert holds(text, method__rank=rank) is expected


def test_a_condition_over_a_field_that_is_not_there_does_not_bind() -> None:
    condition = parse_condition("method.rank <= 4", "where[0]", FIELDS)
    assert condition.holds({"method.kind": "nearest_class_mean"}.__getitem__)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method.rnak <= 4", "`method.rnak` is not a field. Did you mean 'method.rank'?"),
        ("rank <= 4", "Did you mean 'method.rank'?"),
        ("method.module_weights == learned", "`learned` is not a field. Enclose texts in quotes."),
        ("method.module_weights == 'lerned'", "Did you mean 'learned'?"),
        ("method.module_weights in ['ones', 'lerned']", "Did you mean 'learned'?"),
        ("'z' in method.sites", "in a comparison with `method.sites`"),
        ("method.rank <= '16'", "`method.rank <= '16'` compares a number with text"),
        ("method.rank == 'x'", "values of one kind on both sides"),
        ("method.rank == null", "`method.rank == null` compares a number with null"),
        ("method.sites <= 3", "compares a list with a number"),
        ("'q' in method.rank", "compares text with a number"),
        ("method.rank", "a condition, which is true or false. It is a value: compare it."),
        ("method.rank + 1", "It is a value"),
        ("method.rank and train.lr > 0", "true or false in that place. `method.rank` is a number"),
        ("method.module_weights + 1 > 0", "`method.module_weights` is text"),
        ("method.rank <=", "Python reports: invalid syntax"),
        ("", "a condition such as `method.rank <= 16`"),
        ("method.rank = 4", "Python reports"),
        ("method.depth is None", "Use `==` instead of `is`."),
        ("len(method.rank) > 1", "`len` of a list. `method.rank` has no length."),
        ("len(method.sites, 2) > 1", "one argument for `len`"),
        ("max(method.rank) > 1", "two or more arguments for `max`"),
        ("method.rank ** 2 > 1", "`method.rank ** 2` is none of these"),
        ("__import__('os').system('true') == 0", "is none of these"),
        ("method.__class__ == 'x'", "`method.__class__` is not a field."),
        ("(lambda: true)()", "is none of these"),
        ("[x for x in method.sites] == []", "is none of these"),
        ("method.sites[0] == 'q'", "`method.sites[0]` is none of these"),
        ("f'{method.rank}' == '8'", "is none of these"),
        ("b'q' in method.sites", "`b'q'` is none of these"),
        ("(" * 400 + "1" + ")" * 400, "a condition such as"),
        ("1 < " * 300 + "2", "It has 1201."),
    ],
)
def test_an_invalid_condition_is_refused_with_a_hint(text: str, message: str) -> None:
    assert message in refusal(text)


def test_nothing_is_ever_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    ran: list[str] = []
    monkeypatch.setattr(os, "system", ran.append)
    refusal("__import__('os').system('true') == 0")
    assert ran == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "method.depth <= 3",
            "is null in a configuration: begin with `method.depth == null or`",
        ),
        ("method.rank / (stream.tasks - 5) > 1", "divides by zero"),
    ],
)
def test_a_condition_that_the_values_leave_open_is_refused(text: str, message: str) -> None:
    assert message in refusal(text)


def test_all_issues_of_a_condition_are_reported() -> None:
    with pytest.raises(InvalidConfigError) as refused:
        parse_condition("method.rnak > 1 or method.rank > 'x'", "where[3]", FIELDS)
    assert len(refused.value.issues) == 2


BIG = "9" * 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BIG} / 2 > method.rank", "is too large."),
        (f"{BIG} * 1.5 > method.rank", "is too large."),
        (f"{BIG} // 1.5 > method.rank", "is too large."),
        (f"{BIG} % 1.5 > method.rank", "is too large."),
        ("1e300 * 1e300 > method.rank", "`1e+300 * 1e+300` is too large."),
        ("1e300 * 1e300 - 1e300 * 1e300 == 0", "is too large."),
        ("1e999 > method.rank", "allowed: finite numbers. `1e309` is too large."),
        (" + ".join(["1"] * 200) + " > 3", "at most 100 terms or operators inside each other"),
        ("-" * 900 + "1 > 3", "at most 100 terms or operators inside each other"),
        ("not " * 200 + "true", "at most 100 terms or operators inside each other"),
        ("(" * 450 + "1" + ")" * 450 + " > 3", "condition such as"),
        ("a" + ".a" * 400 + " > 3", "at most 100 terms or operators inside each other"),
        ("x" * 900 + " > 3", f"`{'x' * 57}...` is not a field."),
        ("method." + "x" * 900 + " > 3", "...` is not a field."),
        ("'" + "x" * 900 + "' > 3", "compares text with a number"),
        ("method.rank > 3 or " * 60 + "true", "at most 1000 characters in a condition. It has 11"),
        ("[x for x in [[[[[[1]]]]]]] == []", "is none of these."),
        ("(lambda: 1) == 1", "is none of these."),
        ("1j > 2", "is none of these."),
        ("\0 > 1", "condition such as"),
        ("\ud800 > 1", "condition such as"),
    ],
)
def test_a_condition_that_is_too_large_is_refused_like_any_other(text: str, message: str) -> None:
    shown = refusal(text)
    assert message in shown
    assert len(shown) < 500
    assert shown.isprintable()


def test_a_sum_of_many_fields_is_computed() -> None:
    assert holds(" + ".join(["method.rank"] * 60) + " == 480")


WORDS = """
method.rank train.lr method.sites method.depth x 1 0 1e308 'q' 9999999999 True null [ ] ( ) + - * /
// % ** == != < <= in not and or len( max( min( abs( , . : ; lambda if else
"""


@given(st.lists(st.sampled_from(WORDS.split()), max_size=40).map(" ".join) | st.text(max_size=200))
@settings(deadline=None, max_examples=500)
def test_any_text_is_decided_or_refused(text: str) -> None:
    issues: tuple[ConfigIssue, ...] = ()
    try:
        holds(text)
    except InvalidConfigError as error:
        issues = error.issues
    assert all(str(issue).replace("\n", "").isprintable() for issue in issues)
