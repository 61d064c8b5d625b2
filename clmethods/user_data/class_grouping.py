"""Grouping of classes into tasks by number of tasks, task size, or first task and increment."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clmethods.catalog.facts import DatasetFacts
from clmethods.errors import ConfigIssue, require


@dataclass(frozen=True, slots=True)
class ClassGrouping:
    """Fields of a stream that group its classes into tasks, as the user wrote them."""

    tasks: int | None
    classes_per_task: int | None
    init_classes: int | None
    increment: int | None

    def sizes(self, facts: DatasetFacts) -> tuple[int, ...]:
        """Return the number of classes of each of the T tasks; the fields must be valid.

        If only the number of tasks is given, each task has ceil(C / T) classes. Otherwise the
        sizes are as given. The last task has the remaining classes (docs/method.md section 10).
        """
        if facts.given:
            return tuple(len(task.classes) for task in facts.given)
        total = facts.classes
        if self.init_classes is not None and self.increment is not None:
            first, size = self.init_classes, self.increment
        elif self.classes_per_task is not None:
            first = size = self.classes_per_task
        else:
            first = size = math.ceil(total / (self.tasks or facts.tasks))
        sizes = [first]
        while (remaining := total - sum(sizes)) > 0:
            sizes.append(min(size, remaining))
        return tuple(sizes)

    def issues(self, dataset: str, facts: DatasetFacts) -> list[ConfigIssue | None]:
        """Return the issues of the fields; an entry None is a check that passed."""
        if facts.given:
            return self._issues_of_given_tasks(dataset, facts)
        total = facts.classes
        written = self._written()
        limits = f"1 to {total}, the number of classes of {dataset}"
        issues = [
            *(
                require(
                    1 <= value <= total, name, value, limits, "A task needs at least one class."
                )
                for name, value in written.items()
            ),
            require(
                (self.init_classes is None) == (self.increment is None),
                "init_classes" if self.increment is None else "increment",
                self.init_classes if self.increment is None else self.increment,
                "init_classes and increment together, or neither of them",
            ),
            require(
                self.classes_per_task is None or self.init_classes is None,
                "classes_per_task",
                self.classes_per_task,
                "null if init_classes and increment are given",
                "Both define the number of classes of a task: set only one of them.",
            ),
        ]
        if any(issues) or self.tasks is None:
            return issues
        if len(written) > 1:
            number = len(self.sizes(facts))
            constraint = f"{number}, which follows from the number of classes of each task"
            return [
                require(self.tasks == number, "tasks", self.tasks, constraint, "Leave it out.")
            ]
        size = math.ceil(total / self.tasks)
        filled = math.ceil(total / size)
        hint = (
            f"With {size} classes per task, the {total} classes of {dataset} fill only {filled} "
            f"tasks: use {filled}."
        )
        constraint = "a number of tasks that leaves no task empty"
        return [require(size * (self.tasks - 1) < total, "tasks", self.tasks, constraint, hint)]

    def _written(self) -> dict[str, int]:
        """Return the fields that were given, by name."""
        values = {
            "tasks": self.tasks,
            "classes_per_task": self.classes_per_task,
            "init_classes": self.init_classes,
            "increment": self.increment,
        }
        return {name: value for name, value in values.items() if value is not None}

    def _issues_of_given_tasks(
        self, dataset: str, facts: DatasetFacts
    ) -> list[ConfigIssue | None]:
        names = ", ".join(task.name for task in facts.given[:6])
        hint = f"{dataset} defines its own tasks: {names}" + ", ..." * (len(facts.given) > 6)
        number = len(facts.given)
        return [
            require(
                value == number if name == "tasks" else False,
                name,
                value,
                f"{number}, or left out" if name == "tasks" else "left out",
                f"{hint}.",
            )
            for name, value in self._written().items()
        ]
