"""The search space that Tune is given, as Tune unfolds it."""

from __future__ import annotations

import copy
from typing import Any

from ray import cloudpickle
from ray.tune.search.variant_generator import generate_variants

from sweeps.execution.tune.param_space import space

TRIALS = {"a": 1, "b": 2, "c": 3}


def test_every_trial_has_its_own_message_which_is_made_once() -> None:
    made: list[int] = []

    def message(spec: int) -> dict[str, int]:
        made.append(spec)
        return {"of": spec}

    variants = [found for _, found in generate_variants(space(TRIALS, message))]
    assert variants == [{"trial_id": n, "message": {"of": k}} for n, k in TRIALS.items()]
    assert made == [*TRIALS.values()]


def test_a_copy_for_one_trial_copies_no_other() -> None:
    """Tune makes one for every trial: what is in it is paid for as often as there are trials."""
    whole: dict[str, Any] = space(TRIALS, lambda spec: {"of": spec})
    copied = copy.deepcopy(whole)
    assert copied["message"].func is whole["message"].func
    assert copied["trial_id"] == {"grid_search": ["a", "b", "c"]}


def test_what_tune_pickles_holds_no_trial() -> None:
    many = {f"{number:016x}": "x" * 1000 for number in range(1000)}
    pickled = cloudpickle.dumps(space(many, lambda spec: {"of": spec}))
    assert len(pickled) < 1000 * 32
