"""Manifests of the user's images: tables with one row per image.

The columns `path` and `label` are required. `task` is the name of the task; a class may occur in
several tasks. `split` is train, validation or test; without this column the stream splits by
`split_seed`. Images with the same `group` (one patient, one burst of photographs) stay on the same
side of every random split. Row numbers count the header as row 1, as in a spreadsheet.
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
MAX_REPORTED_ISSUES = 20
"""Largest number of issues that are reported individually; of the others, only the number is."""


def list_manifest(manifest: str, root: str | None) -> Listing:
    """List the images of a manifest. Paths are relative to `root`, or to the manifest's folder.

    Raises `InvalidConfigError` with the issues of all rows.
    """
    file = Path(manifest)
    base = Path(root) if root is not None else file.parent
    return cached_listing(f"manifest {base}", manifest, lambda path: _list(path, base))


def _list(file: Path, base: Path) -> tuple[Listing, list[Path]]:
    columns = _read_columns(file)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InvalidConfigError(
            ConfigIssue(
                "manifest",
                str(file),
                f"the columns {list(REQUIRED)}, and optionally {list(OPTIONAL)}",
                f"Column {name!r} is missing. {nearest(name, list(columns))}".rstrip(),
            )
            for name in missing
        )
    rows = len(columns["path"])
    if rows == 0:
        raise refused("manifest", str(file), "one or more rows below the header")
    issues, sizes = _check_rows(file, base, columns)
    refuse(_shortened(file, issues))
    names = _class_names(columns["label"])
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
    refuse(_untrainable_tasks(file, listing))
    return listing, [file]


def _read_columns(file: Path) -> dict[str, list[str]]:
    """Return the columns as text; a missing value is an empty string."""
    if not file.is_file():
        raise refused("manifest", str(file), "an existing .csv or .parquet file")
    columns: dict[str, list[Any]]
    try:
        if file.suffix == ".parquet":
            columns = read_parquet(file, REQUIRED + OPTIONAL)
        else:
            with file.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.DictReader(stream)
                rows = list(reader)
                columns = {name: [row[name] for row in rows] for name in reader.fieldnames or ()}
    except (ParquetError, UnicodeDecodeError, csv.Error) as error:
        raise refused("manifest", str(file), "a readable file", f"{error}.") from error
    return {
        name: ["" if value is None else str(value).strip() for value in values]
        for name, values in columns.items()
    }


def _check_rows(
    file: Path, base: Path, columns: dict[str, list[str]]
) -> tuple[list[ConfigIssue], list[int]]:
    """Return the issues of single rows, and the size in bytes of every image."""
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
            hint = nearest(split, list(SPLITS)) or (
                "If you remove the column, split_seed selects the splits."
            )
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
    if len(issues) <= MAX_REPORTED_ISSUES:
        return issues
    rest = len(issues) - MAX_REPORTED_ISSUES
    return [
        *issues[:MAX_REPORTED_ISSUES],
        ConfigIssue("manifest", str(file), "valid rows", f"The file has {rest} more issues."),
    ]


def _class_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels: in numeric order if all are numbers, else alphabetically."""
    names = set(labels)
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _tasks(
    column: list[str] | None, labels: tuple[int, ...]
) -> tuple[tuple[GivenTask, ...], tuple[int, ...]]:
    """Return the tasks in order of first occurrence, and the index of each image's task."""
    if column is None:
        return (), ()
    names = list(dict.fromkeys(column))
    members: dict[str, set[int]] = {name: set() for name in names}
    for name, label in zip(column, labels, strict=True):
        members[name].add(label)
    tasks = tuple(GivenTask(name, tuple(sorted(members[name]))) for name in names)
    index = {name: i for i, name in enumerate(names)}
    return tasks, tuple(index[name] for name in column)


def _untrainable_tasks(file: Path, listing: Listing) -> list[ConfigIssue]:
    """Return an issue for each recurring class without images in one of its tasks."""
    if not listing.facts.recurring:
        return []
    cells = [(task, label) for task, given in enumerate(listing.tasks) for label in given.classes]
    number = {cell: i for i, cell in enumerate(cells)}
    names = tuple(f"{listing.classes[c]} of task {listing.tasks[t].name}" for t, c in cells)
    of = (number[cell] for cell in zip(listing.task_of, listing.labels, strict=True))
    return untrainable("manifest", str(file), names, zip(of, listing.splits, strict=True))
