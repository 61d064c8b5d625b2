"""Images of a dataset in a fixed order, before they are resized, and errors of datasets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clmethods.errors import ClmethodsError

Pixels = NDArray[np.uint8]


class DatasetError(ClmethodsError, RuntimeError):
    """Exception for data that is missing, damaged, or not the requested version."""


class MissingDataError(DatasetError):
    """Exception for original files that do not exist at the given path."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Labels and splits of n images, and the location of their pixels.

    Either `files` has the path of each image, or `read` returns all images in their original size.
    """

    labels: NDArray[np.int64]
    """(n,) original class ids."""
    splits: NDArray[np.int8]
    """(n,) `TRAIN`, `VALIDATION`, `TEST` or `OPEN` of `clmethods.user_data.folder_listing`."""
    files: tuple[Path, ...] = ()
    read: Callable[[], Pixels] | None = None
    """Function that returns the images, (n, H, W) gray or (n, H, W, 3) RGB."""
    stamp: tuple[tuple[str, int, int], ...] = ()
    """(path, bytes, mtime) of the files that `read` uses; empty for data that ships with the
    package."""
    domains: NDArray[np.int64] | None = None
    """(n,) index of the given task of each image, if the dataset defines its tasks."""
    groups: tuple[str, ...] = ()
    """(n,) group of each image; empty if there are no groups. No random split divides a group."""
    class_names: tuple[str, ...] = ()
    """Class names by class id; empty if they are not known."""
    orientations: tuple[int, ...] = ()
    """(n,) orientation tags of `files`, which are applied; empty to show all images as stored."""
    content: str = ""
    """Fingerprint of the content of all files; empty to identify them by size and time."""
    base: Path | None = None
    """Folder that the paths of a split file are relative to."""


def stamp_of(*files: Path) -> tuple[tuple[str, int, int], ...]:
    """Return (path, size in bytes, mtime) of each file, which detects that a file has changed."""
    stats = ((path.resolve(), path.stat()) for path in files)
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def as_bytes(values: NDArray[np.generic], what: str) -> Pixels:
    """Convert pixels to uint8.

    Raises `DatasetError` unless all values are integers from 0 to 255, because images in [0, 1]
    or with NaN would silently become black. `what` is the name of the file in error messages.
    """
    if values.dtype == np.uint8:
        return values  # type: ignore[return-value]
    numbers = values.astype(np.float64)
    invalid = ~np.isfinite(numbers)
    if invalid.any():
        first = tuple(int(i) for i in np.argwhere(invalid)[0])
        raise DatasetError(
            f"{what}: the pixel at {first} is {numbers[first]}, not a finite number"
        )
    fits = (numbers >= 0) & (numbers <= 255) & (numbers == np.rint(numbers))
    if not fits.all():
        first = tuple(int(i) for i in np.argwhere(~fits)[0])
        raise DatasetError(
            f"{what}: the pixel at {first} is {numbers[first]:g}; pixels must be integers from 0 "
            "to 255 (multiply images in [0, 1] by 255 and round)"
        )
    return numbers.astype(np.uint8)


def missing(dataset: str, root: str | None, expected: str) -> MissingDataError:
    """Return the error for missing files; its message contains the expected files and the fix."""
    reason = "stream.root is not set" if root is None else f"they are not below {root}"
    return MissingDataError(
        f"{dataset}: the original files are required, but {reason}. Put {expected} into a folder "
        "and set `root` in the section `stream` to this folder. On a machine with network access, "
        "`download: true` in this section downloads the datasets that are freely available."
    )
