"""Joint training of all weights: sequential fine-tuning on a stream of one task."""

from __future__ import annotations

from dataclasses import replace

from clmethods.config import JointFullConfig, SequentialFinetuningConfig
from tests.clmethods.runs import STREAM, differences, tiny_run, train


def test_it_is_fine_tuning_on_one_task_of_all_classes() -> None:
    joint = train(tiny_run(JointFullConfig()))
    assert [stage.classes for stage in joint.chain] == [tuple(range(10))]
    one = train(tiny_run(SequentialFinetuningConfig(), replace(STREAM, tasks=1)))
    assert differences(joint.state(0), one.state(0)) == []
    assert joint.outcomes[0].training == one.outcomes[0].training


def test_it_does_not_depend_on_order_and_grouping() -> None:
    natural = train(tiny_run(JointFullConfig()))
    for stream in (replace(STREAM, task_order=(2, 0, 1)), replace(STREAM, tasks=5)):
        other = train(tiny_run(JointFullConfig(), stream))
        assert other.chain[0].key == natural.chain[0].key
        assert differences(natural.state(0), other.state(0)) == []
