"""Near-duplicates: copies that were resized or compressed again, and no other images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from clmethods.data.image_decoding import fit
from clmethods.data.near_duplicates import near_duplicates
from tests.clmethods.data.files import noise

COUNT = 60


def picture(seed: int, detail: int) -> Image.Image:
    small = Image.fromarray(noise(detail, detail, 3, seed=seed))
    return small.resize((400, 300), Image.Resampling.BICUBIC)


def compressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=60)
    return Image.open(stream).convert("RGB")


COPIES = {
    "smaller": lambda image: image.resize((200, 150)),
    "compressed": compressed,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.95),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("side", [18, 64])
def test_copies_are_found_and_others_are_not(copy: str, side: int) -> None:
    originals = [picture(seed, 12) for seed in range(COUNT)]
    others = [picture(1000 + seed, 12) for seed in range(COUNT)]
    every = [*originals, *map(COPIES[copy], originals), *others]
    images = np.stack([fit(image, side, "crop") for image in every])
    found = near_duplicates(images, np.arange(COUNT), np.arange(COUNT, 3 * COUNT))
    pairs = {(each.image, each.training) for each in found}
    assert pairs <= {(COUNT + index, index) for index in range(COUNT)}
    assert len(pairs) >= 0.95 * COUNT


def test_gray_images_are_compared_too() -> None:
    images = np.stack([noise(12, 12, seed=seed % 2) for seed in range(3)])
    (found,) = near_duplicates(images, np.array([0, 1]), np.array([2]))
    assert (found.image, found.training, found.bits) == (2, 0, 0)
