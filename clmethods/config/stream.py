"""Which tasks, made of which images, come in which order."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from clmethods.canonical import derive_seed, plain
from clmethods.catalog.facts import DATASETS, USER_DATASETS, DatasetFacts
from clmethods.errors import ConfigIssue, nearest, refuse, require
from clmethods.user_data.class_grouping import Cut
from clmethods.user_data.folder_listing import Listing, list_folder, list_idx
from clmethods.user_data.manifest import list_manifest


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """The images that form one task. Where it comes in the sequence is not its business."""

    index: int
    """Number of the group under the class order; `task_order` permutes these."""
    classes: tuple[int, ...]
    """Original class ids, ascending."""
    domain: str = ""
    """Which images of these classes, where classes recur; empty stands for all of them."""
    name: str = ""
    """What the data calls the task, for people; empty where classes were cut into tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """A stream of tasks over one dataset.

    In a class-incremental stream every task brings classes of its own; in a domain-incremental
    one the same classes come back under other conditions. The class order decides which classes
    form a task, the task order in which order the tasks come. They are separate: order studies
    vary the second and keep the first.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    dataset: str = "digits"
    """A key of `clmethods.catalog.facts.DATASETS`, or `image-folder`, `idx` or `manifest`."""
    tasks: int = None  # type: ignore[assignment]  # filled in below: readers get a number
    """T. Each task takes ceil(C / T) classes, the last one takes the remainder.

    Left out, it follows from the fields below, or is the number that the dataset is known by.
    """
    classes_per_task: int | None = None
    """Classes of each task, in place of `tasks`; the last one takes the remainder."""
    init_classes: int | None = None
    """Classes of the first task, in place of `tasks`; the others take `increment`."""
    increment: int | None = None
    """Classes of every task after the first, together with `init_classes`."""
    class_order_seed: int | None = None
    """None keeps the natural class order, an integer permutes the labels before grouping."""
    task_order: tuple[int, ...] | None = None
    """Permutation of the groups 0..T-1; None is the identity."""
    split_seed: int = 0
    """Which training images are held out for validation, and which images test where the dataset
    comes without a test split. A given test split is fixed."""
    validation_fraction: float = 0.15
    """Share of each class's training images held out for search and selection."""
    limit: int | None = None
    """At most this many images per class and split, for quick looks; None takes all."""
    resize: Literal["auto", "stretch", "crop"] = "auto"
    """How images come to the backbone's size S: `stretch` both sides to S; `crop` brings the
    shorter side to 8/7 S (256 for 224) and takes the centre; `auto` is the dataset's own."""
    root: str | None = None
    """Folder of the original files, for datasets that do not ship with the package."""
    manifest: str | None = None
    """CSV or Parquet file of `dataset: manifest`; its paths are relative to `root` if given."""
    split_file: str | None = None
    """Text file with the relative path of every test image, one a line, in place of a seeded
    split of a folder."""
    download: bool = False
    """Whether missing originals may be fetched into `root`."""
    record: DatasetFacts | None = None
    """What is known of data of one's own; filled in when the run is resolved, so that a finished
    run can be read where the data is not. To be trained on, the data must agree with it."""
    split_version: str | None = None
    """Fingerprint of `split_file`; filled in when the run is resolved."""

    def __post_init__(self) -> None:
        cut = Cut(self.tasks, self.classes_per_task, self.init_classes, self.increment)
        refuse(self._source_faults())
        facts = self.facts
        issues = cut.issues(self.dataset, facts)
        if not any(issues):
            object.__setattr__(self, "tasks", len(cut.sizes(facts)))
        order = self.task_order
        refuse(
            [
                *issues,
                require(
                    not facts.given or self.class_order_seed is None,
                    "class_order_seed",
                    self.class_order_seed,
                    f"null, as {self.dataset} names its tasks itself",
                ),
                require(
                    order is None or any(issues) or sorted(order) == list(range(self.tasks)),
                    "task_order",
                    order,
                    f"a permutation of 0..{(self.tasks or 1) - 1}, each group once",
                ),
                *self._split_faults(facts),
                require(self.limit is None or self.limit >= 2, "limit", self.limit, "2 or more"),
            ]
        )

    def _source_faults(self) -> list[ConfigIssue | None]:
        """What is wrong with where the data comes from; a listing raises its own issues."""
        known = [*DATASETS, *USER_DATASETS]
        own = self.dataset in USER_DATASETS
        needs_root = self.dataset in {"image-folder", "idx"}
        is_manifest = self.dataset == "manifest"
        return [
            require(
                self.dataset in known,
                "dataset",
                self.dataset,
                f"one of {sorted(known)}",
                nearest(self.dataset, known),
            ),
            require(
                not needs_root or self.root is not None,
                "root",
                self.root,
                f"the folder with the images of {self.dataset}",
            ),
            require(
                is_manifest == (self.manifest is not None),
                "manifest",
                self.manifest,
                "a .csv or .parquet file" if is_manifest else "null unless dataset is manifest",
            ),
            require(
                own or self.record is None,
                "record",
                self.record,
                f"null unless dataset is one of {list(USER_DATASETS)}",
            ),
        ]

    def _split_faults(self, facts: DatasetFacts) -> list[ConfigIssue | None]:
        listed = self.split_file
        return [
            require(
                0.0 <= self.validation_fraction < 1.0,
                "validation_fraction",
                self.validation_fraction,
                "at least 0 and below 1",
            ),
            require(
                listed is None or (facts.seeded_split and self.dataset != "manifest"),
                "split_file",
                listed,
                f"null, as {self.dataset} says itself which images are test images",
            ),
            require(
                listed is None or self.split_version is not None or Path(listed).is_file(),
                "split_file",
                listed,
                "an existing file with one relative path a line",
            ),
        ]

    @property
    def facts(self) -> DatasetFacts:
        """Labels, tasks and version of the dataset."""
        if self.record is not None:
            return self.record
        listing = self.listing()
        return DATASETS[self.dataset] if listing is None else listing.facts

    def listing(self) -> Listing | None:
        """Names and labels of data of one's own; None for a dataset of the table.

        Raises `InvalidConfigError` with what is wrong with the data or where it lies.
        """
        if self.dataset == "manifest" and self.manifest is not None:
            return list_manifest(self.manifest, self.root)
        if self.dataset == "image-folder" and self.root is not None:
            return list_folder(self.root)
        if self.dataset == "idx" and self.root is not None:
            return list_idx(self.root)
        return None

    @property
    def resizing(self) -> Literal["stretch", "crop"]:
        """`resize`, spelt out."""
        return self.facts.resize if self.resize == "auto" else self.resize

    @property
    def seeded_split(self) -> bool:
        """Whether `split_seed` decides which images are test images."""
        return self.facts.seeded_split and self.split_file is None

    @property
    def order(self) -> tuple[int, ...]:
        """The task order, spelt out."""
        return self.task_order if self.task_order is not None else tuple(range(self.tasks))

    def groups(self) -> tuple[TaskGroup, ...]:
        """The T groups, by index; neither task order nor run seed changes them."""
        facts = self.facts
        if facts.given:
            return tuple(
                TaskGroup(i, task.classes, task.name if facts.recurring else "", task.name)
                for i, task in enumerate(facts.given)
            )
        cut = Cut(self.tasks, self.classes_per_task, self.init_classes, self.increment)
        return _cut_groups(self.dataset, cut.sizes(facts), self.class_order_seed)

    def sequence(self) -> tuple[TaskGroup, ...]:
        """The groups in the order in which they are learned."""
        groups = self.groups()
        return tuple(groups[index] for index in self.order)

    def effect(self) -> dict[str, object]:
        """What of the data acts in every stage, whichever its task is."""
        facts = self.facts
        acts: dict[str, object] = {
            "dataset": self.dataset,
            "version": facts.version,
            "classes": facts.classes,
            "limit": self.limit,
        }
        if not facts.given_validation:
            acts["validation_fraction"] = self.validation_fraction
        held_out = self.validation_fraction > 0 and not facts.given_validation
        if held_out or self.seeded_split:
            acts["split_seed"] = self.split_seed
        if self.resizing != "stretch":
            acts["resize"] = self.resizing
        if self.split_file is not None:
            acts["split_file"] = self.split_id()
        return acts

    @property
    def settled(self) -> bool:
        """Whether all that the stream says follows from its fields, without a look at files."""
        own = self.dataset in USER_DATASETS
        listed = self.split_file is not None and self.split_version is None
        return not listed and (self.record is not None or not own)

    def identity(self) -> dict[str, object]:
        """The stream with files by their content, not by where they lie."""
        placeless = {"root", "manifest", "download", "split_file"}
        found = {name: value for name, value in plain(self).items() if name not in placeless}
        return found | {"split_version": self.split_id()}

    def split_id(self) -> str | None:
        """Fingerprint of the list of test images, whatever their order; None without one."""
        if self.split_file is None or self.split_version is not None:
            return self.split_version
        lines = "\n".join(sorted(split_file_paths(self.split_file)))
        return hashlib.sha256(lines.encode()).hexdigest()[:16]


@lru_cache(maxsize=1024)
def _cut_groups(dataset: str, sizes: tuple[int, ...], seed: int | None) -> tuple[TaskGroup, ...]:
    labels = list(range(sum(sizes)))
    if seed is not None:
        random.Random(derive_seed(seed, "class_order", dataset)).shuffle(labels)
    groups: list[TaskGroup] = []
    start = 0
    for index, size in enumerate(sizes):
        groups.append(TaskGroup(index, tuple(sorted(labels[start : start + size]))))
        start += size
    return tuple(groups)


def split_file_paths(path: str) -> list[str]:
    """The relative paths that a split file lists."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
