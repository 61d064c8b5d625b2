"""Fields of a run and the kinds of values that they accept."""

from __future__ import annotations

import pytest

from sweeps.definition.space.run_fields import takes_only_integers


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("method.rank", True),
        ("method.depth", True),  # an integer or null
        ("train.lr", False),
        ("method.sites", False),
        ("stream.task_order", False),  # a list of integers
        ("method.unknown", False),
    ],
)
def test_only_integer_fields_take_only_integers(path: str, expected: bool) -> None:
    assert takes_only_integers(path, "lorac_ipc") is expected
