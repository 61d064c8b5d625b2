"""Orientation tags (EXIF) of the user's images are applied before anything is learned."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from clmethods.config import RunConfig, StreamConfig, resolve, stage_chain
from clmethods.config.backbone import BackboneConfig
from clmethods.data.datasets import open_images
from clmethods.data.streams import TaskStream
from clmethods.user_data.folder_listing import fingerprint_of

TAG = 0x0112
TINY = BackboneConfig(name="tiny_vit8", weights="random", image_size=8)


def shown(seed: int = 0) -> Image.Image:
    """Return an image of flat quarters, so that lossy formats keep them."""
    colors = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(colors.repeat(16, axis=0).repeat(16, axis=1))


def save(path: Path, image: Image.Image, tag: int, late: bool = False) -> None:
    """Store an image so that it looks like `image` when its tag is applied."""
    exif = Image.Exif()
    exif[TAG] = tag
    stored = next(
        candidate
        for method in (None, *Image.Transpose)
        for candidate in [image if method is None else image.transpose(method)]
        if _upright(candidate, tag) == image.tobytes()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {} if path.suffix == ".png" else {"quality": 100, "lossless": True}
    stored.save(path, exif=exif, **options)
    if late:
        _move_exif_to_the_end(path)


def _upright(image: Image.Image, tag: int) -> bytes:
    copy = image.copy()
    copy.getexif()[TAG] = tag
    return ImageOps.exif_transpose(copy).tobytes()


def _move_exif_to_the_end(path: Path) -> None:
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    last = data.index(b"IEND") - 4
    path.write_bytes(data[:start] + data[end:last] + data[start:end] + data[last:])


def write(root: Path, tag: int, suffix: str = ".png", late: bool = False) -> StreamConfig:
    for label in range(2):
        for index in range(4):
            image = shown(10 * label + index)
            save(root / f"class{label}" / f"{index}{suffix}", image, tag, late)
    return StreamConfig(
        dataset="image-folder", root=str(root), resize="stretch", validation_fraction=0.0
    )


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_every_orientation_is_applied(tag: int, suffix: str, tmp_path: Path) -> None:
    stream = write(tmp_path / "x", tag, suffix)
    images = open_images(stream, 32).images
    for index in range(8):
        expected = np.asarray(shown(10 * (index // 4) + index % 4)).astype(int)
        difference = np.abs(images[index].astype(int) - expected)
        limit = 0 if suffix in {".png", ".tif", ".webp"} else 8
        assert difference[4:12, 4:12].max() <= limit
        assert difference[20:28, 20:28].max() <= limit


def test_a_tag_after_the_pixels_of_a_png_is_applied(tmp_path: Path) -> None:
    images = open_images(write(tmp_path / "x", 6, late=True), 32).images
    assert (images[0] == np.asarray(shown(0))).all()


def test_training_and_evaluation_see_the_images_as_shown(tmp_path: Path) -> None:
    turned, plain = (TaskStream(write(tmp_path / str(tag), tag), 32) for tag in (8, 1))
    for split in ("train", "test"):
        first, second = (stream.data((0, 1), split) for stream in (turned, plain))  # type: ignore[arg-type]
        assert (first.images == second.images).all()


def test_orientation_is_part_of_the_version_only_where_images_are_turned(tmp_path: Path) -> None:
    """The keys of data without turned images are those of earlier versions."""
    plain, turned = write(tmp_path / "1", 1), write(tmp_path / "6", 6)
    rows = [(path, path.stat().st_size) for path in sorted((tmp_path / "1").rglob("*.png"))]
    names = [(p.relative_to(tmp_path / "1").as_posix(), size) for p, size in rows]
    assert plain.facts.version == fingerprint_of(names)
    assert turned.facts.version != fingerprint_of(
        (p.relative_to(tmp_path / "6").as_posix(), p.stat().st_size)
        for p in (tmp_path / "6").rglob("*.png")
    )
    keys = [
        {stage.key for stage in stage_chain(resolve(RunConfig(stream=s, backbone=TINY)))}
        for s in (plain, turned)
    ]
    assert not keys[0] & keys[1]


def test_images_of_a_manifest_are_turned_too(tmp_path: Path) -> None:
    write(tmp_path / "x", 6)
    with (tmp_path / "x.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for path in sorted((tmp_path / "x").rglob("*.png")):
            writer.writerow([path.relative_to(tmp_path).as_posix(), path.parent.name])
    stream = StreamConfig(dataset="manifest", manifest=str(tmp_path / "x.csv"), resize="stretch")
    assert (open_images(stream, 32).images[0] == np.asarray(shown(0))).all()


def test_a_damaged_tag_is_no_error(tmp_path: Path) -> None:
    write(tmp_path / "x", 1, ".jpg")
    path = tmp_path / "x" / "class0" / "0.jpg"
    shown(0).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=100)
    stream = StreamConfig(dataset="image-folder", root=str(tmp_path / "x"), resize="stretch")
    assert open_images(stream, 32).images.shape == (8, 32, 32, 3)
