"""Reader of SVHN (cropped digits) from its original MATLAB files, or from hub files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from clmethods.data.originals import check_md5, first_folder, hub_source, two_splits
from clmethods.data.source import DatasetError, Pixels, Source, as_bytes, missing, stamp_of

MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}


def svhn(root: str | None) -> Source:
    """Read SVHN: 73,257 + 26,032 house numbers, 32 x 32 RGB.

    Label 10 in the files is the digit 0.
    """
    folder = first_folder(root, ("SVHN", "svhn"), "test_32x32.mat")
    files = [] if folder is None else [folder / name for name in MD5]
    if not files or not all(path.is_file() for path in files):
        source = hub_source(root, ("image",), ("label",))
        if source is None:
            raise missing("svhn", root, " and ".join(MD5))
        return source
    labels = [_labels(path) for path in files]
    return Source(
        labels=np.concatenate(labels),
        splits=two_splits(*map(len, labels)),
        read=lambda: np.concatenate([_images(path) for path in files]),
        stamp=stamp_of(*files),
    )


def _variable(path: Path, name: str) -> np.ndarray[Any, Any]:
    try:
        variables = loadmat(path, variable_names=[name])
    except Exception as error:  # a damaged file can raise any exception
        raise DatasetError(f"{path} is not a readable MATLAB file: {error}") from error
    if name not in variables:
        raise DatasetError(f"{path} has no variable {name!r}")
    return np.asarray(variables[name])


def _labels(path: Path) -> np.ndarray[Any, np.dtype[np.int64]]:
    check_md5(path, path.read_bytes(), MD5.get(path.name))
    labels = _variable(path, "y")
    if labels.dtype.kind not in "iuf" or not np.array_equal(labels, np.rint(labels)):
        raise DatasetError(f"{path}: labels must be whole numbers")
    return labels.astype(np.int64).ravel() % 10


def _images(path: Path) -> Pixels:
    """Return the images (n, 32, 32, 3), which the file stores as (32, 32, 3, n)."""
    values = _variable(path, "X")
    if values.dtype.kind not in "iuf" or values.ndim != 4:
        raise DatasetError(f"{path}: images must be numbers with four dimensions")
    images = as_bytes(values, str(path))
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2))
