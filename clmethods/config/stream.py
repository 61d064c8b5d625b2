"""Which tasks, made of which classes, come in which order."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import ClassVar

from clmethods.config.canonical import derive_seed
from clmethods.config.facts import DATASETS, DatasetFacts
from clmethods.config.faults import nearest, refuse, require


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """The classes that form one task. Where it comes in the sequence is not its business."""

    index: int
    """Number of the group under the class order; `task_order` permutes these."""
    classes: tuple[int, ...]
    """Original class ids, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """A class-incremental stream over one dataset.

    The class order decides which classes form a task, the task order in which order the tasks
    come. They are separate: order studies vary the second and keep the first.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    dataset: str = "digits"
    """A key of `clmethods.config.facts.DATASETS`."""
    tasks: int = 5
    """T. Each task takes ceil(C / T) classes, the last one takes the remainder."""
    class_order_seed: int | None = None
    """None keeps the natural class order, an integer permutes the labels before grouping."""
    task_order: tuple[int, ...] | None = None
    """Permutation of the groups 0..T-1; None is the identity."""
    split_seed: int = 0
    """Which training images are held out for validation. The test split is fixed."""
    validation_fraction: float = 0.15
    """Share of each class's training images held out for search and selection."""
    limit: int | None = None
    """At most this many images per class and split, for quick looks; None takes all."""

    def __post_init__(self) -> None:
        facts = DATASETS.get(self.dataset)
        classes = facts.classes if facts else self.tasks
        size = math.ceil(classes / self.tasks) if self.tasks > 0 else 0
        order = self.task_order
        refuse(
            [
                require(
                    facts is not None,
                    "dataset",
                    self.dataset,
                    f"one of {sorted(DATASETS)}",
                    nearest(self.dataset, list(DATASETS)),
                ),
                require(
                    1 <= self.tasks <= classes,
                    "tasks",
                    self.tasks,
                    f"1 to {classes}, the number of classes of {self.dataset}",
                    "A task needs at least one class.",
                ),
                require(
                    not 1 <= self.tasks <= classes or size * (self.tasks - 1) < classes,
                    "tasks",
                    self.tasks,
                    f"a number that leaves the last task a class: {size} classes a task fill "
                    f"only {math.ceil(classes / max(size, 1))} tasks",
                ),
                require(
                    order is None or sorted(order) == list(range(self.tasks)),
                    "task_order",
                    order,
                    f"a permutation of 0..{self.tasks - 1}, each group once",
                ),
                require(
                    0.0 <= self.validation_fraction < 1.0,
                    "validation_fraction",
                    self.validation_fraction,
                    "at least 0 and below 1",
                ),
                require(self.limit is None or self.limit >= 2, "limit", self.limit, "2 or more"),
            ]
        )

    @property
    def facts(self) -> DatasetFacts:
        """Labels and version of the dataset."""
        return DATASETS[self.dataset]

    @property
    def order(self) -> tuple[int, ...]:
        """The task order, spelt out."""
        return self.task_order if self.task_order is not None else tuple(range(self.tasks))

    def groups(self) -> tuple[TaskGroup, ...]:
        """The T groups of classes, by index; neither task order nor run seed changes them."""
        labels = list(range(self.facts.classes))
        if self.class_order_seed is not None:
            seed = derive_seed(self.class_order_seed, "class_order", self.dataset)
            random.Random(seed).shuffle(labels)
        size = math.ceil(len(labels) / self.tasks)
        cuts = [labels[start : start + size] for start in range(0, len(labels), size)]
        return tuple(TaskGroup(i, tuple(sorted(cut))) for i, cut in enumerate(cuts))

    def sequence(self) -> tuple[TaskGroup, ...]:
        """The groups in the order in which they are learned."""
        groups = self.groups()
        return tuple(groups[index] for index in self.order)
