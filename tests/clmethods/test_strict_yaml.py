"""One strict reader of YAML: no surprising values, no lost keys, no expansion without end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clmethods.config import ConfigIssue, InvalidConfigError
from clmethods.strict_yaml import FileKind, parse_yaml, yaml_text

TRAIN = """
backbone: {name: tiny_vit8, weights: random, image_size: 8}
stream: {dataset: digits, limit: 4}
method: {kind: lora_sequential}
train: %s
"""

KIND = FileKind(noun="a test file")
STORED = FileKind(noun="a stored file", from_program=True)


def read(text: str | bytes, kind: FileKind = KIND) -> Any:
    data = text.encode() if isinstance(text, str) else text
    content, issues = parse_yaml(data, "my.yaml", kind)
    assert issues == [], list(map(str, issues))
    return content


def issues_of(text: str | bytes, kind: FileKind = KIND) -> list[str]:
    """The issues of a file, whether it could be read in part or not at all."""
    data = text.encode() if isinstance(text, str) else text
    try:
        issues = parse_yaml(data, "my.yaml", kind)[1]
    except InvalidConfigError as error:
        issues = list(error.issues)
    assert issues
    return list(map(str, issues))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5e-3", 0.005),
        ("1.5e3", 1500.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("+3", 3),
        ("1_000", 1000),
        ("0b11", 3),
        ("0x1F", 31),
        ("0", 0),
        ("-0", 0),
        ("0.10", 0.1),
        ("010.5", 10.5),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("0o17", "0o17"),
        ("2024-01-01", "2024-01-01"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("Null", None),
        ("=", "="),
        ("1e", "1e"),
        ("1-2", "1-2"),
        ("'010'", "010"),
        ('"5e-3"', "5e-3"),
        ("!!str 010", "010"),
        ("! 12", "12"),
        ("!!float 1", 1.0),
        ("!!int 7", 7),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"a\\tb"', "a\tb"),
        (".inf", float("inf")),
        ("-.inf", float("-inf")),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_scalar_has_the_value_that_it_shows(written: str, value: object) -> None:
    content = read(f"a: {written}\n")["a"]
    assert content == value
    assert type(content) is type(value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("010", "Write 10 for the number, or '010' for the text."),
        ("-007", "Write 7 for the number"),
        ("08", "Write 8 for the number"),
        ("0_1", "Write 1 for the number"),
        ("00", "Write 0 for the number"),
        ("1" * 5000, "a number of at most 63 bits"),
        ("-" + "1" * 5000, "a number of at most 63 bits"),
        ("0x" + "f" * 5000, "a number of at most 63 bits"),
        ("9223372036854775808", "a number of at most 63 bits"),
        ("!!int " + "1" * 5000, "a number of at most 63 bits"),
        ("!!int abc", "a value of the type !!int"),
        ("!!int 010", "a number without leading zeros"),
        ("!!float x", "a value of the type !!float"),
        ("!!bool yes", "a value of the type !!bool"),
        ("!!null x", "a value of the type !!null"),
        ("!!timestamp 2024-01-01", "a value without a tag"),
        ("!!binary aGk=", "a value without a tag"),
        ("!!python/object:os.system x", "a value without a tag"),
        ("!!python/object/apply:os.system [x]", "a value without a tag"),
        ("!!set {x}", "a value without a tag"),
        ("!!int [1]", "a value without a tag"),
        ("!local x", "a value without a tag"),
        ('"\\ud83d"', "text without half of a surrogate pair"),
        ('"\\e[31m"', "It contains U+001B."),
        ('"\\0"', "It contains U+0000."),
        ('"\\x9b"', "It contains U+009B."),
        ('"\\UFFFFFFFF"', "well-formed YAML"),
    ],
)
def test_a_scalar_without_one_meaning_is_refused(written: str, message: str) -> None:
    (found,) = issues_of(f"b: 1\na: {written}\n")
    assert message in found
    assert "line 2" in found or "my.yaml" in found
    assert found.isprintable()
    assert len(found) < 400


@pytest.mark.parametrize(
    "text",
    [
        '"\\e[31mred": 1',
        '"a\\0b": 1',
        "'': 1",
        '"\\ud83d": 1',
        '"\\u202eabc": 1',
        "a: {? [x] : 1}",
        "1: a",
        "null: a",
        "1.5: a",
        "true: a",
    ],
)
def test_a_key_is_a_printable_name(text: str) -> None:
    (found,) = issues_of(text)
    assert found.isprintable()


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x9b", "\ufffe"])
def test_a_file_has_no_control_characters(character: str) -> None:
    (found,) = issues_of(f"a: 1\nb: x{character}\n")
    assert found.startswith("my.yaml, line 2, column 5: got '")
    assert "without control characters" in found
    assert found.isprintable()


def test_a_repeated_key_is_reported_with_both_lines() -> None:
    found = issues_of("train:\n  lr: 1\n  lr: 2\na: &x {b: 1}\n'a': 3\n")
    assert found == [
        "train.lr: got '2', allowed: each key once. Line 3 repeats line 2.",
        "a: got '3', allowed: each key once. Line 5 repeats line 4.",
    ]


def test_equal_texts_of_two_kinds_are_two_keys() -> None:
    assert read("a: 1\nA: 2\n'<<': 3\n") == {"a": 1, "A": 2, "<<": 3}


def test_merge_keys_are_overridden_by_the_mapping_and_by_earlier_mappings() -> None:
    text = """
base: &base {kind: lora, rank: 4, lr: 0.1}
other: &other {rank: 8, alpha: 2}
one: {<<: *base, rank: 16}
two: {rank: 16, <<: *base}
three: {<<: [*other, *base], lr: 0.2}
four: {<<: {a: 1}, b: 2}
"""
    content = read(text)
    assert content["one"] == content["two"] == {"kind": "lora", "rank": 16, "lr": 0.1}
    assert content["three"] == {"kind": "lora", "rank": 8, "lr": 0.2, "alpha": 2}
    assert content["four"] == {"a": 1, "b": 2}


def test_a_merge_of_a_merge_has_the_keys_of_both() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}\n"
    assert read(text)["c"] == {"x": 1, "y": 2, "z": 3}


def test_a_true_duplicate_beside_a_merge_is_refused() -> None:
    found = issues_of("a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n  x: 3\n")
    assert found == ["b.x: got '3', allowed: each key once. Line 5 repeats line 4."]
    (found_merges,) = issues_of("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n")
    assert "use `<<: [*a, *b]`" in found_merges


@pytest.mark.parametrize("value", ["3", "[1]", "text", "[*a, 2]"])
def test_only_mappings_can_be_merged(value: str) -> None:
    (found,) = issues_of(f"a: &a {{x: 1}}\nb: {{<<: {value}}}\n")
    assert "allowed: an alias of a mapping, or a list of such aliases" in found


def bomb(levels: int, merge: bool = False) -> str:
    """A file of `levels` lines whose value has 10 ** levels parts."""
    if merge:
        lines = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(10)) + "}"]
        for n in range(1, levels):
            lines.append(f"a{n}: &a{n} {{x: {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}, ")
            lines[-1] += ", ".join(f"y{i}: *a{n - 1}" for i in range(10)) + "}"
        return "\n".join(lines)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


BOMBS = {
    "aliases in lists": bomb(20),
    "merge keys": bomb(20, merge=True),
    "merges of one mapping": "a: &a {"
    + ", ".join(f"k{i}: 1" for i in range(900))
    + "}\nb:\n"
    + "- {<<: *a}\n" * 1000,
    "one merge of a long list": "a: &a {"
    + ", ".join(f"k{i}: 1" for i in range(900))
    + "}\n"
    + "b: {<<: ["
    + "*a, " * 1000
    + "*a]}",
    "long text": "a: &a '" + "x" * 1_000_000 + "'\nb: [" + "*a, " * 100 + "*a]",
    "itself": "a: &a [*a]",
    "itself in a merge": "a: &a {<<: *a}",
    "deep": "[" * 100_000,
    "deep mappings": "a: " * 1 + "{a: " * 100_000,
    "deep blocks": "".join(" " * n + "a:\n" for n in range(1000)),
    "many values": "a: [" + "1, " * 1_000_000 + "1]",
    "many keys": "".join(f"unknown_{n}: 1\n" for n in range(50_000)),
    "many equal keys": "a: 1\n" * 50_000,
    "many mappings": "a:\n" + "- {b: 1, b: 2}\n" * 60_000,
    "large": "# " + "x" * 17_000_000 + "\na: 1",
    "version": f"%YAML 1.{'9' * 5000}\n---\na: 1",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_expands_is_refused_at_once(name: str) -> None:
    start = time.process_time()
    found = issues_of(BOMBS[name])
    assert time.process_time() - start < 2
    assert len(found) <= 51
    assert all(len(issue) < 500 for issue in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got 'an empty file', allowed: a test file"),
        ("# a comment", "an empty file"),
        ("---\n", None),
        ("a: 1\n---\nb: 2\n", "my.yaml, line 2, column 1: got 'a second document'"),
        ("a: *b", "Found the alias 'b' without an anchor above it."),
        ("a: &a 1\nb: &a 2", "Found the anchor 'a' twice."),
        ("a: [1, 2\nb: 3", "my.yaml, line 2, column 2"),
        (b"\xff\xfe\xfa", "bytes that are not text"),
        ("caf\xe9: 1".encode("cp1252"), "Save it in UTF-8. Byte 4"),
    ],
)
def test_a_file_that_is_not_one_document_is_refused(
    text: str | bytes, message: str | None
) -> None:
    if message is None:
        assert read(text) is None
    else:
        assert message in issues_of(text)[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_are_recognized(encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    assert read(f"{mark}a: \xe9\n".encode(encoding)) == {"a": "\xe9"}


def test_json_is_read_as_json() -> None:
    document = {"a": [1, 0.5, None, True, "\U0001f600 \\ / \x7e"], "b": {"c": "5e-3"}}
    assert read(json.dumps(document)) == document
    assert read(json.dumps(document, indent=2, ensure_ascii=False)) == document


PARTS = st.sampled_from(
    ["a", "b: ", "- ", "&x ", "*x", "<<: ", "[", "]", "{", "}", ", ", "\n", "  ", "'", '"', "# ",
     "!!int ", "!!str ", "!", "5e-3", "010", "1:30", "\\", "? ", ": ", "---\n", "...\n", "%",
     "|\n", ">-\n", "\t", "\u20ac", "\0", "\x1b", "~", "\\ud800", "@", "`", "0x", "1" * 5000]
)  # fmt: skip


@given(st.lists(PARTS, max_size=30).map("".join) | st.text() | st.binary())
@settings(deadline=None, max_examples=300)
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    for kind in (KIND, STORED):
        try:
            _, issues = parse_yaml(data, "my.yaml", kind)
        except InvalidConfigError as error:
            issues = list(error.issues)
            assert issues
        assert all(str(issue).replace("\n", "").isprintable() for issue in issues)


@given(st.lists(PARTS, max_size=30).map("".join))
@settings(deadline=None, max_examples=100)
def test_files_are_read_alike_without_the_parser_in_c(text: str) -> None:
    """The parser in C also accepts some tabs that the one in Python refuses."""

    def outcome() -> tuple[object, list[ConfigIssue]] | None:
        try:
            return parse_yaml(text.encode(), "my.yaml", KIND)
        except InvalidConfigError:
            return None

    with pytest.MonkeyPatch.context() as patch:
        fast = outcome()
        patch.delattr("yaml.CSafeLoader", raising=False)
        slow = outcome()
    assert slow is None or repr(slow) == repr(fast)


TEXTS = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" \n\t"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | TEXTS
    | st.sampled_from(["5e-3", "08", "010", "1:30", "no", "~", "<<", "=", "1e5", ".5"])
)
KEYS = TEXTS.filter(lambda text: text != "" and text.isprintable())


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
@settings(deadline=None, max_examples=200)
def test_a_written_document_is_read_as_it_was(value: object) -> None:
    text = yaml_text({"a": value})
    assert read(text) == {"a": value}
    assert read(text, STORED) == {"a": value}
    assert yaml.safe_load(text) == {"a": value}


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)))
@settings(deadline=None, max_examples=200)
def test_a_file_of_an_earlier_version_is_read_as_it_was(value: object) -> None:
    text = yaml.safe_dump({"a": value}, sort_keys=False, allow_unicode=True)
    assert read(text, STORED) == {"a": value}


def both_read(tmp_path: Path, train: str) -> list[list[str]]:
    """The issues of one run in a run file and in a sweep file."""
    from clmethods.cli.input_files import read_mapping
    from clmethods.config import run_from_dict
    from sweeps.definition import load_sweep

    run, sweep = tmp_path / "run.yaml", tmp_path / "sweep.yaml"
    run.write_text(TRAIN % train)
    sweep.write_text(f"name: a\n{TRAIN % train}")
    found: list[list[str]] = []
    rates: list[float] = []
    for name in ("run", "sweep"):
        try:
            if name == "run":
                rates.append(run_from_dict(read_mapping(run)).train.lr)
            else:
                rates.append(load_sweep(sweep).base.train.lr)
            found.append([])
        except InvalidConfigError as error:
            found.append([str(issue) for issue in error.issues])
    assert len(set(rates)) <= 1
    return found


def test_both_packages_read_a_number_alike(tmp_path: Path) -> None:
    assert both_read(tmp_path, "{lr: 5e-3}") == [[], []]
    assert both_read(tmp_path, "{<<: {lr: 0.1}, lr: 5e-3}") == [[], []]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("{lr: 1.0, lr: 0.1}", "train.lr: got '0.1', allowed: each key once."),
        ("{batch_size: 010}", "Write 10 for the number"),
        ("{epochs: 1:30}", "train.epochs: got '1:30'"),
        ("{epochs: !!int abc}", "train.epochs: got 'abc', allowed: a value of the type !!int"),
        (f"{{epochs: {'9' * 5000}}}", "a number of at most 63 bits"),
        ('{"\\e[31m": 1}', "text without control characters"),
    ],
)
def test_both_packages_refuse_alike(tmp_path: Path, train: str, message: str) -> None:
    for found in both_read(tmp_path, train):
        assert len(found) == 1
        assert message in found[0]
        assert found[0].isprintable()
