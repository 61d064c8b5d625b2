"""Tasks as text: the class names of each task, for tables and reports."""

from __future__ import annotations

from textwrap import shorten

from clmethods.config.stream import StreamConfig

WIDTH = 80
"""Largest number of characters for the class names of one task."""


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
