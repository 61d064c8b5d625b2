"""Fractions and percentages as users write them, and suggestions for misspelled names."""

from __future__ import annotations

import pytest

from clmethods.errors import InvalidConfigError, nearest
from clmethods.methods import METHODS
from clmethods.metrics import DIRECTIONS
from clmethods.percentages import parse_fraction


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0.05", 0.05), ("5%", 0.05), (" 5 % ", 0.05), ("-0.1", -0.1), ("0", 0.0)),
        *(("1.0", 1.0), ("100%", 1.0), ("0.5%", 0.005), ("1e-3", 0.001), ("1%", 0.01)),
    ],
)
def test_fractions_and_percentages_are_read(text: str, value: float) -> None:
    assert parse_fraction("--max", text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("5", "a percentage such as 5%. 5 would be 500 %: write 0.05 or 5%."),
        ("1", "1 would be 100 %: write 0.01 or 1%."),
        ("-3", "write -0.03 or -3%."),
        ("500", "500 would be 50000 %."),
        ("101%", "allowed: at most 100%"),
        *((text, "allowed: a fraction such as 0.05") for text in ("", "x", "nan", "inf", "%")),
        ("0,05", "allowed: a fraction such as 0.05"),
        ("1_0%", "allowed: a fraction such as 0.05"),
    ],
)
def test_other_texts_are_refused(text: str, part: str) -> None:
    with pytest.raises(InvalidConfigError) as error:
        parse_fraction("--max", text)
    assert f"--max: got {text!r}" in str(error.value)
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "choices", "suggested"),
    [
        ("lorac", list(METHODS), "lorac_ipc"),
        ("LORAC_IPC", list(METHODS), "lorac_ipc"),
        ("accuracy", list(DIRECTIONS), "average_accuracy"),
        ("forget", list(DIRECTIONS), "forgetting"),
        ("forgeting", list(DIRECTIONS), "forgetting"),
        ("incremental", list(DIRECTIONS), "average_incremental_accuracy"),
        ("means", ["nearest_class_mean", "class_means"], "class_means"),
        ("rnak", ["max_rank", "rank"], "rank"),
        ("rank", ["max_rank", "ranks"], "ranks"),
    ],
)
def test_suggestions_prefer_beginnings_and_parts(
    name: str, choices: list[str], suggested: str
) -> None:
    assert nearest(name, choices) == f"Did you mean {suggested!r}?"


@pytest.mark.parametrize("name", ["xyz", "a", "", "or"])
def test_nothing_is_suggested_without_similarity(name: str) -> None:
    assert nearest(name, list(METHODS)) == ""


def test_a_choice_itself_gets_no_suggestion() -> None:
    assert nearest("ewc", list(METHODS)) == ""
