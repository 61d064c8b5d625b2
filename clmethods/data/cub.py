"""Reader of CUB-200-2011 with its official split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clmethods.data.originals import first_folder, require_files
from clmethods.data.source import DatasetError, Source, missing
from clmethods.user_data.folder_listing import TEST, TRAIN

LISTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")


def cub200(root: str | None) -> Source:
    """Read CUB-200: 5,994 + 5,794 photographs of 200 bird species.

    The split is that of `train_test_split.txt`.
    """
    folder = first_folder(root, ("CUB_200_2011", "CUB_200_2011/CUB_200_2011"), LISTS[0])
    if folder is None or not all((folder / name).is_file() for name in LISTS):
        lists = ", ".join(LISTS)
        raise missing("cub200", root, f"the folder CUB_200_2011 with images/ and {lists}")
    paths, labels, training = (_column(folder / name) for name in LISTS)
    if not paths.keys() == labels.keys() == training.keys():
        raise DatasetError(f"{folder}: {', '.join(LISTS)} do not list the same images")
    files = tuple(folder / "images" / path for path in paths.values())
    require_files("cub200", files)
    return Source(
        labels=np.array([int(labels[number]) - 1 for number in paths], np.int64),
        splits=np.array([TRAIN if training[n] == "1" else TEST for n in paths], np.int8),
        files=files,
        base=folder / "images",
    )


def _column(path: Path) -> dict[str, str]:
    """Return the values by image number of a file with lines `<image number> <value>`."""
    rows = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines()]
    if any(len(row) != 2 for row in rows):
        raise DatasetError(f"{path}: every line must hold a number and a value")
    return {number: value.strip() for number, value in rows}
