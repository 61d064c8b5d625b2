"""Tasks as text: the class names of each task, for tables and reports."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from clmethods.config.stream import StreamConfig, TaskGroup

WIDTH = 80
"""Largest number of characters for the class names of one task."""


NAME_WIDTH = 16
"""Largest number of characters for the name of a task in a table."""


def task_title(group: TaskGroup) -> str:
    """Return `task 2`, or `task 2 zoo` for a task with a name.

    The number is the index of the task, from 0, as in `task_order` and in task orders.
    """
    name = group.name
    shown = name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 3]}..."
    return f"task {group.index} {shown}".rstrip()


def stage_title(groups: Sequence[TaskGroup]) -> str:
    """Return the title of the task that a stage trains; `all tasks` for joint training."""
    return task_title(groups[0]) if len(groups) == 1 else "all tasks"


def task_contents(stream: StreamConfig, *, learned: bool = False) -> list[str]:
    """Return a text such as `task 1 (zoo): emu, fox` for each task.

    The tasks are in the order of their indices, or of learning with `learned`. The list is empty
    if the class names are not known.
    """
    if not stream.facts.class_names:
        return []
    return [
        f"task {group.index}{f' ({group.name})' if group.name else ''}: "
        + shorten(", ".join(stream.names_of(group.classes)), WIDTH, placeholder=" ...")
        for group in (stream.sequence() if learned else stream.groups())
    ]
