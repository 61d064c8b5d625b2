"""Images of a dataset before resizing, as a program that classifies image files reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import final

from PIL import Image

from clmethods.data.image_decoding import open_rgb
from clmethods.data.source import Pixels, Source
from clmethods.user_data.image_headers import UPRIGHT


@final
@dataclass(frozen=True, slots=True, eq=False)
class OriginalImage:
    """An image of a source, which is decoded when it is requested."""

    source: Source
    index: int
    """Index of the image in the source."""

    def open(self) -> Image.Image:
        """Return the image in its original size as RGB."""
        read = self.source.read
        if read is None:
            turned = self.source.orientations
            orientation = turned[self.index] if turned else UPRIGHT
            return open_rgb(self.source.files[self.index], orientation)
        return Image.fromarray(_all_images(read)[self.index]).convert("RGB")


@lru_cache(maxsize=1)  # a source reads all of its images at once
def _all_images(read: Callable[[], Pixels]) -> Pixels:
    return read()
