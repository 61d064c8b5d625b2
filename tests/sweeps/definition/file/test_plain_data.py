"""Reading YAML strictly: what cannot be read is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import ConfigIssue, InvalidConfigError, LoracIpcConfig
from sweeps.definition.file.plain_data import plain, read_yaml


def read(tmp_path: Path, text: str | bytes) -> tuple[object, list[ConfigIssue]]:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(path)


def refusal(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(InvalidConfigError) as refused:
        read(tmp_path, text)
    return str(refused.value)


def test_yaml_that_does_not_parse_names_line_and_column(tmp_path: Path) -> None:
    message = refusal(tmp_path, "name: demo\nseeds: [0, 1\ntrain: {}\n")
    assert "sweep.yaml, line 3, column 6: got 'train: {}', allowed: well-formed YAML" in message
    assert "expected ',' or ']', but got ':'" in message


def test_a_tab_is_named_as_one(tmp_path: Path) -> None:
    assert "line 2, column 1" in refusal(tmp_path, "search:\n\tmethod.rank: [1]\n")


def test_repeated_keys_are_faults_with_their_path(tmp_path: Path) -> None:
    _, issues = read(tmp_path, "train:\n  lr: 1\n  lr: 2\nname: a\nname: b\n")
    assert [str(issue) for issue in issues] == [
        "train.lr: got '2', allowed: each key once. Line 3 repeats line 2.",
        "name: got 'b', allowed: each key once. Line 5 repeats line 4.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got 'an empty file', allowed: a sweep file in YAML"),
        ("# only a comment\n", "an empty file"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1"),
        ("[" * 1500, "nesting of at most 32 levels"),
        ("a: &a [*a]", "line 1, column 8"),
        (b"\xff\xfe\xfa", "bytes that are not text"),
    ],
)
def test_what_is_no_sweep_file_is_refused_plainly(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert message.lower() in refusal(tmp_path, text).lower()


def test_a_file_that_is_not_there_offers_one_that_is(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").touch()
    with pytest.raises(InvalidConfigError, match=r"No such file.*'sweep\.yaml'"):
        read_yaml(tmp_path / "sweeep.yaml")
    with pytest.raises(InvalidConfigError, match="Is a directory"):
        read_yaml(tmp_path)


def test_numbers_and_dates_are_read_as_people_mean_them(tmp_path: Path) -> None:
    text = "lr: 5e-3\nname: 2024-01-01\nrank: 4\nbase: &b {a: 1}\nc: *b\non: [off, yes, true]\n"
    data, issues = read(tmp_path, text)
    assert data == {
        "lr": 0.005,
        "name": "2024-01-01",
        "rank": 4,
        "base": {"a": 1},
        "c": {"a": 1},
        "on": ["off", "yes", True],
    }
    assert issues == []


TEXTS = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "))
SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | TEXTS | st.floats(-1, 1)


@given(
    st.recursive(
        SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS.filter(bool), inner)
    )
)
@settings(deadline=None, max_examples=30)
def test_plain_data_stays_as_it_is(value: object) -> None:
    issues: list[ConfigIssue] = []
    assert plain(value, "", issues) == value
    assert issues == []


def test_what_is_not_plain_is_named_and_read_as_null() -> None:
    issues: list[ConfigIssue] = []
    odd = {"a": [float("nan"), 1], "b": {2: 3}, "c": object(), "d": 2**70, "e": "\x1b[31m"}
    assert plain(odd, "", issues) == {"a": [None, 1], "b": {}, "c": None, "d": None, "e": None}
    assert [issue.path for issue in issues] == ["a[0]", "b.2", "c", "d", "e"]
    assert "\x1b" not in str(issues[-1])


def test_dataclasses_and_tuples_become_plain() -> None:
    issues: list[ConfigIssue] = []
    assert plain(LoracIpcConfig(sites=("q",)), "method", issues)["sites"] == ["q"]
