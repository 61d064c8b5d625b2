"""Reader of 5-datasets, a combination of five datasets (Ebrahimi et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from clmethods.data.cifar import cifar10
from clmethods.data.folders import notmnist
from clmethods.data.idx import idx_dataset
from clmethods.data.image_decoding import fit, fitted, open_rgb
from clmethods.data.source import DatasetError, Pixels, Source, missing, stamp_of
from clmethods.data.svhn import svhn

SIDE = 32
"""Side of all images in pixels: the larger of the two original sizes, 28 and 32."""

PARTS: dict[str, Callable[[str | None], Source]] = {
    "svhn": svhn,
    "mnist": lambda root: idx_dataset("mnist", root),
    "cifar10": cifar10,
    "notmnist": notmnist,
    "fashion-mnist": lambda root: idx_dataset("fashion-mnist", root),
}
"""Readers of the parts in the order of the paper. The labels of part i start at 10 i."""


def five_datasets(root: str | None) -> Source:
    """Read 5-datasets: 50 classes, RGB. Each part is in the folder of its name below `root`."""
    if root is None:
        raise missing("5-datasets", root, f"the folders {', '.join(PARTS)}, each with its files")
    parts = [part(str(Path(root) / name)) for name, part in PARTS.items()]
    files = tuple(path for part in parts for path in part.files)
    return Source(
        labels=np.concatenate([part.labels + 10 * i for i, part in enumerate(parts)]),
        splits=np.concatenate([part.splits for part in parts]),
        read=lambda: np.concatenate([_rgb(part) for part in parts]),
        stamp=tuple(stamp for part in parts for stamp in part.stamp) + stamp_of(*files),
        base=Path(root),
    )


def _rgb(part: Source) -> Pixels:
    """Return the images (n, 32, 32, 3) of a part."""
    if part.read is not None:
        images = fitted(part.read(), SIDE, "stretch")
        return np.repeat(images[..., None], 3, axis=3) if images.ndim == 3 else images
    return np.stack([_picture(path) for path in part.files])


def _picture(path: Path) -> Pixels:
    try:
        return fit(open_rgb(path), SIDE, "stretch")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read: {error}; replace or remove it") from error
