"""Names of the tasks of a sweep, for commands that show task orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.definition import Sweep

SHOWN_TASKS = 20
"""Maximum number of tasks whose names are shown."""


def task_lines(sweep: Sweep, shown: int | None = None) -> list[str]:
    """Return a line such as `task 1 (zoo): emu, fox` for each task, at most `shown` of them.

    The numbers are those of task orders. There are no lines if the names of the classes are not
    known, or if the tasks vary in the sweep.
    """
    from clmethods.config.task_contents import task_contents

    contents = {tuple(task_contents(each.run.stream)) for each in sweep.configurations}
    if len(contents) != 1:
        return []
    lines = list(contents.pop())
    rest = 0 if shown is None else len(lines) - shown
    return lines if rest <= 0 else [*lines[:shown], f"and {rest} more tasks"]
