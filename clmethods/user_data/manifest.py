"""Manifests of the user's images: tables with one row per image.

The columns `path` and `label` are required. `task` is the name of the task; a class may occur in
several tasks. `split` is train, validation or test; without this column the stream splits by
`split_seed`. Images with the same `group` (one patient, one burst of photographs) stay on the same
side of every random split. Row numbers count the header as row 1, as in a spreadsheet.

An image must not occur in two splits, neither under two names nor as a copy.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Hashable, Iterable
from pathlib import Path

from clmethods.catalog.facts import GivenTask
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse, require
from clmethods.user_data.folder_listing import (
    OPEN,
    SPLIT_OF,
    TEST,
    TRAIN,
    VALIDATION,
    Listing,
    cached_listing,
    fingerprint_of,
    refused,
    untrainable,
)
from clmethods.user_data.repeated_images import ListedImage, Repetition, repetitions
from clmethods.user_data.table_file import Table, is_missing, read_table, shortened

REQUIRED = ("path", "label")
OPTIONAL = ("task", "split", "group")
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def list_manifest(manifest: str, root: str | None) -> Listing:
    """List the images of a manifest. Paths are relative to `root`, or to the manifest's folder.

    Raises `InvalidConfigError` with the issues of all rows.
    """
    file = Path(manifest)
    base = Path(root) if root is not None else file.parent
    return cached_listing(f"manifest {base}", manifest, lambda path: _list(path, base))


def _list(file: Path, base: Path) -> tuple[Listing, list[Path]]:
    table = read_table(file, REQUIRED, OPTIONAL)
    columns = table.columns
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InvalidConfigError(
            ConfigIssue(
                "manifest",
                str(file),
                f"the columns {list(REQUIRED)}, and optionally {list(OPTIONAL)}",
                f"Column {name!r} is missing. {nearest(name, table.header)}".rstrip(),
            )
            for name in missing
        )
    rows = len(columns["path"])
    if rows == 0:
        raise refused("manifest", str(file), "one or more rows below the header")
    if "split" in columns:
        columns["split"] = [_split_name(text) for text in columns["split"]]
    issues, images = _check_rows(base, table)
    refuse(shortened(file, issues))
    names = _class_names(columns["label"])
    ids = {name: label for label, name in enumerate(names)}
    labels = tuple(ids[name] for name in columns["label"])
    splits = tuple(SPLITS.get(name, OPEN) for name in columns.get("split", [""] * rows))
    refuse(untrainable("manifest", str(file), names, zip(labels, splits, strict=True)))
    tasks, task_of = _tasks(columns.get("task"), labels)
    also = [hashlib.sha256(file.read_bytes()).digest()]
    if table.reinterpreted:  # earlier versions read other classes, under the same fingerprint
        also.append(b"texts")
    listing = Listing(
        base=base,
        classes=names,
        paths=tuple(columns["path"]),
        labels=labels,
        splits=splits,
        version=fingerprint_of(
            zip(columns["path"], (image.size for image in images), strict=True), *also
        ),
        tasks=tasks,
        task_of=task_of,
        groups=tuple(columns.get("group", ())),
    )
    refuse(_untrainable_tasks(file, listing))
    return listing, [file]


def _split_name(text: str) -> str:
    """Return `train`, `validation` or `test` for a usual spelling; other texts are unchanged."""
    split = SPLIT_OF.get(text.strip().lower())
    return next((name for name, known in SPLITS.items() if known == split), text)


def _check_rows(base: Path, table: Table) -> tuple[list[ConfigIssue], list[ListedImage]]:
    """Return the issues of single rows, and the images of all rows."""
    columns, issues = table.columns, list[ConfigIssue]()
    images: list[ListedImage] = []
    for index, (row, path) in enumerate(zip(table.rows, columns["path"], strict=True)):
        where = f"manifest row {row}"
        for name in ("label", "task", "group"):
            text = columns[name][index] if name in columns else None
            issue = None if text is None else _name_issue(f"{where}, {name}", name, text)
            issues += [] if issue is None else [issue]
        split = columns["split"][index] if "split" in columns else ""
        if "split" in columns and split not in SPLITS:
            constraint = f"one of {list(SPLITS)}"
            hint = nearest(split, list(SPLITS)) or (
                "If you remove the column, split_seed selects the splits."
            )
            issues.append(ConfigIssue(f"{where}, split", split, constraint, hint))
        group = columns["group"][index] if "group" in columns else ""
        image = _image(row, base, path, split or group or row)
        if image is None:
            hint = f"Paths are relative to {base.absolute()}."
            hint += " Separate folders with / instead of \\." if "\\" in path else ""
            issues.append(ConfigIssue(f"{where}, path", path, "an existing file", hint))
        images.append(image or ListedImage(row, base / "", (row,), 0, None))
    paths = dict(zip(table.rows, columns["path"], strict=True))
    given = "split" in columns
    issues += [_repetition_issue(pair, paths, given) for pair in repetitions(images)]
    return sorted(issues, key=lambda issue: _row_of(issue.path)), images


def _name_issue(place: str, name: str, text: str) -> ConfigIssue | None:
    """Return an issue if a name is missing, or is what programs write for a missing value."""
    if name == "group":
        hint = "Leave it empty for an image without a group."
        return require(not is_missing(text), place, text, "the name of a group", hint)
    if not text:
        return ConfigIssue(place, text, f"the name of a {name}")
    hint = "It stands for a missing value in many programs: use another name."
    return require(not is_missing(text), place, text, f"the name of a {name}", hint)


def _image(row: int, base: Path, path: str, side: Hashable) -> ListedImage | None:
    """Return the image of a row; None if there is no such file."""
    try:
        facts = os.stat(base / path)
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None
    # Some file systems have no inodes.
    identity = (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(base / path)
    return ListedImage(row, base / path, identity, facts.st_size, side)


def _repetition_issue(pair: Repetition, paths: dict[int, str], given: bool) -> ConfigIssue:
    first, path = pair.earlier.row, paths[pair.image.row]
    split = f" in {pair.earlier.side}" if given else ""
    image = "the same image" if pair.same_file else "an image with the same content"
    name = f" as {paths[first]!r}" if paths[first] != path else ""
    hint = f"Row {first} has {image}{name}{split}."
    if not given:
        hint += " Remove one of the rows, or give both the same group."
    place = f"manifest row {pair.image.row}, path"
    return ConfigIssue(place, path, "an image in one split only", hint)


def _row_of(path: str) -> int:
    return int(path.removeprefix("manifest row ").partition(",")[0])


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
