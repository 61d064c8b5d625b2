"""Configuration of a stream: the dataset, its split, and the grouping and order of its tasks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from clmethods.canonical import JsonValue, derive_seed, plain, short_id
from clmethods.catalog.facts import DATASETS, USER_DATASETS, DatasetFacts
from clmethods.config.split_counts import counts_text, without_training
from clmethods.errors import ConfigIssue, nearest, refuse, require
from clmethods.user_data.class_folders import list_folder
from clmethods.user_data.class_grouping import ClassGrouping
from clmethods.user_data.folder_listing import Listing
from clmethods.user_data.idx_listing import list_idx
from clmethods.user_data.manifest import list_manifest

NOT_IDENTITY = ("class_names", "content")
"""Fields of `DatasetFacts` that do not identify a run: its version does."""


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """Classes and images of one task, independent of its position in the sequence."""

    index: int
    """Index of the group in the class order; `task_order` permutes these indices."""
    classes: tuple[int, ...]
    """Original class ids in ascending order."""
    domain: str = ""
    """Domain of the images if classes recur; empty for all images of the classes."""
    name: str = ""
    """Name of the task in the dataset; empty if the stream groups the classes into tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """Stream of tasks from one dataset.

    In a class-incremental stream, every task has new classes. In a domain-incremental stream, the
    same classes recur under other conditions. The class order determines which classes form a
    task. The task order determines the sequence of the tasks. They are separate settings: studies
    of task orders vary the task order and keep the class order.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    dataset: str = "digits"
    """A key of `clmethods.catalog.facts.DATASETS`, or `image-folder`, `idx` or `manifest`."""
    tasks: int = None  # type: ignore[assignment]  # set in __post_init__, so it is never None
    """T, the number of tasks. Each task has ceil(C / T) classes, the last one the remainder.

    If omitted, it is computed from the fields below, or is the default of the dataset.
    """
    classes_per_task: int | None = None
    """Number of classes of each task, instead of `tasks`; the last task has the remainder."""
    init_classes: int | None = None
    """Number of classes of the first task, instead of `tasks`; requires `increment`."""
    increment: int | None = None
    """Number of classes of every task after the first; requires `init_classes`."""
    class_order_seed: int | None = None
    """Seed of a permutation of the classes before grouping; None keeps the natural order."""
    task_order: tuple[int, ...] | None = None
    """Permutation of the groups 0..T-1; None is the identity."""
    split_seed: int = 0
    """Seed that selects the validation images, and the test images if the dataset has no test
    split. A given test split is fixed."""
    validation_fraction: float = 0.15
    """Fraction of the training images of each class that is held out for search and selection."""
    limit: int | None = None
    """Maximum number of images per class and split, for quick tests; None uses all images."""
    resize: Literal["auto", "stretch", "crop"] = "auto"
    """Resizing of images to the size S of the backbone. `stretch`: both sides to S; `crop`: the
    shorter side to 8/7 S (256 for 224), then the center of size S; `auto`: the default of the
    dataset."""
    root: str | None = None
    """Folder of the original files, for datasets that do not ship with the package."""
    manifest: str | None = None
    """CSV or Parquet file of `dataset: manifest`; its paths are relative to `root` if given."""
    split_file: str | None = None
    """Text file with the relative path of every test image, one per line. It replaces the seeded
    split of a folder."""
    download: bool = False
    """True downloads missing original files into `root`."""
    fingerprint: Literal["size", "content"] = "size"
    """Coverage of the version of the user's own files: their names and sizes, or their content
    too. With `size`, stages of data whose content was replaced under the same names and sizes are
    refused; with `content`, such data is another version, and its stages are trained again."""
    record: DatasetFacts | None = None
    """Facts of the user's own data; set when the run is resolved, so that a finished run can be
    read without its data. Training requires data that matches these facts."""
    split_version: str | None = None
    """Fingerprint of `split_file`; set when the run is resolved."""

    def __post_init__(self) -> None:
        grouping = ClassGrouping(
            self.tasks, self.classes_per_task, self.init_classes, self.increment
        )
        refuse(self._source_issues())
        facts = self.facts
        issues = grouping.issues(self.dataset, facts)
        if not any(issues):
            object.__setattr__(self, "tasks", len(grouping.sizes(facts)))
        order = self.task_order
        refuse(
            [
                *issues,
                require(
                    not facts.given or self.class_order_seed is None,
                    "class_order_seed",
                    self.class_order_seed,
                    f"null, because {self.dataset} defines its own tasks",
                ),
                require(
                    order is None or any(issues) or sorted(order) == list(range(self.tasks)),
                    "task_order",
                    order,
                    f"a permutation of 0..{(self.tasks or 1) - 1}, each group once",
                ),
                *self._split_issues(facts),
                require(self.limit is None or self.limit >= 2, "limit", self.limit, "2 or more"),
            ]
        )

    def _source_issues(self) -> list[ConfigIssue | None]:
        """Return the issues of the data source, except those that a listing raises."""
        known = [*DATASETS, *USER_DATASETS]
        is_user_data = self.dataset in USER_DATASETS
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
                is_user_data or self.record is None,
                "record",
                self.record,
                f"null unless dataset is one of {list(USER_DATASETS)}",
            ),
            require(
                is_user_data or self.fingerprint == "size",
                "fingerprint",
                self.fingerprint,
                f"size unless dataset is one of {list(USER_DATASETS)}",
            ),
        ]

    def _split_issues(self, facts: DatasetFacts) -> list[ConfigIssue | None]:
        path = self.split_file
        return [
            require(
                0.0 <= self.validation_fraction < 1.0,
                "validation_fraction",
                self.validation_fraction,
                "at least 0 and below 1",
            ),
            require(
                path is None or (facts.seeded_split and self.dataset != "manifest"),
                "split_file",
                path,
                f"null, because {self.dataset} defines its own test images",
            ),
            require(
                path is None or self.split_version is not None or Path(path).is_file(),
                "split_file",
                path,
                "an existing file with one relative path per line",
            ),
            self._training_issue(),
        ]

    def _training_issue(self) -> ConfigIssue | None:
        """Return an issue if the user's own data has a class without training images left."""
        fraction, path = self.validation_fraction, self.split_file
        unread = path is not None and not Path(path).is_file()
        if self.record is not None or unread or not 0.5 < fraction < 1.0:
            return None
        listing = self.listing()
        if listing is None:
            return None
        test_paths = None if path is None else split_file_paths(path)
        empty = without_training(listing, test_paths, fraction)
        hint = f"All images for training and validation would be held out: {counts_text(empty)}."
        constraint = "a fraction that leaves training images for every class"
        return require(not empty, "validation_fraction", fraction, constraint, hint)

    @property
    def facts(self) -> DatasetFacts:
        """Labels, tasks and version of the dataset."""
        if self.record is not None:
            return self.record
        listing = self.listing()
        return DATASETS[self.dataset] if listing is None else self.facts_of(listing)

    def facts_of(self, listing: Listing) -> DatasetFacts:
        """Return the facts of a listing; `fingerprint` determines the version."""
        if self.fingerprint == "size":
            return listing.facts
        return replace(listing.facts, version=short_id([listing.version, listing.content]))

    def listing(self) -> Listing | None:
        """Return the listing of the user's own data; None for a built-in dataset.

        Raises `InvalidConfigError` if the data is missing or invalid.
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
        """`resize`, where `auto` is replaced by the default of the dataset."""
        return self.facts.resize if self.resize == "auto" else self.resize

    @property
    def seeded_split(self) -> bool:
        """True if `split_seed` selects the test images."""
        return self.facts.seeded_split and self.split_file is None

    @property
    def order(self) -> tuple[int, ...]:
        """Task order as a permutation of 0..T-1."""
        return self.task_order if self.task_order is not None else tuple(range(self.tasks))

    def groups(self) -> tuple[TaskGroup, ...]:
        """Return the T groups by index. They do not depend on the task order or the run's seed."""
        facts = self.facts
        if facts.given:
            return tuple(
                TaskGroup(i, task.classes, task.name if facts.recurring else "", task.name)
                for i, task in enumerate(facts.given)
            )
        grouping = ClassGrouping(
            self.tasks, self.classes_per_task, self.init_classes, self.increment
        )
        return _grouped_classes(self.dataset, grouping.sizes(facts), self.class_order_seed)

    def sequence(self) -> tuple[TaskGroup, ...]:
        """Return the groups in the order in which they are learned."""
        groups = self.groups()
        return tuple(groups[index] for index in self.order)

    def names_of(self, classes: Iterable[int]) -> list[str]:
        """Return the names of classes; the id of a class whose name is not known."""
        names = self.facts.class_names
        return [names[label] if names else str(label) for label in classes]

    def effect(self) -> dict[str, JsonValue]:
        """Return the settings of the data that act in every stage, for any task."""
        facts = self.facts
        acts: dict[str, JsonValue] = {
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
        """True if all properties follow from the fields, without reading files."""
        is_user_data = self.dataset in USER_DATASETS
        unread_split = self.split_file is not None and self.split_version is None
        return not unread_split and (self.record is not None or not is_user_data)

    def identity(self) -> dict[str, JsonValue]:
        """Return the fields, in which files are identified by their version, not by their path.

        Fields that were added later are left out while they have no effect, so that the ids of
        earlier runs stay valid.
        """
        excluded = {"root", "manifest", "download", "split_file"}
        if self.fingerprint == "size":
            excluded.add("fingerprint")
        values = {name: value for name, value in plain(self).items() if name not in excluded}
        if self.record is not None:
            record = values["record"]
            values["record"] = {n: v for n, v in record.items() if n not in NOT_IDENTITY}
        return values | {"split_version": self.split_id()}

    def split_id(self) -> str | None:
        """Return the fingerprint of the set of test images; None without `split_file`."""
        if self.split_file is None or self.split_version is not None:
            return self.split_version
        lines = "\n".join(sorted(split_file_paths(self.split_file)))
        return hashlib.sha256(lines.encode()).hexdigest()[:16]


@lru_cache(maxsize=1024)
def _grouped_classes(
    dataset: str, sizes: tuple[int, ...], seed: int | None
) -> tuple[TaskGroup, ...]:
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
    """Return the relative paths in a split file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]
