"""Three ways of cutting classes into tasks, and what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmethods.config import InvalidConfigError, RunConfig, StreamConfig, stage_chain
from clmethods.config.from_dict import run_from_dict
from clmethods.config.run import run_to_dict


def sizes(**fields: object) -> list[int]:
    return [len(group.classes) for group in StreamConfig(**fields).groups()]  # type: ignore[arg-type]


def messages(**fields: object) -> str:
    with pytest.raises(InvalidConfigError) as found:
        StreamConfig(**fields)  # type: ignore[arg-type]
    return str(found.value)


def test_a_first_task_and_an_increment() -> None:
    """As in PILOT: half of the classes first, the last task takes the remainder."""
    assert sizes(dataset="glyph100", init_classes=50, increment=10) == [50] + [10] * 5
    assert sizes(dataset="glyph100", init_classes=10, increment=40) == [10, 40, 40, 10]
    assert sizes(init_classes=10, increment=3) == [10]


def test_a_number_of_classes_a_task() -> None:
    assert sizes(classes_per_task=3) == [3, 3, 3, 1]
    assert sizes(classes_per_task=2) == sizes(tasks=5)


@given(st.integers(1, 100), st.integers(1, 100), st.none() | st.integers(0, 9))
def test_every_cut_partitions_the_classes(first: int, size: int, seed: int | None) -> None:
    stream = StreamConfig(
        dataset="glyph100", init_classes=first, increment=size, class_order_seed=seed
    )
    groups = stream.groups()
    assert len(groups) == stream.tasks
    assert sorted(c for group in groups for c in group.classes) == list(range(100))
    assert all(len(group.classes) >= 1 for group in groups)


def test_a_dataset_has_the_tasks_that_it_is_known_by() -> None:
    known = {"digits": 5, "glyph100": 10, "embedded4": 4, "digits-dil": 4, "cifar100": 10}
    assert {name: StreamConfig(dataset=name).tasks for name in known} == known


def test_however_it_is_written_a_cut_is_one_setting() -> None:
    """Stage keys hash the classes of a task, so the spellings share their stages."""
    written = [{"tasks": 5}, {"classes_per_task": 2}, {"init_classes": 2, "increment": 2}, {}]
    chains = [
        [s.key for s in stage_chain(RunConfig(stream=StreamConfig(**w)))]  # type: ignore[arg-type]
        for w in written
    ]
    assert chains == [chains[0]] * len(written)


def test_a_cut_survives_json() -> None:
    for stream in (
        StreamConfig(classes_per_task=3),
        StreamConfig(init_classes=4, increment=3, task_order=(2, 0, 1)),
        StreamConfig(dataset="digits-dil"),
    ):
        run = RunConfig(stream=stream)
        assert run_from_dict(run_to_dict(run)) == run


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes_per_task": 0}, "classes_per_task: got 0, allowed: 1 to 10"),
        ({"init_classes": 11, "increment": 1}, "init_classes: got 11, allowed: 1 to 10"),
        ({"init_classes": 5}, "init_classes and increment together"),
        ({"increment": 5}, "init_classes and increment together"),
        (
            {"classes_per_task": 2, "init_classes": 2, "increment": 2},
            "Both define the number of classes of a task",
        ),
        ({"tasks": 4, "classes_per_task": 2}, "tasks: got 4, allowed: 5, which follows"),
        ({"dataset": "digits-dil", "tasks": 5}, "tasks: got 5, allowed: 4, or left out"),
        ({"dataset": "digits-dil", "classes_per_task": 2}, "digits-dil defines its own tasks"),
        ({"dataset": "digits-dil", "class_order_seed": 1}, "class_order_seed: got 1"),
        ({"dataset": "cifar-100"}, "Did you mean 'cifar100'?"),
        ({"dataset": "image-folder"}, "root: got None, allowed: the folder with the images"),
        ({"manifest": "m.csv"}, "null unless dataset is manifest"),
        ({"dataset": "manifest"}, "manifest: got None, allowed: a .csv or .parquet file"),
        ({"split_file": "test.txt"}, "digits defines its own test images"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict[str, object], message: str) -> None:
    assert message in messages(**fields)
