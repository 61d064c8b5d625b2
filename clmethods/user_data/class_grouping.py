"""How classes are cut into tasks: a number of tasks, a size, or a first task and an increment."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clmethods.catalog.facts import DatasetFacts
from clmethods.errors import ConfigIssue, require


@dataclass(frozen=True, slots=True)
class Cut:
    """The fields of a stream that say how its classes become tasks, as they were written."""

    tasks: int | None
    classes_per_task: int | None
    init_classes: int | None
    increment: int | None

    def sizes(self, facts: DatasetFacts) -> tuple[int, ...]:
        """Classes of each task, T numbers, for a cut that obeys its laws.

        A number of tasks gives ceil(C / T) classes to each; otherwise the sizes are as written.
        The last task takes the remainder (docs/method.md section 10).
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
        found = [first]
        while (left := total - sum(found)) > 0:
            found.append(min(size, left))
        return tuple(found)

    def issues(self, dataset: str, facts: DatasetFacts) -> list[ConfigIssue | None]:
        """Broken laws; entries that are None are passes."""
        if facts.given:
            return self._faults_of_given(dataset, facts)
        total = facts.classes
        written = self._written()
        whole = f"1 to {total}, the number of classes of {dataset}"
        found = [
            *(
                require(
                    1 <= value <= total, name, value, whole, "A task needs at least one class."
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
                "null where init_classes and increment are given",
                "They are two ways of saying how many classes a task has.",
            ),
        ]
        if any(found) or self.tasks is None:
            return found
        if len(written) > 1:
            number = len(self.sizes(facts))
            constraint = f"{number}, which follows from the classes of each task"
            return [
                require(self.tasks == number, "tasks", self.tasks, constraint, "Leave it out.")
            ]
        size = math.ceil(total / self.tasks)
        constraint = (
            f"a number that leaves the last task a class: {size} classes a task fill "
            f"only {math.ceil(total / size)} tasks"
        )
        return [require(size * (self.tasks - 1) < total, "tasks", self.tasks, constraint)]

    def _written(self) -> dict[str, int]:
        values = {
            "tasks": self.tasks,
            "classes_per_task": self.classes_per_task,
            "init_classes": self.init_classes,
            "increment": self.increment,
        }
        return {name: value for name, value in values.items() if value is not None}

    def _faults_of_given(self, dataset: str, facts: DatasetFacts) -> list[ConfigIssue | None]:
        names = ", ".join(task.name for task in facts.given[:6])
        hint = f"{dataset} names its tasks itself: {names}" + ", ..." * (len(facts.given) > 6)
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
