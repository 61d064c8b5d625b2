"""Folders of a split: recognition of `train`, `val` and `test` in their usual spellings."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from clmethods.errors import InvalidConfigError
from clmethods.user_data.folder_listing import (
    OPEN,
    SPLIT_OF,
    SPLIT_SPELLINGS,
    TEST,
    TRAIN,
    VALIDATION,
    refused,
)
from clmethods.user_data.ignored_files import WITHOUT_LABELS, is_ignored
from clmethods.user_data.image_headers import IMAGE_SUFFIXES

WORDS = {TRAIN: "train", VALIDATION: "val", TEST: "test"}
CONSTRAINT = "a folder per class, or the folders train and test (optionally val) with such folders"

UNMARKED = frozenset({((TRAIN, "train"), (TEST, name)) for name in ("test", "val")})
"""Split folders whose data version covers the files only, as in earlier versions."""

TRAINING_WORDS = (*SPLIT_SPELLINGS[TRAIN], "trainval")
HELD_OUT_WORDS = (*SPLIT_SPELLINGS[VALIDATION], *SPLIT_SPELLINGS[TEST])


@dataclass(frozen=True, slots=True)
class SplitFolders:
    """Folders that contain the class folders."""

    sides: tuple[tuple[int, str], ...]
    """(split, name of the folder in the root); the name is empty for the root itself."""
    unused: tuple[str, ...] = ()
    """Names of the folders beside the split folders, which are ignored."""
    notes: tuple[str, ...] = ()

    @property
    def marker(self) -> tuple[bytes, ...]:
        """Text that the data version covers beside the files; empty if it covers only these.

        Earlier versions knew `train` with `test` or `val` only, and read the folders of all other
        splits as classes. Their stages must not be used for the splits.
        """
        if all(split == OPEN for split, _ in self.sides) or self.sides in UNMARKED:
            return ()
        return (b"split folders", *(f"{split} {name}".encode() for split, name in self.sides))


def split_folders(root: Path, names: list[str]) -> SplitFolders:
    """Return the split folders of `root`, whose folders are `names`.

    A folder that is spelled like a split, such as `valid`, is a class if it contains images
    itself, and other folders are classes too. Raises `InvalidConfigError` with the remedy if the
    folders look like a split that cannot be used.
    """
    found: dict[int, list[str]] = {}
    for name in sorted(names):
        if name.lower() in SPLIT_OF:
            found.setdefault(SPLIT_OF[name.lower()], []).append(name)
    others = [name for name in names if name.lower() not in SPLIT_OF]
    spelled = sorted(name for same in found.values() for name in same)
    held_out = TEST in found or VALIDATION in found
    if TRAIN in found and held_out and _contains_folders_only(root / found[TRAIN][0]):
        return _usable(root, found, others)
    _refuse_stray_images(root, spelled)
    _refuse_other_spellings(root, names)
    containers = [name for name in spelled if _contains_folders_only(root / name)]
    if containers or (spelled and not others):
        raise _unusable(root, containers or spelled, others)
    _refuse_wrapper(root, names)
    return SplitFolders(((OPEN, ""),))


def _usable(root: Path, found: dict[int, list[str]], others: list[str]) -> SplitFolders:
    repeated = [name for same in found.values() if len(same) > 1 for name in same]
    if repeated:
        hint = f"{_listed(repeated)} mean the same split: merge them, or move one elsewhere."
        raise refused("root", str(root), CONSTRAINT, hint)
    classes = [
        name
        for name in others
        if name.lower() not in WITHOUT_LABELS and _contains_image(root / name)
    ]
    if classes:
        splits = _listed([same[0] for same in found.values()])
        hint = (
            f"The folders {_listed(classes)} beside {splits} contain images too: move them into "
            "the split folders, or elsewhere."
        )
        raise refused("root", str(root), CONSTRAINT, hint)
    names = {split: same[0] for split, same in found.items()}
    notes: list[str] = []
    if TEST not in names:
        names[TEST] = names.pop(VALIDATION)
        notes.append(f"{names[TEST]} is used as the test split, because there is no other")
    order = (TRAIN, VALIDATION, TEST)
    sides = tuple((split, names[split]) for split in order if split in names)
    return SplitFolders(sides, tuple(others), tuple(notes))


def _unusable(root: Path, splits: list[str], others: list[str]) -> InvalidConfigError:
    kinds = {SPLIT_OF[name.lower()] for name in splits}
    absent = [WORDS[split] for split in (TRAIN, TEST) if split not in kinds]
    if others:
        remedy = (
            f"Beside {_listed(others)}, it is not clear whether they are classes: rename them if "
            "they are, else move the other folders elsewhere."
        )
    elif len(splits) == 1:
        remedy = f"Set root to {root / splits[0]} to split its images by split_seed"
        remedy += f", or add the folder {' and '.join(absent)}." if absent else "."
    elif absent:
        remedy = f"Add the folder {' and '.join(absent)}."
    else:
        remedy = "Put a folder per class into each of them."
    verb = "looks like a split" if len(splits) == 1 else "look like splits"
    return refused("root", str(root), CONSTRAINT, f"{_listed(splits)} {verb}. {remedy}")


def _refuse_stray_images(root: Path, spelled: list[str]) -> None:
    """Raise `InvalidConfigError` if splits have class folders, and images beside these.

    Such images do not show that the splits are classes.
    """
    mixed = [name for name in spelled if any(_is_folder(entry) for entry in _entries(root / name))]
    kinds = {SPLIT_OF[name.lower()] for name in mixed}
    if TRAIN in kinds and len(kinds) > 1:
        stray = [name for name in mixed if not _contains_folders_only(root / name)]
        hint = (
            f"{_listed(mixed)} look like splits, but {_listed(stray)} contains images beside the "
            "class folders: move these images into class folders, or elsewhere. If they are "
            "classes, give them other names."
        )
        raise refused("root", str(root), CONSTRAINT, hint)


def _refuse_other_spellings(root: Path, names: list[str]) -> None:
    """Raise `InvalidConfigError` if folders of class folders have names such as `train2017`."""
    training = [name for name in names if _has_word(name, TRAINING_WORDS)]
    held_out = [name for name in names if _has_word(name, HELD_OUT_WORDS)]
    alike = [
        name for name in sorted({*training, *held_out}) if _contains_folders_only(root / name)
    ]
    pairs = ((a, b) for a in alike for b in alike if a != b)
    if any(a in training and b in held_out for a, b in pairs):
        hint = (
            f"{_listed(alike)} look like splits: rename them to train and test (optionally val). "
            "If they are classes, give them other names."
        )
        raise refused("root", str(root), CONSTRAINT, hint)


def _has_word(name: str, words: tuple[str, ...]) -> bool:
    """Return True if a name contains one of the words, as in `seg_train` and `train2017`."""
    text = unicodedata.normalize("NFKC", name).lower()
    ends = "|".join(words)
    return any(
        re.fullmatch(rf"(?:{ends})(?:s|sets?|data|images?)?\d*", token)
        for token in re.split(r"[\W_]+", text)
    )


def _refuse_wrapper(root: Path, names: list[str]) -> None:
    """Raise `InvalidConfigError` if the only folder contains the actual folders.

    Archives often unpack to such a folder. All images would become one class.
    """
    if len(names) == 1 and _contains_folders_only(root / names[0]):
        hint = f"{names[0]!r} is the only folder, and contains folders: set root to it."
        raise refused("root", str(root), CONSTRAINT, hint)


def _contains_folders_only(folder: Path) -> bool:
    """Return True if a folder contains folders, but no images of its own."""
    entries = _entries(folder)
    return any(entry.is_dir() for entry in entries) and not _has_image(entries)


def _contains_image(folder: Path, depth: int = 2) -> bool:
    entries = _entries(folder)
    if _has_image(entries):
        return True
    folders = [Path(entry.path) for entry in entries if _is_folder(entry)]
    return depth > 0 and any(_contains_image(below, depth - 1) for below in folders)


def _has_image(entries: list[os.DirEntry[str]]) -> bool:
    return any(Path(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in entries)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries that are not ignored; none if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [e for e in entries if not is_ignored(e.name, folder=_is_folder(e))]
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
