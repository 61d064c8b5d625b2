"""Manifests of the user's images: tables with one row per image.

The columns `path` and `label` are required. `task` is the name of the task; a class may occur in
several tasks. `split` is train, validation or test; without this column the stream splits by
`split_seed`. Images with the same `group` (one patient, one burst of photographs) stay on the same
side of every random split. Row numbers count the header as row 1, as in a spreadsheet.

An image must not occur in two splits, neither under two names nor as a copy, and a file must not
have two labels in one task and split. Headers of all images are read; pixels are not decoded.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Hashable, Iterable
from pathlib import Path

from clmethods.catalog.facts import GivenTask
from clmethods.errors import ConfigIssue, InvalidConfigError, nearest, refuse, require
from clmethods.user_data.file_records import FileRecords
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
from clmethods.user_data.image_headers import ImageHeader
from clmethods.user_data.repeated_images import (
    ListedImage,
    Repetition,
    contradictions,
    repetitions,
)
from clmethods.user_data.table_file import (
    Table,
    invisible_in,
    is_missing,
    read_table,
    shortened,
)

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
    issues, images, headers = _check_rows(base, table)
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
        headers=tuple(headers),
    )
    refuse(_untrainable_tasks(file, listing))
    return listing, [file]


def _split_name(text: str) -> str:
    """Return `train`, `validation` or `test` for a usual spelling; other texts are unchanged."""
    split = SPLIT_OF.get(text.strip().lower())
    return next((name for name, known in SPLITS.items() if known == split), text)


def _check_rows(
    base: Path, table: Table
) -> tuple[list[ConfigIssue], list[ListedImage], list[ImageHeader]]:
    """Return the issues of single rows, and the images and headers of all rows."""
    columns, issues = table.columns, list[ConfigIssue]()
    images: list[ListedImage] = []
    headers: list[ImageHeader] = []
    records = FileRecords(base)
    blank = [""] * len(table.rows)
    cells = (columns.get(name, blank) for name in (*REQUIRED, *OPTIONAL))
    for row, path, label, task, split, group in zip(table.rows, *cells, strict=True):
        where = f"manifest row {row}"
        for name, text in (("label", label), ("task", task), ("group", group)):
            issue = _name_issue(f"{where}, {name}", name, text) if name in columns else None
            issues += [] if issue is None else [issue]
        if "split" in columns and split not in SPLITS:
            constraint = f"one of {list(SPLITS)}"
            hint = nearest(split, list(SPLITS)) or (
                "If you remove the column, split_seed selects the splits."
            )
            issues.append(ConfigIssue(f"{where}, split", split, constraint, hint))
        file = _file(base / path)
        if file is None:
            hint = f"Paths are relative to {base.absolute()}."
            hint += " Separate folders with / instead of \\." if "\\" in path else ""
            issues.append(ConfigIssue(f"{where}, path", path, "an existing file", hint))
        identity, size = file or ((row,), 0)
        images.append(
            ListedImage(row, base / path, identity, size, split or group or row, task, label)
        )
        headers.append(ImageHeader() if file is None else _header(records, path))
        if headers[-1].problem:
            issues.append(_unreadable(f"{where}, path", path, headers[-1]))
    records.save()
    paths = dict(zip(table.rows, columns["path"], strict=True))
    given = "split" in columns
    issues += [_repetition_issue(pair, paths, given) for pair in repetitions(images)]
    issues += [_label_issue(*pair, paths) for pair in contradictions(images)]
    return sorted(issues, key=lambda issue: _row_of(issue.path)), images, headers


def _name_issue(place: str, name: str, text: str) -> ConfigIssue | None:
    """Return an issue if a name is missing, stands for a missing value, or looks like another."""
    hidden = invisible_in(text)
    if hidden:
        constraint = f"the name of a {name} in visible characters and spaces"
        hint = f"It contains {', '.join(hidden)}: remove it, or replace it by a space."
        return ConfigIssue(place, text, constraint, hint)
    if name == "group":
        hint = "Leave it empty for an image without a group."
        return require(not is_missing(text), place, text, "the name of a group", hint)
    if not text:
        return ConfigIssue(place, text, f"the name of a {name}")
    hint = "It stands for a missing value in many programs: use another name."
    return require(not is_missing(text), place, text, f"the name of a {name}", hint)


def _file(path: Path) -> tuple[Hashable, int] | None:
    """Return identity and size of a regular file; None if there is no such file."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return None
    if not stat.S_ISREG(facts.st_mode):
        return None
    # Some file systems have no inodes.
    identity = (facts.st_dev, facts.st_ino) if facts.st_ino else os.path.realpath(path)
    return identity, facts.st_size


def _header(records: FileRecords, path: str) -> ImageHeader:
    try:
        header = records.header(path)
    except OSError as error:
        return ImageHeader(problem=error.strerror or str(error))
    return header or ImageHeader(problem="the content is not an image of a known format")


def _unreadable(place: str, path: str, header: ImageHeader) -> ConfigIssue:
    hint = f"{header.problem[:1].upper()}{header.problem[1:]}: "
    hint += "convert it to PNG or JPEG with 8 bits per channel, or remove the row."
    return ConfigIssue(place, path, "an image that can be read", hint)


def _label_issue(image: ListedImage, earlier: ListedImage, paths: dict[int, str]) -> ConfigIssue:
    first, path = paths[earlier.row], paths[image.row]
    name = f" as {first!r}" if first != path else ""
    hint = (
        f"Row {earlier.row} has the same image{name} with the label {earlier.label!r}: remove one "
        "of the rows."
    )
    place = f"manifest row {image.row}, label"
    return ConfigIssue(place, image.label, "one label for each image", hint)


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
