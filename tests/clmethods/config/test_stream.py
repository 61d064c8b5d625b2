"""Class order and task order are two things (I43)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config import StreamConfig
from clmethods.config.stream import TaskGroup
from tests.strategies import CLASSES, TASK_COUNTS, streams


@given(streams())
def test_groups_partition_the_classes(stream: StreamConfig) -> None:
    groups = stream.groups()
    assert [group.index for group in groups] == list(range(stream.tasks))
    assert sorted(c for group in groups for c in group.classes) == list(range(CLASSES))
    sizes = [len(group.classes) for group in groups]
    assert len(set(sizes[:-1])) <= 1
    assert all(sizes[-1] <= size for size in sizes)
    assert all(list(group.classes) == sorted(group.classes) for group in groups)


@given(streams(), st.data())
def test_i43_the_task_order_permutes_the_groups_and_leaves_them_whole(
    stream: StreamConfig, data: st.DataObject
) -> None:
    other = StreamConfig(
        tasks=stream.tasks,
        class_order_seed=stream.class_order_seed,
        task_order=data.draw(st.permutations(range(stream.tasks)).map(tuple)),
    )
    assert other.groups() == stream.groups()
    assert [group.index for group in other.sequence()] == list(other.order)
    assert set(other.sequence()) == set(stream.groups())


def test_the_natural_class_order_counts_up() -> None:
    assert StreamConfig(tasks=3).groups() == (
        TaskGroup(0, (0, 1, 2, 3)),
        TaskGroup(1, (4, 5, 6, 7)),
        TaskGroup(2, (8, 9)),
    )
    assert StreamConfig(tasks=5, task_order=(4, 0, 1, 2, 3)).sequence()[0].classes == (8, 9)


@pytest.mark.parametrize("tasks", [t for t in TASK_COUNTS if t > 1])
def test_class_order_seeds_give_different_groups(tasks: int) -> None:
    found = {StreamConfig(tasks=tasks, class_order_seed=seed).groups() for seed in range(8)}
    assert len(found) > 4
    again = StreamConfig(tasks=tasks, class_order_seed=3)
    assert again.groups() == StreamConfig(tasks=tasks, class_order_seed=3).groups()
