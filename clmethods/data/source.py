"""Source: the images of a dataset before they have a size, in a fixed order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class DatasetError(RuntimeError):
    """Data is missing, damaged, or not the version that was asked for."""


class MissingDataError(DatasetError):
    """The original files are not where they were looked for; they may be downloaded."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Labels and splits of n images, and where their pixels are.

    Either `files` names one picture each, or `read` gives all of them as they are.
    """

    labels: NDArray[np.int64]
    """(n,) original class ids."""
    splits: NDArray[np.int8]
    """(n,) `TRAIN`, `VALIDATION`, `TEST` or `OPEN` of `clmethods.user_data.folder_listing`."""
    files: tuple[Path, ...] = ()
    read: Callable[[], Pixels] | None = None
    """(n, H, W) grey or (n, H, W, 3) RGB."""
    stamp: tuple[tuple[str, int, int], ...] = ()
    """(path, bytes, mtime) of what `read` reads; empty for data that ships with the package."""
    domains: NDArray[np.int64] | None = None
    """(n,) index of the given task, where the dataset names its tasks."""
    groups: tuple[str, ...] = ()
    """Images of one group stay on one side of a drawn split; empty where there are none."""
    class_names: tuple[str, ...] = ()
    base: Path | None = None
    """Folder that the paths of a split file are relative to."""


def stamp_of(*files: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that a file has changed."""
    found = ((path.resolve(), path.stat()) for path in files)
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in found)


def as_bytes(values: NDArray[np.generic], what: str) -> Pixels:
    """Pixels as uint8. Floats are refused unless they are whole numbers from 0 to 255.

    A picture in [0, 1], or with a value that is not a number, would silently become black.
    """
    if values.dtype == np.uint8:
        return values  # type: ignore[return-value]
    numbers = values.astype(np.float64)
    odd = ~np.isfinite(numbers)
    if odd.any():
        first = tuple(int(i) for i in np.argwhere(odd)[0])
        raise DatasetError(
            f"{what}: the pixel at {first} is {numbers[first]}, not a finite number"
        )
    fits = (numbers >= 0) & (numbers <= 255) & (numbers == np.rint(numbers))
    if not fits.all():
        first = tuple(int(i) for i in np.argwhere(~fits)[0])
        raise DatasetError(
            f"{what}: the pixel at {first} is {numbers[first]:g}; pixels must be whole numbers "
            "from 0 to 255 (multiply pictures in [0, 1] by 255 and round)"
        )
    return numbers.astype(np.uint8)


def missing(dataset: str, root: str | None, expected: str) -> MissingDataError:
    """The error that says which files to put where."""
    where = "stream.root is not set" if root is None else f"not found below {root}"
    return MissingDataError(
        f"{dataset}: the original files are needed and {where}. Put {expected} into a folder and "
        "name it as `root` in the section `stream`. Where the machine has a network, "
        "`download: true` in that section fetches what can be fetched."
    )
