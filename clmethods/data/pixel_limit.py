"""Limit of the size of images, which is checked before they are decoded.

A file of some kilobytes can describe an image that fills the memory.
"""

from __future__ import annotations

from PIL import Image

MAX_PIXELS = 89_478_485
"""Largest number of pixels of an image: 256 MiB at three bytes per pixel. Above it, Pillow warns
that the file may be an attack."""


def require_decodable(image: Image.Image) -> None:
    """Raise ValueError if an image, of which only the header was read, has too many pixels."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"it has {width} x {height} pixels, allowed: at most {MAX_PIXELS:,} in total. Resize "
            "the image."
        )


def require_scalable(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    """Raise ValueError if an image of a size would have too many pixels at the size `scaled`.

    A narrow image is enlarged until its shorter side has the size of the crop.
    """
    if scaled[0] * scaled[1] > MAX_PIXELS:
        raise ValueError(
            f"its {size[0]} x {size[1]} pixels become {scaled[0]} x {scaled[1]} before the center "
            f"is cropped, allowed: at most {MAX_PIXELS:,} in total. Crop the image, or set "
            "stream.resize to stretch."
        )
