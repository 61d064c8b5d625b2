"""Pixels of a source at the size that is needed: decoded once, in uint8 throughout."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from clmethods.data.cache import cached_pixels
from clmethods.data.source import DatasetError, Pixels, Source, stamp_of

Resize = Literal["stretch", "crop"]

EIGHT_BIT = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"})
"""Pillow's modes of at most eight bits a channel; others would be cut off by a conversion."""

MOST_NAMED = 10
"""So many unreadable files are named."""


def stored_side(image_size: int, resize: Resize) -> int:
    """Side at which images are kept: S, or 8/7 S where the centre of S is cut out later.

    256 for 224, as in the papers; the margin is what random crops use.
    """
    return image_size if resize == "stretch" else round(image_size * 8 / 7)


def centre(images: Pixels, resize: Resize) -> Pixels:
    """(n, s, s, ...) to the view (n, c, c, ...) that a test image shows, c = 7/8 s."""
    if resize == "stretch":
        return images
    side = images.shape[1]
    kept = round(side * 7 / 8)
    start = (side - kept) // 2
    return images[:, start : start + kept, start : start + kept]


def pixels_of(name: str, source: Source, image_size: int, resize: Resize) -> Pixels:
    """(n, s, s) or (n, s, s, 3): all images at `stored_side`, or as they are if that is smaller.

    Small originals are kept small: their enlargement would take memory and hold nothing new.
    Images that ship are enlarged here, by Pillow. Raises `DatasetError` naming unreadable files.
    """
    side = stored_side(image_size, resize)
    read = source.read
    if read is None:
        files = source.files
        identity = [name, stamp_of(*files), side, resize]
        return cached_pixels(name, identity, lambda path: _decode(files, side, resize, path))
    if not source.stamp:
        return fitted(read(), side, resize)

    def write(path: Path) -> None:
        native = read()
        small = native.shape[1] == native.shape[2] <= side
        with path.open("wb") as stream:
            np.save(stream, native if small else fitted(native, side, resize))

    return cached_pixels(name, [name, source.stamp, side, resize], write)


def fitted(images: Pixels, side: int, resize: Resize) -> Pixels:
    """(n, H, W[, 3]) to (n, side, side[, 3]) by bicubic interpolation, so that bits are stable."""
    if images.shape[1:3] == (side, side):
        return images
    return np.stack([fit(Image.fromarray(image), side, resize) for image in images])


def fit(image: Image.Image, side: int, resize: Resize) -> Pixels:
    """(side, side) grey or (side, side, 3): stretched, or the centre of the shorter side."""
    if resize == "stretch":
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    width, height = image.size
    scale = side / min(width, height)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    larger = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(larger.crop((left, top, left + side, top + side)))


def open_rgb(path: Path) -> Image.Image:
    """A picture as RGB; raises OSError, ValueError or SyntaxError if it cannot be read."""
    with Image.open(path) as image:
        if image.mode not in EIGHT_BIT:
            raise ValueError(f"mode {image.mode}: more than eight bits a channel")
        return image.convert("RGB")


def _decode(files: tuple[Path, ...], side: int, resize: Resize, path: Path) -> None:
    """Write (n, side, side, 3) to `path` without holding it in memory."""
    shape = (len(files), side, side, 3)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)

    def one(index: int) -> str | None:
        try:
            out[index] = fit(open_rgb(files[index]), side, resize)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return f"{files[index]}: {error}"
        return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        issues = [issue for issue in pool.map(one, range(len(files))) if issue is not None]
    if issues:
        more = f"\n  and {len(issues) - MOST_NAMED} more" if len(issues) > MOST_NAMED else ""
        raise DatasetError(
            f"{len(issues)} of {len(files)} images cannot be read; replace or remove them:\n  "
            + "\n  ".join(issues[:MOST_NAMED])
            + more
        )
    out.flush()
