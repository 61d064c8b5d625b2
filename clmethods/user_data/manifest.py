"""A manifest: one row per image, which says its label and, if wanted, its task, split and group.

Columns: `path` and `label` always. `task` names the task; a class may occur in several. `split` is
train, validation or test; without the column the stream splits by `split_seed`. Images that share
a `group` (one patient, one burst of photographs) stay on one side of every split that is drawn.
Row numbers count the header as row 1, as a spreadsheet does.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clmethods.catalog.facts import GivenTask
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse
from clmethods.user_data.folder_listing import (
    OPEN,
    TEST,
    TRAIN,
    VALIDATION,
    Listing,
    cached_listing,
    fingerprint_of,
    refused,
    untrainable,
)
from clmethods.user_data.parquet_columns import ParquetError, read_parquet

REQUIRED = ("path", "label")
OPTIONAL = ("task", "split", "group")
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
MOST_FAULTS = 20
"""So many are told one by one; of the others only the number."""


def list_manifest(manifest: str, root: str | None) -> Listing:
    """The images of a manifest; paths are relative to `root`, or to the manifest's folder.

    Raises `InvalidConfigError` with every issue and its row.
    """
    file = Path(manifest)
    base = Path(root) if root is not None else file.parent
    return cached_listing(f"manifest {base}", manifest, lambda path: _list(path, base))


def _list(file: Path, base: Path) -> tuple[Listing, list[Path]]:
    columns = _read(file)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InvalidConfigError(
            ConfigIssue(
                "manifest",
                str(file),
                f"the columns {list(REQUIRED)}, and {list(OPTIONAL)} if wanted",
                f"Column {name!r} is missing. {nearest(name, list(columns))}".rstrip(),
            )
            for name in missing
        )
    rows = len(columns["path"])
    if rows == 0:
        raise refused("manifest", str(file), "one or more rows below the header")
    issues, sizes = _row_faults(file, base, columns)
    refuse(_shortened(file, issues))
    names = _ordered(columns["label"])
    ids = {name: label for label, name in enumerate(names)}
    labels = tuple(ids[name] for name in columns["label"])
    splits = tuple(SPLITS.get(name, OPEN) for name in columns.get("split", [""] * rows))
    refuse(untrainable("manifest", str(file), names, zip(labels, splits, strict=True)))
    tasks, task_of = _tasks(columns.get("task"), labels)
    listing = Listing(
        base=base,
        classes=names,
        paths=tuple(columns["path"]),
        labels=labels,
        splits=splits,
        version=fingerprint_of(
            zip(columns["path"], sizes, strict=True), hashlib.sha256(file.read_bytes()).digest()
        ),
        tasks=tasks,
        task_of=task_of,
        groups=tuple(columns.get("group", ())),
    )
    refuse(_untrained_tasks(file, listing))
    return listing, [file]


def _read(file: Path) -> dict[str, list[str]]:
    """Columns as text; an absent value is the empty text."""
    if not file.is_file():
        raise refused("manifest", str(file), "an existing .csv or .parquet file")
    columns: dict[str, list[Any]]
    try:
        if file.suffix == ".parquet":
            columns = read_parquet(file, REQUIRED + OPTIONAL)
        else:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                read = list(reader)
                columns = {name: [row[name] for row in read] for name in reader.fieldnames or ()}
    except (ParquetError, UnicodeDecodeError, csv.Error) as error:
        raise refused("manifest", str(file), "a readable file", f"{error}.") from error
    return {
        name: ["" if value is None else str(value).strip() for value in values]
        for name, values in columns.items()
    }


def _row_faults(
    file: Path, base: Path, columns: dict[str, list[str]]
) -> tuple[list[ConfigIssue], list[int]]:
    """Faults of single rows, and the size in bytes of every image."""
    issues: list[ConfigIssue] = []
    sizes: list[int] = []
    seen: dict[str, tuple[int, str]] = {}
    count = len(columns["path"])
    splits = columns.get("split", [""] * count)
    for row, path in enumerate(columns["path"], start=2):
        where, split = f"manifest row {row}", splits[row - 2]
        for name in ("label", "task"):
            if name in columns and not columns[name][row - 2]:
                issues.append(ConfigIssue(f"{where}, {name}", "", f"the name of a {name}"))
        if "split" in columns and split not in SPLITS:
            constraint = f"one of {list(SPLITS)}"
            hint = nearest(split, list(SPLITS)) or "Without the column, split_seed decides."
            issues.append(ConfigIssue(f"{where}, split", split, constraint, hint))
        first = seen.setdefault(path, (row, split))
        if first[0] != row and (split != first[1] or "split" not in columns):
            hint = f"Row {first[0]} has the same image" + (f" in {first[1]}." if split else ".")
            issues.append(ConfigIssue(f"{where}, path", path, "an image in one split only", hint))
        try:
            sizes.append(os.stat(base / path).st_size)
        except OSError:
            hint = f"Paths are relative to {base}."
            issues.append(ConfigIssue(f"{where}, path", path, "an existing file", hint))
            sizes.append(0)
    return issues, sizes


def _shortened(file: Path, issues: list[ConfigIssue]) -> list[ConfigIssue]:
    if len(issues) <= MOST_FAULTS:
        return issues
    rest = len(issues) - MOST_FAULTS
    return [
        *issues[:MOST_FAULTS],
        ConfigIssue("manifest", str(file), "sound rows", f"{rest} more."),
    ]


def _ordered(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct names by class id: by number if all are numbers, else by alphabet."""
    names = set(labels)
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _tasks(
    column: list[str] | None, labels: tuple[int, ...]
) -> tuple[tuple[GivenTask, ...], tuple[int, ...]]:
    """Tasks in the order in which they first occur, and the task of every image."""
    if column is None:
        return (), ()
    names = list(dict.fromkeys(column))
    members: dict[str, set[int]] = {name: set() for name in names}
    for name, label in zip(column, labels, strict=True):
        members[name].add(label)
    tasks = tuple(GivenTask(name, tuple(sorted(members[name]))) for name in names)
    index = {name: i for i, name in enumerate(names)}
    return tasks, tuple(index[name] for name in column)


def _untrained_tasks(file: Path, listing: Listing) -> list[ConfigIssue]:
    """A class that recurs needs images in every task that has it."""
    if not listing.facts.recurring:
        return []
    cells = [(task, label) for task, given in enumerate(listing.tasks) for label in given.classes]
    number = {cell: i for i, cell in enumerate(cells)}
    names = tuple(f"{listing.classes[c]} of task {listing.tasks[t].name}" for t, c in cells)
    of = (number[cell] for cell in zip(listing.task_of, listing.labels, strict=True))
    return untrainable("manifest", str(file), names, zip(of, listing.splits, strict=True))
