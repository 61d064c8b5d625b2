"""A stream with one task more: old keys stay, new classes are numbered on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config import (
    ExtendedStream,
    InvalidConfigError,
    JointLoraConfig,
    LoracIpcConfig,
    NewTask,
    RunConfig,
    StreamConfig,
    as_trained,
    extended,
    new_task_from_dict,
    new_task_to_dict,
    partition_id,
    resolve,
    stage_chain,
    unextended,
)

RUN = resolve(RunConfig(stream=StreamConfig(tasks=3, task_order=(2, 0, 1), limit=4)))
IDS = st.sets(st.integers(0, 99), min_size=1, max_size=5).map(lambda ids: tuple(sorted(ids)))


def task(*classes: int, **stream: object) -> NewTask:
    return NewTask(stream=StreamConfig(dataset="glyph100", tasks=1, **stream), classes=classes)  # type: ignore[arg-type]


@given(st.lists(IDS, min_size=1, max_size=3))
def test_old_keys_stay_and_classes_are_numbered_on(arrivals: list[tuple[int, ...]]) -> None:
    run = RUN
    for classes in arrivals:
        run = extended(run, task(*classes))
    chain = stage_chain(run)
    assert chain[:3] == stage_chain(RUN)
    assert [stage.position for stage in chain] == list(range(3 + len(arrivals)))
    assert all(stage.parent == chain[i].key for i, stage in enumerate(chain[1:]))
    labels = [label for stage in chain[3:] for label in stage.classes]
    assert labels == list(range(10, 10 + sum(map(len, arrivals))))
    assert run.stream.facts.classes == labels[-1] + 1
    assert run.stream.sequence()[:3] == RUN.stream.sequence()
    assert sorted(run.stream.order) == list(range(run.stream.tasks))
    base, added = unextended(run)
    assert base == RUN
    assert [a.classes for a in added] == arrivals
    assert as_trained(run, 2) == RUN
    assert as_trained(run, 3 + len(arrivals) - 1) == run


@pytest.mark.parametrize(
    "other",
    [
        task(0, 2),
        task(0, 1, limit=5),
        task(0, 1, split_seed=1),
        NewTask(stream=StreamConfig(dataset="digits", tasks=1), classes=(0, 1)),
    ],
)
def test_what_a_new_task_learns_from_is_in_its_key(other: NewTask) -> None:
    keys = [stage_chain(extended(RUN, added))[-1].key for added in (task(0, 1), other)]
    assert keys[0] != keys[1]


def test_tasks_and_orders_of_the_new_stream_do_not_act() -> None:
    same = NewTask(stream=replace(task(0).stream, class_order_seed=4), classes=(0, 1))
    assert stage_chain(extended(RUN, same)) == stage_chain(extended(RUN, task(0, 1)))


def test_evaluations_of_old_stages_are_found_again() -> None:
    run = extended(RUN, task(5))
    assert partition_id(as_trained(run, 1)) == partition_id(RUN)
    assert partition_id(run) != partition_id(RUN)


def test_a_task_survives_its_file() -> None:
    added = task(3, 8, limit=4)
    assert new_task_from_dict(new_task_to_dict(added)) == added
    every = new_task_from_dict({"dataset": "digits"})
    assert every.classes == tuple(range(10))


@pytest.mark.parametrize("classes", [(), (3, 3), (4, 2), (0, 100), (-1,)])
def test_class_ids_are_checked(classes: tuple[int, ...]) -> None:
    with pytest.raises(InvalidConfigError, match="ids from 0 to 99, ascending, each once"):
        task(*classes)


def test_a_joint_run_has_no_next_task() -> None:
    with pytest.raises(InvalidConfigError, match="train it again on all tasks"):
        extended(replace(RUN, method=JointLoraConfig(rank=2)), task(0))


def test_more_tasks_can_exceed_the_dimensions_of_a_method() -> None:
    """The constraint on the number of tasks is checked again for the extended run."""
    run = extended(replace(RUN, method=LoracIpcConfig(rank=2)), task(0))
    assert isinstance(run.stream, ExtendedStream)
    assert run.context.tasks == 4
