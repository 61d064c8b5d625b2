"""I10 for all methods whose head learns by the local cross-entropy alone."""

from __future__ import annotations

import pytest

from clmethods.methods import METHODS
from tests.clmethods.runs import same_bits, small_method, tiny_run, train

WITHOUT_HEAD = {"nearest_class_mean", "ranpac"}
ONE_STAGE = {"joint_full", "joint_lora", "joint_linear"}
TRAINS_OLD_ROWS = {"lwf"}
"""By distillation; see test_lwf.py."""
LOCAL = sorted(METHODS.keys() - WITHOUT_HEAD - ONE_STAGE - TRAINS_OLD_ROWS)


@pytest.mark.parametrize("kind", LOCAL)
def test_i10_head_rows_of_other_classes_stay_as_they_are(kind: str) -> None:
    """With weight decay, which would pull at anything that an optimiser holds without need."""
    trained = train(tiny_run(small_method(kind), weight_decay=0.1), until=1)
    before, after, mine = trained.state(0), trained.state(1), trained.chain[1].classes
    others = [label for label in range(10) if label not in mine]
    for name in ("head.weight", "head.bias"):
        assert same_bits(before[name][others], after[name][others])
        assert bool((before[name][list(mine)] != after[name][list(mine)]).all())
