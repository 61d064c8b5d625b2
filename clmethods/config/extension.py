"""A task that arrived after a run was finished, and the stream that it continues.

An extended stream has one task more than the stream below it. Original class ids of the new task
follow the old ones, so a head that has a row per class grows at its end, and everything that reads
`groups`, `sequence` and `facts` of a stream (training, evaluation, export) reads the longer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from clmethods.catalog.facts import DatasetFacts, GivenTask
from clmethods.config.decode import run_from_dict
from clmethods.config.run import RunConfig
from clmethods.config.stream import StreamConfig, TaskGroup
from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """Some classes of a stream of their own, of all its domains, learned as one task."""

    stream: StreamConfig
    """Where the images come from and how they are split; its tasks and orders do not act."""
    classes: tuple[int, ...]
    """Ids of the classes in that stream's dataset, ascending."""

    def __post_init__(self) -> None:
        total = self.stream.facts.classes
        refuse(
            [
                require(
                    len(self.classes) > 0
                    and list(self.classes) == sorted(set(self.classes))
                    and 0 <= self.classes[0] <= self.classes[-1] < total,
                    "classes",
                    self.classes,
                    f"one or more ids from 0 to {total - 1}, ascending, each once",
                )
            ]
        )

    def identity(self) -> dict[str, object]:
        """What of the task's images acts, wherever it comes."""
        facts = self.stream.facts
        return {
            "dataset": self.stream.dataset,
            "version": facts.version,
            "domain": "",
            "classes": list(self.classes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedStream(StreamConfig):
    """`base` and then one `added` task; made by `extended`, which fills in the other fields."""

    base: StreamConfig
    added: NewTask
    added_first: bool = False
    """The added task comes before the others: what it would be without them."""

    def __post_init__(self) -> None:
        """Both parts have checked themselves."""

    @property
    def facts(self) -> DatasetFacts:
        """Labels of both parts; the version stands for both too."""
        below, above = self.base.facts, self.added.stream.facts
        total = below.classes + len(self.added.classes)
        new = GivenTask("added", tuple(range(below.classes, total)))
        return DatasetFacts(
            version=f"{below.version}+{above.version}",
            classes=total,
            tasks=self.base.tasks + 1,
            given=(*below.given, new) if below.given else (),
        )

    @property
    def settled(self) -> bool:
        """Whether both parts are."""
        return self.base.settled and self.added.stream.settled

    def identity(self) -> dict[str, object]:
        """Both parts, each with its files by their content."""
        added = self.added.stream.identity() | {"classes": list(self.added.classes)}
        return {
            "base": self.base.identity(),
            "added": added,
            "added_first": self.added_first,
        }

    @property
    def order(self) -> tuple[int, ...]:
        """The order of the base, and the new task last."""
        new = self.base.tasks
        return (new, *self.base.order) if self.added_first else (*self.base.order, new)

    def groups(self) -> tuple[TaskGroup, ...]:
        """The groups of the base, and one of the new classes, whose ids follow the old ones."""
        first = self.base.facts.classes
        new = tuple(range(first, first + len(self.added.classes)))
        return (*self.base.groups(), TaskGroup(self.base.tasks, new))

    def sequence(self) -> tuple[TaskGroup, ...]:
        """The groups in the order in which they are learned."""
        groups = self.groups()
        return tuple(groups[index] for index in self.order)


def extended(run: RunConfig, added: NewTask) -> RunConfig:
    """The run with one task more. Raises `InvalidConfigError` where the method cannot go on."""
    if run.method.ORDER_FREE:
        hint = "It sees all tasks at once: train it again on all of them."
        raise InvalidConfigError(
            [
                ConfigIssue(
                    "method.kind", run.method.kind, "a method that learns task after task", hint
                )
            ]
        )
    base = run.stream
    own = {f.name: getattr(base, f.name) for f in fields(StreamConfig)}
    own |= {"tasks": base.tasks + 1, "task_order": None}
    return replace(run, stream=ExtendedStream(**own, base=base, added=added))


def as_trained(run: RunConfig, position: int) -> RunConfig:
    """The run as it was when the task at `position` was trained, before later ones arrived."""
    while isinstance(run.stream, ExtendedStream) and position < run.stream.base.tasks:
        run = replace(run, stream=run.stream.base)
    return run


def unextended(run: RunConfig) -> tuple[RunConfig, tuple[NewTask, ...]]:
    """The run that was there first, and the tasks added to it, in order."""
    added: list[NewTask] = []
    while isinstance(run.stream, ExtendedStream):
        added.insert(0, run.stream.added)
        run = replace(run, stream=run.stream.base)
    return run, tuple(added)


def new_task_to_dict(task: NewTask) -> dict[str, Any]:
    """The fields of the stream and `classes`, as a person would write them in a file."""
    return asdict(task.stream) | {"classes": list(task.classes)}


def new_task_from_dict(data: Mapping[str, Any]) -> NewTask:
    """A task from the fields of a stream and `classes`, a list of ids; without it, all classes."""
    stream = run_from_dict({"stream": {k: v for k, v in data.items() if k != "classes"}}).stream
    classes = data.get("classes")
    if classes is None:
        classes = range(stream.facts.classes)
    if not isinstance(classes, list | tuple | range) or not all(
        isinstance(label, int) and not isinstance(label, bool) for label in classes
    ):
        raise InvalidConfigError([ConfigIssue("classes", classes, "a list of class ids")])
    return NewTask(stream=stream, classes=tuple(classes))
