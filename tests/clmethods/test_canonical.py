"""One spelling for every value: properties of canonical JSON, fingerprints, derived seeds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.canonical import canonical_json, derive_seed, fingerprint, short_id

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_it_is_json_that_means_the_same_value(value: object) -> None:
    text = canonical_json(value)
    assert json.loads(text) == value  # Python holds 1 and 1.0 equal, too
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(max_size=4), values, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@given(st.integers(-(2**53), 2**53))
def test_whole_floats_are_integers(number: int) -> None:
    assert canonical_json({"x": float(number)}) == canonical_json({"x": number})


@given(values, values)
def test_different_values_differ(left: object, right: object) -> None:
    """But for true and 1, which Python holds equal and JSON does not."""
    assert (canonical_json(left) == canonical_json(right)) <= (left == right)


def test_bool_and_integer_are_two_things() -> None:
    assert canonical_json([True, 1, "1", None]) == '[true,1,"1",null]'


def test_sequences_sets_and_dataclasses_have_one_form() -> None:
    @dataclass
    class Point:
        x: float
        y: tuple[int, ...]

    assert canonical_json(Point(1.0, (3, 2))) == '{"x":1,"y":[3,2]}'
    assert canonical_json({"b", "a"}) == canonical_json(["a", "b"])
    assert canonical_json({1: 2}) == '{"1":2}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_hold_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"lr": number})


def test_fingerprints_are_stable_across_versions() -> None:
    """Stored keys would be lost if these changed."""
    assert fingerprint({"a": 1.0}) == fingerprint({"a": 1})
    assert fingerprint({"a": 1}) == (
        "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    )
    assert short_id({"a": 1}) == "015abd7f5cc57a2d"
    assert derive_seed(0, "head", 3) == 5305704548177575927


@given(st.integers(0, 2**40), st.lists(st.text(max_size=3) | st.integers(0, 99), max_size=3))
def test_seeds_fit_every_generator(root: int, purpose: list[str | int]) -> None:
    seed = derive_seed(root, *purpose)
    assert 0 <= seed < 2**63
    assert seed == derive_seed(root, *purpose)
    others = {
        derive_seed(root + 1, *purpose),
        derive_seed(root, *purpose, 0),
        derive_seed(root, "x", *purpose),
    }
    assert seed not in others


def test_a_number_and_its_spelling_are_two_purposes() -> None:
    assert derive_seed(0, "1") != derive_seed(0, 1)
    assert derive_seed(0, "a", "b") != derive_seed(0, "ab")
