"""`--only`."""

from __future__ import annotations

import pytest

from clmethods.config import InvalidConfigError
from sweeps.definition import expand, sweep_from_dict
from sweeps.definition.trial_patterns import chosen_trials

TRIALS = expand(
    sweep_from_dict(
        {
            "name": "choosing",
            "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
            "stream": {"dataset": "digits", "tasks": 3},
            "search": {"method.sites": [["q"], ["q", "v"]], "method.rank": [2, 4]},
            "orders": {"design": "explicit", "list": [[0, 1, 2], [2, 1, 0]]},
            "seeds": [0, 1],
        }
    )
)
FIRST = TRIALS[0]


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        ([], 16),
        ([FIRST.label], 4),
        ([FIRST.name], 1),
        (["*rank=2*"], 8),
        (["*, order *, seed 1"], 8),
        ([FIRST.trial_id], 1),
        ([FIRST.trial_id[:8]], 1),
        ([FIRST.config_id[:8]], 4),
        ([FIRST.name, FIRST.trial_id, "*seed 1"], 9),
    ],
)
def test_what_a_pattern_means(patterns: list[str], count: int) -> None:
    assert len(chosen_trials(TRIALS, patterns)) == count


def test_a_pattern_that_means_nothing_is_refused_with_the_nearest_label() -> None:
    with pytest.raises(InvalidConfigError) as refusal:
        chosen_trials(TRIALS, [FIRST.label + "x", FIRST.label, FIRST.trial_id[:3]])
    first, second = refusal.value.issues
    assert f"Did you mean {FIRST.label!r}?" in str(first)
    assert "Labels are" in str(second)
