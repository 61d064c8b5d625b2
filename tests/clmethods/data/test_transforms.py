"""Enlarging, and the random crops of training images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clmethods.data.transforms import RECIPES, Augment, _boxes, augmented, enlarged, to_same_shape
from tests.clmethods.data.files import noise

KINDS: tuple[Augment, ...] = ("crop_flip", "cifar_ref")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(noise(*shape, seed=seed))


def test_enlarging_is_what_pillow_does() -> None:
    small = images(3, 8, 8, 3) // 2 + 64  # Pillow clips between its two passes, we only at the end
    larger = [
        Image.fromarray(image.numpy()).resize((28, 28), Image.Resampling.BICUBIC)
        for image in small
    ]
    expected = np.stack([np.asarray(image) for image in larger])
    found = enlarged(small, 28).numpy()
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 2
    assert enlarged(small, 8) is small
    assert torch.equal(enlarged(small[..., 0], 28), enlarged(small, 28)[..., 0])


def test_grey_and_small_become_like_colour_and_large() -> None:
    grey, colour = to_same_shape([images(2, 4, 4), images(3, 8, 8, 3)])
    assert grey.shape == (2, 8, 8, 3)
    assert torch.equal(grey[..., 0], grey[..., 2])
    assert torch.equal(colour, images(3, 8, 8, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(6, 18, 18), (6, 18, 18, 3)])
def test_crops_are_bytes_of_the_size_and_follow_the_generator(
    kind: Augment, shape: tuple[int, ...]
) -> None:
    batch = images(*shape)
    once, again, other = (augmented(batch, kind, 16, seeded(seed)) for seed in (1, 1, 2))
    assert once.shape == (6, 16, 16, *shape[3:])
    assert once.dtype == torch.uint8
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert all(not torch.equal(once[0], once[i]) for i in range(1, 6))


def test_none_draws_nothing_and_changes_nothing() -> None:
    generator = seeded()
    before = generator.get_state()
    batch = images(2, 8, 8)
    assert augmented(batch, "none", 8, generator) is batch
    assert torch.equal(generator.get_state(), before)


@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_boxes_obey_the_recipe(seed: int, kind: Augment) -> None:
    recipe = RECIPES[kind]
    left, top, width, height = _boxes(50, recipe, seeded(seed)).double().unbind(dim=1)
    assert bool((left >= 0).all() and (left + width <= 1 + 1e-6).all())
    assert bool((top >= 0).all() and (top + height <= 1 + 1e-6).all())
    area = width * height
    assert recipe.smallest - 1e-6 <= float(area.min()) <= float(area.max()) <= 1 + 1e-6
    ratio = width / height
    assert 3 / 4 - 1e-6 <= float(ratio.min()) <= float(ratio.max()) <= 4 / 3 + 1e-6


def test_crops_show_the_region_that_was_drawn() -> None:
    """A picture whose grey level is the column: a crop's levels say where it lies."""
    side = 64
    column = torch.arange(side, dtype=torch.uint8).mul(4).expand(200, side, side)
    found = augmented(column, "crop_flip", 32, seeded()).float()
    boxes = _boxes(200, RECIPES["crop_flip"], seeded()).double()
    middle = (boxes[:, 0] + boxes[:, 2] / 2) * side * 4 - 2  # the level at the centre of a box
    torch.testing.assert_close(found.mean(dim=(1, 2)).double(), middle, atol=1.5, rtol=0)
    flipped = found[:, 0, 0] > found[:, 0, -1]
    assert 60 < int(flipped.sum()) < 140


def test_brightness_belongs_to_the_recipe_of_cifar_alone() -> None:
    flat = torch.full((300, 8, 8), 100, dtype=torch.uint8)
    assert set(augmented(flat, "crop_flip", 8, seeded()).unique().tolist()) == {100}
    levels = augmented(flat, "cifar_ref", 8, seeded())[:, 0, 0]
    assert 75 <= int(levels.min()) < 80
    assert 120 < int(levels.max()) <= 125
