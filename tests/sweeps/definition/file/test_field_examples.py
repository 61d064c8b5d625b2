"""Examples in messages have the right form, and appear for values of a wrong form."""

from __future__ import annotations

import pytest
import yaml

from clmethods.config import InvalidConfigError
from sweeps.definition import sweep_from_dict
from sweeps.definition.file.field_examples import EXAMPLES, example_of

BASE = {"name": "a", "extends": "digits_demo"}


@pytest.mark.parametrize("field", sorted(EXAMPLES))
def test_an_example_loads(field: str) -> None:
    example = yaml.safe_load(f"{field}: {EXAMPLES[field]}")
    sweep_from_dict(BASE | example)


@pytest.mark.parametrize("field", sorted(EXAMPLES))
@pytest.mark.parametrize("value", [3, "text"])
def test_a_value_of_another_form_gets_the_example(field: str, value: object) -> None:
    with pytest.raises(InvalidConfigError) as error:
        sweep_from_dict(BASE | {field: value})
    assert f"Example: `{field}: {EXAMPLES[field]}`." in str(error.value)


def test_an_empty_list_of_seeds_gets_the_example() -> None:
    with pytest.raises(InvalidConfigError, match=r"Example: `seeds: \[0, 1, 2\]`"):
        sweep_from_dict(BASE | {"seeds": []})
    assert example_of("method.rank") == ""
