"""Decoding and resizing of the images of a source to uint8 arrays."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from clmethods.data.cache import cached_pixels
from clmethods.data.pixel_limit import require_decodable, require_scalable
from clmethods.data.source import DatasetError, Pixels, Source, stamp_of
from clmethods.user_data.image_headers import EIGHT_BIT, UPRIGHT

Resize = Literal["stretch", "crop"]

UPRIGHTED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operation that turns an image upright, by the value of its orientation tag (EXIF)."""

MAX_REPORTED_FILES = 10
"""Largest number of unreadable files that an error lists."""


def stored_side(image_size: int, resize: Resize) -> int:
    """Return the side of stored images: S for `stretch`, 8/7 S for `crop`.

    8/7 S is 256 for 224, as in the papers. Evaluation uses the center of size S; random crops also
    use the margin.
    """
    return image_size if resize == "stretch" else round(image_size * 8 / 7)


def center_crop(images: Pixels, resize: Resize) -> Pixels:
    """Return the center (n, c, c, ...), c = 7/8 s, of images (n, s, s, ...) as a view.

    With `stretch`, the images are returned unchanged.
    """
    if resize == "stretch":
        return images
    side = images.shape[1]
    cropped = round(side * 7 / 8)
    start = (side - cropped) // 2
    return images[:, start : start + cropped, start : start + cropped]


def pixels_of(name: str, source: Source, image_size: int, resize: Resize) -> Pixels:
    """Return all images of a source, (n, s, s) or (n, s, s, 3), where s is at most `stored_side`.

    Originals that are smaller keep their size, because enlarged images would need more memory
    without more information. Only images that ship with the package are enlarged here, by Pillow.

    Raises `DatasetError` with the names of unreadable files.
    """
    side = stored_side(image_size, resize)
    read = source.read
    if read is None:
        identity = [name, _files_identity(source), side, resize]
        return cached_pixels(name, identity, lambda path: _decode(source, side, resize, path))
    if not source.stamp:
        return fitted(read(), side, resize)

    def write(path: Path) -> None:
        native = read()
        small = native.shape[1] == native.shape[2] <= side
        with path.open("wb") as stream:
            np.save(stream, native if small else fitted(native, side, resize))

    stamp = [source.stamp, source.content] if source.content else source.stamp
    return cached_pixels(name, [name, stamp, side, resize], write)


def _files_identity(source: Source) -> object:
    """Return what the decoded images of files depend on: content, order and orientations.

    Files whose content is not known are identified by path, size and time.
    """
    if not source.content:
        return stamp_of(*source.files)
    return [source.content, [path.as_posix() for path in source.files], source.orientations]


def fitted(images: Pixels, side: int, resize: Resize) -> Pixels:
    """Resize images (n, H, W[, 3]) to (n, side, side[, 3]) by bicubic interpolation.

    The bits of the result do not depend on the machine.
    """
    if images.shape[1:3] == (side, side):
        return images
    return np.stack([fit(Image.fromarray(image), side, resize) for image in images])


def fit(image: Image.Image, side: int, resize: Resize) -> Pixels:
    """Return the image as (side, side) gray or (side, side, 3), stretched or center-cropped.

    Raises ValueError if a narrow image would have too many pixels before it is cropped.
    """
    if resize == "stretch":
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    width, height = image.size
    scale = side / min(width, height)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    require_scalable((width, height), size)
    larger = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(larger.crop((left, top, left + side, top + side)))


def open_rgb(path: Path, orientation: int = UPRIGHT) -> Image.Image:
    """Read an image as RGB and apply its orientation tag, which the caller has read.

    Raises OSError, ValueError or SyntaxError if it cannot be read.
    """
    with Image.open(path) as image:
        require_decodable(image)
        if image.mode not in EIGHT_BIT:
            raise ValueError(f"mode {image.mode}: more than eight bits per channel")
        rgb = image.convert("RGB")
    return rgb.transpose(UPRIGHTED[orientation]) if orientation in UPRIGHTED else rgb


def _reserve(path: Path) -> None:
    """Reserve the blocks of a sparse file. Raises OSError on a full disk.

    Writing to a map would end the process with SIGBUS there. macOS has no such call.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _decode(source: Source, side: int, resize: Resize, path: Path) -> None:
    """Write the images (n, side, side, 3) to `path` without loading all of them into memory."""
    files = source.files
    orientations = source.orientations or (UPRIGHT,) * len(files)
    shape = (len(files), side, side, 3)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _reserve(path)

    def decode(index: int) -> str | None:
        try:
            out[index] = fit(open_rgb(files[index], orientations[index]), side, resize)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return f"{files[index]}: {error}"
        return None

    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")  # damaged metadata does not affect the pixels
        issues = [issue for issue in pool.map(decode, range(len(files))) if issue is not None]
    if issues:
        rest = len(issues) - MAX_REPORTED_FILES
        raise DatasetError(
            f"{len(issues)} of {len(files)} images cannot be read; replace or remove them:\n  "
            + "\n  ".join(issues[:MAX_REPORTED_FILES])
            + (f"\n  and {rest} more" if rest > 0 else "")
        )
    out.flush()
