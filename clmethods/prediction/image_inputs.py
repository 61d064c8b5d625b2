"""Images as users give them: paths, images of Pillow, and arrays; errors in words."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from clmethods.data.image_decoding import open_rgb
from clmethods.errors import ClmethodsError
from clmethods.user_data.ignored_files import is_ignored
from clmethods.user_data.image_headers import EIGHT_BIT, read_header

MAX_REPORTED = 10
"""Largest number of images that an error lists."""


class ImageError(ClmethodsError, ValueError):
    """Exception for images that cannot be read; its text names them with the reasons."""


class InputError(ClmethodsError, TypeError):
    """Exception for an argument that is neither an image nor a sequence of images."""


def as_items(images: Any) -> list[Any]:
    """Return the images in an argument as a list of single images.

    Raises `InputError` for an argument of another type.
    """
    if isinstance(images, str | os.PathLike | Image.Image):
        return [images]
    if isinstance(images, np.ndarray | torch.Tensor):
        # (n, H, W) is not split: (3, H, W) may be one image with its channels first
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, Sequence) and not isinstance(images, bytes | bytearray):
        return list(images)
    raise InputError(
        f"images: got {type(images).__name__}, allowed: a path, a PIL image, a uint8 array "
        "(H, W), (H, W, 3) or (n, H, W, 3), or a list of these"
    )


def name_of(item: Any, index: int) -> str:
    """Return the path of an image as it was given, or its index."""
    return os.fspath(item) if isinstance(item, str | os.PathLike) else f"image {index}"


def rgb_image(item: Any) -> Image.Image:
    """Return one image as RGB, turned upright if it has an orientation tag.

    Raises `ImageError` with the reason if it cannot be read.
    """
    if isinstance(item, str | os.PathLike):
        return _from_file(Path(item))
    if isinstance(item, Image.Image):
        _require_eight_bit(item.mode)
        return ImageOps.exif_transpose(item).convert("RGB")
    if isinstance(item, np.ndarray | torch.Tensor):
        return _from_array(item)
    raise ImageError(
        f"got {type(item).__name__}, allowed: a path, a PIL image, or a uint8 array (H, W) or "
        "(H, W, 3)"
    )


def listed_images(paths: Sequence[Path]) -> list[Path]:
    """Return the files to predict: those that are named, and the images in named folders.

    In folders and their subfolders, files that are not images are left out, as in the folders of
    a dataset. A file that is named itself is always listed, whether it can be read or not.
    """
    return [file for path in paths for file in (_images_below(path) if path.is_dir() else [path])]


def refusal(issues: Sequence[object], total: int) -> ImageError:
    """Return the error for images that cannot be read."""
    rest = len(issues) - MAX_REPORTED
    lines = [f"{len(issues)} of {total} images cannot be read:"]
    lines += [f"  {issue}" for issue in issues[:MAX_REPORTED]]
    if rest > 0:
        lines.append(f"  and {rest} more")
    return ImageError("\n".join(lines))


def _images_below(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder that was read already
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_ignored(name, folder=True))
        for name in sorted(files):
            path = Path(place, name)
            if is_ignored(name, folder=False) or (path.exists() and not path.is_file()):
                continue
            if not path.exists() or read_header(path) is not None:  # a broken link is reported
                yield path


def _from_file(path: Path) -> Image.Image:
    try:
        if not path.exists():
            raise ImageError("the file does not exist")
        if not path.is_file():
            raise ImageError("it is a folder" if path.is_dir() else "it is not a regular file")
        header = read_header(path)
        if header is None:
            raise ImageError("the content is not an image of a known format")
        if header.problem:
            raise ImageError(_with_remedy(header.problem))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata does not affect the pixels
            return open_rgb(path, header.orientation)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, ImageError):
            raise
        reason = error.strerror if isinstance(error, OSError) else None
        raise ImageError(reason or str(error) or type(error).__name__) from error


def _from_array(array: Any) -> Image.Image:
    shape, kind = tuple(array.shape), str(array.dtype).removeprefix("torch.")
    if kind != "uint8":
        hint = " Multiply values in [0, 1] by 255, round, and convert." if "float" in kind else ""
        raise ImageError(f"got an array of {kind}, allowed: uint8, values from 0 to 255.{hint}")
    if len(shape) not in {2, 3} or (len(shape) == 3 and shape[2] != 3) or 0 in shape:
        raise ImageError(
            f"got an array of shape {shape}, allowed: (H, W) or (H, W, 3).{_hint(shape)}"
        )
    values = array.cpu().numpy() if isinstance(array, torch.Tensor) else array
    return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[2] == 4:
        return " Give images with transparency as PIL images."
    if len(shape) == 3 and shape[2] == 1:
        return " Remove the last dimension of a gray image."
    if len(shape) == 3 and shape[0] in {1, 3}:
        return " Move the channels to the end."
    if len(shape) == 3:
        return " Give several gray images as a list."
    return ""


def _require_eight_bit(mode: str) -> None:
    if mode not in EIGHT_BIT:
        raise ImageError(_with_remedy(f"mode {mode}: more than eight bits per channel"))


def _with_remedy(problem: str) -> str:
    if "eight bits" in problem or "are not read" in problem:
        return f"{problem}; convert it to PNG or JPEG with 8 bits per channel"
    return problem
